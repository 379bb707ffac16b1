"""The networks that options ask for, `name:weight, name:weight`, as they are written into a prompt."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from easel.catalog import Catalog, ModelCard, ModelKind
from easel.errors import BadPrompt, BadValue, UnknownModel
from easel.prompt.networks import MAX_WEIGHT, extract_networks

NUMBER = r"[+\-\u2212]?(?:\d{1,3}(?:\.\d{0,4})?|\.\d{1,4})"
_WEIGHTS = re.compile(rf"((?:\s*:\s*{NUMBER}){{1,2}})\s*$")
_AND, _LAST_WEIGHT = re.compile(r"\bAND\b"), re.compile(rf"\s*:\s*{NUMBER}\s*$")
_BRACKETS = re.compile(r"([()\[\]\\])")

_TAGS: Mapping[str, Literal["lora", "hypernet"]] = {"lora": "lora", "hypernetwork": "hypernet"}


@dataclass(frozen=True, slots=True)
class Named:
    """One element of a list, as typed."""

    card: ModelCard
    weights: tuple[float, ...] = ()
    negative: bool = False
    """A hyphen stands before it."""


def worn(values: Mapping[str, Any], catalog: Catalog) -> tuple[str, str]:
    """Return what the options put behind the prompt and behind the negative one; raises UnknownModel, BadValue."""
    tags = [
        _tag(word, one)
        for option, word in _TAGS.items()
        for one in named(ModelKind(option), str(values.get(option, "")), catalog)
    ]
    embeddings = list(named(ModelKind.EMBEDDING, str(values.get("embedding", "")), catalog))
    wanted, unwanted = ([_words(one) for one in embeddings if one.negative is side] for side in (False, True))
    return "".join([*(f", {one}" for one in wanted), *(f" {tag}" for tag in tags)]), ", ".join(unwanted)


def joined(text: str, behind: str) -> str:
    """Put one behind the other, but before the weight that ends prompts joined by `AND`; commas only part what is there."""
    if not text.strip():
        return behind.lstrip(", ")
    weight = _LAST_WEIGHT.search(text) if behind and _AND.search(text) else None
    end = weight.start() if weight else len(text)
    return f"{text[:end].rstrip()}{behind}{text[end:].rstrip()}"


def named(kind: ModelKind, text: str, catalog: Catalog) -> Iterator[Named]:
    """Yield the elements of a list; a comma may be part of a name that is here. Raises UnknownModel, BadValue."""
    pieces = text.split(",")
    while pieces:
        for count in range(len(pieces), 1, -1):
            if one := _with_commas(kind, ",".join(pieces[:count]), catalog):
                yield one
                break
        else:
            count = 1
            if pieces[0].strip():
                yield _named(kind, pieces[0], catalog)
        pieces = pieces[count:]


def _with_commas(kind: ModelKind, text: str, catalog: Catalog) -> Named | None:
    """Read one whose name holds commas; None unless it is spelt exactly so, as two names may look like a third."""
    try:
        one = _named(kind, text, catalog)
    except (UnknownModel, BadValue):
        return None
    return one if any("," in name and name in text for name in _spellings(one.card)) else None


def _named(kind: ModelKind, text: str, catalog: Catalog) -> Named:
    """Read `name`, `name:0.8`, of a LoRA `name:te:unet`, of an embedding `-name`."""
    found = _WEIGHTS.search(text)
    weights = tuple(float(one.replace("\u2212", "-")) for one in found[1].split(":")[1:]) if found else ()
    name = (text[: found.start()] if found else text).strip()
    most = 2 if kind is ModelKind.LORA else 1
    if len(weights) > most or any(abs(weight) > MAX_WEIGHT for weight in weights):
        raise BadValue(
            f"`{kind.value}` takes name:weight, parted by commas, with weights from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}; "
            f"not `{text.strip()[:60]}`."
        )
    negative = kind is ModelKind.EMBEDDING and name.startswith(("-", "\u2212"))
    card = catalog.model(kind, name[1:].strip() if negative else name)
    return Named(card, weights, negative=negative and name not in _spellings(card))


def _tag(word: str, one: Named) -> str:
    weights = ":".join(f"{weight:g}" for weight in one.weights or (1.0,))
    for spelling in _spellings(one.card):
        tag = f"<{word}:{spelling}:{weights}>"
        if _means(tag, spelling):
            return tag
    raise BadValue(
        f"The {one.card.kind.noun} `{one.card.name}` can not be written into a prompt. "
        "Please have it given an alias without `:`, `>` and `..` in models.yaml."
    )


def _spellings(card: ModelCard) -> tuple[str, ...]:
    return (card.name, *filter(None, (card.title, *card.aliases)))


def _means(tag: str, name: str) -> bool:
    try:
        left, tags = extract_networks(tag)
    except BadPrompt:
        return False
    return not left and len(tags) == 1 and tags[0].name == name


def _words(one: Named) -> str:
    name = _BRACKETS.sub(r"\\\1", one.card.name)
    return f"({name}:{one.weights[0]:g})" if one.weights else name
