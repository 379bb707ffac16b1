"""Computes the hashes of model files in the background, slowly enough to be in nobody's way."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from easel.files import locked
from easel.library import WatchedLibrary
from easel.model_cards import Known
from easel.model_hashes import FILE, hash_file

log = logging.getLogger(__name__)

START_S = 20.0
"""A worker that was started for one picture draws it first."""
LOOK_S = 10.0
"""Between two looks for new files."""
SAVE_S = 30.0
"""Between two saves: each makes every process of the machine join its catalog anew."""
TELL_S = 60.0

IDLE_REST, BUSY_REST = 1.0, 9.0
"""Rest after each piece, in times that it took: half of a disk while nothing is painted, a tenth of it else."""


class _Ended(Exception):
    """The process is about to end."""


class Hasher:
    """Hashes what is not hashed yet, in a thread of its own; one process of a machine at a time does so."""

    def __init__(
        self, library: WatchedLibrary, data_dir: Path, *, busy: Callable[[], bool], start_s: float = START_S
    ) -> None:
        """`busy` tells whether something is being painted."""
        self._library = library
        self._lock_of = data_dir / FILE.replace(".", "-at-work.")
        self._busy = busy
        self._start_s = start_s
        self._ended = threading.Event()
        self._skipped: set[tuple[Path, tuple[int, ...]]] = set()
        self._piece_at = 0.0
        self._saved_at = self._told_at = 0.0

    def start(self) -> None:
        threading.Thread(target=self.run, name="hashing", daemon=True).start()

    def close(self) -> None:
        """Let the thread end; what it is in the middle of is computed again another time."""
        self._ended.set()

    def run(self) -> None:
        """Hash what there is and what comes, until `close`."""
        if self._ended.wait(self._start_s):
            return
        _be_nice()
        while True:
            try:
                with locked(self._lock_of):
                    self.catch_up()
            except _Ended:
                return
            except OSError as error:
                log.warning(
                    "no hashes are computed, as %s can not be written: %s", self._lock_of.parent, error.strerror
                )
                return
            if self._ended.wait(LOOK_S):
                return

    def catch_up(self) -> None:
        """Hash every file that is not hashed yet; small ones first, for LoRAs are many and checkpoints large."""
        # Another process may have hashed them meanwhile.
        self._library.glance()
        waiting = self._waiting()
        if not waiting:
            return
        total, done = sum(found.size for _, (found, _) in waiting), 0
        log.info("hashing %d model files, %.1f GB, in the background", len(waiting), total / 1e9)
        self._saved_at = self._told_at = monotonic()
        try:
            for number, (path, known) in enumerate(waiting, 1):
                self._hash(path, known)
                done += known[0].size
                self._now_and_then(number, len(waiting), done / max(1, total))
        finally:
            self._library.save_hashes()
        log.info("hashed %d model files", len(waiting))

    def _waiting(self) -> list[tuple[Path, Known]]:
        return [
            (path, known) for path, known in self._library.unhashed() if (path, known[0].stamp) not in self._skipped
        ]

    def _hash(self, path: Path, known: Known) -> None:
        found, facts = known
        self._piece_at = monotonic()
        try:
            hashed = hash_file(path, facts.seen.kind, self._rest)
            state = path.stat()
        except OSError as error:
            log.warning("%s can not be hashed: %s", path, error.strerror)
            self._skipped.add((path, found.stamp))
            return
        # What changed meanwhile is hashed once the library has seen the change.
        if (state.st_size, state.st_mtime_ns) == found.stamp[:2]:
            self._library.remember(path, found, hashed)

    def _rest(self, _: int) -> None:
        took = monotonic() - self._piece_at
        if self._ended.wait(took * (BUSY_REST if self._busy() else IDLE_REST)):
            raise _Ended
        self._piece_at = monotonic()

    def _now_and_then(self, number: int, count: int, share: float) -> None:
        now = monotonic()
        if now - self._saved_at > SAVE_S:
            self._library.save_hashes()
            self._saved_at = monotonic()
        if now - self._told_at > TELL_S:
            log.info("hashed %d of %d model files, %d %% of their bytes", number, count, 100 * share)
            self._told_at = now


def _be_nice() -> None:
    """Leave the cores to whoever paints: on Linux each thread has a priority of its own, elsewhere resting must do."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
