"""From latents to pixels: one picture at a time, in more precision or in pieces where that is needed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from easel.errors import BlackPicture, OutOfMemory
from worker.engine.memory import make_room, ran_out
from worker.engine.seamless import seamless

MARGIN = 8
"""Latents that a seamless picture is continued by on each side before it is decoded in pieces."""
SMALLEST = 16
"""Latents on a side of the smallest piece; smaller ones no longer know what they show."""


@torch.inference_mode()
def decode(vae: AutoencoderKL, latents: Tensor, *, tiling: bool = False) -> Tensor:
    """Return (n, 3, H, W) float32 between 0 and 1, on the CPU, from latents as the engine leaves them.

    A VAE whose half precision overflows is in float32 from then on. Raises `BlackPicture` or `OutOfMemory`.
    """
    return torch.cat([_picture(vae, one, tiling=tiling) for one in torch.split(latents, 1)])


def _picture(vae: Any, latents: Tensor, *, tiling: bool) -> Tensor:
    pixels = _pixels(vae, latents, tiling=tiling)
    if not torch.isfinite(pixels).all() and vae.dtype != torch.float32 and torch.isfinite(latents).all():
        vae.to(torch.float32)
        pixels = _pixels(vae, latents, tiling=tiling)
    if not torch.isfinite(pixels).all():
        raise BlackPicture("The picture came out black. Another VAE or sampler, or a lower CFG scale, may help.")
    return (pixels.float() / 2 + 0.5).clamp(0, 1).cpu()


def _pixels(vae: Any, latents: Tensor, *, tiling: bool) -> Tensor:
    """Decode in one go, or in ever smaller pieces where memory does not reach for that."""
    scaled = (latents / vae.config.scaling_factor).to(vae.device, vae.dtype)
    pixels = _unless_full(vae.device, partial(_whole, vae, scaled, tiling=tiling))
    side = max(scaled.shape[-2:]) // 2
    while pixels is None and side >= SMALLEST:
        pixels = _unless_full(vae.device, partial(_in_pieces, vae, scaled, side, tiling=tiling))
        side //= 2
    if pixels is None:
        raise OutOfMemory("There is not enough memory here for a picture of this size. Please ask for a smaller one.")
    return pixels


def _unless_full(device: torch.device, call: Callable[[], Tensor]) -> Tensor | None:
    """Return what the call returns, None where memory ran out."""
    try:
        return call()
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    make_room(device)
    return None


def _whole(vae: Any, scaled: Tensor, *, tiling: bool) -> Tensor:
    with seamless(vae) if tiling else nullcontext():
        pixels: Tensor = vae.decode(scaled, return_dict=False)[0]
    return pixels


def _in_pieces(vae: Any, scaled: Tensor, side: int, *, tiling: bool) -> Tensor:
    pixels: Tensor
    with _pieces_of(vae, side):
        if not tiling:
            pixels = vae.tiled_decode(scaled, return_dict=False)[0]
            return pixels
        # A piece can not wrap around by itself; it sees what is beyond the edge if the picture is continued there.
        continued = torch.nn.functional.pad(scaled, (MARGIN,) * 4, mode="circular")
        pixels = vae.tiled_decode(continued, return_dict=False)[0]
    edge = MARGIN * 2 ** (len(vae.config.block_out_channels) - 1)
    return pixels[..., edge:-edge, edge:-edge]


@contextmanager
def _pieces_of(vae: Any, side: int) -> Iterator[None]:
    """Let the VAE cut pieces of `side` latents; its own are as large as the pictures it was trained on."""
    before = vae.tile_latent_min_size, vae.tile_sample_min_size
    vae.tile_latent_min_size, vae.tile_sample_min_size = side, side * 2 ** (len(vae.config.block_out_channels) - 1)
    try:
        yield
    finally:
        vae.tile_latent_min_size, vae.tile_sample_min_size = before
