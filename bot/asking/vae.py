"""Which VAE decodes: the one that was asked for, the one a text tells, or what belongs to the checkpoint."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from easel.catalog import Catalog, ModelCard, ModelKind
from easel.errors import BadValue, UnknownModel

AUTOMATIC, NONE = "automatic", "none"
"""As A1111 says it: what belongs to the checkpoint, and the one inside of it."""


def vae(values: Mapping[str, Any], told: Mapping[str, Any], card: ModelCard, catalog: Catalog, notes: list[str]) -> str:
    """Return a name in the catalog, empty for the checkpoint's own; raises UnknownModel for one that was typed."""
    asked = str(values.get("vae", ""))
    if asked.lower() == NONE:
        return ""
    if asked and asked.lower() != AUTOMATIC:
        return catalog.model(ModelKind.VAE, asked).name
    if not asked and "vae" in told:
        name = str(told["vae"])
        if not name or catalog.model(ModelKind.VAE, name).fits(card):
            return name
        notes.append(f"The VAE `{name}` was left out: it was not made for checkpoints like `{card.name}`.")
    return _usual(card, catalog, notes)


def _usual(card: ModelCard, catalog: Catalog, notes: list[str]) -> str:
    if card.defaults.vae:
        try:
            wanted = catalog.model(ModelKind.VAE, card.defaults.vae)
        except (UnknownModel, BadValue):
            wanted = None
        if wanted is not None and wanted.installed and wanted.fits(card):
            return wanted.name
        notes.append(f"The VAE `{card.defaults.vae}`, which belongs to `{card.name}`, can not be used here.")
    return next((one.name for one in catalog.cards(ModelKind.VAE) if _lies_beside(one, card)), "")


def _lies_beside(vae: ModelCard, card: ModelCard) -> bool:
    """Tell whether it is called `CHECKPOINT.vae.safetensors` and lies in the same folder, as A1111 has it."""
    if not (vae.installed and card.path and vae.root == card.root and vae.fits(card)):
        return False
    one, other = PurePosixPath(vae.path), PurePosixPath(card.path)
    return one.parent == other.parent and one.stem.lower() == f"{other.stem.lower()}.vae"
