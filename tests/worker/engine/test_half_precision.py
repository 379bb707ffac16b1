"""In half precision too a picture in company is the one it is alone, as nearly as the numbers allow."""

import copy
import functools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from easel.catalog import Base
from tests.fakes.engine_jobs import Run, alone, plan, small, tiny, wide_engine
from worker.checkpoints.checkpoint import Checkpoint
from worker.conditioning.plan import Conditioning, PromptPlan, Track
from worker.engine.decode import decode

ENOUGH_DB = 40


@functools.cache
def halved(base: Base, dtype: torch.dtype) -> Checkpoint:
    checkpoint = tiny(base)
    return replace(checkpoint, unet=copy.deepcopy(checkpoint.unet).to(dtype))


def words(checkpoint: Checkpoint, seed: int) -> PromptPlan:
    full = plan(checkpoint, seed)

    def half(track: Track) -> Track:
        said = track.at(0)
        pooled = None if said.pooled is None else said.pooled.to(checkpoint.dtype)
        return Track.constant(Conditioning(said.embeds.to(checkpoint.dtype), pooled))

    return PromptPlan(tuple((half(track), weight) for track, weight in full.positives), half(full.negative))


def likeness_db(one: Tensor, other: Tensor) -> float:
    """Return the peak signal-to-noise ratio of pixels between 0 and 1, before they are rounded."""
    return -10 * math.log10(max(float((one - other).pow(2).mean()), 1e-20))


@pytest.mark.parametrize(("base", "dtype"), [(Base.SD15, torch.float16), (Base.SDXL, torch.bfloat16)])
def test_company_changes_a_picture_by_less_than_anybody_sees(base: Base, dtype: torch.dtype) -> None:
    checkpoint, engine = halved(base, dtype), wide_engine()
    samplers = ["Euler a", "DPM++ 2M", "DDIM"]
    requests = {str(n): small(steps=2, seed=n, sampler=sampler) for n, sampler in enumerate(samplers)}
    for name, request in requests.items():
        engine.admit(name, request, checkpoint, words(checkpoint, request.seed))

    together = Run(engine)

    assert not together.failures
    for name, request in requests.items():
        single = alone(request, checkpoint, words(checkpoint, request.seed))
        pixels = [decode(checkpoint.vae, latents) for latents in (together.latents[name], single)]
        assert likeness_db(*pixels) >= ENOUGH_DB
