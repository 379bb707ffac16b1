"""Schedulers as the engine makes them."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from easel.errors import BadValue
from easel.samplers import AUTOMATIC, SAMPLERS, calls
from worker.engine.noise import brownian
from worker.engine.samplers import SCHEDULERS, make_scheduler

PUBLISHED = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "prediction_type": "epsilon",
}
ZERO_SNR = PUBLISHED | {
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}
# 61 and 122 are counts at which diffusers' "trailing" steps too often.
STEPS = (1, 3, 61, 122, 150)
# A fifth of a second each.
SLOW_TO_MAKE = {"DPM2", "DPM2 a", "DPM++ 2S a"}
PAIRS = [
    (name, schedule)
    for name, row in SAMPLERS.items()
    for schedule in row.schedules
    if name not in SLOW_TO_MAKE or schedule in {"Karras", "Simple"}
]


def test_every_sampler_has_a_scheduler() -> None:
    assert set(SCHEDULERS) == set(SAMPLERS)


@pytest.mark.parametrize(("sampler", "schedule"), PAIRS)
def test_every_pair_asks_as_often_as_it_says(sampler: str, schedule: str) -> None:
    for steps in (122,) if sampler in SLOW_TO_MAKE or schedule == "Beta" else STEPS:
        timesteps = make_scheduler(sampler, schedule, PUBLISHED, steps).timesteps

        assert len(timesteps) == calls(sampler, steps)
        assert timesteps.min() >= 0
        assert timesteps.max() <= 999


@pytest.mark.parametrize(("sampler", "schedule"), PAIRS)
def test_every_pair_reaches_the_picture_that_the_unet_is_sure_of(sampler: str, schedule: str) -> None:
    scheduler = make_scheduler(sampler, schedule, PUBLISHED, 12)
    picture = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))

    reached = _denoised(scheduler, picture)

    # Some stop at the noise of the first training step, which is 3 % of a picture's variation.
    stops_early = sampler in {"DDIM", "PLMS", "TCD", "DEIS"}
    assert (reached - picture).abs().max() < (0.1 if stops_early else 0.01)


def _denoised(scheduler: Any, picture: Tensor) -> Tensor:
    """Run a scheduler with a UNet that always knows the picture."""
    generator = torch.Generator().manual_seed(2)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    latents = torch.randn(picture.shape, generator=generator) * float(scheduler.init_noise_sigma)
    if hasattr(scheduler, "noise_sampler"):
        scheduler.noise_sampler = brownian(scheduler, latents, 3)
    for timestep in scheduler.timesteps:
        seen = scheduler.scale_model_input(latents, timestep)
        sigma = _sigma(scheduler, timestep)
        noise = (seen * (1 + sigma**2) ** 0.5 - picture) / sigma
        latents = scheduler.step(noise, timestep, latents, return_dict=False)[0]
    return latents


def _sigma(scheduler: Any, timestep: Tensor) -> float:
    """Return the noise level that the scheduler takes the next call to be at."""
    scale = float(scheduler.scale_model_input(torch.ones(1), timestep))
    if scale != 1:
        return math.sqrt(scale**-2 - 1)
    if hasattr(scheduler, "sigmas"):
        return float(scheduler.sigmas[scheduler.step_index or 0])
    alpha = float(scheduler.alphas_cumprod[int(timestep)])
    return math.sqrt((1 - alpha) / alpha)


def _karras(steps: int, low: float, high: float) -> Tensor:
    """Karras et al. 2022, equation 5, rho 7, as k-diffusion has it."""
    ramp = torch.linspace(0, 1, steps)
    sigmas: Tensor = (high ** (1 / 7) + ramp * (low ** (1 / 7) - high ** (1 / 7))) ** 7
    return sigmas


@pytest.mark.parametrize("sampler", ["Euler a", "Euler", "DPM++ 2M", "LMS", "UniPC"])
def test_karras_spans_the_whole_range_as_in_a1111(sampler: str) -> None:
    sigmas = make_scheduler(sampler, "Karras", PUBLISHED, 20).sigmas

    assert torch.allclose(sigmas[:20], _karras(20, 0.0291675, 14.614642), rtol=1e-4)
    assert sigmas[20] == 0


@pytest.mark.parametrize("sampler", ["Euler a", "Euler", "DPM++ 3M SDE"])
def test_exponential_steps_evenly_in_the_logarithm(sampler: str) -> None:
    sigmas = make_scheduler(sampler, "Exponential", PUBLISHED, 20).sigmas[:20]

    expected = torch.linspace(math.log(14.614642), math.log(0.0291675), 20).exp()
    assert torch.allclose(sigmas, expected, rtol=1e-4)


def test_automatic_keeps_what_the_checkpoint_was_published_with() -> None:
    leading = make_scheduler("Euler a", AUTOMATIC, PUBLISHED, 20)
    trailing = make_scheduler("Euler a", AUTOMATIC, ZERO_SNR, 20)
    karras = make_scheduler("Euler", AUTOMATIC, PUBLISHED | {"use_karras_sigmas": True}, 20)

    assert leading.timesteps[0] == 951
    assert trailing.timesteps[0] == 999
    assert karras.config.use_karras_sigmas


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_zero_terminal_snr_reaches_every_sampler(sampler: str) -> None:
    scheduler = make_scheduler(sampler, AUTOMATIC, ZERO_SNR, 10)

    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.alphas_cumprod[-1] < 1e-6
    assert scheduler.alphas_cumprod[0] == pytest.approx(0.99915, abs=1e-5)
    # Some round the first one down.
    assert scheduler.timesteps[0] >= 998


@pytest.mark.parametrize("sampler", ["DDIM", "DDPM", "LCM", "TCD", "Heun"])
def test_latents_are_never_clipped(sampler: str) -> None:
    assert not make_scheduler(sampler, AUTOMATIC, PUBLISHED, 4).config.clip_sample


def test_a_silent_config_is_taken_for_stable_diffusion_s() -> None:
    scheduler = make_scheduler("DDIM", AUTOMATIC, {}, 10)

    assert torch.equal(scheduler.alphas_cumprod, make_scheduler("DDIM", AUTOMATIC, PUBLISHED, 10).alphas_cumprod)


def test_an_impossible_pair_is_refused() -> None:
    with pytest.raises(BadValue, match="`DDIM` can not follow the schedule `Karras`"):
        make_scheduler("DDIM", "Karras", PUBLISHED, 10)


def test_two_pictures_never_get_the_same_scheduler() -> None:
    assert make_scheduler("LMS", AUTOMATIC, PUBLISHED, 4) is not make_scheduler("LMS", AUTOMATIC, PUBLISHED, 4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_dpmpp_2s_a_is_the_one_of_k_diffusion(prediction: str) -> None:
    scheduler = make_scheduler("DPM++ 2S a", "Karras", PUBLISHED | {"prediction_type": prediction}, 9)
    noises = [torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(20)]
    latents = noises[0] * scheduler.init_noise_sigma
    torch.manual_seed(7)

    for timestep in scheduler.timesteps:
        seen = scheduler.scale_model_input(latents, timestep)
        sigma = torch.tensor(_sigma(scheduler, timestep))
        clean = _opinion(seen * (1 + sigma**2) ** 0.5, sigma)
        output = (seen * (1 + sigma**2) ** 0.5 - clean) / sigma
        if prediction == "v_prediction":
            output = (seen * (1 + sigma**2) ** 0.5 - clean * (1 + sigma**2)) / (sigma * (1 + sigma**2) ** 0.5)
        latents = scheduler.step(output, timestep, latents)[0]

    torch.manual_seed(7)
    assert torch.allclose(latents, _k_diffusion_2s_a(noises[0], scheduler.sigmas[::2]), rtol=1e-3, atol=1e-4)


def _opinion(latents: Tensor, sigma: Tensor) -> Tensor:
    """Denoise as a UNet might that has seen only pictures of unit variance."""
    return latents / (1 + sigma**2) + 0.1 * torch.sin(latents)


def _k_diffusion_2s_a(noise: Tensor, sigmas: Tensor) -> Tensor:
    """Follow k-diffusion's `sample_dpmpp_2s_ancestral`, eta 1."""
    latents = noise * sigmas[0]
    steps = [*sigmas[:9].tolist(), 0.0]
    for here, there in itertools.pairwise(steps):
        sigma = torch.tensor(here)
        clean = _opinion(latents, sigma)
        up = min(there, (there**2 * (here**2 - there**2) / here**2) ** 0.5)
        down = (there**2 - up**2) ** 0.5
        if down == 0:
            latents = latents + (latents - clean) / here * (down - here)
            continue
        t, t_next = -math.log(here), -math.log(down)
        h = t_next - t
        middle = math.exp(-(t + h / 2))
        second = middle / here * latents - math.expm1(-h / 2) * clean
        clean = _opinion(second, torch.tensor(middle))
        latents = down / here * latents - math.expm1(-h) * clean
        latents = latents + torch.randn(latents.shape) * up
    return latents
