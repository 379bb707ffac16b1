"""Keeps one worker process per device alive: sees a death at once, hands the jobs back, starts the next."""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

from redis.exceptions import RedisError

from easel.job_queue.connect import impatient
from easel.job_queue.lease_worker import give_back
from easel.job_queue.queue import JobQueue
from easel.parent import die_with_parent

log = logging.getLogger(__name__)

STOPPING = {signal.SIGTERM, signal.SIGINT}
CALM_S = 30.0
"""A worker that lived this long died of something else than its start."""
MAX_PAUSE_S = 30.0

Run = Callable[[str, str, Callable[[], bool]], None]
"""(device, worker name, stopping) -> None: the whole life of one worker."""


@dataclass(slots=True)
class _Child:
    device: str
    name: str
    started: float


class Supervisor:
    """Forks workers from one warm process, so that a new one starts in milliseconds with everything imported.

    Nothing may have touched a device or started a thread before `run`: neither survives a fork.
    """

    def __init__(self, devices: Sequence[str], run: Run, *, redis_url: str, key: bytes) -> None:
        self._devices = devices
        self._run = run
        self._redis_url = redis_url
        self._key = key
        self._children: dict[int, _Child] = {}
        self._stopping = False
        self._early_deaths: dict[str, int] = {}
        self._start_at: dict[str, float] = {}

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT, then until every worker has ended."""
        for one in STOPPING:
            signal.signal(one, self._on_stop)
        # Without a handler SIGCHLD would not wake the wait below.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        self._start_at = dict.fromkeys(self._devices, 0.0)
        while self._children or not self._stopping:
            self._start_due()
            signal.sigtimedwait({signal.SIGCHLD}, 0.5)
            self._bury()

    def _on_stop(self, *_: object) -> None:
        self._stopping = True
        for pid in self._children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _start_due(self) -> None:
        if self._stopping:
            return
        for device, due in list(self._start_at.items()):
            if time.monotonic() >= due:
                del self._start_at[device]
                self._fork(device)

    def _fork(self, device: str) -> None:
        me = os.getpid()
        name = f"{socket.gethostname()}-{device.replace(':', '')}-{os.urandom(3).hex()}"
        # Who is told to stop in the middle of this must find the child among its own, and the child must hear it.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        pid = os.fork()
        if pid == 0:
            os._exit(self._live(device, name, me))
        self._children[pid] = _Child(device, name, time.monotonic())
        log.info("worker %s runs as process %d", name, pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        if self._stopping:
            self._on_stop()

    def _live(self, device: str, name: str, parent: int) -> int:
        """Be the child; return its exit status."""
        stop = {"asked": False}
        signal.signal(signal.SIGTERM, lambda *_: stop.update(asked=True))
        # Ctrl+C reaches the whole group; the supervisor passes it on as SIGTERM.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD, *STOPPING})
        die_with_parent(parent)
        try:
            self._run(device, name, lambda: stop["asked"])
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        except Exception:  # the outermost boundary of a worker process
            log.exception("worker %s ends", name)
            return 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        return 0

    def _bury(self) -> None:
        """Take note of every child that has ended; hand its jobs back before anything else."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is not None:
                at_work = self._hand_back(child)
                self._plan_next(child, os.waitstatus_to_exitcode(status), at_work=at_work)

    def _hand_back(self, child: _Child) -> bool:
        """Return whether it held jobs, as far as Redis can say."""
        try:
            with closing(impatient(self._redis_url)) as connection:
                return bool(give_back(JobQueue(connection, key=self._key), child.name))
        except RedisError as error:
            log.warning("could not hand back the jobs of %s (%s); their leases run out", child.name, error)
            return False

    def _plan_next(self, child: _Child, code: int, *, at_work: bool) -> None:
        if self._stopping:
            return
        # Who dies at work could start, and its job is given up after a few tries.
        died_early = time.monotonic() - child.started < CALM_S and code != 0 and not at_work
        deaths = self._early_deaths[child.device] = self._early_deaths.get(child.device, 0) + 1 if died_early else 0
        # The first deaths cost nothing; a worker that can not start at all is tried ever more rarely.
        pause = 0.0 if deaths <= 2 else min(MAX_PAUSE_S, 2.0 ** min(deaths - 2, 10))
        log.warning("worker %s ended with %d; the next starts in %.0f s", child.name, code, pause)
        self._start_at[child.device] = time.monotonic() + pause
