"""Sizes as people give them: `512x768`, a shape such as `3:2`, or a word."""

import re
from math import sqrt

from easel.catalog import Base, ModelCard
from easel.errors import BadValue

LOW, HIGH = 64, 2048
SHAPES = {"square": (1, 1), "portrait": (2, 3), "landscape": (3, 2), "wide": (16, 9), "tall": (9, 16)}
_NATIVE = {Base.SD15: 512, Base.SD2: 768, Base.SDXL: 1024}


def native_size(card: ModelCard) -> tuple[int, int]:
    """Return the size a checkpoint was trained for, in pixels."""
    side = _NATIVE.get(card.base or Base.SD15, 512)
    return card.defaults.width or side, card.defaults.height or side


def parse_size(text: str, card: ModelCard) -> tuple[int, int]:
    """Return (width, height); empty is the checkpoint's own; a shape keeps the checkpoint's area."""
    text = text.strip().lower().replace("×", "x").replace("*", "x")
    if not text:
        return native_size(card)
    if text in SHAPES:
        return _shaped(*SHAPES[text], card)
    match = re.fullmatch(r"([0-9]{1,5})\s*([x:/])\s*([0-9]{1,5})", text)
    if match is None:
        if re.fullmatch(r"[0-9]{1,5}", text):
            return _checked(int(text), int(text))
        raise BadValue(f"`size` must look like 512x768 or 3:2, not `{text[:40]}`.")
    first, second = int(match[1]), int(match[3])
    return _checked(first, second) if match[2] == "x" else _shaped(first, second, card)


def _checked(width: int, height: int) -> tuple[int, int]:
    for side in (width, height):
        if not LOW <= side <= HIGH:
            raise BadValue(f"`size` must be {LOW} to {HIGH} pixels each way, not {width}x{height}.")
    # A latent is an eighth of the picture, so a size that is not a multiple of 8 is rounded as A1111 does.
    return max(LOW, width // 8 * 8), max(LOW, height // 8 * 8)


def _shaped(across: int, down: int, card: ModelCard) -> tuple[int, int]:
    if not across or not down or not 1 / 4 <= across / down <= 4:
        raise BadValue("`size` as a shape must be between 1:4 and 4:1.")
    width, height = native_size(card)
    grain = 64 if width * height >= 512 * 512 else 16
    scale = sqrt(width * height / (across * down))
    sides = (max(grain, round(side * scale / grain) * grain) for side in (across, down))
    shaped_width, shaped_height = sides
    return _checked(shaped_width, shaped_height)


def size_like(width: int, height: int, card: ModelCard) -> tuple[int, int]:
    """Return the size of a picture that is to look like one of `width` x `height`, as far as shapes go."""
    across, down = min(width, 4 * height), min(height, 4 * width)
    return _shaped(across, down, card)


def size_suggestions(card: ModelCard) -> tuple[str, ...]:
    """Return the usual sizes of a checkpoint, its own first."""
    sizes = [native_size(card), *(_shaped(*shape, card) for shape in SHAPES.values())]
    return tuple(dict.fromkeys(f"{width}x{height}" for width, height in sizes))
