"""Prompts and what the tiny checkpoints make of them."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from easel.catalog import Base
from easel.jobs import ImageRequest
from tests.fakes.tiny_models import tiny_checkpoint
from worker.checkpoints.checkpoint import Checkpoint
from worker.conditioning.encoder import Encoder
from worker.conditioning.plan import Conditioning, PromptPlan


@cache
def checkpoint(base: Base) -> Checkpoint:
    return tiny_checkpoint(base)


def request(prompt: str, negative_prompt: str = "", **changes: Any) -> ImageRequest:
    plain = ImageRequest(
        prompt=prompt,
        negative_prompt=negative_prompt,
        checkpoint="tiny",
        width=64,
        height=64,
        steps=10,
        cfg_scale=7,
        sampler="Euler",
        schedule="Normal",
        seed=1,
    )
    return plain.changed(**changes)


def plan(base: Base, prompt: str, negative_prompt: str = "", **changes: Any) -> PromptPlan:
    return Encoder(checkpoint(base)).plan(request(prompt, negative_prompt, **changes))


def only(told: PromptPlan, step: int = 0) -> Conditioning:
    ((positive, weight),), _ = told.at(step)
    assert weight == 1
    return positive


def pooled(conditioning: Conditioning) -> Tensor:
    assert conditioning.pooled is not None
    return conditioning.pooled


def same(one: Conditioning, other: Conditioning) -> bool:
    return torch.equal(one.embeds, other.embeds)


def widths(base: Base) -> list[int]:
    encoders: tuple[Any, ...] = checkpoint(base).text_encoders
    return [encoder.config.hidden_size for encoder in encoders]
