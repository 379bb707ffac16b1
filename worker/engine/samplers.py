"""Samplers as diffusers schedulers: which class, with which options, for which checkpoint and schedule."""

import copy
import functools
import inspect
from collections.abc import Mapping
from typing import Any

import diffusers
import torch

from easel.samplers import AUTOMATIC, resolve
from worker.engine.dpmpp_2s_ancestral import DPMSolver2SAncestralScheduler

_SDE = {"algorithm_type": "sde-dpmsolver++", "final_sigmas_type": "zero"}
_UNCLIPPED = {"clip_sample": False, "thresholding": False}

SCHEDULERS: Mapping[str, tuple[type[Any], Mapping[str, Any]]] = {
    "Euler a": (diffusers.EulerAncestralDiscreteScheduler, {}),
    "Euler": (diffusers.EulerDiscreteScheduler, {"final_sigmas_type": "zero"}),
    "DPM++ 2M": (
        diffusers.DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "final_sigmas_type": "zero"},
    ),
    "DPM++ SDE": (diffusers.DPMSolverSDEScheduler, {}),
    "DPM++ 2M SDE": (diffusers.DPMSolverMultistepScheduler, {**_SDE, "solver_order": 2}),
    "DPM++ 2M SDE Heun": (diffusers.DPMSolverMultistepScheduler, {**_SDE, "solver_order": 2, "solver_type": "heun"}),
    "DPM++ 3M SDE": (diffusers.DPMSolverMultistepScheduler, {**_SDE, "solver_order": 3}),
    "DPM++ 2S a": (DPMSolver2SAncestralScheduler, {}),
    "DPM2": (diffusers.KDPM2DiscreteScheduler, {}),
    "DPM2 a": (diffusers.KDPM2AncestralDiscreteScheduler, {}),
    "Heun": (diffusers.HeunDiscreteScheduler, {"clip_sample": False}),
    "LMS": (diffusers.LMSDiscreteScheduler, {}),
    "DDIM": (diffusers.DDIMScheduler, _UNCLIPPED),
    "PLMS": (diffusers.PNDMScheduler, {"skip_prk_steps": True}),
    "UniPC": (diffusers.UniPCMultistepScheduler, {"solver_order": 3, "final_sigmas_type": "zero"}),
    "LCM": (diffusers.LCMScheduler, _UNCLIPPED),
    "TCD": (diffusers.TCDScheduler, _UNCLIPPED),
    "DEIS": (diffusers.DEISMultistepScheduler, {}),
    "DDPM": (diffusers.DDPMScheduler, _UNCLIPPED),
}

# A1111 spans these from the first to the last training step, whatever the checkpoint's own spacing is.
_FULL_RANGE = {"timestep_spacing": "linspace"}
_EVEN = {"timestep_spacing": "trailing"}
_SIGMAS = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
_SCHEDULES: Mapping[str, Mapping[str, Any]] = {
    AUTOMATIC: {},
    "Karras": {**_SIGMAS, **_FULL_RANGE, "use_karras_sigmas": True},
    "Exponential": {**_SIGMAS, **_FULL_RANGE, "use_exponential_sigmas": True},
    "Beta": {**_SIGMAS, **_FULL_RANGE, "use_beta_sigmas": True},
    "Uniform": {**_SIGMAS, **_FULL_RANGE},
    "Normal": {**_SIGMAS, **_FULL_RANGE},
    "SGM Uniform": {**_SIGMAS, **_EVEN},
    "Simple": {**_SIGMAS, **_EVEN},
    "DDIM": {**_SIGMAS, "timestep_spacing": "leading"},
}

_STABLE_DIFFUSION: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "rescale_betas_zero_snr": False,
    "set_alpha_to_one": False,
    **_SIGMAS,
}
"""What a checkpoint says of its noise, with what holds where it is silent; the rest of its config is its sampler's."""


def make_scheduler(sampler: str, schedule: str, scheduler_config: Mapping[str, Any], steps: int) -> Any:
    """Return a fresh diffusers scheduler with its timesteps set, on the CPU: reading its numbers never waits for a GPU.

    Raises `UnknownSampler` or `BadValue`.
    """
    said = {key: scheduler_config.get(key, value) for key, value in _STABLE_DIFFUSION.items()}
    betas = said["trained_betas"]
    said["trained_betas"] = None if betas is None else tuple(map(float, betas))
    return copy.deepcopy(_pattern(sampler, resolve(sampler, schedule), tuple(said.items()), steps))


# DPM2 takes a fifth of a second to make, and half a millisecond to copy.
@functools.lru_cache(maxsize=128)
@torch.inference_mode(mode=False)
def _pattern(sampler: str, schedule: str, said: tuple[tuple[str, Any], ...], steps: int) -> Any:
    cls, own = SCHEDULERS[sampler]
    # The walk that distilled models were taught has 50 stations unless more are asked for.
    options = {**dict(said), **own, **_SCHEDULES[schedule], "original_inference_steps": max(50, steps)}
    scheduler = _build(cls, options, steps)
    if sampler == "Euler a" and any(options[key] for key in _SIGMAS):
        # Diffusers' Euler a has no such schedules; its walk is Euler's, so it takes it from there.
        donor = _build(diffusers.EulerDiscreteScheduler, options, steps)
        scheduler.sigmas, scheduler.timesteps = donor.sigmas, donor.timesteps
    return scheduler


def _build(cls: type[Any], options: Mapping[str, Any], steps: int) -> Any:
    takes = inspect.signature(cls.__init__).parameters
    if options["rescale_betas_zero_snr"] and "rescale_betas_zero_snr" not in takes:
        options = {**options, "trained_betas": _zero_snr_betas(options)}
    scheduler = cls(**{key: value for key, value in options.items() if key in takes})
    scheduler.set_timesteps(steps)
    if scheduler.timesteps[-1] < 0:
        # "trailing" divides 1000 by some counts (61, 103, 121, 122) so that rounding adds a step at t = -1.
        scheduler.set_timesteps(steps - 1e-9)
        scheduler.num_inference_steps = steps
    return scheduler


def _zero_snr_betas(options: Mapping[str, Any]) -> list[float]:
    """Return the betas whose last step is (almost) pure noise, for schedulers that can not rescale theirs themselves."""
    alphas = _build(diffusers.DDIMScheduler, options, 1).alphas_cumprod.double()
    # Diffusers' own floor (the smallest half float), so that the first sigma is finite: 4096.
    alphas[-1] = 2**-24
    before = torch.cat([torch.ones(1, dtype=alphas.dtype), alphas[:-1]])
    betas: list[float] = (1 - alphas / before).tolist()
    return betas
