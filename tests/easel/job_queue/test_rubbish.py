"""Any client of Redis may write anything into any key: nobody dies of it, and the next job is painted."""

import json
import logging
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from easel.errors import Expired, QueueDown, Untrusted
from easel.job_queue import names
from easel.job_queue.envelope import seal, unseal
from easel.job_queue.lease_worker import give_back
from easel.job_queue.owed import Owed
from easel.job_queue.queue import JobQueue, Status
from easel.jobs import Job
from tests.fakes.jobs import a_job
from tests.fakes.results import end
from tests.worker.test_gpu_worker import over, until, working
from worker.sketch import SketchRenderer

Spoil = Callable[["Redis", str], object]
"""Writes rubbish beside the job of that id."""


def record(**fields: Any) -> Spoil:
    return lambda redis, job_id: redis.hset(names.record_key(job_id), mapping=fields)


def string_at(key: str) -> Spoil:
    def spoil(redis: "Redis", job_id: str) -> None:
        redis.delete(key.format(job_id))
        redis.set(key.format(job_id), "rubbish")

    return spoil


IN_LINE: dict[str, Spoil] = {
    "a step that is no number": record(step="many", total="\xff"),
    "a step beyond all": record(step=str(10**30), total="4"),
    "attempts that are no number": record(attempts="x"),
    "attempts beyond 64 bits": record(attempts=str(2**63 - 1)),
    "a size below nothing": record(n="-1000"),
    "a size that is no number": record(n="nan"),
    "a time that is no number": record(claimed_at="never"),
    "a message that is no number": record(message=b"\xff/../.."),
    "no record": lambda redis, job_id: redis.delete(names.record_key(job_id)),
    "a record that is a string": string_at(names.RECORD + "{}"),
    "a signature in letters of another alphabet": record(envelope=json.dumps({"v": 1, "sig": "é", "body": "{}"})),
    "half a letter": record(envelope=json.dumps({"v": 1, "sig": "x", "body": "\ud800"})),
    "an infinite version": record(envelope='{"v": Infinity, "sig": "x", "body": "x"}'),
    "a deep envelope": record(envelope="[" * 100_000),
    "a result that is none": record(result="x"),
    "a job of RQ that is a string": string_at("rq:job:{}"),
    "executions that are a string": string_at("rq:executions:{}"),
    "results that are a string": string_at("rq:results:{}"),
    "dependents that are a string": string_at("rq:job:{}:dependents"),
    "a dependent that is none": lambda redis, job_id: redis.sadd(f"rq:job:{job_id}:dependents", b"\xff"),
}


@pytest.mark.parametrize("spoil", IN_LINE.values(), ids=IN_LINE)
def test_rubbish_beside_a_job_harms_at_most_that_job(redis_url: str, queue: JobQueue, spoil: Spoil) -> None:
    spoiled, good = a_job(), a_job()
    queue.put(spoiled)
    queue.put(good)
    spoil(queue.connection, spoiled.id)

    with working(redis_url, SketchRenderer()):
        result = over(queue, good.id).result
        until(lambda: queue.connection.llen(queue.rq.intermediate_queue_key) == 0)
        until(lambda: queue.rq.started_job_registry.get_job_count(cleanup=False) == 0)

    assert result is not None
    assert result.failure is None
    assert queue.waiting() == 0


WHILE_RUNNING = {
    name: IN_LINE[name]
    for name in (
        "a step that is no number",
        "no record",
        "a record that is a string",
        "a job of RQ that is a string",
        "executions that are a string",
        "results that are a string",
        "a dependent that is none",
    )
}


@pytest.mark.parametrize("spoil", WHILE_RUNNING.values(), ids=WHILE_RUNNING)
def test_rubbish_beside_a_running_job_harms_at_most_that_job(redis_url: str, queue: JobQueue, spoil: Spoil) -> None:
    spoiled, good = a_job(steps=40), a_job(width=256)
    queue.put(spoiled)

    with working(redis_url, SketchRenderer(step_s=0.02)):
        until(lambda: queue.state(spoiled.id).status is Status.RUNNING)
        spoil(queue.connection, spoiled.id)
        queue.put(good)
        result = over(queue, good.id).result

    assert result is not None
    assert result.failure is None


@pytest.mark.parametrize("job_id", [b"\xff\xfe", b"with space", b"a:b", b"", b"x" * 1000])
def test_an_entry_in_line_that_is_no_id_is_left_out(redis_url: str, queue: JobQueue, job_id: bytes) -> None:
    good = a_job()
    queue.connection.hset(b"rq:job:" + job_id, "status", "queued")
    queue.connection.rpush(queue.rq.key, job_id)
    queue.put(good)

    with working(redis_url, SketchRenderer()):
        over(queue, good.id)

    assert queue.waiting() == 0
    assert not queue.connection.exists(names.RECORD.encode() + job_id)


@pytest.mark.parametrize("command", [b"rubbish", b"\xff", b"[]", b"{}", b'"x"', b"[" * 100_000, b'{"command": []}'])
def test_a_worker_still_obeys_after_rubbish_on_its_channel(redis_url: str, queue: JobQueue, command: bytes) -> None:
    job = a_job(steps=150)
    queue.put(job)

    with working(redis_url, SketchRenderer(step_s=0.02)):
        until(lambda: queue.state(job.id).status is Status.RUNNING)
        queue.connection.publish("rq:pubsub:w1", command)
        queue.connection.publish("rq:pubsub:w1", json.dumps({"command": "stop-job", "job_id": job.id}))
        result = over(queue, job.id).result

    assert result is not None
    assert result.failure is not None
    assert result.failure.code == "cancelled"


def test_rubbish_in_the_registers_does_not_keep_the_jobs_of_the_dead(queue: JobQueue) -> None:
    lost = a_job()
    queue.put(lost)
    queue.connection.lmove(queue.rq.key, queue.rq.intermediate_queue_key)
    queue.connection.hset(f"rq:job:{lost.id}", mapping={"status": "started", "worker_name": "dead"})
    queue.connection.hset(names.record_key(lost.id), "claimed_at", "never")
    queue.connection.zadd(queue.rq.started_job_registry.key, {b"\xff:\xff": 1, b"": 1, b"no colon": 1})
    queue.connection.rpush(queue.rq.intermediate_queue_key, b"\xff", b"strange1")
    queue.connection.set("rq:job:strange1", "a string")
    queue.connection.sadd("rq:worker:dead:executions", b"\xff:\xff", b"")

    assert give_back(queue) == [lost.id]

    assert give_back(queue, "dead") == []
    assert queue.connection.lrange(queue.rq.intermediate_queue_key, 0, -1) == []
    assert queue.connection.zcard(queue.rq.started_job_registry.key) == 0


def complaints(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [one for one in caplog.records if one.name.startswith(("easel", "worker"))]


def test_a_broken_line_is_neither_spun_on_nor_died_of(
    redis_url: str, queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    job = a_job()
    queue.connection.set(queue.rq.intermediate_queue_key, "rubbish")
    queue.put(job)

    with working(redis_url, SketchRenderer()), caplog.at_level(logging.ERROR):
        until(lambda: len(complaints(caplog)) >= 2)
        queue.connection.delete(queue.rq.intermediate_queue_key)
        result = over(queue, job.id).result

    first, second, *_ = complaints(caplog)
    assert second.created - first.created > 0.5
    assert result is not None
    assert result.failure is None


REFUSALS: dict[str, tuple[Spoil, Spoil]] = {
    "it is full": (
        lambda redis, _: redis.config_set("maxmemory", 1),
        lambda redis, _: redis.config_set("maxmemory", 0),
    ),
    "it is read-only": (
        lambda redis, _: redis.replicaof("127.0.0.1", "1"),
        lambda redis, _: redis.replicaof("NO", "ONE"),
    ),
    "the line is a string": (
        lambda redis, _: redis.set("rq:queue:images", "rubbish"),
        lambda redis, _: redis.delete("rq:queue:images"),
    ),
}


@pytest.mark.parametrize(("refuse", "relent"), REFUSALS.values(), ids=REFUSALS)
def test_a_redis_that_refuses_counts_as_away_and_the_log_says_why(
    queue: JobQueue, caplog: pytest.LogCaptureFixture, refuse: Spoil, relent: Spoil
) -> None:
    job = a_job()
    refuse(queue.connection, job.id)

    try:
        with caplog.at_level(logging.ERROR), pytest.raises(QueueDown):
            queue.put(job)
    finally:
        relent(queue.connection, job.id)

    assert "Redis refuses" in caplog.text
    assert queue.waiting() == 0


def test_a_worker_whose_own_key_was_spoiled_makes_it_anew(redis_url: str, queue: JobQueue) -> None:
    job = a_job(steps=150)
    queue.put(job)

    with working(redis_url, SketchRenderer(step_s=0.03)):
        # A key spoiled in the middle of the claim costs a try; here the claim is over.
        until(lambda: queue.state(job.id).progress is not None)
        queue.connection.delete("rq:worker:w1")
        queue.connection.set("rq:worker:w1", "rubbish")
        result = over(queue, job.id).result

    assert result is not None
    assert result.failure is None
    assert queue.connection.hget(names.record_key(job.id), "attempts") == b"1"


def test_names_of_workers_that_are_none_are_not_counted(queue: JobQueue) -> None:
    queue.connection.set("easel:stranger", "x")
    queue.connection.sadd("rq:workers:images", b"\xff", "easel:stranger", "rq:worker:gone")

    assert queue.worker_names() == []


def test_what_somebody_wrote_into_a_record_is_not_believed(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)

    for message in (b"\xff", b"../../../users/@me", b"1" * 100, b"-1", b""):
        queue.connection.hset(names.record_key(job.id), "message", message)
        assert queue.state(job.id).message_id == ""
    for step, total in ((b"x", b"9"), (b"9" * 30, b"9" * 30), (b"10", b"9"), (b"", b""), (b"\xff", b"1")):
        queue.connection.hset(names.record_key(job.id), mapping={"step": step, "total": total})
        assert queue.state(job.id).progress is None


def test_the_result_of_another_job_is_not_taken_for_this_ones(queue: JobQueue) -> None:
    mine, theirs = a_job(), a_job()
    queue.put(mine)
    queue.put(theirs)
    end(queue, theirs, b"png")
    stolen = queue.connection.hget(names.record_key(theirs.id), "result")
    queue.connection.hset(names.record_key(mine.id), "result", stolen or b"")

    with pytest.raises(Untrusted, match="another job"):
        queue.state(mine.id)


def test_a_picture_that_is_no_string_is_gone(queue: JobQueue) -> None:
    queue.connection.rpush(names.blob_key("x"), "a", "b")

    with pytest.raises(Expired, match="Again"):
        queue.picture("x")


@pytest.mark.parametrize(
    "text",
    [
        '{"v": Infinity, "sig": "x", "body": "x"}',
        '{"v": NaN, "sig": "x", "body": "x"}',
        json.dumps({"v": 1, "sig": "é", "body": "x"}),
        json.dumps({"v": 1, "sig": "x", "body": "\ud800"}),
        '{"v": ' + "9" * 4200 + ', "sig": "x", "body": "x"}',
        b"\xff\xfe\xff",
        "[" * 100_000,
    ],
)
def test_what_is_no_envelope_is_untrusted_and_nothing_else(text: bytes | str) -> None:
    with pytest.raises(Untrusted):
        unseal("job", text, Job, b"k")


def test_an_envelope_is_read_back() -> None:
    job = a_job(prompt="é 猫")

    assert unseal("job", seal("job", job, b"k"), Job, b"k") == job


def test_debts_that_name_no_job_are_struck_off(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    queue.placed(job.id, "42")
    queue.connection.zadd(names.OWED, {b"\xff": 0, b"a b": 0, b"": 0})

    assert Owed(queue).take(10) == [job.id]

    assert queue.connection.zrange(names.OWED, 0, -1) == [job.id.encode()]


def test_the_shutdown_command_of_rq_ends_a_worker_as_sigterm_does(redis_url: str, queue: JobQueue) -> None:
    asked = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())

    with working(redis_url, SketchRenderer()):
        until(lambda: queue.workers() == 1)
        queue.connection.publish("rq:pubsub:w1", json.dumps({"command": "shutdown"}))
        until(asked.is_set)

    signal.signal(signal.SIGTERM, before)
