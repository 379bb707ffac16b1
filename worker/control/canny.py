"""Edges as Canny 1986 finds them: smoothed, thinned to one pixel, and kept where they hang together."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Numbers = NDArray[np.int32]
Mask = NDArray[np.bool_]

SIGMA = 1.0
"""Of the Gaussian, in pixels."""
LOW, HIGH = 100.0, 200.0
"""A1111's: an edge begins where the gradient reaches `HIGH`, and goes on down to `LOW`; the sum of both directions."""

_AROUND = np.ones((3, 3), bool)
# Tangent of 22.5°: up to there a gradient counts as level.
_STEEP = 2**0.5 - 1


def canny(pixels: NDArray[np.uint8], *, low: float = LOW, high: float = HIGH) -> Mask:
    """Return where the edges of a colour picture, (h, w, 3), are; takes time in proportion to the pixels."""
    across, down = _gradient(pixels)
    strength = np.abs(across) + np.abs(down)
    thin = _thinned(strength, across, down)
    return connected(thin & (strength > low), thin & (strength > high))


def connected(weak: Mask, strong: Mask) -> Mask:
    """Return the groups of `weak` pixels that touch, diagonally as well, and hold at least one of `strong`."""
    groups, count = ndimage.label(weak, structure=_AROUND)
    kept = np.zeros(count + 1, bool)
    kept[groups[strong & weak]] = True
    # Group 0 is the ground.
    kept[0] = False
    found: Mask = kept[groups]
    return found


def _gradient(pixels: NDArray[np.uint8]) -> tuple[Numbers, Numbers]:
    """Return the gradient's two parts, (h, w), each pixel's from the colour that changes most there."""
    blurred = ndimage.gaussian_filter(pixels.astype(np.float32), (SIGMA, SIGMA, 0), mode="nearest")
    # Whole numbers: both sides of an even step are then equally steep, whatever the rounding.
    smooth = np.rint(blurred).astype(np.int32)
    across, down = _slope(smooth, 1), _slope(smooth, 0)
    strongest = np.argmax(np.abs(across) + np.abs(down), axis=2)[..., None]
    return np.take_along_axis(across, strongest, 2)[..., 0], np.take_along_axis(down, strongest, 2)[..., 0]


def _slope(smooth: Numbers, axis: int) -> Numbers:
    """Return what Sobel's operator finds along one of the two axes of (h, w, 3); scipy's would mix the colours."""
    averaged = ndimage.correlate1d(smooth, (1, 2, 1), axis=1 - axis, mode="nearest")
    found: Numbers = ndimage.correlate1d(averaged, (-1, 0, 1), axis=axis, mode="nearest")
    return found


def _thinned(strength: Numbers, across: Numbers, down: Numbers) -> Mask:
    """Return where `strength` is not exceeded along the gradient; of two equal neighbours only one stays."""
    padded = np.pad(strength, 1)

    def shifted(y: int, x: int) -> Numbers:
        return padded[1 + y : padded.shape[0] - 1 + y, 1 + x : padded.shape[1] - 1 + x]

    wide, high = np.abs(across), np.abs(down)
    level, upright = high <= _STEEP * wide, wide < _STEEP * high
    falling = across * down > 0
    ways: list[tuple[Any, tuple[int, int]]] = [
        (level, (0, 1)),
        (upright, (1, 0)),
        (~level & ~upright & falling, (1, 1)),
        (~level & ~upright & ~falling, (1, -1)),
    ]
    stays = np.zeros(strength.shape, bool)
    for way, (y, x) in ways:
        stays |= way & (strength > shifted(-y, -x)) & (strength >= shifted(y, x))
    return stays
