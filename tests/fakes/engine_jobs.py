"""What the engine's tests hand it: plans made of random words, and a loop that runs it until nothing is left."""

import copy
import functools
from typing import Any

import torch
from torch import Tensor

from easel.catalog import Base
from easel.jobs import ImageRequest
from tests.fakes.jobs import a_request
from tests.fakes.tiny_models import as_pipeline, tiny_checkpoint
from worker.checkpoints.checkpoint import Checkpoint
from worker.conditioning.plan import Conditioning, PromptPlan, Track
from worker.engine.batching import BatchPolicy
from worker.engine.engine import Engine, Failed, Rendered, Stepped
from worker.engine.start import Start


def tiny(base: Base = Base.SD15, prediction: str = "epsilon", in_channels: int = 4) -> Checkpoint:
    """Return a tiny checkpoint, the same one each time: the engine must leave it as it was."""
    return _tiny(base, prediction, in_channels)


@functools.cache
def _tiny(base: Base, prediction: str, in_channels: int) -> Checkpoint:
    return tiny_checkpoint(base, prediction=prediction, in_channels=in_channels)


def small(**changes: Any) -> ImageRequest:
    return a_request(**{"width": 64, "height": 64} | changes)


def told(checkpoint: Checkpoint, seed: int, *, chunks: int = 1) -> Conditioning:
    """Return what some text might be encoded to."""
    generator = torch.Generator().manual_seed(seed)
    unet: Any = checkpoint.unet
    embeds = torch.randn(1, 77 * chunks, unet.config.cross_attention_dim, generator=generator)
    pooled = torch.randn(1, 64, generator=generator) if checkpoint.base is Base.SDXL else None
    return Conditioning(embeds, pooled)


def plan(checkpoint: Checkpoint, seed: int = 1, *, chunks: int = 1, weights: tuple[float, ...] = (1.0,)) -> PromptPlan:
    positives = tuple(
        (Track.constant(told(checkpoint, seed + 1000 * place, chunks=chunks)), weight)
        for place, weight in enumerate(weights)
    )
    return PromptPlan(positives, Track.constant(told(checkpoint, seed + 500, chunks=chunks)))


def wide_engine(rows: int = 32) -> Engine:
    """Return an engine that takes so many rows from the first call on."""
    return Engine("cpu", BatchPolicy(torch.device("cpu"), first=rows, most=rows))


class Run:
    """Steps an engine until it is idle and keeps what it told."""

    def __init__(self, engine: Engine) -> None:
        self.steps: dict[str, list[tuple[int, int]]] = {}
        self.latents: dict[str, Tensor] = {}
        self.failures: dict[str, Failed] = {}
        self.calls = 0
        while engine.busy:
            self.calls += 1
            for event in engine.step():
                if isinstance(event, Stepped):
                    self.steps.setdefault(event.job_id, []).append((event.step, event.total))
                elif isinstance(event, Rendered):
                    self.latents[event.job_id] = event.latents
                else:
                    self.failures[event.job_id] = event


class Watch:
    """Counts the rows of every call of a UNet while it is watched, and makes some calls fail."""

    def __init__(self, base: Base = Base.SD15) -> None:
        unet: Any = tiny(base).unet
        self.rows: list[int] = []
        self.most = 1000
        self.fails_on: Tensor | None = None
        self._hook = unet.register_forward_pre_hook(self._called, with_kwargs=True)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def _called(self, _: object, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> None:
        rows = len(args[0])
        if rows > self.most:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {rows}.00 GiB.")
        if self.fails_on is not None and any(
            torch.equal(row, self.fails_on) for row in kwargs["encoder_hidden_states"]
        ):
            raise ValueError("these words are too much")
        self.rows.append(rows)


def alone(request: ImageRequest, checkpoint: Checkpoint, words: PromptPlan, start: Start | None = None) -> Tensor:
    """Return a job's latents from an engine of its own."""
    engine = wide_engine()
    engine.admit("alone", request, checkpoint, words, start)
    return Run(engine).latents["alone"]


def diffusers_latents(
    pipeline: Any, request: ImageRequest, words: PromptPlan, scheduler: Any, **options: Any
) -> Tensor:
    """Return what a pipeline of diffusers makes of one picture of the request with that scheduler."""
    positives, negative = words.at(0)
    pooled = {}
    if negative.pooled is not None:
        pooled = {
            "pooled_prompt_embeds": positives[0][0].pooled,
            "negative_pooled_prompt_embeds": negative.pooled,
        }
    pipeline.scheduler = copy.deepcopy(scheduler)
    latents: Tensor = pipeline(
        prompt_embeds=positives[0][0].embeds,
        negative_prompt_embeds=negative.embeds,
        num_inference_steps=request.steps,
        guidance_scale=request.cfg_scale,
        generator=torch.Generator().manual_seed(request.seed),
        output_type="latent",
        **pooled,
        **options,
    ).images
    return latents


def pipeline_for(checkpoint: Checkpoint) -> Any:
    return as_pipeline(checkpoint)


def unlikeness(one: Tensor, other: Tensor) -> float:
    """Return the greatest difference, as a share of the greatest number; not-a-number is never alike."""
    assert torch.isfinite(one).all()
    assert torch.isfinite(other).all()
    return float((one - other).abs().max() / other.abs().max())
