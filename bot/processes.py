"""The parts of Easel as child processes of one command: started together, kept alive, stopped cleanly."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from easel.parent import child_words

log = logging.getLogger(__name__)

GRACE_S = 110
"""A worker in the middle of a picture finishes it within this time."""
TEND_S = 0.2
CALM_S = 60.0
"""A part that lived this long died of something else than its start."""
LAST = "delivery"
"""Ends after the others: it shows what the worker finishes."""
BAD_SETTINGS = 2


@dataclass(slots=True)
class Part:
    """One process that runs as long as the command does."""

    name: str
    module: str
    """Run as `python -m module`."""
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    start_at: float = field(default=0.0)


class Family:
    """Starts parts, restarts those that die, and stops all of them in order."""

    def __init__(self, parts: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self._parts = [Part(name, module) for name, module in parts.items()]
        self._environment = {**os.environ, **environment}
        self._stopping = False

    def run(self) -> int:
        """Run until Ctrl+C or SIGTERM; return the exit status."""
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, self._on_stop)
        status = 0
        while not self._stopping and not status:
            status = self._tend()
            time.sleep(TEND_S)
        self.stop()
        return status

    def _on_stop(self, *_: object) -> None:
        # No more than this: an Event set by a handler waits for ever if the loop below it held the Event's lock.
        self._stopping = True

    def _tend(self) -> int:
        """Start what is due; return a status when a part can never run."""
        for part in self._parts:
            if part.process is None and time.monotonic() >= part.start_at:
                self.start(part)
            elif part.process is not None and (code := part.process.poll()) is not None:
                if code == BAD_SETTINGS:
                    return code
                self._plan_next(part, code)
        return 0

    def start(self, part: Part) -> None:
        # A group of its own: Ctrl+C reaches us alone, and we stop the parts in order.
        part.process = subprocess.Popen(
            [sys.executable, "-m", part.module, *child_words()], env=self._environment, start_new_session=True
        )
        log.info("%s runs as process %d", part.name, part.process.pid)

    @staticmethod
    def _plan_next(part: Part, code: int) -> None:
        part.process = None
        part.deaths = part.deaths + 1 if time.monotonic() - part.start_at < CALM_S else 1
        pause = 2.0 ** min(part.deaths - 1, 5) - 1
        part.start_at = time.monotonic() + pause
        log.warning("%s ended with %d; it starts again in %.0f s", part.name, code, pause)

    def stop(self) -> None:
        """Ask the parts to finish, delivery when the others have, and wait; what does not end in time is killed."""
        for last in (False, True):
            self._end([part.process for part in self._parts if part.process and (part.name == LAST) is last])

    @staticmethod
    def _end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("process %d does not end; killing it", process.pid)
                process.kill()
                process.wait()
