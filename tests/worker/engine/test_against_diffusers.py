"""The engine's pictures are those of diffusers' own pipelines, for every sampler, base and prediction type."""

from typing import Any

import diffusers
import pytest

from easel.catalog import Base
from easel.samplers import SAMPLERS
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

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    # Diffusers' own DPM++ SDE asks its tree for a little more than it has.
    pytest.mark.filterwarnings("ignore:Should have t:UserWarning"),
]

NEAR = 5e-5
"""Of the greatest number in the latents: 86 dB; rounding differs with batch, threads and machine."""

KARRAS = {"use_karras_sigmas": True, "timestep_spacing": "linspace"}
EXPONENTIAL = {"use_exponential_sigmas": True, "timestep_spacing": "linspace"}
UNCLIPPED = {"clip_sample": False}
SDE = {"algorithm_type": "sde-dpmsolver++"}
OWN = {"set_alpha_to_one": False}

# What a user of diffusers would write for the sampler's default schedule in A1111.
BY_HAND: dict[str, tuple[str, dict[str, Any]]] = {
    "Euler a": ("EulerAncestralDiscreteScheduler", {}),
    "Euler": ("EulerDiscreteScheduler", {}),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", KARRAS),
    "DPM++ SDE": ("DPMSolverSDEScheduler", KARRAS),
    "DPM++ 2M SDE": ("DPMSolverMultistepScheduler", SDE | EXPONENTIAL),
    "DPM++ 2M SDE Heun": ("DPMSolverMultistepScheduler", SDE | EXPONENTIAL | {"solver_type": "heun"}),
    "DPM++ 3M SDE": ("DPMSolverMultistepScheduler", SDE | EXPONENTIAL | {"solver_order": 3}),
    "DPM2": ("KDPM2DiscreteScheduler", KARRAS),
    "DPM2 a": ("KDPM2AncestralDiscreteScheduler", KARRAS),
    "Heun": ("HeunDiscreteScheduler", {}),
    "LMS": ("LMSDiscreteScheduler", {}),
    "DDIM": ("DDIMScheduler", UNCLIPPED | OWN),
    "PLMS": ("PNDMScheduler", {"skip_prk_steps": True} | OWN),
    "UniPC": ("UniPCMultistepScheduler", {"solver_order": 3}),
    "LCM": ("LCMScheduler", OWN),
    "TCD": ("TCDScheduler", UNCLIPPED | OWN),
    "DEIS": ("DEISMultistepScheduler", {}),
    "DDPM": ("DDPMScheduler", UNCLIPPED),
}


def by_hand(sampler: str, config: Any, seed: int, **options: Any) -> Any:
    name, own = BY_HAND[sampler]
    if sampler == "DPM++ SDE":
        options["noise_sampler_seed"] = [seed]
    plain = {key: value for key, value in config.items() if not key.startswith("_")}
    return getattr(diffusers, name).from_config({**plain, "timestep_spacing": "leading", **own, **options})


def test_every_sampler_but_our_own_is_compared() -> None:
    assert set(SAMPLERS) - set(BY_HAND) == {"DPM++ 2S a"}


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("base", [Base.SD15, Base.SDXL])
def test_all_samplers_together_paint_what_each_paints_alone_in_diffusers(base: Base, prediction: str) -> None:
    checkpoint = tiny(base, prediction)
    # Enough for every order of every solver once, and fewer where only the base and the prediction differ.
    steps = 5 if (base, prediction) == (Base.SD15, "epsilon") else 2
    requests = {
        sampler: small(sampler=sampler, steps=steps, seed=20 + place, cfg_scale=3 + place / 4)
        for place, sampler in enumerate(BY_HAND)
    }
    plans = {sampler: plan(checkpoint, request.seed) for sampler, request in requests.items()}
    engine = wide_engine(64)
    for sampler, request in requests.items():
        engine.admit(sampler, request, checkpoint, plans[sampler])

    run = Run(engine)

    assert not run.failures
    pipeline = pipeline_for(checkpoint)
    for sampler, request in requests.items():
        scheduler = by_hand(sampler, checkpoint.scheduler_config, request.seed)
        options = {"eta": 0.3} if sampler == "TCD" else {}
        expected = diffusers_latents(pipeline, request, plans[sampler], scheduler, width=64, height=64, **options)
        assert unlikeness(run.latents[sampler], expected) < NEAR, sampler


def test_zero_terminal_snr_with_rescaled_guidance_is_diffusers() -> None:
    checkpoint = tiny(Base.SDXL, "v_prediction")
    checkpoint = type(checkpoint)(
        **{name: getattr(checkpoint, name) for name in checkpoint.__dataclass_fields__ if name != "scheduler_config"},
        scheduler_config={
            **checkpoint.scheduler_config,
            "rescale_betas_zero_snr": True,
            "timestep_spacing": "trailing",
        },
    )
    request, words = small(sampler="Euler", steps=4, guidance_rescale=0.7), plan(checkpoint)

    latents = alone(request, checkpoint, words)

    scheduler = by_hand(
        "Euler", checkpoint.scheduler_config, 0, rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    expected = diffusers_latents(
        pipeline_for(checkpoint), request, words, scheduler, width=64, height=64, guidance_rescale=0.7
    )
    assert unlikeness(latents, expected) < NEAR


@pytest.mark.parametrize("base", [Base.SD15, Base.SD2, Base.SDXL])
def test_without_guidance_and_with_a_long_prompt_it_is_diffusers(base: Base) -> None:
    checkpoint = tiny(base)
    request = small(sampler="DDIM", steps=3, cfg_scale=1, width=96, height=72)
    words = plan(checkpoint, chunks=2)

    latents = alone(request, checkpoint, words)

    scheduler = by_hand("DDIM", checkpoint.scheduler_config, 0)
    expected = diffusers_latents(pipeline_for(checkpoint), request, words, scheduler, width=96, height=72)
    assert unlikeness(latents, expected) < NEAR


def test_without_guidance_a_picture_costs_half() -> None:
    checkpoint, request = tiny(), small(sampler="DDIM", steps=3)
    rows: list[int] = []
    unet: Any = checkpoint.unet
    hook = unet.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))

    alone(request, checkpoint, plan(checkpoint))
    alone(request.changed(cfg_scale=1), checkpoint, plan(checkpoint))
    hook.remove()

    assert rows == [2, 2, 2, 1, 1, 1]
