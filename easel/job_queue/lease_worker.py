"""An RQ worker that holds several jobs at once on short leases, in one long-lived process."""

import json
import logging
import os
import threading
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from redis.exceptions import RedisError, ResponseError
from rq.executions import Execution
from rq.job import Job as RqJob
from rq.suspension import WORKERS_SUSPENDED
from rq.worker import WorkerStatus

from easel.errors import Expired, Untrusted
from easel.job_queue import names
from easel.job_queue.books import LEASE_S, Books
from easel.job_queue.envelope import seal
from easel.job_queue.queue import JOB_TIMEOUT_S, JobQueue
from easel.jobs import Failure, ImageResult, Job

log = logging.getLogger(__name__)

BEAT_S = 1.0
SWEEP_S = 600.0
MAX_ATTEMPTS = 3
GAVE_UP = (
    f"The worker died {MAX_ATTEMPTS} times while drawing this. It was given up; try other settings or a smaller size."
)
PREVIEW_LIFE_S = 30
CALL_BYTES = 4096
"""No call of ours is nearly as long."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job this worker holds, with RQ's books about it."""

    job: Job
    attempts: int
    rq_job: RqJob
    execution: Execution

    @property
    def alone(self) -> bool:
        """A job that already saw a worker die runs alone."""
        return self.attempts > 1


class LeaseWorker:
    """Claims jobs, keeps their leases alive from one thread, and writes what came of them exactly once."""

    def __init__(self, queue: JobQueue, *, name: str, accepted: Sequence[str] = (names.RENDER_TASK,)) -> None:
        # RQ refuses a name whose last bearer died within its time to live, so each life needs its own.
        self.queue = queue
        self.accepted = frozenset(accepted)
        self.name = name
        self.books = Books(queue.rq, self.name)
        self._held: dict[str, Claimed] = {}
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._last_beat = self._last_sign = self._next_sweep = time.monotonic()
        self._reap_from = self._last_beat + LEASE_S
        self._suspended = False

    def start(self) -> None:
        """Appear in RQ's list of workers and begin to beat."""
        logging.getLogger("rq.worker").setLevel(logging.WARNING)
        self.books.bootstrap(logging_level=None)
        self.books.set_state(WorkerStatus.IDLE)
        self._heart.start()

    def close(self, *, refund: bool = True) -> None:
        """Hand back what is still held, by default without counting the try, and leave RQ's list of workers."""
        self._ended.set()
        # It may be using the connection, which is about to be closed.
        self._heart.join(2 * BEAT_S)
        give_back(self.queue, self.name, refund=refund)
        self.books.teardown()  # type: ignore[no-untyped-call]

    # -- leases

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self._extend_leases()
                self._listen()
                if self._may_reap(time.monotonic()):
                    give_back(self.queue)
                if time.monotonic() >= self._next_sweep:
                    self._next_sweep = time.monotonic() + SWEEP_S
                    self.books.sweep()
            except RedisError as error:
                log.warning("heartbeat failed: %s", error)
            if self._held and time.monotonic() - self._last_sign > JOB_TIMEOUT_S:
                # A call that never returns can not be interrupted; the supervisor starts another process.
                log.critical("nothing was heard of the jobs in hand for %.0f s; this worker ends", JOB_TIMEOUT_S)
                os._exit(70)

    def _may_reap(self, now: float) -> bool:
        """After a start, or a stall of ours or of Redis, everybody gets one lease of time to show a beat."""
        if now - self._last_beat >= LEASE_S:
            self._reap_from = now + LEASE_S
        self._last_beat = now
        return now >= self._reap_from

    def _extend_leases(self) -> None:
        for held in list(self._held.values()):
            try:
                self.books.maintain_heartbeats(held.rq_job, held.execution)
            except ResponseError as error:
                # All commands but the one that met a strange key were carried out.
                log.warning("heartbeat: %s", error, extra={"job": held.job.id})
        self.books.announce()

    def _listen(self) -> None:
        """Look for what RQ's channel, lossy by design, may not have told: jobs to stop, and whether to pause."""
        held = list(self._held)
        with self.queue.connection.pipeline(transaction=False) as pipe:
            pipe.exists(WORKERS_SUSPENDED)
            for job_id in held:
                pipe.hexists(names.record_key(job_id), "stop")
            suspended, *stops = pipe.execute(raise_on_error=False)
        self._suspended = suspended == 1
        self.books.stopped.intersection_update(held)
        self.books.stopped.update(job_id for job_id, stop in zip(held, stops, strict=True) if stop is True)

    # -- jobs

    def wait(self, seconds: float) -> None:
        """Return when something is in line, or after `seconds`."""
        line = self.queue.rq.key
        try:
            if not self._suspended:
                # Moving the head onto itself changes nothing, but blocks while the list is empty.
                self.queue.connection.blmove(line, line, seconds, "LEFT", "LEFT")  # type: ignore[arg-type]
                return
        except ResponseError as error:
            log.error("the line can not be read: %s", error)  # noqa: TRY400  # the sentence is all there is
        time.sleep(seconds)

    def claim(self, *, room: int, batch: str = "", window: int = 64) -> list[Claimed]:
        """Take the head of the line and what fits beside it: `room` pictures; with `batch` only jobs of that key."""
        if self._heart.ident and not self._heart.is_alive():
            raise RuntimeError("Nothing keeps the leases of this worker alive.")
        if self._suspended:
            return []
        claimed = []
        for job_id in self._claimed_ids(room, batch, window):
            try:
                one = self._take(job_id)
            except ResponseError as error:
                log.warning("a claim could not be written down, and runs out: %s", error, extra={"job": job_id})
                continue
            if one is not None:
                claimed.append(one)
        return claimed

    def _claimed_ids(self, room: int, batch: str, window: int) -> list[str]:
        try:
            ids = self.queue.scripts.run(
                "claim",
                keys=[self.queue.rq.key, self.queue.rq.intermediate_queue_key],
                args=[names.RQ_ROOT, names.RECORD, self.name, room, batch, window],
            )
        except ResponseError as error:
            # A key of the line is of another kind, or Redis takes no writes: haste would mend neither.
            log.error("nothing can be claimed: %s", error)  # noqa: TRY400  # the sentence is all there is
            time.sleep(BEAT_S)
            return []
        if ids:
            self._last_sign = time.monotonic()
        return [job_id.decode() for job_id in ids]

    def _take(self, job_id: str) -> Claimed | None:
        """Write the claim into RQ's books; None when the job must not run."""
        named, holder = self._what_and_whose(job_id)
        if holder != self.name:
            log.warning("left a claim alone: it was given back while we slept", extra={"job": job_id})
            return None
        # RQ's hash is not signed: a webhook, a lifetime or plain rubbish in it is never read, but written over.
        rq_job = self.queue.rq_job(job_id)
        execution = self.books.begin(rq_job)
        if named not in self.accepted:
            log.error("refused a job that names another callable", extra={"job": job_id})
            self.books.end(rq_job, execution, failed="not one of our callables")
            return None
        try:
            state = self.queue.state(job_id)
        except (Untrusted, Expired) as error:
            log.error("refused a job: %s", error, extra={"job": job_id})  # noqa: TRY400  # the sentence is all there is
            self.books.end(rq_job, execution, failed=str(error))
            return None
        rq_job.created_at = rq_job.enqueued_at = datetime.fromtimestamp(state.job.asked_at, UTC)
        claimed = Claimed(state.job, state.attempts, rq_job, execution)
        self._held[job_id] = claimed
        if state.result is not None:
            # The worker before us died between the result and RQ's books.
            self._close_books(claimed, failed="")
        elif state.stopping:
            # The worker before us died before it heard that it should stop.
            self.finish(claimed, _failed(state.job, "cancelled", "Cancelled."))
        elif state.attempts > MAX_ATTEMPTS:
            self.finish(claimed, _failed(state.job, "gave_up", GAVE_UP))
        else:
            return claimed
        return None

    def _what_and_whose(self, job_id: str) -> tuple[str, str]:
        """Return the callable that RQ's hash names, empty where it names none in a form of ours, and who holds it."""
        found = self.queue.connection.hmget(f"{names.RQ_ROOT}:job:{job_id}", "data", "worker_name")
        data, holder = (value if isinstance(value, bytes) else b"" for value in found)
        named = ""
        with suppress(zlib.error, ValueError, LookupError, TypeError, RecursionError):
            named = str(json.loads(zlib.decompressobj().decompress(data, CALL_BYTES))[0])
        return named, holder.decode(errors="replace")

    def stop_requested(self, job_id: str) -> bool:
        return job_id in self.books.stopped

    def progress(self, job_id: str, step: int, total: int, preview: bytes = b"") -> None:
        """Note how far a job is and, while it is fresh, what it looks like, for whoever looks."""
        self._last_sign = time.monotonic()
        with suppress(ResponseError):
            self.queue.connection.hset(names.record_key(job_id), mapping={"step": step, "total": total})
            if preview:
                self.queue.connection.set(names.preview_key(job_id), preview, ex=PREVIEW_LIFE_S)

    def finish(self, claimed: Claimed, result: ImageResult) -> bool:
        """Write the result and close RQ's books; False when the lease was lost and the result dropped."""
        job_id = claimed.job.id
        self._last_sign = time.monotonic()
        written = self.queue.scripts.run(
            "finish",
            keys=[f"{names.RQ_ROOT}:job:{job_id}", names.record_key(job_id), names.OWED],
            args=[self.name, job_id, seal("result", result, self.queue.key)],
        )
        if not written:
            log.warning("dropped a late result: the job runs elsewhere", extra={"job": job_id})
            self._forget(claimed)
            return False
        self._close_books(claimed, failed=result.failure.code if result.failure else "")
        self.queue.publish(self.queue.connection, {"job": job_id, "event": "owed"})
        return True

    def _close_books(self, claimed: Claimed, *, failed: str) -> None:
        self.books.end(claimed.rq_job, claimed.execution, failed=failed)
        self._forget(claimed)

    def _forget(self, claimed: Claimed) -> None:
        self._held.pop(claimed.job.id, None)
        self.books.executions.pop(claimed.execution.id, None)
        self.books.stopped.discard(claimed.job.id)
        if not self._held:
            with suppress(ResponseError):
                self.books.set_state(WorkerStatus.IDLE)


def _failed(job: Job, code: str, text: str) -> ImageResult:
    return ImageResult(job_id=job.id, request=job.request, failure=Failure(code=code, text=text))


def give_back(queue: JobQueue, worker: str = "", *, refund: bool = False) -> list[str]:
    """Put the jobs of a dead worker (by name, or all whose lease ran out) to the front of the line; return their ids."""
    ids = queue.scripts.run(
        "give_back",
        keys=[queue.rq.key, queue.rq.intermediate_queue_key, queue.rq.started_job_registry.key],
        args=[names.RQ_ROOT, names.RECORD, worker, int(refund), LEASE_S],
    )
    back = [job_id.decode(errors="replace") for job_id in ids]
    for job_id in back:
        log.warning("put back in line: its worker is gone", extra={"job": job_id})
    if worker:
        queue.connection.delete(f"{names.RQ_ROOT}:worker:{worker}")
    return back
