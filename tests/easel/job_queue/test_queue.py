import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from easel.errors import Expired, QueueDown, Untrusted
from easel.job_queue import names
from easel.job_queue.connect import impatient
from easel.job_queue.lease_worker import LEASE_S, LeaseWorker, give_back
from easel.job_queue.owed import Owed
from easel.job_queue.queue import JobQueue, Status
from easel.jobs import Failure, ImageResult
from tests.fakes.jobs import a_job, a_local_job


def worker(queue: JobQueue, name: str = "w1") -> LeaseWorker:
    lease = LeaseWorker(queue, name=name)
    lease.start()
    return lease


def fall_silent(lease: LeaseWorker) -> None:
    """Stop beating and listening, as a killed process does, and hand nothing back."""
    lease._ended.set()
    lease.books.unsubscribe()


def result_of(job: object, **changes: object) -> ImageResult:
    return ImageResult.model_validate({"job_id": job.id, "request": job.request, **changes})  # type: ignore[attr-defined]


def test_a_job_goes_from_the_line_to_a_result(queue: JobQueue) -> None:
    job = a_job()

    assert queue.put(job)
    assert queue.state(job.id).status is Status.QUEUED
    lease = worker(queue)
    (claimed,) = lease.claim(room=1)
    assert queue.state(job.id).status is Status.RUNNING
    lease.progress(job.id, 2, 4)
    state = queue.state(job.id)
    assert state.progress is not None
    assert state.progress.step == 2
    assert lease.finish(claimed, result_of(job, pictures=("p",)))
    lease.close()

    state = queue.state(job.id)
    assert state.status is Status.OVER
    assert state.result is not None
    assert state.result.pictures == ("p",)
    assert queue.rq.finished_job_registry.get_job_ids() == [job.id]


def test_the_same_id_is_queued_once(queue: JobQueue) -> None:
    job = a_job()

    assert queue.put(job)
    assert not queue.put(job)

    assert queue.waiting() == 1


def test_jobs_that_can_share_a_batch_are_claimed_together(queue: JobQueue) -> None:
    jobs = [a_job(), a_job(width=256), a_job(), a_job(batch_size=4), a_job()]
    for job in jobs:
        queue.put(job)
    lease = worker(queue)

    first = lease.claim(room=4)
    second = lease.claim(room=1, batch=first[0].job.request.batch_key)

    assert [claimed.job.id for claimed in first] == [jobs[0].id, jobs[2].id, jobs[4].id]
    assert second == []
    assert [claimed.job.id for claimed in lease.claim(room=4)] == [jobs[1].id]
    lease.close()


def test_a_closing_worker_hands_its_jobs_back_without_counting_the_try(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    first = worker(queue)
    first.claim(room=1)

    first.close()

    assert queue.state(job.id).status is Status.QUEUED
    second = worker(queue, "w2")
    (claimed,) = second.claim(room=1)
    assert claimed.attempts == 1
    second.close()


def test_the_jobs_of_a_dead_worker_come_first_and_run_alone(queue: JobQueue) -> None:
    jobs = [a_job(), a_job()]
    dead = worker(queue, "dead")
    queue.put(jobs[0])
    dead.claim(room=1)
    fall_silent(dead)
    queue.put(jobs[1])

    assert give_back(queue, "dead") == [jobs[0].id]

    alive = worker(queue, "alive")
    claimed = alive.claim(room=4)
    assert [one.job.id for one in claimed] == [jobs[0].id]
    assert claimed[0].alone
    alive.close()


def test_a_late_result_of_a_worker_that_lost_its_lease_is_dropped(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    slow = worker(queue, "slow")
    (late,) = slow.claim(room=1)
    fall_silent(slow)
    give_back(queue, "slow")
    quick = worker(queue, "quick")
    (claimed,) = quick.claim(room=1)

    assert not slow.finish(late, result_of(job, pictures=("late",)))
    assert quick.finish(claimed, result_of(job, pictures=("good",)))

    state = queue.state(job.id)
    assert state.result is not None
    assert state.result.pictures == ("good",)
    quick.close()


def test_two_reapers_at_once_put_a_job_back_once(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    dead = worker(queue, "dead")
    dead.claim(room=1)
    fall_silent(dead)

    back = [give_back(queue, "dead"), give_back(queue, "dead")]

    assert back == [[job.id], []]
    assert queue.waiting() == 1


def test_a_job_that_kills_its_worker_is_given_up_after_three_tries(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    for n in range(3):
        dead = worker(queue, f"dead{n}")
        assert dead.claim(room=1)
        fall_silent(dead)
        give_back(queue, f"dead{n}")

    last = worker(queue, "last")

    assert last.claim(room=1) == []
    state = queue.state(job.id)
    assert state.result is not None
    assert state.result.failure is not None
    assert state.result.failure.code == "gave_up"
    last.close()


def test_a_lease_that_runs_out_is_reaped_by_any_worker(redis_url: str, queue: JobQueue) -> None:
    job = a_local_job()
    queue.put(job)
    script = f"""
import os
from redis import Redis
from easel.job_queue.lease_worker import LeaseWorker
from easel.job_queue.queue import JobQueue
lease = LeaseWorker(JobQueue(Redis.from_url({redis_url!r}), key=b"k" * 32), name="doomed")
lease.start()
assert lease.claim(room=1)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script], check=False, cwd=Path(__file__).parents[3])
    died = time.monotonic()
    alive = worker(queue, "alive")

    claimed: list[object] = []
    while not claimed and time.monotonic() - died < 30:
        alive.wait(0.1)
        claimed = list(alive.claim(room=1))

    assert claimed
    assert time.monotonic() - died < 5 * (LEASE_S + 1)
    alive.close()


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_is_asked_to_stop(queue: JobQueue) -> None:
    waiting, running = a_job(), a_job()
    queue.put(running)
    lease = worker(queue)
    lease.claim(room=1)
    queue.put(waiting)

    assert queue.cancel(waiting.id) == "cancelled"
    assert queue.cancel(running.id) == "asked"

    deadline = time.monotonic() + 60
    while not lease.stop_requested(running.id) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lease.stop_requested(running.id)
    assert lease.claim(room=4) == []
    assert queue.cancel(waiting.id) == "over"
    lease.close()


def test_a_job_that_names_another_callable_is_refused(queue: JobQueue) -> None:
    queue.rq.enqueue("os.system", "touch /tmp/easel-was-here", job_id="evil-job")
    lease = worker(queue)

    assert lease.claim(room=1) == []

    assert queue.rq.failed_job_registry.get_job_ids() == ["evil-job"]
    assert not Path("/tmp/easel-was-here").exists()
    lease.close()


def test_a_forged_job_is_refused_and_nothing_is_painted(queue: JobQueue) -> None:
    job = a_job()
    JobQueue(queue.connection, key=b"another key").put(job)
    lease = worker(queue)

    assert lease.claim(room=1) == []

    with pytest.raises(Untrusted, match="not signed"):
        queue.state(job.id)
    lease.close()


def test_a_job_copied_under_another_id_is_refused(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    record = queue.connection.hgetall(names.record_key(job.id))
    queue.connection.hset(names.record_key("another1"), mapping=record)

    with pytest.raises(Untrusted, match="another job's id"):
        queue.state("another1")


def test_an_unknown_job_is_expired(queue: JobQueue) -> None:
    with pytest.raises(Expired, match="ask for it again"):
        queue.state("unknown1")


def test_a_queue_that_is_away_is_told_within_two_seconds(tmp_path: Path) -> None:
    away = JobQueue(impatient(f"unix://{tmp_path}/nothing.sock"), key=b"k")
    began = time.monotonic()

    with pytest.raises(QueueDown, match="Nothing was started"):
        away.put(a_job())

    assert time.monotonic() - began < 2


def test_an_answer_is_owed_from_the_moment_a_job_is_queued(queue: JobQueue) -> None:
    job, local = a_job(), a_local_job()
    queue.put(job)
    queue.put(local)
    owed = Owed(queue)

    assert owed.take(10) == []  # the door has some seconds for its placeholder
    queue.placed(job.id, "42")
    assert owed.take(10) == [job.id]
    assert owed.take(10) == []
    assert queue.state(job.id).message_id == "42"
    assert owed.take_mouth(job.id, "me")
    assert not owed.take_mouth(job.id, "you")
    owed.look_again(job.id, 0)
    assert owed.take(10) == [job.id]
    owed.settle(job.id)

    assert owed.take(10) == []
    assert queue.state(job.id).delivered


def test_a_result_makes_its_message_due_at_once(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    queue.placed(job.id, "42")
    owed = Owed(queue)
    owed.take(10)
    lease = worker(queue)
    (claimed,) = lease.claim(room=1)

    lease.finish(claimed, result_of(job, failure=Failure(code="x", text="No.")))

    assert owed.take(10) == [job.id]
    lease.close()


def test_rq_info_shows_our_queue_and_workers(redis_url: str, queue: JobQueue) -> None:
    queue.put(a_job())
    lease = worker(queue, "visible-worker")
    url = redis_url

    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "rq.cli", "info", "--url", url, "--serializer", "json"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert "images" in shown
    assert "visible-worker" in shown
    lease.close()


def test_pictures_are_kept_apart_from_jobs(queue: JobQueue) -> None:
    name = queue.store("job1", b"png")

    assert queue.picture(name) == b"png"
    with pytest.raises(Expired, match="Again"):
        queue.picture("job1.unknown")


def test_redis_holds_no_pickle(queue: JobQueue) -> None:
    queue.put(a_job())

    values = [value for key in queue.connection.keys() for value in _values(queue.connection, key)]  # noqa: SIM118

    assert values
    assert not any(value.startswith(b"\x80") for value in values)


def _values(connection: "Redis", key: bytes) -> list[bytes]:
    kind = connection.type(key)
    if kind == b"hash":
        return [value for value in connection.hgetall(key).values() if isinstance(value, bytes)]
    if kind == b"string":
        value = connection.get(key)
        return [value] if isinstance(value, bytes) else []
    return []
