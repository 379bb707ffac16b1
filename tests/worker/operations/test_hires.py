"""Hires fix: the second pass is an image-to-image of diffusers on the enlarged first."""

from typing import Any

import diffusers
import pytest
import torch
from PIL import Image
from torch import Tensor

from easel.errors import UnknownModel
from easel.jobs import HiresFix
from tests.fakes.engine_jobs import diffusers_latents, pipeline_for, unlikeness
from tests.fakes.workshop import Drawn, Workshop, asked, difference, photo, scheduler_for
from worker.operations.hires import larger

# Diffusers' schedulers, on numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

NEAR = 5e-5


@torch.inference_mode()
def by_diffusers(workshop: Workshop, drawn: Drawn, enlarged: Tensor, steps: int) -> Tensor:
    """Return what diffusers' image-to-image makes of the enlarged latents in the second pass."""
    request, checkpoint = drawn.passes[1].request, workshop.checkpoint()
    pipe: Any = diffusers.StableDiffusionImg2ImgPipeline(
        **pipeline_for(checkpoint).components, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    plan = workshop.models.plan(request, checkpoint)
    assert request.steps == steps
    return diffusers_latents(
        pipe,
        request,
        plan,
        scheduler_for(request, checkpoint),
        image=enlarged,
        strength=drawn.passes[1].start.denoising_strength,
    )


@pytest.mark.parametrize("sampler", ["DDIM", "Euler a", "DPM++ 2M"])
def test_latents_are_enlarged_and_drawn_over(workshop: Workshop, sampler: str) -> None:
    request = asked(sampler=sampler, steps=4, hires_fix={"scale": 1.5, "denoising_strength": 0.5})

    drawn = workshop.draw(request)

    first = workshop.draw(request.changed(hires_fix=None))
    enlarged = torch.nn.functional.interpolate(first.latents[0], size=(12, 12), mode="bilinear", antialias=False)
    # Four steps are really taken: half of eight.
    assert unlikeness(drawn.latents[1], by_diffusers(workshop, drawn, enlarged, 8)) < NEAR
    assert drawn.calls == first.calls + 4
    assert drawn.images[0].size == (96, 96)


@pytest.mark.parametrize("upscaler", ["Lanczos", "twice"])
def test_pictures_are_enlarged_and_drawn_over(workshop: Workshop, upscaler: str) -> None:
    request = asked(steps=3, hires_fix={"scale": 2, "denoising_strength": 0.6, "upscaler": upscaler, "steps": 2})

    drawn = workshop.draw(request)

    first = workshop.draw(request.changed(hires_fix=None))
    between = workshop.tools.upscaled(first.images[0], 2, upscaler)
    if upscaler == "Lanczos":
        assert difference(between, first.images[0].resize((128, 128), Image.Resampling.LANCZOS)) == 0
    started = workshop.tools.encode(request, [between])
    assert unlikeness(drawn.latents[1], by_diffusers(workshop, drawn, started, 4)) < NEAR
    assert drawn.images[0].size == (128, 128)


@pytest.mark.parametrize("name", ["Latent (bicubic antialiased)", "Latent (nearest)", "latent (nearest-exact)"])
def test_the_other_ways_of_a1111_to_enlarge_latents_are_known(workshop: Workshop, name: str) -> None:
    plain = asked(steps=2, hires_fix={"denoising_strength": 0})

    drawn = workshop.draw(asked(steps=2, hires_fix={"denoising_strength": 0, "upscaler": name}))

    assert drawn.images[0].size == (128, 128)
    assert unlikeness(drawn.latents[1], workshop.draw(plain).latents[1]) > 1e-3


# By way of pictures a colour in a thousand is rounded to its neighbour.
@pytest.mark.parametrize(("upscaler", "near"), [("Latent", NEAR), ("Lanczos", 1e-2)])
def test_every_picture_of_a_batch_is_enlarged_from_its_own(workshop: Workshop, upscaler: str, near: float) -> None:
    request = asked(steps=2, batch_size=2, hires_fix={"upscaler": upscaler})

    drawn = workshop.draw(request)

    second = workshop.draw(request.changed(batch_size=1, seed=2))
    assert unlikeness(drawn.latents[1][1:], second.latents[1]) < near


def test_a_picture_can_be_drawn_over_and_then_again_larger(workshop: Workshop) -> None:
    request = asked(steps=4, denoising_strength=0.5, init_image=workshop.keep(photo()), hires_fix={"scale": 1.5})

    drawn = workshop.draw(request)

    assert [one.start.latents is not None for one in drawn.passes] == [True, True]
    assert drawn.images[0].size == (96, 96)


def test_an_unknown_upscaler_names_the_nearest_one(workshop: Workshop) -> None:
    with pytest.raises(UnknownModel, match="Did you mean `twice`"):
        workshop.draw(asked(steps=1, hires_fix={"upscaler": "twicee"}))


CASES: list[tuple[dict[str, Any], int, tuple[int, int, int]]] = [
    ({"scale": 2, "denoising_strength": 0.7}, 20, (128, 128, 29)),
    ({"scale": 1.3, "denoising_strength": 0.4, "steps": 10}, 20, (80, 80, 25)),
    ({"scale": 1.57, "denoising_strength": 1}, 20, (104, 104, 20)),
    ({"scale": 2, "denoising_strength": 0.05}, 20, (128, 128, 150)),
    ({"scale": 2, "denoising_strength": 0}, 20, (128, 128, 20)),
]


@pytest.mark.parametrize(("hires", "steps", "expected"), CASES)
def test_the_second_pass_takes_as_many_steps_as_it_says(
    hires: dict[str, Any], steps: int, expected: tuple[int, int, int]
) -> None:
    again = larger(asked(steps=steps), HiresFix.model_validate(hires))

    assert (again.width, again.height, again.steps) == expected


def test_prompts_change_over_the_steps_that_are_taken(workshop: Workshop) -> None:
    request = asked(steps=4, prompt="a [cat:dog:0.5]", hires_fix={"denoising_strength": 0.5})

    drawn = workshop.draw(request)

    assert [one.prompt_steps for one in drawn.passes] == [0, 4]
    assert drawn.passes[1].request.steps == 8


@pytest.mark.parametrize(
    ("edited", "said_second"),
    [
        ("a [cat:dog:0.5]", "a dog"),
        ("a [cat:dog:3]", "a dog"),
        ("a [cat:dog:2.0]", "a cat"),
        ("a [cat:dog:9]", "a cat"),
    ],
)
def test_the_second_pass_takes_up_an_edited_prompt_where_the_first_left_it(
    workshop: Workshop, edited: str, said_second: str
) -> None:
    request = asked(steps=4, prompt="a cat", hires_fix={"denoising_strength": 0.5})
    second = workshop.draw(request).passes[1]
    checkpoint = workshop.checkpoint()
    told = second.request.changed(steps=4)

    plan = workshop.models.plan(told.changed(prompt=edited), checkpoint, first_pass_steps=second.first_pass_steps)

    spoken = workshop.models.plan(told.changed(prompt=said_second), checkpoint).at(0)[0][0][0].embeds
    assert [torch.equal(plan.at(step)[0][0][0].embeds, spoken) for step in range(4)] == [True] * 4
