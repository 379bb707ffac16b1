"""RQ's books about one worker: who it is, what it holds and how its jobs ended, so that RQ's own tools can see it."""

import logging
import os
import signal
from typing import Any

from redis.exceptions import ResponseError
from rq import Queue, SimpleWorker
from rq.command import parse_payload
from rq.exceptions import NoSuchJobError
from rq.executions import Execution
from rq.job import Job as RqJob
from rq.job import JobStatus
from rq.serializers import JSONSerializer
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY, register

log = logging.getLogger(__name__)

LEASE_S = 5
"""A worker that says nothing for so long has lost its jobs."""
WORKER_TTL_S = 15


class Books(SimpleWorker):
    """RQ's worker with our lease times; its own work loop is never run."""

    def __init__(self, queue: Queue, name: str) -> None:
        super().__init__(
            [queue],
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
        """Obey RQ's commands, for any of the jobs held and not only the first; the listener dies of none."""
        try:
            payload = parse_payload(message)
            command, job_id = payload["command"], str(payload.get("job_id", ""))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            log.warning("ignored what is no command of RQ")
            return
        if command in ("stop-job", "stop-execution"):
            self.stopped.add(job_id)
        elif command == "shutdown":
            # RQ would send SIGINT, which is the terminal's here and goes to the supervisor.
            os.kill(os.getpid(), signal.SIGTERM)

    def announce(self) -> None:
        """Say that we live and who we are: after a long stall RQ has struck us off."""
        try:
            with self.connection.pipeline() as pipe:
                pipe.hset(self.key, mapping={**self.serialize(), "state": self.get_state()})
                self.heartbeat(pipeline=pipe)
                register(self, pipe)
                pipe.execute()
        except ResponseError as error:
            log.warning("our entry among the workers is made anew: %s", error)
            if "WRONGTYPE" in str(error):
                self.connection.delete(self.key, self.executions_key)

    def begin(self, rq_job: RqJob) -> Execution:
        execution = self.prepare_execution(rq_job)
        self.prepare_job_execution(rq_job, remove_from_intermediate_queue=True)
        return execution

    def end(self, rq_job: RqJob, execution: Execution, *, failed: str) -> None:
        """Write down how a job ended: finished, failed, or stopped on request."""
        queue = self.queues[0]
        try:
            self.handle_execution_ended(rq_job, queue, LEASE_S)
            if failed:
                rq_job.retries_left = 0
                self._stopped_job_id = rq_job.id if failed == "cancelled" else None
                self.handle_job_failure(rq_job, queue, exc_string=failed, execution=execution)
            else:
                rq_job._status = JobStatus.FINISHED  # as RQ's own perform_job does
                self.handle_job_success(rq_job, queue, queue.started_job_registry, execution)
        except (ResponseError, NoSuchJobError, ValueError, LookupError, TypeError):
            # What stands beside a job in RQ's books may be anybody's. Our own record of it is written already.
            log.exception("RQ could not take note of an end; it forgets the job", extra={"job": rq_job.id})
            with self.connection.pipeline() as pipe:
                execution.delete(rq_job, pipe)
                pipe.delete(rq_job.key)
                pipe.execute(raise_on_error=False)

    def sweep(self) -> None:
        """Let go of what RQ keeps until its own worker's maintenance, which never runs here."""
        queue = self.queues[0]
        queue.finished_job_registry.cleanup()
        queue.failed_job_registry.cleanup()
        for register_of_workers in (REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY % queue.name):
            for key in self.connection.smembers(register_of_workers):
                if not self.connection.exists(key):
                    self.connection.srem(register_of_workers, key)
