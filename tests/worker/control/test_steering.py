"""ControlNets in the engine, against the pipelines of diffusers."""

import functools
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline
from PIL import Image, ImageDraw
from torch import Tensor

from easel.catalog import Base
from easel.jobs import Control, ImageRequest
from tests.fakes.engine_jobs import (
    Run,
    alone,
    diffusers_latents,
    pipeline_for,
    plan,
    small,
    tiny,
    unlikeness,
    wide_engine,
)
from tests.fakes.tiny_controlnets import tiny_controlnet
from worker.control.controlnet import ControlNet
from worker.control.steering import Steering, steering
from worker.engine.samplers import make_scheduler
from worker.engine.start import Start
from worker.engine.unet import Rows

# Diffusers' schedulers, on numpy 2.

BASES = list(Base)


@functools.cache
def controlnet(base: Base = Base.SD15) -> ControlNet:
    return ControlNet("canny", base, tiny_controlnet(tiny(base)))


def control(**changes: Any) -> Control:
    return Control.model_validate({"model": "canny", "image": "blob", "preprocessor": "none"} | changes)


def drawing(side: int = 64) -> Image.Image:
    random = np.random.default_rng(2)
    image = Image.fromarray(random.integers(0, 80, (side, side, 3), np.uint8))
    ImageDraw.Draw(image).ellipse((10, 14, 50, 44), fill=(240, 90, 60))
    return image


def by_diffusers(request: ImageRequest, base: Base, asked: Control) -> Tensor:
    checkpoint = tiny(base)
    parts = dict(pipeline_for(checkpoint).components) | {"controlnet": controlnet(base).model}
    pipeline: Any
    if base is Base.SDXL:
        parts = {name: part for name, part in parts.items() if name not in {"image_encoder", "feature_extractor"}}
        pipeline = StableDiffusionXLControlNetPipeline(**parts, add_watermarker=False)
    else:
        pipeline = StableDiffusionControlNetPipeline(**parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return diffusers_latents(
        pipeline,
        request,
        plan(checkpoint),
        make_scheduler(request.sampler, request.schedule, checkpoint.scheduler_config, request.steps),
        image=drawing(),
        controlnet_conditioning_scale=asked.weight,
        control_guidance_start=asked.start,
        control_guidance_end=asked.end,
    )


def by_the_engine(request: ImageRequest, base: Base, asked: Control) -> Tensor:
    residuals = steering(controlnet(base), asked, drawing(), (request.width, request.height))
    return alone(request, tiny(base), plan(tiny(base)), Start(residuals=residuals))


@pytest.mark.parametrize(
    ("sampler", "changes"),
    [
        ("DPM++ 2M", {}),
        ("Euler", {"weight": 0.4}),
        ("DDIM", {"start": 0.25, "end": 0.75}),
        ("DPM++ 2M", {"end": 0.5, "weight": 1.7}),
    ],
)
@pytest.mark.parametrize("base", BASES)
def test_a_steered_picture_is_the_one_that_diffusers_makes(base: Base, sampler: str, changes: dict[str, float]) -> None:
    request = small(steps=4, sampler=sampler)
    asked = control(**changes)

    ours = by_the_engine(request, base, asked)

    assert unlikeness(ours, by_diffusers(request, base, asked)) < 1e-4
    assert unlikeness(ours, alone(request, tiny(base), plan(tiny(base)))) > 1e-3


def test_a_weight_of_nothing_changes_nothing() -> None:
    request = small(steps=3)

    ours = by_the_engine(request, Base.SD15, control(weight=0))

    assert torch.equal(ours, alone(request, tiny(), plan(tiny())))


@pytest.mark.parametrize(
    ("start", "end", "steered"),
    [(0, 1, [0, 1, 2, 3]), (0.5, 1, [2, 3]), (0, 0.5, [0, 1]), (0.25, 0.75, [1, 2]), (0.6, 0.4, []), (0.3, 0.3, [])],
)
def test_it_steers_between_start_and_end(start: float, end: float, steered: list[int]) -> None:
    residuals = Steering(controlnet(), control(start=start, end=end), drawing())

    answers = [residuals(rows(2), step / 4) for step in range(4)]

    assert [step for step, answer in enumerate(answers) if answer is not None] == steered


def rows(count: int, channels: int = 4) -> Rows:
    random = torch.Generator().manual_seed(4)
    unet: Any = tiny().unet
    return Rows(
        torch.randn(count, channels, 8, 8, generator=random),
        torch.full((count,), 400.0),
        torch.randn(count, 77, unet.config.cross_attention_dim, generator=random),
        None,
        None,
    )


def test_the_channels_of_an_inpainting_unet_are_not_the_controlnets_concern() -> None:
    residuals = Steering(controlnet(), control(), drawing())
    wide = rows(2, 9)
    narrow = Rows(wide.sample[:, :4], wide.timesteps, wide.embeds, None, None)

    told, expected = residuals(wide, 0), residuals(narrow, 0)

    assert told is not None
    assert expected is not None
    assert torch.equal(told[1], expected[1])


def test_neighbours_in_one_call_are_steered_each_after_its_own_picture() -> None:
    request = small(steps=3)
    one = Start(residuals=steering(controlnet(), control(), drawing(), (64, 64)))
    other = Start(residuals=steering(controlnet(), control(preprocessor="invert", start=0.5), drawing(), (64, 64)))
    engine = wide_engine()

    for name, start in (("one", one), ("other", other)):
        engine.admit(name, request, tiny(), plan(tiny()), start)
    together = Run(engine).latents

    assert unlikeness(together["one"], alone(request, tiny(), plan(tiny()), one)) < 1e-4
    assert unlikeness(together["other"], alone(request, tiny(), plan(tiny()), other)) < 1e-4


def test_several_pictures_and_an_and_prompt_are_steered() -> None:
    request = small(steps=2, batch_size=2)
    residuals = steering(controlnet(), control(), drawing(), (64, 64))

    latents = alone(request, tiny(), plan(tiny(), weights=(1.0, 0.5)), Start(residuals=residuals))

    assert latents.shape == (2, 4, 8, 8)
    assert torch.isfinite(latents).all()


def test_a_picture_of_another_size_is_fitted_to_the_request() -> None:
    request = small(steps=2, width=128)
    residuals = steering(controlnet(), control(preprocessor="canny"), drawing(200), (128, 64))

    assert alone(request, tiny(), plan(tiny()), Start(residuals=residuals)).shape == (1, 4, 8, 16)
