"""The long-lived worker of one device: claims jobs, lets them be painted side by side, writes what came of them."""

import logging
import time
from collections.abc import Callable

from easel.errors import Cancelled, EaselError
from easel.job_queue.lease_worker import Claimed, LeaseWorker
from easel.jobs import Failure, ImageResult
from worker.renderer import Event, Failed, Finished, Renderer, Stepped, unforeseen

log = logging.getLogger(__name__)

WAIT_S = 1.0
PROGRESS_S = 0.25
"""Between two notes of progress about one job; nobody is shown more."""


class GpuWorker:
    """One device's loop; `stopping()` is asked before each claim, and a job in hand is finished first."""

    def __init__(self, lease: LeaseWorker, renderer: Renderer, *, grace_s: float = 100.0) -> None:
        self._lease = lease
        self._renderer = renderer
        self._grace_s = grace_s
        self._held: dict[str, Claimed] = {}
        self._noted: dict[str, float] = {}

    def run(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Work until told to stop; then finish within the grace time, or hand back what is unfinished."""
        self._lease.start()
        deadline = float("inf")
        orderly = False
        try:
            while not (stopping() and not self._held) and time.monotonic() < deadline:
                if stopping():
                    deadline = min(deadline, time.monotonic() + self._grace_s)
                elif not self._claim() and not self._held:
                    self._lease.wait(WAIT_S)
                self._leave_out_the_cancelled()
                if self._renderer.busy:
                    self._step()
            orderly = True
        finally:
            # What we die of may be one of the jobs in hand: then the try counts.
            self._lease.close(refund=orderly)

    def _claim(self) -> bool:
        """Take jobs in, as many as fit beside what is being painted; True when there were any."""
        if self._held and (self._renderer.room <= 0 or any(claimed.alone for claimed in self._held.values())):
            return False
        claimed = self._lease.claim(
            room=max(1, self._renderer.room), batch=self._renderer.batch_key if self._held else ""
        )
        for one in claimed:
            self._held[one.job.id] = one
            self._lease.progress(one.job.id, 0, one.job.request.steps)
            try:
                self._renderer.admit(one.job.id, one.job.request)
            except EaselError as error:
                self._fail(one.job.id, error)
            except Exception:
                log.exception("taking a job in failed", extra={"job": one.job.id})
                self._fail_unforeseen(one.job.id)
        return bool(claimed)

    def _leave_out_the_cancelled(self) -> None:
        for job_id in [job_id for job_id in self._held if self._lease.stop_requested(job_id)]:
            self._renderer.cancel(job_id)
            self._fail(job_id, Cancelled("Cancelled."))

    def _step(self) -> None:
        try:
            events = self._renderer.step()
        except Exception:
            # The worker's job boundary: the renderer could not say whose fault it was.
            log.exception("painting failed", extra={"jobs": list(self._held)})
            for job_id in list(self._held):
                self._renderer.cancel(job_id)
                self._fail_unforeseen(job_id)
            return
        for event in events:
            if event.job_id in self._held:
                self._tell(event)

    def _tell(self, event: Event) -> None:
        match event:
            case Stepped(job_id, step, total, preview):
                now = time.monotonic()
                if preview or now - self._noted.get(job_id, 0.0) >= PROGRESS_S:
                    self._noted[job_id] = now
                    self._lease.progress(job_id, step, total, preview)
            case Finished():
                self._finish(event)
            case Failed(job_id, error):
                self._fail(job_id, error)

    def _finish(self, finished: Finished) -> None:
        claimed = self._drop(finished.job_id)
        pictures = tuple(self._lease.queue.store(finished.job_id, picture) for picture in finished.pictures)
        result = ImageResult(
            job_id=finished.job_id,
            request=claimed.job.request,
            pictures=pictures,
            infotexts=finished.infotexts,
            seconds=finished.seconds,
            notes=finished.notes,
        )
        self._lease.finish(claimed, result)
        log.info("painted in %.2f s", finished.seconds, extra={"job": finished.job_id})

    def _fail(self, job_id: str, error: EaselError) -> None:
        claimed = self._drop(job_id)
        failure = Failure(code=error.code, text=str(error))
        self._lease.finish(claimed, ImageResult(job_id=job_id, request=claimed.job.request, failure=failure))
        log.info("ended without a picture: %s", error.code, extra={"job": job_id})

    def _fail_unforeseen(self, job_id: str) -> None:
        self._fail(job_id, unforeseen(job_id))

    def _drop(self, job_id: str) -> Claimed:
        self._noted.pop(job_id, None)
        return self._held.pop(job_id)
