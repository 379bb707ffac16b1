"""What requests cost to draw, and when that is more than one asker may ask for at once."""

from collections.abc import Sequence
from math import ceil

from easel.errors import BadValue
from easel.jobs import Canvas, ImageRequest
from easel.samplers import calls

MOST = 2**29
"""Pixels times UNet calls: ten pictures of 1024x1024 with 50 steps are just below."""


def cost(request: ImageRequest) -> float:
    """Return pixels times UNet calls, of all pictures and passes."""
    if request.upscale is not None:
        return 0
    room = request.canvas or Canvas()
    pixels = (request.width + room.left + room.right) * (request.height + room.top + room.bottom)
    steps, cells = request.steps, 1
    if request.plot is not None:
        for axis in filter(None, (request.plot.x, request.plot.y)):
            cells *= len(axis.values)
            if axis.field == "steps":
                steps = max(map(int, axis.values))
    one: float = pixels * calls(request.sampler, steps)
    if request.hires_fix is not None:
        again = request.hires_fix.steps or steps
        one += pixels * request.hires_fix.scale**2 * calls(request.sampler, again)
    return one * request.batch_size * cells


def check_cost(requests: Sequence[ImageRequest]) -> None:
    """Raise BadValue where they cost more together than is possible."""
    total = sum(map(cost, requests))
    if total > MOST:
        share = ceil(10 * total / MOST) / 10
        raise BadValue(
            f"That is {share:.1f} times as much work as I do for one request. "
            "Please ask for fewer or smaller pictures, or for fewer steps."
        )
