"""What is offered while somebody types into an option, from memory alone."""

import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass

from bot.asking.vae import AUTOMATIC, NONE
from bot.asking.worn import NUMBER
from bot.options import Option
from bot.sizes import size_suggestions
from easel import words
from easel.catalog import Catalog, ModelCard, ModelKind
from easel.errors import RequestError
from easel.samplers import SAMPLERS, SCHEDULES
from easel.styles import Styles

MOST = 25
LONGEST = 100
"""Characters of a label and of a value on Discord."""
LOOKED_AT = 200
"""Matches of which those that fit and are here are offered."""
WORN = frozenset({ModelKind.LORA, ModelKind.EMBEDDING, ModelKind.VAE, ModelKind.HYPERNETWORK})

_WEIGHT = re.compile(rf"\s*(?::\s*{NUMBER}?\s*){{1,2}}$")


@dataclass(frozen=True, slots=True)
class Choice:
    """One suggestion of a completion: what is shown and what is sent."""

    label: str
    value: str


class Suggestions:
    """Completion over the newest names of everything."""

    def __init__(self, styles: Callable[[], Styles], warm: Callable[[], Set[str]]) -> None:
        self._styles = styles
        self._warm = warm
        """Names of the checkpoints that a worker has at hand."""

    def offer(self, option: Option, typed: str, form: Mapping[str, object], catalog: Catalog) -> list[Choice]:
        """Return at most 25 completions; raises UnknownModel where there is no checkpoint at all."""
        match option.suggest:
            case "checkpoint" | "controlnet" | "lora" | "embedding" | "hypernetwork" | "vae":
                return self._models(option, ModelKind(option.suggest), typed, form, catalog)
            case "model":
                return self._anything(typed, catalog)
        names: Mapping[str | None, tuple[str, ...]] = {
            "sampler": tuple(SAMPLERS),
            "schedule": tuple(SCHEDULES),
            "size": _sizes(form, catalog) if option.suggest == "size" else (),
            "style": tuple(self._styles()),
            "kind": tuple(ModelKind),
        }
        return [Choice(name, name) for name in _matching(names.get(option.suggest, ()), typed)]

    def _models(
        self, option: Option, kind: ModelKind, typed: str, form: Mapping[str, object], catalog: Catalog
    ) -> list[Choice]:
        head, word, tail = _parted(typed) if option.several else ("", typed, "")
        sign = "-" if kind is ModelKind.EMBEDDING and word.startswith(("-", "\u2212")) else ""
        taken = {name.strip().partition(":")[0].lower() for name in head.split(",")}
        checkpoint = None if kind is ModelKind.CHECKPOINT else _chosen_checkpoint(form, catalog)
        found = [
            card
            for card in self._ranked(kind, word[len(sign) :], checkpoint, catalog)
            if f"{sign}{card.name}".lower() not in taken
        ]
        offered = [_choice(card, checkpoint, f"{head}{sign}", tail) for card in found]
        if kind is ModelKind.VAE:
            offered = [Choice(name, name) for name in _matching((AUTOMATIC, NONE), typed)] + offered
        return [one for one in offered if len(one.value) <= LONGEST][:MOST]

    def _ranked(self, kind: ModelKind, word: str, checkpoint: ModelCard | None, catalog: Catalog) -> list[ModelCard]:
        """Return what `word` may mean: what fits the checkpoint first, then the better match, then what is warm."""
        base = None if checkpoint is None else checkpoint.base
        found = catalog.search(kind, word, limit=LOOKED_AT, base=base, warm=self._warm())
        if kind in WORN:
            found = [card for card in found if card.installed]
        if checkpoint is not None:
            found.sort(key=lambda card: not card.fits(checkpoint))
        return found

    def _anything(self, typed: str, catalog: Catalog) -> list[Choice]:
        found: Iterator[ModelCard] = (card for kind in ModelKind for card in catalog.search(kind, typed, limit=MOST))
        fold = typed.strip().lower()
        cards = sorted(found, key=lambda card: not card.name.lower().startswith(fold))
        return [Choice(words.cut(f"{_named(card)} · {card.kind.noun}", LONGEST), card.name) for card in cards][:MOST]


def _parted(typed: str) -> tuple[str, str, str]:
    """Part what stays, up to the last comma, from the name that is being typed, and that from its weight."""
    before, comma, last = typed.rpartition(",")
    head = f"{before.rstrip()}, " if comma and before.strip() else ""
    weight = _WEIGHT.search(last)
    tail = weight[0].strip().rstrip(":") if weight else ""
    return head, (last[: weight.start()] if weight else last).strip(), tail


def _chosen_checkpoint(form: Mapping[str, object], catalog: Catalog) -> ModelCard | None:
    try:
        named = str(form.get("checkpoint") or "")
        return catalog.checkpoint(named) if named else catalog.default_checkpoint
    except RequestError:
        return None


def _choice(card: ModelCard, checkpoint: ModelCard | None, head: str, tail: str) -> Choice:
    label = f"{_named(card)}{tail}"
    if checkpoint is not None and card.base is not None and not card.fits(checkpoint):
        label += f" · only for {words.base(card.base)}"
    if card.trigger_words:
        label += f" · {', '.join(card.trigger_words)}"
    return Choice(words.cut(f"… {label}" if head.endswith(", ") else label, LONGEST), f"{head}{card.name}{tail}")


def _named(card: ModelCard) -> str:
    return card.label if card.label == card.name else f"{card.label} ({card.name})"


def _sizes(form: Mapping[str, object], catalog: Catalog) -> tuple[str, ...]:
    cards = catalog.search(ModelKind.CHECKPOINT, str(form.get("checkpoint", "")), limit=1)
    return size_suggestions(cards[0] if cards else catalog.default_checkpoint)


def _matching(names: tuple[str, ...], typed: str) -> list[str]:
    wanted = typed.lower().split()
    found = [name for name in names if all(word in name.lower() for word in wanted)]
    return sorted(found, key=lambda name: not name.lower().startswith(typed.lower()))[:MOST]
