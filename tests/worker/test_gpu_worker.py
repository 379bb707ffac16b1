import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from redis import Redis

from easel.errors import OutOfMemory
from easel.job_queue.lease_worker import LeaseWorker
from easel.job_queue.queue import JobQueue, JobState, Status
from easel.jobs import ImageRequest
from tests.conftest import KEY
from tests.fakes.jobs import a_job
from worker.gpu_worker import GpuWorker
from worker.renderer import Event, Failed, Renderer
from worker.sketch import SketchRenderer


@contextmanager
def working(redis_url: str, renderer: Renderer, *, grace_s: float = 10) -> Iterator[threading.Event]:
    """Run a worker in a thread; leaving stops it."""
    stop = threading.Event()
    with Redis.from_url(redis_url) as connection:
        lease = LeaseWorker(JobQueue(connection, key=KEY), name="w1")
        thread = threading.Thread(target=GpuWorker(lease, renderer, grace_s=grace_s).run, args=(stop.is_set,))
        thread.start()
        yield stop
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def until(check: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def over(queue: JobQueue, job_id: str) -> JobState:
    until(lambda: queue.state(job_id).status is Status.OVER)
    return queue.state(job_id)


def test_a_job_becomes_pictures_with_their_infotexts(redis_url: str, queue: JobQueue) -> None:
    job = a_job(batch_size=3)
    queue.put(job)

    with working(redis_url, SketchRenderer()):
        result = over(queue, job.id).result

    assert result is not None
    assert len(result.pictures) == len(result.infotexts) == 3
    assert queue.picture(result.pictures[0]).startswith(b"\x89PNG")


def test_a_job_joins_what_is_being_drawn(redis_url: str, queue: JobQueue) -> None:
    long, short = a_job(steps=150), a_job(steps=2)
    queue.put(long)

    with working(redis_url, SketchRenderer(step_s=0.02)):
        until(lambda: queue.state(long.id).status is Status.RUNNING)
        queue.put(short)
        over(queue, short.id)

        assert queue.state(long.id).status is Status.RUNNING
        over(queue, long.id)


class Misbehaving(SketchRenderer):
    """Fails on words in the prompt, as models do on what is in them."""

    def admit(self, job_id: str, request: ImageRequest) -> None:
        if request.prompt == "refuse":
            raise OutOfMemory("Too large for this card; try 512x512.")
        if request.prompt == "break":
            raise ZeroDivisionError
        super().admit(job_id, request)

    def step(self) -> list[Event]:
        for job_id, sketch in list(self._jobs.items()):
            if sketch.request.prompt == "spoil":
                self.cancel(job_id)
                return [Failed(job_id, OutOfMemory("Too large."))]
            if sketch.request.prompt == "explode":
                raise ZeroDivisionError
        return super().step()


@pytest.mark.parametrize(
    ("prompt", "code", "words"),
    [
        ("refuse", "out_of_memory", "try 512x512"),
        ("break", "render", "Tell the admin this number"),
        ("spoil", "out_of_memory", "Too large"),
        ("explode", "render", "Tell the admin this number"),
    ],
)
def test_a_job_that_fails_says_why_and_the_next_one_is_drawn(
    redis_url: str, queue: JobQueue, prompt: str, code: str, words: str
) -> None:
    bad, good = a_job(prompt=prompt), a_job()
    queue.put(bad)

    with working(redis_url, Misbehaving()):
        failed = over(queue, bad.id).result
        queue.put(good)
        fine = over(queue, good.id).result

    assert failed is not None
    assert failed.failure is not None
    assert failed.failure.code == code
    assert words in failed.failure.text
    assert fine is not None
    assert fine.failure is None
    assert queue.rq.failed_job_registry.get_job_ids() == [bad.id]


def test_a_running_job_is_cancelled_within_a_few_steps(redis_url: str, queue: JobQueue) -> None:
    job = a_job(steps=150)
    queue.put(job)

    with working(redis_url, SketchRenderer(step_s=0.05)):
        until(
            lambda: (queue.state(job.id).progress or queue.state(job.id)) and queue.state(job.id).progress is not None
        )
        queue.cancel(job.id)
        result = over(queue, job.id).result

    assert result is not None
    assert result.failure is not None
    assert result.failure.code == "cancelled"
    assert queue.connection.hget(f"rq:job:{job.id}", "status") == b"stopped"


def test_a_stopping_worker_finishes_what_it_holds_and_takes_nothing_new(redis_url: str, queue: JobQueue) -> None:
    held, late = a_job(steps=20), a_job()
    queue.put(held)

    with working(redis_url, SketchRenderer(step_s=0.02)) as stop:
        until(lambda: queue.state(held.id).status is Status.RUNNING)
        stop.set()
        queue.put(late)

    assert queue.state(held.id).status is Status.OVER
    assert queue.state(late.id).status is Status.QUEUED


def test_a_worker_out_of_grace_hands_its_job_back_to_the_front(redis_url: str, queue: JobQueue) -> None:
    held, waiting = a_job(steps=150), a_job(width=256)
    queue.put(held)

    with working(redis_url, SketchRenderer(step_s=0.05), grace_s=0.2) as stop:
        until(lambda: queue.state(held.id).status is Status.RUNNING)
        queue.put(waiting)
        stop.set()

    assert queue.rq.job_ids == [held.id, waiting.id]
    assert queue.connection.hget(f"easel:job:{held.id}", "attempts") == b"0"
