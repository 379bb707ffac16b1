"""Pictures that people gave us stay as long as requests refer to them, and as there is room."""

import time

import pytest

from easel.errors import Expired
from easel.job_queue import names
from easel.job_queue.queue import REMEMBER_S, SPARED_S, JobQueue
from tests.conftest import KEY


def life(queue: JobQueue, name: str) -> int:
    return int(queue.connection.ttl(names.blob_key(name)))


def last_used(queue: JobQueue, name: str, days_ago: float) -> None:
    queue.connection.zadd(names.KEPT_ONES, {name: time.time() - days_ago * 24 * 3600})


def test_a_picture_that_was_given_stays_as_long_as_the_request(queue: JobQueue) -> None:
    name = queue.keep(b"png")

    assert queue.picture(name) == b"png"
    assert REMEMBER_S - 5 < life(queue, name) <= REMEMBER_S


def test_the_same_picture_is_kept_once_and_its_time_begins_anew(queue: JobQueue) -> None:
    name = queue.keep(b"png")
    queue.connection.expire(names.blob_key(name), 10)

    assert queue.keep(b"png") == name

    assert life(queue, name) > REMEMBER_S - 5
    assert queue.connection.zcard(names.KEPT_ONES) == 1


def test_a_picture_that_is_used_stays_longer(queue: JobQueue) -> None:
    name = queue.keep(b"png")
    queue.connection.expire(names.blob_key(name), 10)
    last_used(queue, name, days_ago=20)

    queue.picture(name)

    assert life(queue, name) > REMEMBER_S - 5
    assert (queue.connection.zscore(names.KEPT_ONES, name) or 0) > time.time() - 60


def test_where_all_are_too_much_the_one_longest_not_used_goes(queue: JobQueue) -> None:
    small = JobQueue(queue.connection, key=KEY, kept_bytes=250)
    kept = [small.keep(bytes([n]) * 100) for n in range(2)]
    last_used(small, kept[0], days_ago=3)
    last_used(small, kept[1], days_ago=2)

    kept.append(small.keep(b"x" * 100))

    with pytest.raises(Expired, match="that you gave me"):
        small.picture(kept[0])
    assert [len(small.picture(name)) for name in kept[1:]] == [100, 100]


def test_no_picture_goes_while_its_job_may_be_in_line(queue: JobQueue) -> None:
    tiny = JobQueue(queue.connection, key=KEY, kept_bytes=0)
    first = tiny.keep(b"first")
    last_used(tiny, first, days_ago=0.9)
    assert SPARED_S == 24 * 3600

    second = tiny.keep(b"second")

    assert (tiny.picture(first), tiny.picture(second)) == (b"first", b"second")


def test_a_picture_that_somebody_changed_in_redis_is_not_the_one_that_was_given(queue: JobQueue) -> None:
    name = queue.keep(b"png")
    queue.connection.set(names.blob_key(name), b"another")

    with pytest.raises(Expired):
        queue.picture(name)


def test_rubbish_among_the_kept_is_left_out(queue: JobQueue) -> None:
    queue.connection.zadd(names.KEPT_ONES, {b"\xff": 1, b"gone": 2, b"list": 3})
    queue.connection.rpush(names.blob_key("list"), "x")

    name = queue.keep(b"png")

    assert queue.connection.zrange(names.KEPT_ONES, 0, -1) == [name.encode()]
