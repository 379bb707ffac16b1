"""Jobs that wait for a yes: what somebody asked for is kept for an hour, and queued when they press the button."""

from collections.abc import Sequence

from easel.errors import Expired, Untrusted
from easel.job_queue.envelope import seal, unseal
from easel.job_queue.queue import JobQueue, told
from easel.jobs import Job

KEPT_S = 3600

GONE = "I no longer remember what this was about. Please ask again."


class Plans:
    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def keep(self, plan_id: str, jobs: Sequence[Job]) -> None:
        """Remember `jobs` under `plan_id`; what stood there before stays."""
        with told(), self._queue.connection.pipeline() as pipe:
            for n, job in enumerate(jobs):
                pipe.hsetnx(_key(plan_id), str(n), seal(_kind(plan_id, n), job, self._queue.key))
            pipe.expire(_key(plan_id), KEPT_S)
            pipe.execute()

    def jobs(self, plan_id: str) -> tuple[Job, ...]:
        """Return the jobs; raises Expired when they are forgotten, Untrusted when they were forged."""
        with told():
            found = self._queue.connection.hgetall(_key(plan_id))
        if not found:
            raise Expired(GONE)
        if set(found) != {str(n).encode() for n in range(len(found))}:
            raise Untrusted("A plan in Redis is not whole.")
        sealed = [found[str(n).encode()] for n in range(len(found))]
        return tuple(unseal(_kind(plan_id, n), one, Job, self._queue.key) for n, one in enumerate(sealed))

    def forget(self, plan_id: str) -> None:
        with told():
            self._queue.connection.delete(_key(plan_id))


def _key(plan_id: str) -> str:
    return f"easel:plan:{plan_id}"


def _kind(plan_id: str, n: int) -> str:
    """Name the place in the envelope too, so that no job can be moved to another one."""
    return f"plan {plan_id} {n}"
