"""Previews: what is estimated of a picture on its way, and how it looks without the VAE."""

import dataclasses
import functools
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from easel.catalog import Base
from easel.samplers import AUTOMATIC, SAMPLERS
from tests.fakes.engine_jobs import plan, small, tiny, unlikeness, wide_engine
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.load import load_folder
from worker.conditioning.encoder import Encoder
from worker.engine.decode import decode
from worker.engine.denoising import Picture
from worker.engine.engine import Rendered
from worker.engine.preview import MOST_BYTES, SIDE, Previewer
from worker.engine.start import Start

DEMO = Path(__file__).parents[3] / "models" / "Stable-diffusion" / "easel-demo"


@functools.cache
def demo() -> Checkpoint:
    return load_folder(DEMO, name="easel-demo", base=Base.SD15, device=torch.device("cpu"), dtype=torch.float32)


def opened(preview: bytes) -> Image.Image:
    return Image.open(io.BytesIO(preview))


def likeness(preview: Image.Image, picture: Image.Image) -> float:
    one, other = (np.asarray(image.resize((32, 32)), dtype=float).ravel() for image in (preview, picture))
    return float(np.corrcoef(one, other)[0, 1])


def as_image(pixels: Tensor) -> Image.Image:
    return Image.fromarray((pixels[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy())


@pytest.mark.parametrize(("prompt", "seed"), [("a red apple", 0), ("a green car on a yellow background", 2)])
def test_the_preview_of_the_demo_looks_like_its_picture_from_the_middle_on(prompt: str, seed: int) -> None:
    checkpoint, previewer = demo(), Previewer()
    request = small(prompt=prompt, seed=seed, steps=8, width=128, height=128, sampler="DPM++ 2M", cfg_scale=5)
    engine = wide_engine()
    engine.admit("job", request, checkpoint, Encoder(checkpoint).plan(request))

    previews, latents = [], torch.empty(0)
    while engine.busy:
        for event in engine.step():
            if isinstance(event, Rendered):
                latents = event.latents
        if (estimate := engine.estimate("job")) is not None:
            previews.append(opened(previewer.preview(checkpoint, estimate)))

    picture = as_image(decode(checkpoint.vae, latents))
    assert likeness(opened(previewer.preview(checkpoint, latents)), picture) > 0.9
    assert likeness(previews[4], picture) > 0.8
    assert likeness(previews[4], picture) > likeness(previews[0], picture)


def test_what_unknown_latents_look_like_is_found_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    previewer, checkpoint = Previewer(), tiny()
    first = previewer.colours(checkpoint)

    def forbidden(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(checkpoint.vae, "decode", forbidden)

    assert previewer.colours(checkpoint) is first


class _Published:
    """A VAE's options without its weights: a previewer that asks it for pixels fails."""

    def __init__(self, scaling_factor: float, **changes: Any) -> None:
        options = {"block_out_channels": [128, 256, 512, 512], "latent_channels": 4, "scaling_factor": scaling_factor}
        self.config = type("Options", (), options | changes)


@pytest.mark.parametrize(("base", "factor"), [(Base.SD15, 0.18215), (Base.SD2, 0.18215), (Base.SDXL, 0.13025)])
def test_published_vaes_are_known_and_not_asked(base: Base, factor: float) -> None:
    known: Any = _Published(factor)

    colours = Previewer().colours(dataclasses.replace(tiny(base), vae=known))

    assert colours.matrix.shape == (4, 3)
    # The first channel is lightness in both, and the second reddish less than greenish only in SDXL.
    assert (colours.matrix[0] > 0.2).all()
    assert (colours.matrix[1] > 0).all() == (base is not Base.SDXL)


def test_a_vae_that_makes_no_pixels_has_grey_previews() -> None:
    broken: Any = load_folder(DEMO, name="broken", base=Base.SD15, device=torch.device("cpu"), dtype=torch.float32)
    broken.vae.decoder.conv_out.bias.fill_(torch.nan)

    preview = opened(Previewer().preview(broken, torch.randn(1, 4, 8, 8)))

    pixels = np.asarray(preview, dtype=int)
    assert np.abs(pixels - pixels[..., :1]).max() <= 8


@pytest.mark.parametrize(
    ("count", "height", "width", "size"),
    [
        (1, 64, 64, (256, 256)),
        (1, 96, 64, (171, 256)),
        (1, 8, 256, (256, 8)),
        (4, 64, 64, (256, 256)),
        (3, 64, 64, (256, 256)),
        (2, 64, 64, (256, 128)),
    ],
)
def test_a_preview_is_small_whatever_it_shows(count: int, height: int, width: int, size: tuple[int, int]) -> None:
    noise = 3 * torch.randn(count, 4, height, width, generator=torch.Generator().manual_seed(0))

    preview = Previewer().preview(tiny(), noise)

    assert len(preview) <= MOST_BYTES
    assert opened(preview).format == "JPEG"
    assert opened(preview).size == size
    assert max(opened(preview).size) == SIDE


def test_latents_that_are_no_numbers_have_a_preview_too() -> None:
    assert opened(Previewer().preview(tiny(), torch.full((1, 4, 8, 8), torch.nan))).size == (256, 256)


def test_latents_in_half_precision_have_a_preview_too() -> None:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    previewer = Previewer()

    whole, half = (opened(previewer.preview(tiny(), one)) for one in (latents, latents.half()))

    assert np.abs(np.asarray(whole, dtype=int) - np.asarray(half, dtype=int)).max() < 12


@pytest.mark.parametrize(
    ("sampler", "prediction"),
    [*((sampler, "epsilon") for sampler in sorted(SAMPLERS)), ("Euler", "v_prediction"), ("DDIM", "v_prediction")],
)
def test_every_sampler_s_estimate_is_the_picture_that_the_unet_is_sure_of(sampler: str, prediction: str) -> None:
    checkpoint = tiny(Base.SD15, prediction)
    schedule = "Karras" if "Karras" in SAMPLERS[sampler].schedules else AUTOMATIC
    picture = Picture(small(sampler=sampler, schedule=schedule, steps=4), 0, checkpoint, Start())
    wanted = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    assert picture.estimate is None

    while not picture.done:
        seen, timestep = picture.sample()
        picture.advance(sure(seen, timestep, wanted, prediction))

        assert picture.estimate is not None
        assert unlikeness(picture.estimate, wanted) < 1e-3

    assert unlikeness(picture.latents, wanted) < 0.15


def sure(seen: Tensor, timestep: float, wanted: Tensor, prediction: str) -> Tensor:
    """Return what a UNet predicts that sees `wanted` behind all noise."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    share = float(np.interp(timestep, np.arange(1000), (1 - betas).cumprod(0).numpy()))
    noise = (seen - share**0.5 * wanted) / (1 - share) ** 0.5
    return share**0.5 * noise - (1 - share) ** 0.5 * wanted if prediction == "v_prediction" else noise


def test_a_job_is_estimated_once_all_its_pictures_have_had_a_step() -> None:
    engine = wide_engine(rows=2)
    engine.admit("job", small(steps=3, batch_size=2), tiny(), plan(tiny()))

    estimates = [engine.estimate("job")]
    for _ in range(4):
        engine.step()
        estimates.append(engine.estimate("job"))

    known = [one.shape for one in estimates if one is not None]
    assert estimates[0] is None
    assert set(known) == {(2, 4, 8, 8)}
    assert engine.estimate("stranger") is None
