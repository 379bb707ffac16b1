"""Which ControlNet follows the picture: `name`, `name:preprocessor` or `name:preprocessor:weight`."""

import re
from collections.abc import Callable
from typing import get_args

from easel.catalog import Catalog, ModelCard, ModelKind
from easel.errors import BadValue
from easel.jobs import Control

PREPROCESSORS: tuple[str, ...] = get_args(Control.model_fields["preprocessor"].annotation)

_WEIGHT = re.compile(r"[0-9]{1,2}(?:[.,][0-9]{1,4})?|[.,][0-9]{1,4}")


def control(text: str, checkpoint: ModelCard, catalog: Catalog, *, image: str) -> Control:
    """Read what somebody typed; raises UnknownModel, or BadValue where it does not fit."""
    name, weight = _tail(text, lambda word: _WEIGHT.fullmatch(word) is not None)
    name, preprocessor = _tail(name, lambda word: word.lower() in PREPROCESSORS)
    card = catalog.model(ModelKind.CONTROLNET, name)
    if not card.fits(checkpoint):
        raise BadValue(f"The ControlNet `{card.name}` was not made for checkpoints like `{checkpoint.name}`.")
    strength = float((weight or "1").replace(",", "."))
    if strength > 2:
        raise BadValue(f"The weight of `control` must be from 0 to 2, not {strength:g}.")
    chosen = preprocessor.lower() or _meant_for(card)
    return Control.model_validate({"model": card.name, "image": image, "preprocessor": chosen, "weight": strength})


def _tail(text: str, fits: Callable[[str], bool]) -> tuple[str, str]:
    """Part off the last word behind a colon if it fits; else that is empty."""
    head, colon, tail = text.rpartition(":")
    return (head.strip(), tail.strip()) if colon and fits(tail.strip()) else (text.strip(), "")


def _meant_for(card: ModelCard) -> str:
    """Return the preprocessor in the model's name; with any other one the picture itself must be what it follows."""
    name = f"{card.name} {card.title}".lower()
    return next((one for one in PREPROCESSORS if one in name), "none")
