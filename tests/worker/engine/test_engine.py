"""Many jobs in one engine: nobody's picture depends on the neighbours, nobody's fault or leaving disturbs them."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from easel.catalog import Base
from easel.errors import BadValue, UnknownSampler
from easel.jobs import ImageRequest
from easel.samplers import SAMPLERS, calls
from tests.fakes.engine_jobs import Run, Watch, alone, plan, small, tiny, unlikeness, wide_engine
from worker.conditioning.plan import PromptPlan, Track
from worker.engine.batching import BatchPolicy, Shape
from worker.engine.engine import Engine, Rendered, Stepped

NEAR = 5e-5


@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    jobs=st.lists(
        st.tuples(
            st.sampled_from(sorted(SAMPLERS)),
            st.integers(1, 4),
            st.sampled_from([1.0, 4.5]),
            st.integers(0, 3),
            st.sampled_from(["cpu", "nv"]),
        ),
        min_size=3,
        max_size=5,
    ),
    rows=st.sampled_from([3, 32]),
)
def test_a_picture_is_the_same_alone_and_in_any_company(jobs: list[Any], rows: int) -> None:
    checkpoint = tiny()
    requests: list[tuple[int, ImageRequest]] = [
        (joins, small(sampler=sampler, steps=steps, cfg_scale=cfg, seed=place, rng=rng))
        for place, (sampler, steps, cfg, joins, rng) in enumerate(jobs)
    ]
    engine = wide_engine(rows)
    latents: dict[str, Tensor] = {}

    for step in range(4):
        for place, (joins, request) in enumerate(requests):
            if joins == step:
                engine.admit(str(place), request, checkpoint, plan(checkpoint, place))
        latents |= {event.job_id: event.latents for event in engine.step() if isinstance(event, Rendered)}
    latents |= Run(engine).latents

    for place, (_, request) in enumerate(requests):
        assert unlikeness(latents[str(place)], alone(request, checkpoint, plan(checkpoint, place))) < NEAR, request


def test_the_pictures_of_a_job_are_those_of_its_seeds() -> None:
    checkpoint, request = tiny(), small(steps=3, seed=7, batch_size=3)

    together = alone(request, checkpoint, plan(checkpoint))

    for n in range(3):
        single = alone(request.changed(seed=7 + n, batch_size=1), checkpoint, plan(checkpoint))
        assert unlikeness(together[n : n + 1], single) < NEAR


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE", "DPM2 a", "LCM"])
def test_the_same_request_is_the_same_picture_again_whatever_came_between(sampler: str) -> None:
    checkpoint, request = tiny(), small(sampler=sampler, steps=3)
    engine = wide_engine()

    engine.admit("first", request, checkpoint, plan(checkpoint))
    first = Run(engine).latents["first"]
    engine.admit("other", small(sampler="Heun", steps=2, seed=9, tiling=True), checkpoint, plan(checkpoint, 5))
    Run(engine)
    torch.manual_seed(123)
    engine.admit("again", request, checkpoint, plan(checkpoint))

    assert torch.equal(Run(engine).latents["again"], first)


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE", "DPM2 a", "DPM++ 2M SDE"])
def test_the_card_s_noise_makes_another_picture_to_the_last_step(sampler: str) -> None:
    checkpoint = tiny()
    cpu, nv = small(sampler=sampler, steps=3), small(sampler=sampler, steps=3, rng="nv")

    assert unlikeness(alone(nv, checkpoint, plan(checkpoint)), alone(cpu, checkpoint, plan(checkpoint))) > 0.1


def test_eight_mixed_jobs_share_their_calls() -> None:
    checkpoint = tiny()
    mixed = ["Euler a", "DPM++ 2M", "DDIM", "Heun", "UniPC", "LCM", "PLMS", "DPM++ 2M SDE"]
    requests = {name: small(sampler=name, steps=3 + place % 3, seed=place) for place, name in enumerate(mixed)}
    engine = wide_engine()
    for name, request in requests.items():
        engine.admit(name, request, checkpoint, plan(checkpoint, request.seed))

    with Watch() as watch:
        run = Run(engine)

    assert len(watch.rows) == max(calls(name, request.steps) for name, request in requests.items())
    assert watch.rows[0] == 16
    assert set(run.latents) == set(mixed)


def test_progress_counts_the_unet_calls_up_to_the_last_one() -> None:
    checkpoint, engine = tiny(), wide_engine()
    engine.admit("euler", small(steps=3, batch_size=2), checkpoint, plan(checkpoint))
    engine.admit("heun", small(sampler="Heun", steps=3), checkpoint, plan(checkpoint))

    run = Run(engine)

    assert run.steps["euler"] == [(1, 3), (2, 3), (3, 3)]
    assert run.steps["heun"] == [(n, 5) for n in range(1, 6)]
    assert run.latents["euler"].shape == (2, 4, 8, 8)
    assert run.latents["euler"].dtype == torch.float32


def test_groups_that_can_not_share_take_turns() -> None:
    sd, xl, engine = tiny(), tiny(Base.SDXL), wide_engine()
    engine.admit("small", small(steps=3), sd, plan(sd))
    engine.admit("large", small(steps=3, width=128), sd, plan(sd))
    engine.admit("long", small(steps=3), sd, plan(sd, chunks=2))
    engine.admit("xl", small(steps=3), xl, plan(xl))
    engine.admit("mate", small(steps=3, seed=4), sd, plan(sd, 3))

    order = [{event.job_id for event in engine.step() if isinstance(event, Stepped)} for _ in range(8)]

    assert order == [{"small", "mate"}, {"large"}, {"long"}, {"xl"}] * 2


def test_a_newcomer_does_not_wait_for_a_long_job() -> None:
    checkpoint, engine = tiny(), wide_engine()
    engine.admit("long", small(steps=50), checkpoint, plan(checkpoint))
    engine.step()

    engine.admit("short", small(steps=1, width=128), checkpoint, plan(checkpoint))

    assert [event.job_id for event in engine.step() if isinstance(event, Rendered)] == ["short"]


def test_a_cancelled_job_takes_part_in_no_further_call() -> None:
    checkpoint, engine = tiny(), wide_engine()
    engine.admit("stays", small(steps=3), checkpoint, plan(checkpoint))
    engine.admit("leaves", small(steps=3, seed=2), checkpoint, plan(checkpoint))
    engine.step()

    assert engine.cancel("leaves")
    assert not engine.cancel("leaves")
    with Watch() as watch:
        run = Run(engine)

    assert watch.rows == [2, 2]
    assert set(run.latents) == {"stays"}
    assert unlikeness(run.latents["stays"], alone(small(steps=3), checkpoint, plan(checkpoint))) < NEAR


def test_an_idle_engine_does_nothing() -> None:
    engine = wide_engine()

    assert not engine.busy
    assert engine.step() == []
    assert not engine.cancel("nobody")


def test_a_job_is_not_taken_on_twice() -> None:
    checkpoint, engine = tiny(), wide_engine()
    engine.admit("one", small(), checkpoint, plan(checkpoint))

    with pytest.raises(ValueError, match="in the engine already"):
        engine.admit("one", small(), checkpoint, plan(checkpoint))


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"sampler": "Eular"}, UnknownSampler), ({"sampler": "DDIM", "schedule": "Karras"}, BadValue)],
)
def test_what_can_not_be_is_refused_at_the_door(changes: dict[str, Any], error: type[Exception]) -> None:
    checkpoint, engine = tiny(), wide_engine()

    with pytest.raises(error):
        engine.admit("one", small(**changes), checkpoint, plan(checkpoint))

    assert not engine.busy


def test_words_change_at_their_step_also_where_a_step_has_two_calls() -> None:
    checkpoint = tiny()
    before, after = plan(checkpoint, 1), plan(checkpoint, 2)
    said: list[int] = []

    class Noted(PromptPlan):
        def at(self, step: int) -> Any:
            said.append(step)
            return super().at(step)

    track = Track((1, 9), (before.at(0)[0][0][0], after.at(0)[0][0][0]))
    words = Noted(((track, 1.0),), before.negative)

    latents = alone(small(sampler="Heun", steps=4), checkpoint, words)

    assert said[1:] == [0, 0, 1, 1, 2, 2, 3]
    assert unlikeness(latents, alone(small(sampler="Heun", steps=4), checkpoint, before)) > 1e-3


def test_room_is_what_the_device_takes_less_what_is_at_work() -> None:
    checkpoint = tiny()
    engine = Engine("cpu", BatchPolicy(torch.device("cpu"), first=8, most=8))

    assert engine.room(small(), checkpoint) == 4
    engine.admit("two", small(batch_size=2), checkpoint, plan(checkpoint))
    assert engine.room(small(), checkpoint) == 2
    engine.admit("ten", small(batch_size=10), checkpoint, plan(checkpoint))
    assert engine.room(small(), checkpoint) == 0


def test_room_follows_the_prompts_that_are_at_work() -> None:
    checkpoint = tiny()
    policy = BatchPolicy(torch.device("cpu"), first=2, most=32)
    engine = Engine("cpu", policy)
    engine.admit("long", small(steps=9), checkpoint, plan(checkpoint, chunks=3))
    shape = Shape("sd15", 8, 8, 231)

    for _ in range(3):
        policy.record(shape, 2, 1.0)

    assert engine.room(small(), checkpoint) == 1


def test_more_pictures_than_fit_are_painted_after_one_another() -> None:
    checkpoint, engine = tiny(), wide_engine(4)
    request = small(steps=2, batch_size=5)
    engine.admit("five", request, checkpoint, plan(checkpoint))

    with Watch() as watch:
        run = Run(engine)

    assert watch.rows == [4, 4, 4, 4, 2, 2]
    assert run.steps["five"][-1] == (2, 2)
    assert unlikeness(run.latents["five"], alone(request, checkpoint, plan(checkpoint))) < NEAR
