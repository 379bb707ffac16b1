"""Masks: what is repainted, how it blends with what is kept, and what stands where there is no picture yet."""

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from scipy import ndimage
from torch import Tensor

from easel.errors import BadValue

NOISE = 24.0
"""Spread of the noise, of 255, on colours that were only continued; smooth ones would be painted as smooth things."""


def binary(mask: Image.Image) -> Image.Image:
    """Return white where the mask is at least half white, else black."""
    return mask.point([0] * 128 + [255] * 128)


def blurred(mask: Image.Image, pixels: int) -> Image.Image:
    return mask.filter(ImageFilter.GaussianBlur(pixels)) if pixels else mask


def grown(mask: Image.Image, pixels: int) -> Image.Image:
    """Return the mask with its white parts larger by so many pixels on each side."""
    if not pixels:
        return mask
    wide = np.asarray(mask)
    for axis in (0, 1):
        wide = ndimage.maximum_filter1d(wide, 2 * pixels + 1, axis=axis, mode="nearest")
    return Image.fromarray(wide)


def filled(picture: Image.Image, holes: Image.Image, seed: int) -> Image.Image:
    """Return the picture with the nearest colours, and noise on them, where `holes` is white.

    Raises BadValue where there is no picture around the holes.
    """
    missing = np.asarray(holes) >= 128
    if missing.all():
        raise BadValue("The picture is transparent all over, so that nothing of it could be kept.")
    nearest: Any = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    pixels = np.asarray(picture)
    colours = pixels[nearest[0], nearest[1]].astype(np.float32)
    colours += np.random.default_rng(seed).normal(0, NOISE, pixels.shape).astype(np.float32)
    fill = Image.fromarray(colours.clip(0, 255).round().astype(np.uint8))
    return Image.composite(fill, picture, holes)


def pixel_mask(mask: Image.Image) -> Tensor:
    """Return (1, 1, height, width) float32: 1 where the mask is at least half white, else 0."""
    return torch.from_numpy(np.asarray(binary(mask)) > 0)[None, None].float()


def latent_mask(mask: Image.Image, factor: int) -> Tensor:
    """Return (1, 1, h, w) float32: 1 where any of the pixels behind a latent is masked, so that no thin line is lost."""
    return torch.nn.functional.max_pool2d(pixel_mask(mask), factor)
