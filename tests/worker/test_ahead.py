"""What comes next is read while the device is busy, and what the device has is told."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
import torch

from easel.job_queue import names
from easel.job_queue.lease_worker import LeaseWorker
from easel.job_queue.queue import JobQueue
from tests.fakes.jobs import a_job
from tests.fakes.workshop import Workshop, asked
from worker.ahead import Ahead
from worker.diffusers_renderer import DiffusersRenderer
from worker.models import Models


@pytest.fixture
def models(workshop: Workshop) -> Models:
    return Models(workshop.library, device=torch.device("cpu"), ram_gb=1)


@contextmanager
def looking_ahead(queue: JobQueue, models: Models) -> Iterator[None]:
    lease = LeaseWorker(queue, name="w1")
    lease.start()
    with closing(lease), closing(Ahead(queue, "w1", models, every_s=0.02)) as ahead:
        ahead.start()
        yield


def until(check: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_the_next_checkpoint_is_read_while_another_one_denoises(models: Models, queue: JobQueue) -> None:
    models.checkpoint("tiny")
    for name in ("tiny", "nobody knows it", "other", "xl"):
        queue.put(a_job(checkpoint=name))

    with models.denoising, models.working, looking_ahead(queue, models):
        until(lambda: "other" in models.in_ram)

    assert "xl" not in models.in_ram
    assert models.warm == ("tiny",)


def test_what_is_warm_is_told_to_everybody(models: Models, queue: JobQueue) -> None:
    with looking_ahead(queue, models):
        models.checkpoint("tiny")
        until(lambda: queue.warm() == {"tiny"})
        models.checkpoint("other")
        until(lambda: queue.warm() == {"tiny", "other"})

    assert queue.warm() == frozenset()


def test_when_redis_can_not_tell_what_comes_it_is_asked_again(models: Models, queue: JobQueue) -> None:
    # A key of another kind answers with an error, as a Redis that is away does.
    queue.connection.set(queue.rq.key, "no line")
    with closing(Ahead(queue, "w1", models, every_s=0.02)) as ahead:
        ahead.start()
        until(lambda: queue.connection.exists(names.warm_key("w1")) == 1)
        queue.connection.delete(queue.rq.key)
        queue.put(a_job(checkpoint="other"))

        until(lambda: "other" in models.in_ram)


def test_a_checkpoint_that_can_not_be_read_holds_up_nothing(models: Models) -> None:
    models.expect(["nobody knows it", "other"])

    assert models.in_ram == ("other",)


def test_a_renderer_pours_one_checkpoint_after_the_other_and_every_picture_is_its_own(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.models.weights_budget", lambda device: 1)
    with closing(DiffusersRenderer(workshop.library, device="cpu")) as renderer:
        (tiny, one), (other, two), (again, three) = (drawn(renderer, name) for name in ("tiny", "other", "tiny"))
    with closing(DiffusersRenderer(workshop.library, device="cpu")) as renderer:
        alone, _ = drawn(renderer, "other")

    assert one is two is three
    assert again == tiny != other == alone


def drawn(renderer: DiffusersRenderer, name: str) -> tuple[bytes, object]:
    """Return a picture, and the UNet that painted it."""
    renderer.admit("job", asked(checkpoint=name, steps=2))
    finished = None
    while renderer.busy:
        for event in renderer.step():
            finished = getattr(event, "pictures", finished)
    assert finished is not None
    return finished[0], renderer.models.checkpoint(name).unet
