"""The checkpoints one device keeps warm, behind them those in RAM, and behind those the disk."""

import logging
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import torch

from easel.catalog import ModelCard
from easel.errors import OutOfMemory
from worker.checkpoints.build import build, pour, pourable, preferred_dtype
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.keeping import Keeping
from worker.checkpoints.load import read_card
from worker.checkpoints.parts import Parts
from worker.checkpoints.ram import RamTier, Read, Wanted
from worker.networks.wardrobe import Wardrobe

log = logging.getLogger(__name__)

Locate = Callable[[ModelCard], Path]
"""Where the card's weights file or diffusers folder lies."""

OnLeave = Callable[[str], None]
"""Told the name of each checkpoint that leaves, so that whoever still refers to it can let it go as well."""


@dataclass(frozen=True, slots=True)
class _Warm:
    wanted: Wanted
    checkpoint: Checkpoint


class CheckpointCache:
    """Loads checkpoints once and keeps up to `budget` bytes of them on the device, up to `ram_budget` ready in RAM.

    Belongs to the one thread that owns the device, but for what is said to be for any. A checkpoint that leaves is freed
    once nobody renders with it; where nobody does already, the next one of its build is poured into its modules.
    """

    def __init__(
        self,
        locate: Locate,
        *,
        device: torch.device,
        budget: int,
        ram_budget: int = 0,
        dtype: torch.dtype | None = None,
        on_leave: OnLeave | None = None,
    ) -> None:
        self._locate = locate
        self._device = device
        self._dtype = dtype or preferred_dtype(device)
        self._budget = budget
        self._on_leave = on_leave or (lambda name: None)
        self._keeping = Keeping()
        self.read: Read = read_card
        """How a card's files become parts."""
        self._ram = RamTier(self._keeping, budget=ram_budget, read=self._parts)
        self._warm: dict[str, _Warm] = {}

    @property
    def warm(self) -> tuple[str, ...]:
        """The names of the checkpoints on the device, the one loaded last at the end; for any thread."""
        return tuple(self._warm)

    @property
    def in_ram(self) -> tuple[str, ...]:
        """The names of those that are read already; for any thread."""
        return self._ram.names

    @property
    def nbytes(self) -> int:
        return sum(self._sizes().values())

    def find(self, card: ModelCard) -> Checkpoint | None:
        """Return the card's checkpoint if it is warm, which counts as a use."""
        warm = self._warm.get(card.name)
        if warm is None or warm.wanted != self._wanted(card):
            return None
        self._keeping.used(card.name)
        return warm.checkpoint

    def get(self, card: ModelCard, alone: AbstractContextManager[object] | None = None) -> Checkpoint:
        """Return the card's checkpoint, the very same object while it is warm; raises ModelUnusable, OutOfMemory.

        What is on the device changes inside of `alone`; its files are read before.
        """
        found = self.find(card)
        if found is not None:
            return found
        self._keeping.used(card.name)
        wanted = self._wanted(card)
        began = perf_counter()
        parts = self._ram.get(wanted)
        with alone or nullcontext():
            checkpoint, way = self._load(parts, self._make_room(parts))
            self._warm[card.name] = _Warm(wanted, checkpoint)
        log.info("%s %s in %.2f s, %d MB", way, card.name, perf_counter() - began, checkpoint.nbytes // 10**6)
        return checkpoint

    def expect(self, coming: Sequence[str]) -> None:
        """Take note of the names that are asked for next, the first one first; for any thread."""
        self._ram.coming = tuple(coming)

    def prefetch(self, card: ModelCard, stopped: Callable[[], bool] = lambda: False) -> None:
        """Read a checkpoint into RAM, until `stopped`; for any thread. Raises ModelUnusable, OutOfMemory, OSError."""
        self._ram.prefetch(self._wanted(card), stopped)

    def keep_only(self, name: str) -> bool:
        """Let all others on the device go; False where there are none."""
        others = [one for one in self.warm if one != name]
        for one in others:
            self._drop(one)
        return bool(others)

    def clear(self) -> None:
        """Let everything on the device go, as after it ran out of memory."""
        for name in self.warm:
            self._drop(name)
        self._give_back_memory()

    def _parts(self, card: ModelCard, path: Path) -> Parts:
        return self.read(card, path)

    def _wanted(self, card: ModelCard) -> Wanted:
        return Wanted.of(card, self._locate(card))

    def _sizes(self) -> dict[str, int]:
        return {name: warm.checkpoint.nbytes for name, warm in self._warm.items()}

    def _load(self, parts: Parts, spare: Checkpoint | None) -> tuple[Checkpoint, str]:
        """Return the checkpoint, and how it came about."""
        try:
            if spare is not None:
                return pour(parts, spare), "poured"
            return build(parts, self._device, self._dtype), "loaded"
        except OutOfMemory:
            if not self._warm and spare is None:
                raise
            log.warning("no room for %s: letting %s go", parts.name, ", ".join(self.warm) or "its predecessor")
        # Not above: the modules live as long as the exception that has seen them.
        del spare
        self.clear()
        return build(parts, self._device, self._dtype), "loaded"

    def _make_room(self, parts: Parts) -> Checkpoint | None:
        """Let go of what is worth least until the parts fit; return modules of the same build that nobody uses."""
        others = self._sizes()
        # An older file under the same name would only take up room.
        stale = [parts.name] if others.pop(parts.name, 0) else []
        size = sum(one.numel() for _, part in parts.modules for one in part.weights.values()) * self._dtype.itemsize
        spare = None
        leaving = [*stale, *self._keeping.leaving(others, self._budget - size, self._ram.coming)]
        for name in leaving:
            left = self._drop(name)
            if spare is None and left is not None and pourable(parts, left):
                spare = left
        if leaving and spare is None:
            self._give_back_memory()
        return spare

    def _drop(self, name: str) -> Checkpoint | None:
        """Let a checkpoint go; return its modules in another guise if nobody refers to it."""
        log.info("letting %s go", name)
        self._on_leave(name)
        old = self._warm.pop(name).checkpoint
        somebody = weakref.ref(old)
        spare = replace(old, wardrobe=Wardrobe())
        del old
        return spare if somebody() is None else None

    def _give_back_memory(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
