"""What a ControlNet is shown: the asker's picture at the size of the request, turned into what the ControlNet knows."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage

from worker.control.canny import canny

FINE, COARSE = 0.5, 5.0
"""Pixels, of the two Gaussians whose difference shows lines (Winnemöller et al. 2012, with A1111's numbers)."""
DARKER = 16
"""Of 255: so much darker than its surroundings a line is in one of the colours at least."""
TILE_SHRINK = 4
"""The tile ControlNet was trained on pictures shrunk by up to 8; a smaller one keeps more of the picture."""


def preprocess(image: Image.Image, preprocessor: str, size: tuple[int, int]) -> Image.Image:
    """Return an RGB picture of `size` (width, height): cut to its shape around the middle, then turned by `preprocessor`.

    What is transparent counts as white paper.
    """
    return _PREPROCESSORS[preprocessor](ImageOps.fit(_on_paper(image), size, Image.Resampling.LANCZOS))


def _on_paper(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    drawn = image.convert("RGBA")
    paper = Image.new("RGBA", drawn.size, "white")
    return Image.alpha_composite(paper, drawn).convert("RGB")


def _edges(image: Image.Image) -> Image.Image:
    return _white_on_black(canny(np.asarray(image)))


def _scribble(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).astype(np.float32)
    fine, coarse = (ndimage.gaussian_filter(pixels, (sigma, sigma, 0), mode="nearest") for sigma in (FINE, COARSE))
    return _white_on_black((coarse - fine).max(axis=2) > DARKER)


def _tile(image: Image.Image) -> Image.Image:
    small = (max(1, image.width // TILE_SHRINK), max(1, image.height // TILE_SHRINK))
    return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)


def _white_on_black(lines: NDArray[np.bool_]) -> Image.Image:
    return Image.fromarray(lines.astype(np.uint8) * 255).convert("RGB")


_PREPROCESSORS: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "none": lambda image: image,
    "canny": _edges,
    "scribble": _scribble,
    "tile": _tile,
    "invert": ImageOps.invert,
}
