"""Seamless pictures: the UNet and the VAE know no edge."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.fakes.engine_jobs import alone, plan, small, tiny, unlikeness, wide_engine
from worker.engine.decode import decode
from worker.engine.engine import Rendered
from worker.engine.seamless import seamless
from worker.engine.start import Start

NOISE = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(4))


def test_moving_the_noise_around_the_edge_moves_the_seamless_picture_with_it() -> None:
    checkpoint, request = tiny(), small(width=128, height=128, steps=2, sampler="DDIM", tiling=True)

    latents = alone(request, checkpoint, plan(checkpoint), Start(noise=NOISE))
    # Eight latents: what three downsamplings keep apart.
    moved = alone(request, checkpoint, plan(checkpoint), Start(noise=NOISE.roll(8, -1)))

    assert unlikeness(moved, latents.roll(8, -1)) < 1e-4
    pixels, pixels_moved = (decode(checkpoint.vae, one, tiling=True) for one in (latents, moved))
    assert unlikeness(pixels_moved, pixels.roll(64, -1)) < 1e-3
    plain = decode(checkpoint.vae, latents)
    assert unlikeness(decode(checkpoint.vae, latents.roll(8, -1)), plain.roll(64, -1)) > 0.005


def padding(unet: Any) -> list[Any]:
    return [(layer.padding_mode, layer.padding) for layer in unet.modules() if isinstance(layer, nn.Conv2d)]


def test_everything_is_as_before_afterwards_even_after_an_error() -> None:
    unet: Any = tiny().unet
    before = padding(unet)

    with seamless(unet):
        within = {mode for mode, _ in padding(unet)}
    with pytest.raises(RuntimeError, match="in between"), seamless(unet):
        raise RuntimeError("in between")

    assert within == {"circular"}
    assert padding(unet) == before


def test_seamless_and_plain_pictures_do_not_touch_each_other() -> None:
    checkpoint, engine = tiny(), wide_engine()
    plain, tiled = small(steps=3), small(steps=3, tiling=True)
    engine.admit("plain", plain, checkpoint, plan(checkpoint))
    engine.admit("tiled", tiled, checkpoint, plan(checkpoint))

    latents = {event.job_id: event.latents for _ in range(6) for event in engine.step() if isinstance(event, Rendered)}

    assert torch.equal(latents["plain"], alone(plain, checkpoint, plan(checkpoint)))
    assert torch.equal(latents["tiled"], alone(tiled, checkpoint, plan(checkpoint)))
    assert unlikeness(latents["plain"], latents["tiled"]) > 1e-3
