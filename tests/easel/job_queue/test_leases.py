"""Who holds a job and for how long, whatever dies, sleeps or is cut off in between."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from easel import server
from easel.errors import QueueDown
from easel.job_queue import names
from easel.job_queue.connect import impatient, patient
from easel.job_queue.lease_worker import LEASE_S, LeaseWorker, give_back
from easel.job_queue.queue import JobQueue, Status
from tests.conftest import KEY
from tests.easel.job_queue.test_queue import fall_silent, result_of, worker
from tests.fakes.jobs import a_job
from tests.worker.test_gpu_worker import over, until, working
from worker.gpu_worker import GpuWorker
from worker.renderer import Event
from worker.sketch import SketchRenderer


def leases(queue: JobQueue) -> list[bytes]:
    return list(queue.connection.zrange(queue.rq.started_job_registry.key, 0, -1))


def test_a_clock_that_is_slow_costs_no_lease(queue: JobQueue) -> None:
    queue.put(a_job())
    lease = worker(queue)
    lease.claim(room=1)
    queue.connection.zadd(queue.rq.started_job_registry.key, dict.fromkeys(leases(queue), time.time() - 600))

    assert give_back(queue) == []

    lease.close()


def test_a_clock_that_is_fast_does_not_keep_the_jobs_of_the_dead(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    dead = worker(queue, "dead")
    dead.claim(room=1)
    fall_silent(dead)
    dead._heart.join()
    (composite,) = leases(queue)
    queue.connection.zadd(queue.rq.started_job_registry.key, {composite: time.time() + 3600})

    assert queue.connection.ttl(b"rq:execution:" + composite) <= LEASE_S
    queue.connection.delete(b"rq:execution:" + composite)

    assert give_back(queue) == [job.id]


def test_who_wakes_up_between_claim_and_books_leaves_the_job_to_its_new_holder(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = a_job()
    queue.put(job)
    sleeper, awake = LeaseWorker(JobQueue(queue.connection, key=KEY), name="sleeper"), worker(queue, "awake")
    run = sleeper.queue.scripts.run
    claimed_meanwhile: list[Any] = []

    def run_and_sleep(name: str, **what: Any) -> Any:
        answer = run(name, **what)
        give_back(queue, "sleeper")
        claimed_meanwhile.extend(awake.claim(room=1))
        return answer

    monkeypatch.setattr(sleeper.queue.scripts, "run", run_and_sleep)

    assert sleeper.claim(room=1) == []

    (claimed,) = claimed_meanwhile
    assert awake.finish(claimed, result_of(job, pictures=("p",)))
    awake.close()


def test_after_a_start_and_after_a_stall_everybody_gets_one_lease_of_time(queue: JobQueue) -> None:
    lease = LeaseWorker(queue, name="w1")
    start = lease._last_beat

    beats = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 12.0, 13.0, 16.0, 17.0, 18.0]
    reaps = [at for at in beats if lease._may_reap(start + at)]

    assert reaps == [5.0, 6.0, 17.0, 18.0]


def test_the_same_result_written_twice_counts_as_written(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    lease = worker(queue)
    (claimed,) = lease.claim(room=1)
    result = result_of(job, pictures=("p",))
    run = lease.queue.scripts.run
    lease.queue.scripts.run = lambda name, **what: (run(name, **what), run(name, **what))[1]  # type: ignore[method-assign]

    # As when the line is cut before the answer, and the client asks once more.
    assert lease.finish(claimed, result)

    assert queue.rq.finished_job_registry.get_job_ids() == [job.id]
    lease.close()


def test_a_result_written_again_after_the_books_were_closed_is_not_late(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    lease = worker(queue)
    (claimed,) = lease.claim(room=1)
    result = result_of(job, pictures=("p",))
    assert lease.finish(claimed, result)

    assert lease.finish(claimed, result)
    assert not lease.finish(claimed, result_of(job, pictures=("another",)))

    assert queue.state(job.id).result == result
    assert queue.rq.finished_job_registry.get_job_ids() == [job.id]
    lease.close()


def test_a_worker_that_hears_nothing_stops_all_the_same(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    deaf = worker(queue)
    deaf.claim(room=1)
    deaf.books.unsubscribe()

    assert queue.cancel(job.id) == "asked"

    until(lambda: deaf.stop_requested(job.id))
    deaf.close()


@pytest.mark.parametrize("with_books", [True, False])
def test_a_cancelled_job_whose_worker_dies_is_not_drawn_by_the_next(queue: JobQueue, with_books: bool) -> None:
    job = a_job()
    queue.put(job)
    if with_books:
        dead = worker(queue, "dead")
        dead.claim(room=1)
        fall_silent(dead)
    else:
        keys = [queue.rq.key, queue.rq.intermediate_queue_key]
        queue.scripts.run("claim", keys=keys, args=[names.RQ_ROOT, names.RECORD, "dead", 1, "", 64])

    assert queue.cancel(job.id) == "asked"
    assert give_back(queue, "dead") == [job.id]

    alive = worker(queue, "alive")
    assert alive.claim(room=1) == []
    result = queue.state(job.id).result
    assert result is not None
    assert result.failure is not None
    assert result.failure.code == "cancelled"
    alive.close()


def test_a_cancel_finds_half_an_execution_and_is_heard_all_the_same(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    lease = worker(queue)
    lease.claim(room=1)
    (composite,) = leases(queue)
    queue.connection.hdel(b"rq:execution:" + composite, "created_at")

    assert queue.cancel(job.id) == "asked"

    until(lambda: lease.stop_requested(job.id))
    lease.close()


def test_a_worker_that_was_struck_off_during_a_stall_appears_again(queue: JobQueue) -> None:
    lease = worker(queue, "back-again")
    assert queue.worker_names() == ["back-again"]
    queue.connection.delete("rq:worker:back-again", "rq:workers", "rq:workers:images")

    until(lambda: queue.worker_names() == ["back-again"])

    until(lambda: queue.connection.hget("rq:worker:back-again", "state") == b"idle")
    lease.close()
    assert queue.worker_names() == []


def test_what_rq_would_keep_for_ever_is_let_go(queue: JobQueue) -> None:
    cancelled, ended = a_job(), a_job()
    queue.put(cancelled)
    queue.cancel(cancelled.id)
    queue.connection.sadd("rq:workers", "rq:worker:long-dead", b"\xff")
    queue.connection.sadd("rq:workers:images", "rq:worker:long-dead", b"\xff")
    queue.connection.zadd("rq:finished:images", {"old": 1, ended.id: time.time() + 60})
    queue.connection.zadd("rq:failed:images", {"old": 1})

    lease = worker(queue, "tidy")
    until(lambda: queue.connection.smembers("rq:workers:images") == {b"rq:worker:tidy"})

    assert queue.connection.smembers("rq:workers") == {b"rq:worker:tidy"}
    assert 0 < queue.connection.ttl(f"rq:job:{cancelled.id}") <= 3600
    assert queue.connection.zrange("rq:finished:images", 0, -1) == [ended.id.encode()]
    assert queue.connection.zcard("rq:failed:images") == 0
    lease.close()


def test_what_was_asked_to_stop_and_is_over_is_not_kept_in_mind(queue: JobQueue) -> None:
    lease = worker(queue)
    lease.books.stopped.update(f"over{n}" for n in range(100))

    until(lambda: not lease.books.stopped)

    lease.close()


@pytest.mark.parametrize("given_back", [False, True])
def test_however_popular_a_batch_is_others_have_their_turn(queue: JobQueue, given_back: bool) -> None:
    lease = worker(queue)
    queue.put(a_job())
    (first,) = lease.claim(room=1)
    other = a_job() if given_back else a_job(width=256)
    queue.put(other)
    if given_back:
        queue.connection.hset(names.record_key(other.id), "attempts", "1")
    for _ in range(30):
        queue.put(a_job())

    joined = 0
    while lease.claim(room=1, batch=first.job.request.batch_key):
        joined += 1

    assert 2 <= joined <= 8
    (head,) = lease.claim(room=1)
    assert head.job.id == other.id
    lease.close()


class Broken(SketchRenderer):
    """Dies in a way that no job is blamed for."""

    @property
    def room(self) -> int:
        if self._jobs:
            raise SystemError
        return super().room


def test_a_try_that_the_worker_dies_of_is_counted(redis_url: str, queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)

    with Redis.from_url(redis_url) as connection, pytest.raises(SystemError):
        GpuWorker(LeaseWorker(JobQueue(connection, key=KEY), name="w1"), Broken()).run()

    assert queue.state(job.id).status is Status.QUEUED
    assert queue.state(job.id).attempts == 1


def test_rq_suspend_pauses_the_line_and_resume_goes_on(redis_url: str, queue: JobQueue) -> None:
    def rq(command: str) -> None:
        subprocess.run([sys.executable, "-W", "ignore", "-m", "rq.cli", command, "--url", redis_url], check=True)

    with working(redis_url, SketchRenderer()):
        until(lambda: queue.workers() == 1)
        rq("suspend")
        for _ in range(2):
            # Between two of its beats a worker has looked whether it should pause.
            last = queue.connection.hget("rq:worker:w1", "last_heartbeat")
            until(lambda last=last: queue.connection.hget("rq:worker:w1", "last_heartbeat") != last)  # type: ignore[misc]
        job = a_job()
        queue.put(job)
        began, busy = time.monotonic(), time.process_time()
        time.sleep(1.5)
        assert queue.state(job.id).status is Status.QUEUED
        assert time.process_time() - busy < (time.monotonic() - began) / 2
        rq("resume")
        over(queue, job.id)


def cut_before_it_is_done(redis: "Redis") -> None:
    for client in redis.client_list(_type="normal"):
        if client["addr"] != redis.client_info()["addr"] or client["id"] != str(redis.client_id()):
            redis.client_kill_filter(_id=client["id"])


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_line_cut_while_a_job_is_put_never_reads_as_put_before(
    redis_url: str, queue: JobQueue, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    door = JobQueue(impatient(redis_url), key=KEY)
    enqueue = door.rq.enqueue_job

    def cut(*what: Any, **how: Any) -> Any:
        answer = enqueue(*what, **how)
        if moment == "after":
            # Somebody else puts the same job at this moment, so that ours is already there.
            assert queue.put(job)
        else:
            cut_before_it_is_done(queue.connection)
        return answer

    monkeypatch.setattr(door.rq, "enqueue_job", cut)
    job = a_job()

    if moment == "after":
        assert not door.put(job)
    else:
        with pytest.raises(QueueDown):
            door.put(job)
    assert queue.waiting() == (moment == "after")
    door.connection.close()


HANGS = f"""
import sys, time
from redis import Redis
from easel.job_queue import lease_worker
from easel.job_queue.queue import JobQueue
lease_worker.JOB_TIMEOUT_S = 1
lease = lease_worker.LeaseWorker(JobQueue(Redis.from_url(sys.argv[1]), key={KEY!r}), name="hangs")
lease.start()
assert lease.claim(room=1)
time.sleep(60)
"""


def test_a_device_that_hangs_costs_its_process_and_not_the_job(redis_url: str, queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)

    ended = subprocess.run([sys.executable, "-c", HANGS, redis_url], check=False, cwd=Path(__file__).parents[3])

    assert ended.returncode == 70
    assert give_back(queue, "hangs") == [job.id]


class Slow(SketchRenderer):
    """Waits for a sign before its last step."""

    def __init__(self, go: Callable[[], bool]) -> None:
        super().__init__(step_s=0.01)
        self._go = go

    def step(self) -> list[Event]:
        while not self._go():
            time.sleep(0.01)
        return super().step()


def test_a_redis_that_is_killed_and_comes_back_loses_nothing(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="easel-") as folder:
        url = server.ensure(Path(folder))
        queue = JobQueue(patient(url), key=KEY)
        painted, after = a_job(), a_job(width=256)
        queue.put(painted)
        stop, go = threading.Event(), threading.Event()
        lease = LeaseWorker(JobQueue(patient(url), key=KEY), name="w1")
        thread = threading.Thread(target=GpuWorker(lease, Slow(go.is_set)).run, args=(stop.is_set,))
        thread.start()
        until(lambda: queue.state(painted.id).status is Status.RUNNING)

        os.kill(int(queue.connection.info("server")["process_id"]), signal.SIGKILL)
        go.set()
        server.ensure(Path(folder))

        result = over(queue, painted.id).result
        queue.put(after)
        over(queue, after.id)
        until(lambda: dict(queue.connection.pubsub_numsub("rq:pubsub:w1")) == {b"rq:pubsub:w1": 1})
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        queue.connection.close()
        lease.queue.connection.close()
        server.stop(Path(folder))

    assert result is not None
    assert result.failure is None
