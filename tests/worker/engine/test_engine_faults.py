"""Faults in one engine: want of memory, a culprit among neighbours, a lost device."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from easel.errors import OutOfMemory, RenderError
from tests.fakes.engine_jobs import Run, Watch, alone, plan, small, tiny, unlikeness, wide_engine
from worker.conditioning.plan import PromptPlan
from worker.engine.engine import Engine
from worker.engine.memory import offload

NEAR = 1e-5


def test_a_call_that_does_not_fit_is_made_smaller_and_nothing_is_lost() -> None:
    checkpoint, engine = tiny(), wide_engine(16)
    requests = {str(seed): small(steps=3, seed=seed, sampler="DPM++ 2M SDE") for seed in range(5)}
    for name, request in requests.items():
        engine.admit(name, request, checkpoint, plan(checkpoint, request.seed))

    with Watch() as watch:
        engine.step()
        watch.most = 5
        run = Run(engine)

    assert max(watch.rows[1:]) <= 5
    assert not run.failures
    for name, request in requests.items():
        assert unlikeness(run.latents[name], alone(request, checkpoint, plan(checkpoint, request.seed))) < NEAR


def test_a_picture_alone_too_large_is_asked_for_row_by_row() -> None:
    checkpoint, engine, words = tiny(), wide_engine(8), plan(tiny(), weights=(1.0, 0.5))
    engine.admit("one", small(steps=2), checkpoint, words)

    with Watch() as watch:
        watch.most = 1
        run = Run(engine)

    assert watch.rows == [1] * 6
    assert unlikeness(run.latents["one"], alone(small(steps=2), checkpoint, words)) < NEAR


def test_what_does_not_fit_at_all_fails_with_advice_and_the_engine_lives_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    checkpoint, engine = tiny(), wide_engine(8)
    engine.admit("one", small(steps=2), checkpoint, plan(checkpoint))

    with Watch() as watch:
        watch.most = 0
        run = Run(engine)
    engine.admit("two", small(steps=2), checkpoint, plan(checkpoint))

    assert isinstance(run.failures["one"].error, OutOfMemory)
    assert "64x64. Please ask for a smaller one" in str(run.failures["one"].error)
    assert set(Run(engine).latents) == {"two"}


def test_what_does_not_fit_beside_other_things_is_drawn_after_they_were_moved() -> None:
    checkpoint, things = tiny(), ["other checkpoints", "the text encoder"]

    with Watch() as watch:

        def relieve(of: object) -> bool:
            assert of is checkpoint
            moved = bool(things) and bool(things.pop())
            watch.most = 1000 if not things else 0
            return moved

        engine = Engine("cpu", relieve=relieve)
        engine.admit("one", small(steps=2), checkpoint, plan(checkpoint))
        watch.most = 0
        run = Run(engine)

    assert things == []
    assert unlikeness(run.latents["one"], alone(small(steps=2), checkpoint, plan(checkpoint))) < NEAR


class OnAGpu:
    """A module as far as moving it goes."""

    def __init__(self) -> None:
        self.device = torch.device("cuda", 0)

    def parameters(self) -> Iterator["OnAGpu"]:
        yield self

    def to(self, device: str) -> None:
        self.device = torch.device(device)


def test_what_moves_into_ram_gives_room_once() -> None:
    one, other = OnAGpu(), OnAGpu()

    assert [offload(one, other), offload(one, other)] == [True, False]
    assert {one.device.type, other.device.type} == {"cpu"}


def test_what_is_in_ram_already_gives_no_room() -> None:
    here, missing = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2, device="meta")

    assert not offload(here, missing)

    assert missing.weight.device.type == "meta"


def test_only_the_culprit_fails_and_its_neighbours_go_on(caplog: pytest.LogCaptureFixture) -> None:
    checkpoint, engine = tiny(), wide_engine()
    culprit = plan(checkpoint, 77)
    engine.admit("before", small(steps=3), checkpoint, plan(checkpoint))
    engine.admit("culprit", small(steps=3, batch_size=2), checkpoint, culprit)
    engine.admit("after", small(steps=3, seed=2), checkpoint, plan(checkpoint))

    with Watch() as watch:
        watch.fails_on = culprit.at(0)[0][0][0].embeds[0]
        run = Run(engine)

    assert set(run.latents) == {"before", "after"}
    assert set(run.failures) == {"culprit"}
    assert type(run.failures["culprit"].error) is RenderError
    assert "these words" not in str(run.failures["culprit"].error)
    assert "these words are too much" in caplog.text
    assert "culprit" in caplog.text
    assert unlikeness(run.latents["after"], alone(small(steps=3, seed=2), checkpoint, plan(checkpoint))) < NEAR


def test_a_plan_that_fails_in_the_middle_fails_only_its_job() -> None:
    class Forgetful(PromptPlan):
        def at(self, step: int) -> Any:
            if step == 2:
                raise LookupError("the words are gone")
            return super().at(step)

    checkpoint, engine = tiny(), wide_engine()
    words = plan(checkpoint)
    engine.admit("good", small(steps=4), checkpoint, words)
    engine.admit("bad", small(steps=4), checkpoint, Forgetful(words.positives, words.negative))

    run = Run(engine)

    assert set(run.latents) == {"good"}
    assert run.steps["bad"] == [(1, 4), (2, 4)]
    assert isinstance(run.failures["bad"].error, RenderError)


def test_a_lost_device_is_nobody_s_fault_and_goes_up() -> None:
    class Lost(PromptPlan):
        def at(self, step: int) -> Any:
            if step:
                raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
            return super().at(step)

    checkpoint, engine = tiny(), wide_engine()
    words = plan(checkpoint)
    engine.admit("one", small(steps=4), checkpoint, Lost(words.positives, words.negative))
    engine.step()

    with pytest.raises(torch.AcceleratorError):
        engine.step()
    assert engine.busy
