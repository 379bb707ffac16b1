"""Looks at what the line asks for next, has it read while the device paints, and tells what the device has at hand."""

import logging
import threading

from redis.exceptions import RedisError

from easel.job_queue.outlook import coming, tell_warm
from easel.job_queue.queue import JobQueue
from worker.models import Models

log = logging.getLogger(__name__)

EVERY_S = 2.0
"""Between two looks: far shorter than a picture takes, far longer than a step."""


class Ahead:
    """One worker's; has a thread of its own, which nobody waits for but the one who closes it."""

    def __init__(self, queue: JobQueue, worker: str, models: Models, *, every_s: float = EVERY_S) -> None:
        self._queue = queue
        self._worker = worker
        self._models = models
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        if self._thread.ident:
            self._thread.join(10)

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                tell_warm(self._queue.connection, self._worker, self._models.warm)
                names = coming(self._queue.connection, self._queue.rq.key)
            except RedisError as error:
                log.debug("no look ahead: %s", error)
                continue
            self._models.expect(names, self._ended.is_set)
