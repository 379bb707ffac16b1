"""The LoRAs and hypernetworks of one machine: read when a prompt names them, the last few kept."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from easel import words
from easel.catalog import ModelCard, ModelKind
from easel.errors import BadValue, ModelUnusable
from easel.library import Library
from easel.prompt.networks import NetworkTag
from worker.checkpoints.checkpoint import Checkpoint
from worker.networks.hypernetwork import Hypernetwork, bends, read_hypernetwork
from worker.networks.lora_file import LoraFile, read_lora
from worker.networks.outfit import Outfit
from worker.networks.wardrobe import Worn
from worker.recent import Recent

LORAS = 8
"""Kept in memory; one for SDXL has 20 to 900 MB, most of them 200."""
HYPERNETWORKS = 4

Read = TypeVar("Read")
Find = Callable[[str, ModelKind], ModelCard]
"""Returns the card of a name; raises UnknownModel."""


class Shelf:
    """Reads files again when they change. Used by one thread at a time."""

    def __init__(self, library: Library, find: Find) -> None:
        self._library = library
        self._find = find
        self._loras: Recent[LoraFile] = Recent(LORAS)
        self._hypernetworks: Recent[Hypernetwork] = Recent(HYPERNETWORKS)

    def outfit(self, tags: tuple[NetworkTag, ...], checkpoint: Checkpoint, card: ModelCard) -> Outfit:
        """Return what the tags ask for, checked against the loaded checkpoint, whose card is `card`.

        Raises UnknownModel, ModelUnusable, and BadValue for what was made for another base.
        """
        text: list[Worn] = []
        unet: list[Worn] = []
        hypernetworks: list[tuple[Hypernetwork, float]] = []
        notes: dict[str, None] = {}
        for tag in tags:
            found = self._fitting(tag, card)
            if not (tag.te_weight or tag.unet_weight):
                continue
            if tag.kind == "hypernetwork":
                hypernetwork = self._read(self._hypernetworks, found, read_hypernetwork)
                hypernetworks.append((hypernetwork, tag.unet_weight))
                notes |= dict.fromkeys(_idle(hypernetwork, checkpoint))
                continue
            lora = self._read(self._loras, found, read_lora)
            fitting = checkpoint.wardrobe.fit(lora, checkpoint)
            if tag.te_weight and fitting.changes["text"]:
                text.append(Worn(lora, tag.te_weight, tag.dyn))
            if tag.unet_weight and fitting.changes["unet"]:
                unet.append(Worn(lora, tag.unet_weight, tag.dyn))
            notes |= dict.fromkeys(_left_out(lora, fitting.foreign))
        return Outfit(tuple(text), tuple(unet), tuple(hypernetworks), tuple(notes))

    def _fitting(self, tag: NetworkTag, checkpoint: ModelCard) -> ModelCard:
        card = self._find(tag.name, ModelKind(tag.kind))
        if card.fits(checkpoint):
            return card
        if card.base is None or checkpoint.base is None or card.base is checkpoint.base:
            raise BadValue(f"The {card.kind.noun} `{card.name}` was not made for checkpoints like `{checkpoint.name}`.")
        raise BadValue(
            f"The {card.kind.noun} `{card.name}` was made for {words.base(card.base)}, "
            f"and the checkpoint `{checkpoint.name}` is {words.base(checkpoint.base)}."
        )

    def _read(self, kept: Recent[Read], card: ModelCard, read: Callable[[Path, str], Read]) -> Read:
        path = self._library.path(card)
        try:
            state = path.stat()
        except OSError as error:
            raise ModelUnusable(f"The file of the {card.kind.noun} `{card.name}` is gone.") from error
        return kept.get((path, state.st_size, state.st_mtime_ns), lambda: read(path, card.name))


def _left_out(lora: LoraFile, foreign: int) -> Iterator[str]:
    if foreign:
        yield (
            f"Of the LoRA `{lora.name}`, {foreign} of {len(lora.lessons)} parts mean nothing in this checkpoint; "
            "they were left out."
        )
    if lora.unread:
        yield f"In the LoRA `{lora.name}`, {lora.unread} tensors have names that are not known here; they were left out."


def _idle(hypernetwork: Hypernetwork, checkpoint: Checkpoint) -> Iterator[str]:
    if not bends(checkpoint.unet, hypernetwork):
        yield f"The hypernetwork `{hypernetwork.name}` changes nothing here: it was made for another kind of checkpoint."
