"""The line of jobs as the doors see it: put, look, cancel, and the pictures that came of it."""

import hashlib
import json
import logging
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError, WatchError
from rq import Queue
from rq.command import send_stop_execution_command
from rq.exceptions import InvalidJobOperation
from rq.executions import ExecutionRegistry
from rq.job import Job as RqJob
from rq.job import Retry
from rq.serializers import JSONSerializer

from easel.errors import Expired, QueueDown, Untrusted
from easel.job_queue import names
from easel.job_queue.connect import REDIS_AWAY
from easel.job_queue.envelope import seal, unseal
from easel.job_queue.outlook import live_workers, warm_of
from easel.job_queue.scripts import Scripts
from easel.jobs import Failure, FolderAddress, ImageResult, Job, Progress

log = logging.getLogger(__name__)

_DIGITS = re.compile(rb"[0-9]{1,20}")

REMEMBER_S = 30 * 24 * 3600
"""How long a request stays behind the buttons of its message."""
KEPT_BYTES = 256 * 2**20
"""Of all pictures together that people gave us."""
SPARED_S = 24 * 3600
"""So long after its last use a picture stays whatever comes: its job may still be in line."""
BLOB_S = 24 * 3600
"""How long finished pictures wait for a network that is down."""
GATEWAY_S = 10
"""How long a door has for its placeholder before delivery takes the message over."""
JOB_TIMEOUT_S = 3600
RQ_SHOWS_S = 3600
"""How long RQ's tools show a job that ended without a fault."""


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
    """The placeholder on its network, a number; empty while there is none."""
    attempts: int = 0
    """Workers that took it in hand, whatever became of them."""
    stopping: bool = False
    """Somebody asked to stop it while it ran."""
    delivered: bool = False


@contextmanager
def told() -> Iterator[None]:
    """Turn a Redis that is away, or refuses (full, read-only, a key of another kind), into the sentence for people."""
    try:
        yield
    except REDIS_AWAY as error:
        raise QueueDown from error
    except ResponseError as error:
        log.error("Redis refuses: %s", error)  # noqa: TRY400  # the sentence is all there is
        raise QueueDown from error


class JobQueue:
    """The queue of pictures on one Redis; every call is one or two round trips and blocks for them."""

    def __init__(self, connection: "Redis", *, key: bytes, kept_bytes: int = KEPT_BYTES) -> None:
        self.connection = connection
        self.key = key
        self.kept_bytes = kept_bytes
        self.rq = Queue(names.QUEUE, connection=connection, serializer=JSONSerializer, default_timeout=JOB_TIMEOUT_S)
        self.scripts = Scripts(connection)

    # -- in

    def put(self, job: Job) -> bool:
        """Queue `job` and owe its asker an answer, all or nothing; False when the id is already known."""
        record = names.record_key(job.id)
        with told():
            try:
                return self._put(job, record)
            except WatchError:
                # Another door was faster, or the line was cut under the watch: then nobody may have queued it.
                if self.connection.exists(record):
                    return False
                raise QueueDown from None

    def _put(self, job: Job, record: str) -> bool:
        with self.connection.pipeline() as pipe:
            pipe.watch(record)
            if pipe.exists(record):
                return False
            pipe.multi()
            pipe.hset(record, "envelope", seal("job", job, self.key))
            checkpoint = "" if job.request.upscale else job.request.checkpoint
            hints: dict[Any, Any] = {
                "batch": job.request.batch_key,
                "n": job.request.batch_size,
                "checkpoint": checkpoint,
            }
            pipe.hset(record, mapping=hints)
            pipe.expire(record, REMEMBER_S)
            if not isinstance(job.reply_to, FolderAddress):
                pipe.set(names.mouth_key(job.id), "gateway", ex=GATEWAY_S)
                pipe.zadd(names.OWED, {job.id: self.now() + GATEWAY_S})
            self.rq.enqueue_job(self.rq_job(job.id), pipeline=pipe)
            pipe.execute()
        return True

    def rq_job(self, job_id: str) -> RqJob:
        """Return RQ's side of a job as we write it, without a look at what stands in Redis."""
        # RQ's own retries serve only when a tool of RQ cleans up before we do.
        return RqJob.create(
            names.RENDER_TASK,
            args=(job_id,),
            id=job_id,
            origin=self.rq.name,
            connection=self.connection,
            serializer=JSONSerializer,
            timeout=JOB_TIMEOUT_S,
            result_ttl=RQ_SHOWS_S,
            failure_ttl=7 * 24 * 3600,
            retry=Retry(max=2, enqueue_at_front=True),
            description=f"picture {job_id}",
        )

    def now(self) -> float:
        """Redis' clock: the machines' own may differ."""
        seconds, micros = self.connection.time()
        return float(seconds) + float(micros) / 1e6

    def placed(self, job_id: str, message_id: str) -> bool:
        """Leave the placeholder a door wrote to delivery; False when that was too late, and delivery has its own."""
        with told():
            in_time = self.scripts.run(
                "placed",
                keys=[names.record_key(job_id), names.mouth_key(job_id), names.OWED],
                args=[job_id, message_id],
            )
            self.publish(self.connection, {"job": job_id, "event": "owed"})
        return bool(in_time)

    # -- look

    def waiting(self) -> int:
        with told():
            return int(self.connection.llen(self.rq.key))

    def worker_names(self) -> list[str]:
        """Name the live workers: those whose key has not run out."""
        with told():
            return live_workers(self.connection)

    def warm(self) -> frozenset[str]:
        """Name the checkpoints that some live worker has on its device."""
        with told():
            return warm_of(self.connection, live_workers(self.connection))

    def workers(self) -> int:
        return len(self.worker_names())

    def state(self, job_id: str) -> JobState:
        """Return what is known; raise `Expired` when the job is forgotten, `Untrusted` when it was forged."""
        with told(), self.connection.pipeline() as pipe:
            pipe.hgetall(names.record_key(job_id))
            pipe.hget(f"{names.RQ_ROOT}:job:{job_id}", "status")
            pipe.lpos(self.rq.key, job_id)
            # A key of another kind answers with an error, which counts as nothing.
            record, status, place = pipe.execute(raise_on_error=False)
        if not isinstance(record, dict) or b"envelope" not in record:
            raise Expired("I no longer remember this picture. Please ask for it again.")
        job = unseal("job", record[b"envelope"], Job, self.key)
        if job.id != job_id:
            raise Untrusted("A job in Redis stands under another job's id.")
        result = unseal("result", record[b"result"], ImageResult, self.key) if b"result" in record else None
        if result is not None and result.job_id != job_id:
            raise Untrusted("A result in Redis stands under another job's id.")
        return JobState(
            job=job,
            status=self._status(status, result),
            place=place if isinstance(place, int) else 0,
            progress=self._progress(job_id, record),
            result=result,
            message_id=self._digits(record, b"message"),
            attempts=int(self._digits(record, b"attempts") or 0),
            stopping=b"stop" in record,
            delivered=b"delivered" in record,
        )

    @staticmethod
    def _status(status: object, result: ImageResult | None) -> Status:
        if result is not None:
            return Status.OVER
        return Status.QUEUED if status == b"queued" else Status.RUNNING if status == b"started" else Status.LOST

    @classmethod
    def _progress(cls, job_id: str, record: dict[bytes, bytes]) -> Progress | None:
        step, total = cls._digits(record, b"step"), cls._digits(record, b"total")
        if not step or not total or int(step) > int(total):
            return None
        return Progress(job_id=job_id, step=int(step), total=int(total))

    @staticmethod
    def _digits(record: dict[bytes, bytes], field: bytes) -> str:
        """Return a number that is not signed, and so may be anything; empty when it is none."""
        value = record.get(field, b"")
        return value.decode() if _DIGITS.fullmatch(value) else ""

    # -- stop

    def cancel(self, job_id: str, *, reason: str = "Cancelled.") -> str:
        """Stop a job: `cancelled` (it never ran), `asked` (its worker was told) or `over` (too late)."""
        state = self.state(job_id)
        failed = ImageResult(job_id=job_id, request=state.job.request, failure=Failure(code="cancelled", text=reason))
        with told():
            answer: bytes = self.scripts.run(
                "cancel",
                keys=[self.rq.key, f"{names.RQ_ROOT}:job:{job_id}", names.record_key(job_id), names.OWED],
                args=[job_id, seal("result", failed, self.key), RQ_SHOWS_S],
            )
            if answer == b"asked":
                self._ask_to_stop(job_id)
        return answer.decode()

    def _ask_to_stop(self, job_id: str) -> None:
        try:
            for execution in ExecutionRegistry(job_id=job_id, connection=self.connection).get_execution_ids():
                send_stop_execution_command(self.connection, job_id, execution)
        except (InvalidJobOperation, ResponseError, LookupError, ValueError):
            # Over, or no whole record of it: then its worker finds out with the next beat.
            log.info("the execution could not be told to stop at once", extra={"job": job_id})

    # -- pictures and hints

    def keep(self, picture: bytes) -> str:
        """Keep a picture that somebody gave us as long as requests refer to it, if there is room; return its name."""
        name = names.KEPT + hashlib.sha256(picture).hexdigest()
        with told():
            self.scripts.run(
                "keep",
                keys=[names.blob_key(name), names.KEPT_ONES],
                args=[name, picture, REMEMBER_S, self.kept_bytes, names.blob_key(""), SPARED_S],
            )
        return name

    def store(self, job_id: str, picture: bytes) -> str:
        """Keep a picture of ours for a day; return its name."""
        name = f"{job_id}.{secrets.token_hex(4)}"
        with told():
            self.connection.set(names.blob_key(name), picture, ex=BLOB_S)
        return name

    def picture(self, name: str) -> bytes:
        """Return the bytes stored under `name`; raise `Expired` when they are gone."""
        if name.startswith(names.KEPT):
            return self._kept(name)
        with told(), suppress(ResponseError):
            data = self.connection.get(names.blob_key(name))
            if isinstance(data, bytes):
                return data
        raise Expired("The picture was kept for a day and is gone now. Press Again to draw it anew.")

    def _kept(self, name: str) -> bytes:
        with told(), suppress(ResponseError):
            data = self.connection.getex(names.blob_key(name), ex=REMEMBER_S)
            if isinstance(data, bytes) and name == names.KEPT + hashlib.sha256(data).hexdigest():
                self.connection.zadd(names.KEPT_ONES, {name: int(self.now())}, xx=True)
                return data
        raise Expired("I no longer have the picture that you gave me. Please send it again.")

    @staticmethod
    def publish(connection: "Redis", event: dict[str, Any]) -> None:
        connection.publish(names.EVENTS, json.dumps(event))
