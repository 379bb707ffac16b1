"""Room around a picture: how far it is shrunk, and how much is painted at each side."""

import re
from collections.abc import Mapping

from bot.sizes import HIGH
from easel.errors import BadValue
from easel.jobs import Canvas

GRAIN = 8
"""Pixels: a latent is an eighth of the picture."""
WIDEST = 1024
"""Pixels that one side can get."""

_SIDES: Mapping[str, tuple[str, ...]] = {
    "left": ("left",),
    "right": ("right",),
    "top": ("top",),
    "up": ("top",),
    "bottom": ("bottom",),
    "down": ("bottom",),
    "all": ("left", "top", "right", "bottom"),
}
_ITEM = re.compile(r"([a-z]+)(?:[:=]([0-9]{1,4})(?:px)?)?")


def canvas(zoom: float, extend: str, size: tuple[int, int]) -> Canvas:
    """Return the room around a picture of `size`, which is its own and stays; raises BadValue."""
    sides = _sides(extend, size) if extend else {}
    width = size[0] + sides.get("left", 0) + sides.get("right", 0)
    height = size[1] + sides.get("top", 0) + sides.get("bottom", 0)
    if max(width, height) > HIGH:
        raise BadValue(
            f"With that room the picture would have {width}x{height} pixels; at most {HIGH} each way are possible. "
            "Please add less, or give the picture a smaller `size`."
        )
    return Canvas.model_validate(sides | {"zoom": zoom})


def _sides(text: str, size: tuple[int, int]) -> dict[str, int]:
    """Return pixels by side; a side without a number gets a quarter of the picture."""
    found: dict[str, int] = {}
    for item in re.split(r"[,;\s]+", text.lower().strip(" ,;")):
        match = _ITEM.fullmatch(item)
        if match is None or match[1] not in _SIDES:
            raise BadValue(f"`extend` must look like left,right or left:128,top:64, not `{text[:40]}`.")
        for side in _SIDES[match[1]]:
            quarter = size[0 if side in {"left", "right"} else 1] // 4
            pixels = int(match[2]) if match[2] else quarter
            if not 1 <= pixels <= WIDEST:
                raise BadValue(f"`extend` can add 1 to {WIDEST} pixels at each side, not {pixels}.")
            found[side] = max(GRAIN, round(pixels / GRAIN) * GRAIN)
    return found
