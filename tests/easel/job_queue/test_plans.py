"""What waits for a yes."""

import pytest

from easel.errors import Expired, QueueDown, Untrusted
from easel.job_queue.connect import impatient
from easel.job_queue.plans import KEPT_S, Plans
from easel.job_queue.queue import JobQueue
from tests.fakes.jobs import a_job


def test_jobs_are_kept_for_an_hour_and_not_queued(queue: JobQueue) -> None:
    jobs = [a_job(prompt=f"cat {n}") for n in range(10)]
    plans = Plans(queue)

    plans.keep("plan1", jobs)

    assert plans.jobs("plan1") == tuple(jobs)
    assert queue.waiting() == 0
    assert KEPT_S - 5 < queue.connection.ttl("easel:plan:plan1") <= KEPT_S


def test_the_same_plan_is_made_once(queue: JobQueue) -> None:
    first, second = a_job(seed=1), a_job(seed=2)
    plans = Plans(queue)

    plans.keep("plan1", [first])
    plans.keep("plan1", [second])

    assert plans.jobs("plan1") == (first,)


def test_the_longest_prompts_fit(queue: JobQueue) -> None:
    jobs = [a_job(prompt="🐈" * 6000, negative_prompt="\\" * 6000) for _ in range(10)]

    Plans(queue).keep("plan1", jobs)

    assert Plans(queue).jobs("plan1") == tuple(jobs)


def test_a_forgotten_plan_is_said_to_be(queue: JobQueue) -> None:
    plans = Plans(queue)
    plans.keep("plan1", [a_job()])

    plans.forget("plan1")

    with pytest.raises(Expired, match="no longer remember what this was about"):
        plans.jobs("plan1")


def test_what_was_tampered_with_is_not_believed(queue: JobQueue) -> None:
    plans = Plans(queue)
    plans.keep("plan1", [a_job(), a_job()])
    plans.keep("plan2", [a_job()])
    redis = queue.connection
    whole = redis.hgetall("easel:plan:plan1")

    for field, value in (
        ("0", whole[b"1"]),
        ("0", redis.hget("easel:plan:plan2", "0")),
        ("0", b"{}"),
        ("7", whole[b"0"]),
    ):
        redis.delete("easel:plan:plan1")
        for name, sealed in whole.items():
            redis.hset("easel:plan:plan1", name, sealed)
        redis.hset("easel:plan:plan1", field, value)
        with pytest.raises(Untrusted):
            plans.jobs("plan1")


def test_redis_away_is_told() -> None:
    plans = Plans(JobQueue(impatient("redis://127.0.0.1:1"), key=b"k"))

    for call in (lambda: plans.keep("plan1", [a_job()]), lambda: plans.jobs("plan1"), lambda: plans.forget("plan1")):
        with pytest.raises(QueueDown):
            call()
