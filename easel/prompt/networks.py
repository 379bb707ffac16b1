"""Networks named in a prompt: `<lora:name:0.8>`, `<lyco:…>` and `<hypernet:…>`, taken out of the text."""

import re
from dataclasses import dataclass
from typing import Literal

from easel.errors import BadPrompt
from easel.prompt.text import quoted

MAX_TAGS = 20
MAX_WEIGHT = 10.0
MAX_NAME = 200
MAX_DYN = 1024

_TAG = re.compile(r"<(\w++):([^>]++)>")
_KEYWORD = re.compile(r"(te|unet|dyn)=[^=]*", re.DOTALL)
_OTHER_KEYWORD = re.compile(r"[^=]*=[^=]*", re.DOTALL)
_NOT_IN_A_NAME = re.compile(r"[/\\\x00-\x1f\x7f\ud800-\udfff]|\.\.")

Kind = Literal["lora", "hypernetwork"]
_KINDS: dict[str, Kind] = {"lora": "lora", "lyco": "lora", "hypernet": "hypernetwork"}
_NOUNS: dict[Kind, str] = {"lora": "LoRA", "hypernetwork": "hypernetwork"}


@dataclass(frozen=True, slots=True)
class NetworkTag:
    kind: Kind
    name: str
    """As typed; never a path."""
    te_weight: float = 1.0
    """For the text encoder; for a hypernetwork the same as `unet_weight`."""
    unet_weight: float = 1.0
    dyn: int | None = None
    """Only this many ranks of a LoRA are used; None means all."""

    def __str__(self) -> str:
        ranks = "" if self.dyn is None else f":{self.dyn}"
        return f"{self.kind}:{self.name}:{self.te_weight:g}:{self.unet_weight:g}{ranks}"


def extract_networks(text: str) -> tuple[str, tuple[NetworkTag, ...]]:
    """Return the text without any `<word:…>` and the networks it named; like A1111, unknown words go without a trace."""
    tags: list[NetworkTag] = []

    def take(match: re.Match[str]) -> str:
        kind = _KINDS.get(match[1].lower())
        if kind:
            tags.append(_tag(kind, match[2], shown=match[0]))
        if len(tags) > MAX_TAGS:
            raise BadPrompt(f"The prompt names more than {MAX_TAGS} LoRAs and hypernetworks. Please use fewer.")
        return ""

    # Where a tag may still end: beyond it, every "<" would be searched to the end of the text in vain.
    end = text.rfind(">") + 1
    return _TAG.sub(take, text[:end]) + text[end:], tuple(tags)


def _tag(kind: Kind, arguments: str, *, shown: str) -> NetworkTag:
    items = arguments.split(":")
    if kind == "hypernetwork":
        weight = _weight(items[1], shown) if len(items) > 1 else 1.0
        return NetworkTag(kind, _name(items[0], kind), weight, weight)
    named, positional = _sorted(items)
    texts = dict(enumerate(positional))
    te_weight = _weight(named.get("te", texts.get(1, "1")), shown)
    unet = named.get("unet", texts.get(2))
    dyn = named.get("dyn", texts.get(3))
    return NetworkTag(
        kind,
        _name(texts.get(0, ""), kind),
        te_weight,
        te_weight if unet is None else _weight(unet, shown),
        None if dyn is None else _dyn(dyn, shown),
    )


def _sorted(items: list[str]) -> tuple[dict[str, str], list[str]]:
    """Part `te=`, `unet=` and `dyn=` from what counts by its place; other extensions' `word=` are dropped."""
    named: dict[str, str] = {}
    positional: list[str] = []
    for item in items:
        word, _, value = item.partition("=")
        if _KEYWORD.fullmatch(item):
            named[word] = value
        elif not positional or not _OTHER_KEYWORD.fullmatch(item):
            positional.append(item)
    return named, positional


def _name(text: str, kind: Kind) -> str:
    name = text.strip()
    if not name:
        raise BadPrompt(
            f"A tag names no {_NOUNS[kind]}. Please write it as `<lora:name:0.8>` or `<hypernet:name:0.8>`."
        )
    if len(name) > MAX_NAME or _NOT_IN_A_NAME.search(name):
        raise BadPrompt(
            f"{quoted(name)} can not be the name of a {_NOUNS[kind]}. "
            f"Please give its name alone: no folder, no `/`, `\\` or `..`, at most {MAX_NAME} characters."
        )
    return name


def _weight(text: str, shown: str) -> float:
    try:
        # Phones write U+2212 for minus.
        weight = float(text.replace("\u2212", "-"))
    except ValueError:
        raise BadPrompt(f"{quoted(text)} in {quoted(shown)} is not a number. {_RANGE}") from None
    if not abs(weight) <= MAX_WEIGHT:
        raise BadPrompt(f"The weight {quoted(text)} in {quoted(shown)} is out of range. {_RANGE}")
    return weight


_RANGE = f"A weight is a number from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}, as in `<lora:name:0.8>`."


def _dyn(text: str, shown: str) -> int:
    try:
        dyn = int(text)
    except ValueError:
        dyn = 0
    if not 1 <= dyn <= MAX_DYN:
        raise BadPrompt(f"{quoted(text)} in {quoted(shown)} is no rank: `dyn` is a whole number from 1 to {MAX_DYN}.")
    return dyn
