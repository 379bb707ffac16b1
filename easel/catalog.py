"""What models there are and what each is good for: kinds, bases, cards, and the catalog that finds them by name."""

import re
from collections.abc import Iterable, Mapping, Set
from enum import StrEnum
from itertools import pairwise
from pathlib import PureWindowsPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from easel.errors import UnknownModel
from easel.jobs import Frozen
from easel.names import MAX_NAME, Names

DEMO = "easel-demo"
"""The checkpoint that comes with Easel."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class ModelKind(StrEnum):
    CHECKPOINT = "checkpoint"
    LORA = "lora"
    EMBEDDING = "embedding"
    VAE = "vae"
    HYPERNETWORK = "hypernetwork"
    CONTROLNET = "controlnet"
    UPSCALER = "upscaler"

    @property
    def noun(self) -> str:
        """What people read."""
        return {"lora": "LoRA", "vae": "VAE", "controlnet": "ControlNet"}.get(self.value, self.value)


class Base(StrEnum):
    """What a LoRA, embedding or VAE must have in common with a checkpoint; unknown is None."""

    SD15 = "sd15"
    SD2 = "sd2"
    SDXL = "sdxl"


def _plain_name(name: str) -> str:
    if (
        not name.strip()
        or name != name.strip()
        or name in {".", ".."}
        or _CONTROL.search(name)
        or set(name) & set("/\\")
    ):
        raise ValueError("a name holds no slash and no control character, and neither begins nor ends with a space")
    return name


def inner_path(path: str) -> str:
    """Return `path` unchanged if it can only lead below the folder it starts from; raises ValueError."""
    drive = ":" in path and PureWindowsPath(path).drive
    if path.startswith("/") or ".." in path.split("/") or "\\" in path or _CONTROL.search(path) or drive:
        raise ValueError("a path starts in the models folder, stays in it, and is written with `/`")
    return path


def _number_as_text(value: object) -> object:
    return str(value) if type(value) is int else value


def _text_as_number(value: object) -> object:
    """Read a plain number, for models.yaml is read as words."""
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,4}", value) else value


Side = Annotated[int, Field(ge=64, le=2048, multiple_of=8)]
Id = Annotated[str, BeforeValidator(_number_as_text)]
"""Of a role or a chat; Discord's and Telegram's are numbers, which people write without quotes."""


class Defaults(Frozen):
    """What a checkpoint wants to be asked with; None leaves it to the general default."""

    sampler: str | None = None
    schedule: str | None = None
    steps: Annotated[int, Field(ge=1, le=150)] | None = None
    cfg_scale: Annotated[float, Field(ge=1, le=30)] | None = None
    width: Side | None = None
    height: Side | None = None
    clip_skip: Annotated[int, Field(ge=1, le=12)] | None = None
    vae: str | None = None
    """A name in the catalog."""
    negative_prompt: Annotated[str, Field(max_length=6000)] | None = None


class ModelCard(Frozen):
    """The facts of one model."""

    name: Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_plain_name)]
    """What people type."""
    kind: ModelKind
    title: Annotated[str, Field(max_length=300)] = ""
    base: Base | None = None
    path: Annotated[str, AfterValidator(inner_path)] = ""
    """From its models folder, with `/`: a weights file or a diffusers folder."""
    root: Annotated[str, Field(pattern=r"^\d*$")] = ""
    """Which models folder it lies in, counted from 0; empty where no file was found."""
    workers: tuple[str, ...] | None = None
    """The machines that have the file and paint; None where no worker tells what it has."""
    aliases: tuple[str, ...] = ()
    family: Literal["", "pony", "illustrious", "noobai", "turbo", "lightning", "lcm"] = ""
    """A lineage inside the base, with prompt habits or a step count of its own."""
    prediction_type: Literal["", "epsilon", "v_prediction"] = ""
    zero_snr: bool = False
    """Trained down to pure noise (zero terminal signal-to-noise ratio); its schedule is rescaled so."""
    in_channels: Annotated[Literal[4, 9], BeforeValidator(_text_as_number)] = 4
    """Of the UNet; 9 was trained for inpainting."""
    context_dim: Annotated[int, Field(ge=0)] = 0
    """Width of the prompt vectors it was made for (768, 1024, 2048; the demo's is 192); 0 while unknown."""
    enlarge: Annotated[int, Field(ge=1, le=8)] = 1
    """Finished pictures are enlarged by this factor."""
    defaults: Defaults = Defaults()
    trigger_words: tuple[str, ...] = ()
    nsfw: bool = False
    roles: tuple[Id, ...] = ()
    """Who may use it, by role id; empty is everybody."""
    chats: tuple[Id, ...] = ()
    """Where it may be used, by chat or guild id; empty is everywhere."""
    source: str = ""
    """Where it came from: a URL or an AIR."""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    autov3: Annotated[str, Field(pattern=r"^([0-9a-f]{12})?$")] = ""
    """Of a LoRA: what A1111 writes as its hash, over the weights without the header."""
    file_size: Annotated[int, Field(ge=0)] = 0
    """Bytes."""
    notes: str = ""
    preview: Annotated[str, AfterValidator(inner_path)] = ""
    """A picture beside the file, from the same models folder."""

    @property
    def label(self) -> str:
        """The title, or the name where there is none."""
        return self.title or self.name

    @property
    def installed(self) -> bool:
        """Whether a worker has its file, as far as is known."""
        return self.root != "" if self.workers is None else bool(self.workers)

    def fits(self, checkpoint: "ModelCard") -> bool:
        """Tell whether it was made for checkpoints like this one; what is unknown counts as fitting."""
        if self.kind is ModelKind.UPSCALER:
            return True
        bases = {self.base, checkpoint.base} - {None}
        # SD 2 kept the VAE of SD 1.
        if self.kind is ModelKind.VAE and bases == {Base.SD15, Base.SD2}:
            return True
        dims = {self.context_dim, checkpoint.context_dim} - {0}
        return len(bases) < 2 and len(dims) < 2


class _Shelf:
    """The cards of one kind, by name."""

    def __init__(self, cards: Iterable[ModelCard]) -> None:
        self.cards = tuple(sorted(cards, key=lambda card: (card.name.casefold(), card.name)))
        for card, following in pairwise(self.cards):
            if card.name == following.name:
                raise ValueError(f"two models of one kind are called `{card.name}`")
        self.names = Names([(card.name, card.title, *card.aliases) for card in self.cards])

    def find(self, name: str) -> ModelCard | None:
        index = self.names.find(name)
        return None if index is None else self.cards[index]


class Catalog:
    """All cards, in both processes; never changed after it is made."""

    def __init__(self, cards: Iterable[ModelCard] = (), *, default: str = "") -> None:
        self.all = tuple(cards)
        self.default = default
        self._shelves: Mapping[ModelKind, _Shelf] = {
            kind: _Shelf(card for card in self.all if card.kind is kind) for kind in ModelKind
        }

    def checkpoint(self, name: str) -> ModelCard:
        """Find a checkpoint by name, alias or title; raises UnknownModel with the nearest names."""
        return self.model(ModelKind.CHECKPOINT, name)

    def model(self, kind: ModelKind, name: str) -> ModelCard:
        """Find a model by name, alias or title; raises UnknownModel with the nearest names."""
        shelf = self._shelves[kind]
        card = shelf.find(name)
        if card is None:
            raise UnknownModel(kind.noun, name, [shelf.cards[index].name for index in shelf.names.nearest(name)])
        return card

    def cards(self, kind: ModelKind) -> tuple[ModelCard, ...]:
        """Return the cards of one kind, by name."""
        return self._shelves[kind].cards

    @property
    def default_checkpoint(self) -> ModelCard:
        """The one models.yaml names, else the demo, else the first, of those whose file was found if any was.

        Raises UnknownModel where there is none at all.
        """
        shelf = self._shelves[ModelKind.CHECKPOINT]
        wanted = [card for name in (self.default, DEMO) if name and (card := shelf.find(name))]
        cards = [*wanted, *shelf.cards]
        if not cards:
            raise UnknownModel(ModelKind.CHECKPOINT.noun, self.default or DEMO)
        return next((card for card in cards if card.installed), cards[0])

    def search(
        self,
        kind: ModelKind,
        typed: str,
        *,
        limit: int = 25,
        base: Base | None = None,
        warm: Set[str] = frozenset(),
    ) -> list[ModelCard]:
        """Return what `typed` may mean: fitting base first, then the better match, then the warm ones, then by name."""
        shelf = self._shelves[kind]
        found = shelf.names.matches(typed) if typed.strip() else [(0, index) for index in range(len(shelf.cards))]
        buckets: dict[tuple[int, int, bool], list[ModelCard]] = {}
        for match, index in found:
            card = shelf.cards[index]
            foreign = 0 if base is None or card.base is base else 1 if card.base is None else 2
            buckets.setdefault((foreign, match, card.name not in warm), []).append(card)
        return [card for key in sorted(buckets) for card in buckets[key]][:limit]
