from easel.job_queue import names
from easel.job_queue.lease_worker import LeaseWorker
from easel.job_queue.outlook import LOOKED_AT, MOST_NAME, MOST_WARM, coming, tell_warm
from easel.job_queue.queue import JobQueue
from easel.jobs import Upscale
from tests.fakes.jobs import a_job


def at_work(queue: JobQueue, name: str) -> LeaseWorker:
    lease = LeaseWorker(queue, name=name)
    lease.start()
    return lease


def test_what_live_workers_have_at_hand_is_told_and_what_others_had_is_not(queue: JobQueue) -> None:
    leases = [at_work(queue, name) for name in ("w1", "w2", "w3")]
    for name, told in (("w1", ["one", "two"]), ("w2", ["two", "drei |ü"]), ("w3", ["gone"]), ("never", ["lie"])):
        tell_warm(queue.connection, name, told)
    leases.pop().close()

    warm = queue.warm()
    life = queue.connection.ttl(names.warm_key("w1"))
    for lease in leases:
        lease.close()

    assert warm == {"one", "two", "drei |ü"}
    assert 0 < life <= 15
    assert queue.warm() == frozenset()


def test_rubbish_about_what_is_warm_counts_as_nothing(queue: JobQueue) -> None:
    rubbish = [b"\xff", b"[" * 9000, b'{"a": 1}', b'["' + b"x" * 9000 + b'"]', b'[1, null, "", ["a"], "fine"]']
    leases = [at_work(queue, f"w{n}") for n in range(len(rubbish) + 1)]
    for n, one in enumerate(rubbish):
        queue.connection.set(names.warm_key(f"w{n}"), one)
    queue.connection.hset(names.warm_key(f"w{len(rubbish)}"), "another", "kind")

    warm = queue.warm()
    for lease in leases:
        lease.close()

    assert warm == {"fine"}


def test_of_very_many_long_names_the_last_ones_are_told(queue: JobQueue) -> None:
    lease = at_work(queue, "w1")

    tell_warm(queue.connection, "w1", [f"{n:03}" + "\u00fc" * (MOST_NAME - 3) for n in range(99)])
    warm = queue.warm()
    lease.close()

    assert 0 < len(warm) <= MOST_WARM
    assert {int(name[:3]) for name in warm} == set(range(99 - len(warm), 99))


def test_the_head_of_the_line_tells_which_checkpoints_are_asked_for_next(queue: JobQueue) -> None:
    for name in ("b|1", "a", "b|1", "c"):
        queue.put(a_job(checkpoint=name))
    queue.put(a_job(checkpoint="unused", upscale=Upscale()))
    queue.connection.rpush(queue.rq.key, b"\xff", "forged-1")
    queue.connection.set(names.record_key("forged-1"), "of another kind")

    assert coming(queue.connection, queue.rq.key) == ("b|1", "a", "c")


def test_what_stands_far_behind_in_the_line_is_not_looked_at(queue: JobQueue) -> None:
    for name in [*["near"] * LOOKED_AT, "far"]:
        queue.put(a_job(checkpoint=name))

    assert coming(queue.connection, queue.rq.key) == ("near",)
