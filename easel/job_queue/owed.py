"""What is owed to whom: every queued job has an entry here until its asker has seen the end of it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError, ResponseError

from easel.job_queue import names
from easel.job_queue.queue import JobQueue

log = logging.getLogger(__name__)

LOOK_LEASE_S = 30
"""A job taken for a look comes up again after this time, should its taker die."""
MOUTH_S = 20
"""So long nobody else writes to a message after whoever held it died; the living keep it for as long as they need."""
DELIVERED_BLOB_S = 3600
MOST_PREVIEW = 64 * 2**10
"""Bytes."""
JPEG = b"\xff\xd8\xff"


class Owed:
    """The delivery side of the queue: take what is due, look again later, settle."""

    def __init__(self, queue: JobQueue) -> None:
        self.queue = queue
        self.connection = queue.connection

    def take(self, limit: int) -> list[str]:
        """Return job ids whose message is due for a look, at most `limit`; each goes to one taker."""
        ids = self.queue.scripts.run("take_owed", keys=[names.OWED], args=[limit, LOOK_LEASE_S])
        jobs = [job_id for job_id in ids if names.JOB_ID.fullmatch(job_id)]
        if len(jobs) < len(ids):
            self.connection.zrem(names.OWED, *set(ids).difference(jobs))
        return [job_id.decode() for job_id in jobs]

    def look_again(self, job_id: str, seconds: float, *, not_before: bool = False) -> None:
        """Let it come up in `seconds`; unless `not_before`, sooner where its end came while we looked at it."""
        self.connection.zadd(names.OWED, {job_id: self.queue.now() + seconds}, xx=True, lt=not not_before)

    def settle(self, job_id: str, pictures: tuple[str, ...] = ()) -> None:
        """The asker has seen the end: nothing is owed any more, and the pictures may go soon."""
        with self.connection.pipeline() as pipe:
            pipe.hset(names.record_key(job_id), "delivered", "1")
            pipe.zrem(names.OWED, job_id)
            for name in pictures:
                pipe.expire(names.blob_key(name), DELIVERED_BLOB_S)
            pipe.execute()

    def forget(self, job_id: str) -> None:
        """Nobody knows any more what was owed, and to whom."""
        self.connection.zrem(names.OWED, job_id)

    def owe_again(self, job_id: str) -> None:
        """Let its end be shown once more, whatever was shown before."""
        if self.connection.hexists(names.record_key(job_id), "envelope"):
            with self.connection.pipeline() as pipe:
                pipe.hdel(names.record_key(job_id), "delivered")
                pipe.zadd(names.OWED, {job_id: 0})
                pipe.execute()

    def may_call(self, job_id: str) -> bool:
        """Tell whether the asker was not called yet; from now on they were."""
        return bool(self.connection.hsetnx(names.record_key(job_id), "called", "1"))

    def take_mouth(self, job_id: str, me: str) -> bool:
        """Become the only one who may write to this job's message; False while somebody else is."""
        return bool(self.connection.set(names.mouth_key(job_id), me, nx=True, ex=MOUTH_S))

    def keep_mouth(self, job_id: str, me: str) -> bool:
        """Hold on to the message for another while; False when it is somebody else's by now."""
        return self._mouth(job_id, me, MOUTH_S)

    def leave_mouth(self, job_id: str, me: str) -> bool:
        """Leave the message to others; False when somebody else may have had it meanwhile."""
        return self._mouth(job_id, me, 0)

    def _mouth(self, job_id: str, me: str, seconds: int) -> bool:
        return bool(self.queue.scripts.run("mouth", keys=[names.mouth_key(job_id)], args=[me, seconds]))

    def preview(self, job_id: str) -> bytes:
        """Return a small JPEG of what is about to be; empty where there is none, or what stands there is something else."""
        try:
            data = self.connection.getrange(names.preview_key(job_id), 0, MOST_PREVIEW)
        except ResponseError:
            return b""
        if not isinstance(data, bytes) or not data.startswith(JPEG) or len(data) > MOST_PREVIEW:
            return b""
        return data

    def remember_message(self, job_id: str, message_id: str) -> None:
        self.connection.hset(names.record_key(job_id), "message", message_id)


@asynccontextmanager
async def events(redis_url: str) -> AsyncIterator[AsyncIterator[dict[str, object]]]:
    """Listen to the hints of all jobs; survives outages of Redis, during which hints are lost."""
    connection = AsyncRedis.from_url(redis_url)
    try:
        yield _listen(connection)
    finally:
        await connection.aclose()


async def _listen(connection: "AsyncRedis") -> AsyncIterator[dict[str, object]]:
    while True:
        try:
            async with connection.pubsub() as pubsub:
                await pubsub.subscribe(names.EVENTS)
                async for message in pubsub.listen():
                    if message["type"] == "message" and isinstance(event := _parsed(message["data"]), dict):
                        yield event
        except (RedisError, OSError) as error:
            log.warning("lost the line to Redis: %s", error)
            await asyncio.sleep(0.5)


def _parsed(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
