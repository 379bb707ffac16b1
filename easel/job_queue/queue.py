"""The line of jobs as the doors see it: put, look, cancel, and the pictures that came of it."""

import json
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from redis import Redis
from redis.exceptions import WatchError
from rq import Queue
from rq.command import send_stop_execution_command
from rq.exceptions import InvalidJobOperation
from rq.executions import ExecutionRegistry
from rq.job import Job as RqJob
from rq.job import Retry
from rq.serializers import JSONSerializer
from rq.utils import as_text

from easel.errors import Expired, QueueDown, Untrusted
from easel.job_queue import names
from easel.job_queue.connect import REDIS_AWAY
from easel.job_queue.envelope import seal, unseal
from easel.job_queue.scripts import Scripts
from easel.jobs import Failure, FolderAddress, ImageResult, Job, Progress

log = logging.getLogger(__name__)

REMEMBER_S = 30 * 24 * 3600
"""How long a request stays behind the buttons of its message."""
BLOB_S = 24 * 3600
"""How long finished pictures wait for a network that is down."""
GATEWAY_S = 10
"""How long a door has for its placeholder before delivery takes the message over."""
JOB_TIMEOUT_S = 3600


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    OVER = "over"
    """There is a result: pictures or a failure."""
    LOST = "lost"
    """RQ no longer has it and there is no result."""


@dataclass(frozen=True, slots=True)
class JobState:
    """What is known of one job at one moment."""

    job: Job
    status: Status
    place: int = 0
    """Jobs in line before it."""
    progress: Progress | None = None
    result: ImageResult | None = None
    message_id: str = ""
    """The placeholder on its network; empty while there is none."""
    delivered: bool = False


@contextmanager
def told() -> Iterator[None]:
    """Turn a Redis that is away into the sentence for people."""
    try:
        yield
    except REDIS_AWAY as error:
        raise QueueDown from error


class JobQueue:
    """The queue of pictures on one Redis; every call is one or two round trips and blocks for them."""

    def __init__(self, connection: "Redis", *, key: bytes) -> None:
        self.connection = connection
        self.key = key
        self.rq = Queue(names.QUEUE, connection=connection, serializer=JSONSerializer, default_timeout=JOB_TIMEOUT_S)
        self.scripts = Scripts(connection)

    # -- in

    def put(self, job: Job) -> bool:
        """Queue `job` and owe its asker an answer, all or nothing; False when the id is already known."""
        with told(), self.connection.pipeline() as pipe:
            record = names.record_key(job.id)
            pipe.watch(record)
            if pipe.exists(record):
                return False
            pipe.multi()
            pipe.hset(record, "envelope", seal("job", job, self.key))
            pipe.hset(record, "batch", job.request.batch_key)
            pipe.hset(record, "n", job.request.batch_size)
            pipe.expire(record, REMEMBER_S)
            if not isinstance(job.reply_to, FolderAddress):
                pipe.set(names.mouth_key(job.id), "gateway", ex=GATEWAY_S)
                pipe.zadd(names.OWED, {job.id: self.now() + GATEWAY_S})
            self.rq.enqueue_job(self._rq_job(job.id), pipeline=pipe)
            try:
                pipe.execute()
            except WatchError:
                return False
        return True

    def _rq_job(self, job_id: str) -> RqJob:
        # RQ's own retries serve only when a tool of RQ cleans up before we do.
        return RqJob.create(
            names.RENDER_TASK,
            args=(job_id,),
            id=job_id,
            connection=self.connection,
            serializer=JSONSerializer,
            timeout=JOB_TIMEOUT_S,
            result_ttl=3600,
            failure_ttl=7 * 24 * 3600,
            retry=Retry(max=2, enqueue_at_front=True),
            description=f"picture {job_id}",
        )

    def now(self) -> float:
        """Redis' clock: the machines' own may differ."""
        seconds, micros = self.connection.time()
        return float(seconds) + float(micros) / 1e6

    def placed(self, job_id: str, message_id: str) -> None:
        """Remember the placeholder a door wrote and leave the message to delivery from now on."""
        with told(), self.connection.pipeline() as pipe:
            pipe.hset(names.record_key(job_id), "message", message_id)
            pipe.delete(names.mouth_key(job_id))
            pipe.zadd(names.OWED, {job_id: 0}, xx=True)
            self.publish(pipe, {"job": job_id, "event": "owed"})
            pipe.execute()

    # -- look

    def waiting(self) -> int:
        with told():
            return int(self.connection.llen(self.rq.key))

    def worker_names(self) -> list[str]:
        """Name the live workers: those whose key has not run out."""
        prefix = f"{names.RQ_ROOT}:worker:"
        with told():
            keys = sorted(self.connection.smembers(f"{names.RQ_ROOT}:workers:{names.QUEUE}"))
            with self.connection.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.exists(key)
                alive = pipe.execute()
        return [as_text(key).removeprefix(prefix) for key, there in zip(keys, alive, strict=True) if there]

    def workers(self) -> int:
        return len(self.worker_names())

    def state(self, job_id: str) -> JobState:
        """Return what is known; raise `Expired` when the job is forgotten, `Untrusted` when it was forged."""
        with told(), self.connection.pipeline(transaction=False) as pipe:
            pipe.hgetall(names.record_key(job_id))
            pipe.hget(f"{names.RQ_ROOT}:job:{job_id}", "status")
            pipe.lpos(self.rq.key, job_id)
            record, status, place = pipe.execute()
        if b"envelope" not in record:
            raise Expired("I no longer remember this picture. Please ask for it again.")
        job = unseal("job", record[b"envelope"], Job, self.key)
        if job.id != job_id:
            raise Untrusted("A job in Redis stands under another job's id.")
        result = unseal("result", record[b"result"], ImageResult, self.key) if b"result" in record else None
        return JobState(
            job=job,
            status=self._status(status, result),
            place=int(place or 0),
            progress=self._progress(job_id, record),
            result=result,
            message_id=record.get(b"message", b"").decode(),
            delivered=b"delivered" in record,
        )

    @staticmethod
    def _status(status: bytes | None, result: ImageResult | None) -> Status:
        if result is not None:
            return Status.OVER
        return {b"queued": Status.QUEUED, b"started": Status.RUNNING}.get(status or b"", Status.LOST)

    @staticmethod
    def _progress(job_id: str, record: dict[bytes, bytes]) -> Progress | None:
        if b"total" not in record:
            return None
        return Progress(job_id=job_id, step=int(record.get(b"step", 0)), total=int(record[b"total"]))

    # -- stop

    def cancel(self, job_id: str, *, reason: str = "Cancelled.") -> str:
        """Stop a job: `cancelled` (it never ran), `asked` (its worker was told) or `over` (too late)."""
        state = self.state(job_id)
        failed = ImageResult(job_id=job_id, request=state.job.request, failure=Failure(code="cancelled", text=reason))
        with told():
            answer: bytes = self.scripts.run(
                "cancel",
                keys=[self.rq.key, f"{names.RQ_ROOT}:job:{job_id}", names.record_key(job_id), names.OWED],
                args=[job_id, seal("result", failed, self.key)],
            )
            if answer == b"asked":
                self._ask_to_stop(job_id)
        return answer.decode()

    def _ask_to_stop(self, job_id: str) -> None:
        for execution in ExecutionRegistry(job_id=job_id, connection=self.connection).get_execution_ids():
            try:
                send_stop_execution_command(self.connection, job_id, execution)
            except InvalidJobOperation:
                log.info("the execution was over before it could be stopped", extra={"job": job_id})

    # -- pictures and hints

    def store(self, job_id: str, picture: bytes) -> str:
        """Keep a picture (or an upload) for a day; return its name."""
        name = f"{job_id}.{secrets.token_hex(4)}"
        with told():
            self.connection.set(names.blob_key(name), picture, ex=BLOB_S)
        return name

    def picture(self, name: str) -> bytes:
        """Return the bytes stored under `name`; raise `Expired` when they are gone."""
        with told():
            data = self.connection.get(names.blob_key(name))
        if not isinstance(data, bytes):
            raise Expired("The picture was kept for a day and is gone now. Press Again to draw it anew.")
        return data

    @staticmethod
    def publish(connection: "Redis", event: dict[str, Any]) -> None:
        connection.publish(names.EVENTS, json.dumps(event))
