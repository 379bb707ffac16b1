"""Compiled blocks draw what they drew before, and where hooks must be heard nothing is compiled."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.fakes.engine_jobs import Run, alone, plan, small, tiny, unlikeness, wide_engine
from worker.checkpoints.checkpoint import Checkpoint
from worker.engine.compiled import compile_blocks
from worker.networks.outfit import Outfit

NEAR = 1e-5


@pytest.fixture(scope="module")
def compiled() -> Checkpoint:
    """A checkpoint that goes all the way through the compiler but for the code that would come out of it."""
    checkpoint = tiny()
    own = replace(checkpoint, unet=copy.deepcopy(checkpoint.unet))
    compile_blocks(own.unet, backend="eager")
    return own


def test_compiled_blocks_draw_the_same_pictures_at_any_size_and_in_company(compiled: Checkpoint) -> None:
    engine = wide_engine()
    requests = {"one": small(steps=2), "two": small(steps=2, batch_size=2, seed=5), "wide": small(steps=2, width=128)}
    for name, request in requests.items():
        engine.admit(name, request, compiled, plan(compiled))

    run = Run(engine)

    for name, request in requests.items():
        assert unlikeness(run.latents[name], alone(request, tiny(), plan(tiny()))) < NEAR


@dataclass(frozen=True, slots=True)
class Listening(Outfit):
    """Hears the first attention, as a hypernetwork does."""

    heard: tuple[list[int], ...] = ()

    @contextmanager
    def painting(self, checkpoint: Checkpoint) -> Iterator[None]:
        unet: Any = checkpoint.unet
        key = next(module for name, module in unet.named_modules() if name.endswith("attn1.to_k"))
        hook = key.register_forward_pre_hook(lambda *_: self.heard[0].append(1))
        yield
        hook.remove()


def test_what_hypernetworks_hook_into_is_not_compiled(compiled: Checkpoint) -> None:
    heard: list[int] = []
    engine = wide_engine()
    engine.admit("plain", small(steps=2), compiled, plan(compiled))
    hooked = Listening(hypernetworks=((None, 1.0),), heard=(heard,))  # type: ignore[arg-type]
    engine.admit("hooked", small(steps=2), compiled, plan(compiled), outfit=hooked)

    run = Run(engine)

    assert not run.failures
    assert len(heard) == 2
    assert unlikeness(run.latents["hooked"], run.latents["plain"]) < NEAR
