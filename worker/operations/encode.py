"""From pixels to latents: one picture at a time, in more precision or in pieces where that is needed."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from easel.errors import BlackPicture, OutOfMemory
from worker.engine.memory import make_room, ran_out
from worker.engine.seamless import seamless

SMALLEST = 128
"""Pixels on a side of the smallest piece that is encoded by itself."""


def pixels_of(images: Sequence[Image.Image]) -> Tensor:
    """Return (n, 3, h, w) float32 between -1 and 1 for pictures of one size."""
    rows = [np.asarray(image.convert("RGB"), dtype=np.float32) / 255 for image in images]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2) * 2 - 1


@torch.inference_mode()
def encode(vae: Any, pixels: Tensor, *, tiling: bool = False) -> Tensor:
    """Return (n, 4, h, w) float32 latents as the engine starts from, for pixels between -1 and 1.

    They are the mean of what the VAE says, so that a picture alone decides on its latents. A VAE whose half precision
    overflows is in float32 from then on. Raises `BlackPicture` or `OutOfMemory`.
    """
    return torch.cat([_latents(vae, one, tiling=tiling) for one in torch.split(pixels, 1)])


def _latents(vae: Any, pixels: Tensor, *, tiling: bool) -> Tensor:
    latents = _encoded(vae, pixels, tiling=tiling)
    if not torch.isfinite(latents).all() and vae.dtype != torch.float32:
        vae.to(torch.float32)
        latents = _encoded(vae, pixels, tiling=tiling)
    if not torch.isfinite(latents).all():
        raise BlackPicture("The picture you sent can not be read by this VAE. Another checkpoint or VAE may help.")
    scaling: float = vae.config.scaling_factor
    return latents.float() * scaling


def _encoded(vae: Any, pixels: Tensor, *, tiling: bool) -> Tensor:
    """Encode in one go, or in ever smaller pieces where memory does not reach for that."""
    pixels = pixels.to(vae.device, vae.dtype)
    latents = _unless_full(vae, pixels, 0, tiling=tiling)
    side = max(pixels.shape[-2:]) // 2
    while latents is None and side >= SMALLEST:
        latents = _unless_full(vae, pixels, side, tiling=tiling)
        side //= 2
    if latents is None:
        raise OutOfMemory("There is not enough memory here for a picture of this size. Please ask for a smaller one.")
    return latents


def _unless_full(vae: Any, pixels: Tensor, side: int, *, tiling: bool) -> Tensor | None:
    """Return the latents, from pieces of `side` pixels unless that is 0; None where memory ran out."""
    try:
        # A piece would wrap around to itself.
        with _endless(vae) if tiling and not side else nullcontext(), _pieces_of(vae, side):
            latents: Tensor = vae.encode(pixels).latent_dist.mode()
            return latents
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    make_room(vae.device)
    return None


@contextmanager
def _endless(vae: Any) -> Iterator[None]:
    """Let the encoder wrap around the edges, also where it halves the picture with zeros at its right and lower edge."""
    halving = [down.conv for block in vae.encoder.down_blocks for down in block.downsamplers or () if not down.padding]
    with seamless(vae), ExitStack() as hooks:
        for layer in halving:
            hooks.callback(layer.register_forward_pre_hook(_wrapped).remove)
        yield


def _wrapped(_layer: torch.nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """Put the first column and row in the place of the zeros behind the last ones."""
    wider = inputs[0].clone()
    wider[..., -1] = wider[..., 0]
    wider[..., -1, :] = wider[..., 0, :]
    return (wider,)


@contextmanager
def _pieces_of(vae: Any, side: int) -> Iterator[None]:
    """Let the VAE cut pieces of `side` pixels, for as long as this lasts; 0 leaves everything whole."""
    if not side:
        yield
        return
    before = vae.tile_latent_min_size, vae.tile_sample_min_size, vae.use_tiling
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    vae.tile_latent_min_size, vae.tile_sample_min_size, vae.use_tiling = side // factor, side, True
    try:
        yield
    finally:
        vae.tile_latent_min_size, vae.tile_sample_min_size, vae.use_tiling = before
