"""Edges, against the textbook's algorithm written pixel by pixel."""

import math
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.control.canny import HIGH, LOW, SIGMA, canny, connected


def picture(seed: int, height: int = 25, width: int = 22) -> NDArray[np.uint8]:
    """Return patches of colour and a disc."""
    random = np.random.default_rng(seed)
    pixels = np.kron(random.integers(0, 256, (4, 4, 3)), np.ones((8, 8, 1)))[:height, :width]
    y, x = np.mgrid[:height, :width]
    pixels[(y - 12) ** 2 + (x - 10) ** 2 < 30] = random.integers(0, 256, 3)
    return pixels.astype(np.uint8)


Place = tuple[int, int]
Gradient = dict[Place, tuple[float, float, float]]
"""Strength, and its two parts."""


def blurred(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    reach = int(4 * SIGMA + 0.5)
    bell = [math.exp(-((d / SIGMA) ** 2) / 2) for d in range(-reach, reach + 1)]
    smooth = pixels.astype(float)
    for dy, dx in ((1, 0), (0, 1)):
        source = smooth.copy()
        for y, x, c in np.ndindex(source.shape):
            seen = [at(source, y + d * dy, x + d * dx, c) for d in range(-reach, reach + 1)]
            smooth[y, x, c] = sum(np.multiply(bell, seen)) / sum(bell)
    return np.rint(smooth)


def at(grid: NDArray[np.float64], y: int, x: int, c: int) -> float:
    return float(grid[min(max(y, 0), grid.shape[0] - 1), min(max(x, 0), grid.shape[1] - 1), c])


def gradients(smooth: NDArray[np.float64]) -> Gradient:
    found = {}
    for y, x in np.ndindex(smooth.shape[:2]):
        parts = []
        for c in range(3):
            across = sum((2 - abs(d)) * (at(smooth, y + d, x + 1, c) - at(smooth, y + d, x - 1, c)) for d in (-1, 0, 1))
            down = sum((2 - abs(d)) * (at(smooth, y + 1, x + d, c) - at(smooth, y - 1, x + d, c)) for d in (-1, 0, 1))
            parts.append((abs(across) + abs(down), across, down))
        found[y, x] = max(parts, key=lambda part: part[0])
    return found


def ridges(gradient: Gradient) -> set[Place]:
    found = set()
    for (y, x), (strength, across, down) in gradient.items():
        # Of eight sectors, the one that the gradient points to, or its opposite.
        dy, dx = ((0, 1), (1, 1), (1, 0), (1, -1))[round(math.atan2(down, across) / (math.pi / 4)) % 4]
        before, behind = (gradient.get((y + way * dy, x + way * dx), (0,))[0] for way in (-1, 1))
        if strength > before and strength >= behind:
            found.add((y, x))
    return found


def reference(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    gradient = gradients(blurred(pixels))
    weak = {place for place in ridges(gradient) if gradient[place][0] > LOW}
    waiting = [place for place in weak if gradient[place][0] > HIGH]
    edges = np.zeros(pixels.shape[:2], bool)
    while waiting:
        y, x = waiting.pop()
        if not edges[y, x]:
            edges[y, x] = True
            waiting += weak & {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    return edges


@pytest.mark.parametrize("seed", range(6))
def test_edges_are_those_of_the_textbook(seed: int) -> None:
    pixels = picture(seed)

    found = canny(pixels)

    assert found.any()
    assert np.array_equal(found, reference(pixels))


def test_an_edge_is_one_pixel_wide_and_where_the_step_is() -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, 12:] = 200

    found = canny(pixels)

    assert (found.sum(axis=1) == 1).all()
    assert set(np.nonzero(found)[1]) <= {11, 12}


def test_two_colours_of_the_same_lightness_have_an_edge_between_them() -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, :15] = (255, 0, 0)
    pixels[:, 15:] = (0, 130, 0)

    assert canny(pixels).any(axis=1).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_a_plain_picture_of_any_size_has_no_edges(shape: tuple[int, int]) -> None:
    assert not canny(np.full((*shape, 3), 77, np.uint8)).any()


def test_weak_edges_stay_only_where_they_hang_on_strong_ones() -> None:
    weak = np.array([[1, 0, 0, 0, 1], [0, 1, 0, 0, 1], [0, 0, 1, 0, 0]], bool)
    strong = np.zeros_like(weak)
    strong[2, 2] = True

    assert np.array_equal(connected(weak, strong), np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]], bool))


def test_a_long_winding_edge_takes_no_longer_than_a_short_one() -> None:
    # One line that winds through the whole picture from a single strong pixel: a walk pass by pass would need thousands.
    weak = np.zeros((801, 801), bool)
    weak[::2] = True
    weak[1::4, -1] = True
    weak[3::4, 0] = True
    strong = np.zeros_like(weak)
    strong[0, 0] = True

    began = time.thread_time()
    found = connected(weak, strong)

    assert np.array_equal(found, weak)
    assert time.thread_time() - began < 2
