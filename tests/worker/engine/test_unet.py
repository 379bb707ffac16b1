"""Guidance: how a picture's rows become one prediction."""

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from tests.fakes.engine_jobs import alone, plan, small, tiny, told, unlikeness
from worker.conditioning.plan import PromptPlan, Track
from worker.engine.unet import Ask, guided

NO_WORDS = told(tiny(), 0)
ROWS = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(3))


def ask(*weights: float, negative: bool = True, cfg_scale: float = 7.0, rescale: float = 0.0) -> Ask:
    said = (NO_WORDS,) * (len(weights) + negative)
    return Ask(ROWS[:1], 1.0, said, weights, cfg_scale, rescale)


def test_one_prompt_is_classifier_free_guidance() -> None:
    result = guided(ask(1.0, cfg_scale=7.5), ROWS[:2])

    assert torch.allclose(result, ROWS[1:2] + 7.5 * (ROWS[0:1] - ROWS[1:2]))


def test_without_a_negative_the_prompt_alone_decides() -> None:
    assert torch.equal(guided(ask(1.0, negative=False, cfg_scale=1), ROWS[:1]), ROWS[:1])


def test_prompts_joined_by_and_pull_by_their_weights() -> None:
    result = guided(ask(1.0, 0.5, -0.3, cfg_scale=5), ROWS)

    pulls = 1.0 * (ROWS[0] - ROWS[3]) + 0.5 * (ROWS[1] - ROWS[3]) - 0.3 * (ROWS[2] - ROWS[3])
    assert torch.allclose(result[0], ROWS[3] + 5 * pulls, atol=1e-5)


@pytest.mark.parametrize("rescale", [0.3, 1.0])
def test_rescaled_guidance_is_diffusers(rescale: float) -> None:
    result = guided(ask(1.0, rescale=rescale), ROWS[:2])

    plain = guided(ask(1.0), ROWS[:2])
    assert torch.allclose(result, rescale_noise_cfg(plain, ROWS[:1], guidance_rescale=rescale), atol=1e-5)


def test_twice_the_same_prompt_at_half_weight_is_that_prompt() -> None:
    checkpoint, words = tiny(), plan(tiny())
    ((track, _),) = words.positives
    halves = PromptPlan(((track, 0.5), (track, 0.5)), words.negative)

    latents = alone(small(steps=2, sampler="DDIM"), checkpoint, halves)

    assert unlikeness(latents, alone(small(steps=2, sampler="DDIM"), checkpoint, words)) < 1e-5


def test_a_weighted_prompt_is_weighed_against_the_negative_also_without_guidance() -> None:
    checkpoint, words = tiny(), plan(tiny())
    ((track, _),) = words.positives
    nothing = PromptPlan(((track, 0.0),), words.negative)
    only_negative = PromptPlan(((words.negative, 1.0),), Track.constant(NO_WORDS))

    latents = alone(small(steps=2, sampler="DDIM", cfg_scale=1), checkpoint, nothing)

    assert unlikeness(latents, alone(small(steps=2, sampler="DDIM", cfg_scale=1), checkpoint, only_negative)) < 1e-5
