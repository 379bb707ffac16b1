"""An RQ worker that holds several jobs at once on short leases, in one long-lived process."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.command import parse_payload
from rq.executions import Execution
from rq.job import Job as RqJob
from rq.job import JobStatus
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

from easel.errors import Expired, Untrusted
from easel.job_queue import names
from easel.job_queue.envelope import seal
from easel.job_queue.queue import JobQueue
from easel.jobs import Failure, ImageResult, Job

log = logging.getLogger(__name__)

LEASE_S = 5
"""A worker that says nothing for so long has lost its jobs."""
BEAT_S = 1.0
WORKER_TTL_S = 15
MAX_ATTEMPTS = 3


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


class _Books(SimpleWorker):
    """RQ's worker with our lease times; its own work loop is never run."""

    def __init__(self, queue: JobQueue, name: str) -> None:
        super().__init__(
            [queue.rq],
            name=name,
            connection=queue.connection,
            serializer=JSONSerializer,
            worker_ttl=WORKER_TTL_S,
            job_monitoring_interval=1,
            log_job_description=False,
        )
        self.log_result_lifespan = False
        self.stopped: set[str] = set()

    def get_heartbeat_ttl(self, job: RqJob, working_time: float = 0.0) -> int:
        return LEASE_S

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        super().heartbeat(WORKER_TTL_S, pipeline)

    def handle_payload(self, message: Any) -> None:
        """Obey `stop-job` and `stop-execution` for any of the jobs held, not only the first."""
        payload = parse_payload(message)
        if payload["command"] in ("stop-job", "stop-execution"):
            self.stopped.add(str(payload.get("job_id", "")))
        else:
            super().handle_payload(message)  # type: ignore[no-untyped-call]


class LeaseWorker:
    """Claims jobs, keeps their leases alive from one thread, and writes what came of them exactly once."""

    def __init__(self, queue: JobQueue, *, name: str, accepted: Sequence[str] = (names.RENDER_TASK,)) -> None:
        # RQ refuses a name whose last bearer died within its time to live, so each life needs its own.
        self.queue = queue
        self.accepted = frozenset(accepted)
        self.name = name
        self.books = _Books(queue, self.name)
        self._held: dict[str, Claimed] = {}
        self._ended = threading.Event()
        self._last_beat = time.monotonic()

    def start(self) -> None:
        """Appear in RQ's list of workers and begin to beat."""
        logging.getLogger("rq.worker").setLevel(logging.WARNING)
        self.books.bootstrap(logging_level=None)
        self.books.set_state(WorkerStatus.IDLE)
        threading.Thread(target=self._beat, name="lease", daemon=True).start()

    def close(self) -> None:
        """Hand back what is still held and leave RQ's list of workers."""
        self._ended.set()
        give_back(self.queue, self.name, refund=True)
        self.books.teardown()  # type: ignore[no-untyped-call]

    # -- leases

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self._extend_leases()
                # After a stall of our own (or of Redis) everybody gets one lease of time to show a beat.
                if time.monotonic() - self._last_beat < LEASE_S:
                    give_back(self.queue)
                self._last_beat = time.monotonic()
            except RedisError as error:
                log.warning("heartbeat failed: %s", error)

    def _extend_leases(self) -> None:
        self.books.heartbeat()
        for held in list(self._held.values()):
            self.books.maintain_heartbeats(held.rq_job, held.execution)

    # -- jobs

    def wait(self, seconds: float) -> None:
        """Return when something is in line, or after `seconds`."""
        # Moving the head onto itself changes nothing, but blocks while the list is empty.
        self.queue.connection.blmove(self.queue.rq.key, self.queue.rq.key, seconds, "LEFT", "LEFT")  # type: ignore[arg-type]

    def claim(self, *, room: int, batch: str = "", window: int = 64) -> list[Claimed]:
        """Take the head of the line and what fits beside it: `room` pictures; with `batch` only jobs of that key."""
        ids = self.queue.scripts.run(
            "claim",
            keys=[self.queue.rq.key, self.queue.rq.intermediate_queue_key],
            args=[f"{names.RQ_ROOT}:job:", names.RECORD, self.name, room, batch, window],
        )
        taken = [self._take(job_id.decode()) for job_id in ids]
        return [claimed for claimed in taken if claimed is not None]

    def _take(self, job_id: str) -> Claimed | None:
        """Write the claim into RQ's books; None when the job must not run."""
        rq_job = RqJob.fetch(job_id, connection=self.queue.connection, serializer=JSONSerializer)
        execution = self.books.prepare_execution(rq_job)
        self.books.prepare_job_execution(rq_job, remove_from_intermediate_queue=True)
        if rq_job.func_name not in self.accepted:
            log.error("refused a job that names another callable", extra={"job": job_id})
            self._refuse(rq_job, execution, "not one of our callables")
            return None
        try:
            state = self.queue.state(job_id)
        except (Untrusted, Expired) as error:
            log.error("refused a job: %s", error, extra={"job": job_id})  # noqa: TRY400  # the sentence is all there is
            self._refuse(rq_job, execution, str(error))
            return None
        attempts = int(self.queue.connection.hget(names.record_key(job_id), "attempts") or 1)
        claimed = Claimed(state.job, attempts, rq_job, execution)
        self._held[job_id] = claimed
        if state.result is not None:
            # The worker before us died between the result and RQ's books.
            self._close_books(claimed, failed="")
            return None
        if attempts > MAX_ATTEMPTS:
            self.finish(claimed, _gave_up(state.job))
            return None
        return claimed

    def _refuse(self, rq_job: RqJob, execution: Execution, why: str) -> None:
        rq_job.retries_left = 0
        self.books.handle_execution_ended(rq_job, self.queue.rq, LEASE_S)
        self.books.handle_job_failure(rq_job, self.queue.rq, exc_string=why, execution=execution)

    def stop_requested(self, job_id: str) -> bool:
        return job_id in self.books.stopped

    def progress(self, job_id: str, step: int, total: int) -> None:
        """Note how far a job is, for whoever looks."""
        self.queue.connection.hset(names.record_key(job_id), mapping={"step": step, "total": total})

    def finish(self, claimed: Claimed, result: ImageResult) -> bool:
        """Write the result and close RQ's books; False when the lease was lost and the result dropped."""
        job_id = claimed.job.id
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
        """Tell RQ how it ended: finished, failed, or stopped on request."""
        rq_job, rq_queue = claimed.rq_job, self.queue.rq
        self.books.handle_execution_ended(rq_job, rq_queue, LEASE_S)
        if failed:
            rq_job.retries_left = 0
            self.books._stopped_job_id = rq_job.id if failed == "cancelled" else None
            self.books.handle_job_failure(rq_job, rq_queue, exc_string=failed, execution=claimed.execution)
        else:
            rq_job._status = JobStatus.FINISHED  # as RQ's own perform_job does
            self.books.handle_job_success(rq_job, rq_queue, rq_queue.started_job_registry, claimed.execution)
        self._forget(claimed)

    def _forget(self, claimed: Claimed) -> None:
        self._held.pop(claimed.job.id, None)
        self.books.executions.pop(claimed.execution.id, None)
        self.books.stopped.discard(claimed.job.id)
        if not self._held:
            self.books.set_state(WorkerStatus.IDLE)


def _gave_up(job: Job) -> ImageResult:
    text = f"The worker died {MAX_ATTEMPTS} times while drawing this. It was given up; try other settings or a smaller size."
    return ImageResult(job_id=job.id, request=job.request, failure=Failure(code="gave_up", text=text))


def give_back(queue: JobQueue, worker: str = "", *, refund: bool = False) -> list[str]:
    """Put the jobs of a dead worker (by name, or all whose lease ran out) to the front of the line; return their ids."""
    ids = queue.scripts.run(
        "give_back",
        keys=[queue.rq.key, queue.rq.intermediate_queue_key, queue.rq.started_job_registry.key],
        args=[names.RQ_ROOT, names.RECORD, worker, int(refund), LEASE_S],
    )
    for job_id in ids:
        log.warning("put back in line: its worker is gone", extra={"job": job_id.decode()})
    if worker:
        queue.connection.delete(f"{names.RQ_ROOT}:worker:{worker}")
    return [job_id.decode() for job_id in ids]
