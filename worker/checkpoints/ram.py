"""The checkpoints that are read ahead of their turn on the device, up to a number of bytes."""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from easel.catalog import Base, ModelCard
from worker.checkpoints.keeping import Keeping
from worker.checkpoints.load import read_card
from worker.checkpoints.parts import Parts, Stamp, stamp_of

log = logging.getLogger(__name__)

PIECE = 64 * 2**20
"""Bytes asked of the disk at once when reading ahead."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What makes a loaded checkpoint the one a card asks for; new files under an old name are another."""

    card: ModelCard = field(compare=False, repr=False)
    name: str
    path: Path
    base: Base | None
    prediction_type: str
    zero_snr: bool
    stamp: Stamp
    """Of the weights files; empty where there are none."""

    @classmethod
    def of(cls, card: ModelCard, path: Path) -> Self:
        try:
            stamp = stamp_of(*path.rglob("*.safetensors")) if path.is_dir() else stamp_of(path)
        except OSError:
            # Whoever reads it can say what is wrong.
            stamp = frozenset()
        return cls(card, card.name, path, card.base, card.prediction_type, card.zero_snr, stamp)


Read = Callable[[ModelCard, Path], Parts]
"""Reads what lies at a path as the card describes it; raises ModelUnusable."""


class RamTier:
    """Keeps parts by name, those worth most; any thread may use it.

    They are mapped files, so what is kept is the system's page cache, and other programs that need memory come first.
    """

    def __init__(self, keeping: Keeping, *, budget: int, read: Read = read_card) -> None:
        self._keeping = keeping
        self._read = read
        self._budget = budget
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[Wanted, Parts]] = {}
        self.coming: tuple[str, ...] = ()
        """The names that are asked for next, which stay if anything can."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._kept)

    def get(self, wanted: Wanted) -> Parts:
        """Return the parts, read unless they are kept; raises ModelUnusable."""
        with self._lock:
            kept, parts = self._kept.get(wanted.name, (None, None))
        if parts is not None and kept == wanted:
            return parts
        parts = self._read(wanted.card, wanted.path)
        with self._lock:
            self._keep(wanted, parts)
        return parts

    def prefetch(self, wanted: Wanted, stopped: Callable[[], bool]) -> None:
        """Read the parts and all that they weigh, piece by piece until `stopped`; nothing where it may not be kept.

        Raises ModelUnusable, OutOfMemory, OSError.
        """
        if sum(size for _, _, size, _ in wanted.stamp) > self._budget:
            return
        parts = self.get(wanted)
        for file, *_ in parts.stamp:
            _read_ahead(file, stopped)

    def clear(self) -> None:
        with self._lock:
            self._forget(*self._kept)

    def _keep(self, wanted: Wanted, parts: Parts) -> None:
        self._forget(wanted.name)
        if parts.nbytes > self._budget:
            return
        sizes = {name: kept.nbytes for name, (_, kept) in self._kept.items()}
        self._forget(*self._keeping.leaving(sizes, self._budget - parts.nbytes, self.coming))
        self._kept[wanted.name] = (wanted, parts)

    def _forget(self, *names: str) -> None:
        for name in names:
            if name in self._kept:
                # The parts go first: pages that are still mapped would stay.
                _let_go(self._kept.pop(name)[0].stamp)


def _read_ahead(file: str, stopped: Callable[[], bool]) -> None:
    with Path(file).open("rb", buffering=0) as opened:
        for start in range(0, os.fstat(opened.fileno()).st_size, PIECE):
            if stopped():
                return
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(opened.fileno(), start, PIECE, os.POSIX_FADV_WILLNEED)
            else:
                opened.read(PIECE)


def _let_go(stamp: Stamp) -> None:
    """Tell the system that these pages are wanted least; those that somebody uses stay."""
    if not hasattr(os, "posix_fadvise"):
        return
    for file, *_ in stamp:
        try:
            with Path(file).open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            log.debug("%s is not let go: %s", file, error)
