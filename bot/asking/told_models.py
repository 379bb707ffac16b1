"""The models that a text of settings names, as they are called here: by their hashes first, then by their names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from easel.catalog import Catalog, ModelCard, ModelKind
from easel.errors import BadValue, UnknownModel
from easel.infotext.request import Reading
from easel.model_folders import SUFFIXES

_TAG = re.compile(r"<(lora|lyco|hypernet):([^<>:]+)", re.IGNORECASE)
_KINDS = {"lora": ModelKind.LORA, "lyco": ModelKind.LORA, "hypernet": ModelKind.HYPERNETWORK}
_PROMPTS = ("prompt", "negative_prompt")


@dataclass(frozen=True, slots=True)
class Known:
    """What is to be read instead, under the names of `ImageRequest`."""

    fields: Mapping[str, Any]
    notes: tuple[str, ...]


def known_here(reading: Reading, catalog: Catalog) -> Known:
    """Return the prompts with the names that models have here, and the VAE; what is not here is told, or stays."""
    notes: list[str] = []
    fields: dict[str, Any] = {
        name: _TAG.sub(lambda match: _renamed(match, reading.hashes, catalog), reading.fields[name])
        for name in _PROMPTS
        if name in reading.fields
    }
    _rename_embeddings(fields, reading.hashes, catalog, notes)
    if "vae" in reading.fields or "vae" in reading.hashes:
        fields |= _vae(str(reading.fields.get("vae", "")), reading.hashes.get("vae", ""), catalog, notes)
    return Known(fields, tuple(notes))


def by_hash(kind: ModelKind, digits: str, name: str, catalog: Catalog) -> ModelCard | None:
    """Return the model whose hash begins so, of several the one that is called `name`; None where there is none."""
    same = [card for card in catalog.cards(kind) if _has(card, digits)]
    named = _by_name(kind, name, catalog)
    return named if named in same else next(iter(same), None)


def _has(card: ModelCard, digits: str) -> bool:
    """Tell whether it is the model with these digits: of the file (AutoV2), or of a LoRA's weights (AutoV3)."""
    return card.sha256.startswith(digits) or bool(card.autov3 and digits.startswith(card.autov3[: len(digits)]))


def _by_name(kind: ModelKind, name: str, catalog: Catalog) -> ModelCard | None:
    stem = PurePosixPath(name).stem if PurePosixPath(name).suffix.lower() in SUFFIXES else name
    for spelling in dict.fromkeys((name, stem)):
        try:
            return catalog.model(kind, spelling)
        except (UnknownModel, BadValue):
            continue
    return None


def _renamed(match: re.Match[str], hashes: Mapping[str, str], catalog: Catalog) -> str:
    kind, name = _KINDS[match[1].lower()], match[2].strip()
    digits = hashes.get(f"{'lora' if kind is ModelKind.LORA else 'hypernet'}:{name}", "")
    card = by_hash(kind, digits, name, catalog) if digits else None
    # A name that is here, or nowhere, stays as it was written.
    if card is None or card == _by_name(kind, name, catalog):
        return match[0]
    return f"<{match[1]}:{card.name}"


def _rename_embeddings(fields: dict[str, Any], hashes: Mapping[str, str], catalog: Catalog, notes: list[str]) -> None:
    for key, digits in hashes.items():
        label, _, name = key.partition(":")
        if label != "embed" or not name:
            continue
        card = by_hash(ModelKind.EMBEDDING, digits, name, catalog) or _by_name(ModelKind.EMBEDDING, name, catalog)
        if card is None:
            notes.append(f"The embedding `{name[:60]}` is not here; its name counts as plain words.")
        elif card.name.casefold() != name.casefold():
            word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)
            fields |= {one: word.sub(card.name.replace("\\", r"\\"), fields[one]) for one in _PROMPTS if one in fields}


def _vae(name: str, digits: str, catalog: Catalog, notes: list[str]) -> dict[str, str]:
    if name.lower() == "automatic" and not digits:
        return {}
    card = by_hash(ModelKind.VAE, digits, name, catalog) if digits else None
    card = card or (_by_name(ModelKind.VAE, name, catalog) if name else None)
    if card is not None and card.installed:
        return {"vae": card.name}
    notes.append(f"The VAE `{(name or digits)[:60]}` is not here; the usual one takes its place.")
    return {}
