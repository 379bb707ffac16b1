"""The checkpoints one device keeps warm, the one used longest ago leaving first."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import torch

from easel.catalog import ModelCard
from easel.errors import ModelUnusable, OutOfMemory
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.load import folder_base, load_folder, preferred_dtype

log = logging.getLogger(__name__)

Locate = Callable[[ModelCard], Path]
"""Where the card's weights file or diffusers folder lies."""

OnLeave = Callable[[str], None]
"""Told the name of each checkpoint that leaves, so that whoever still refers to it can let it go as well."""


@dataclass(frozen=True, slots=True)
class _Key:
    """What makes a warm checkpoint the one a card asks for; new files under an old name are another."""

    name: str
    path: Path
    prediction_type: str
    files: frozenset[tuple[str, int, int]]
    """Name, bytes and nanoseconds of change of each weights file."""

    @property
    def nbytes(self) -> int:
        return sum(size for _, size, _ in self.files)


class CheckpointCache:
    """Loads checkpoints once and keeps them on the device, up to `budget` bytes of weights.

    Belongs to the one thread that owns the device. A checkpoint that leaves is freed once nobody renders with it.
    """

    def __init__(
        self,
        locate: Locate,
        *,
        device: torch.device,
        budget: int,
        dtype: torch.dtype | None = None,
        on_leave: OnLeave | None = None,
    ) -> None:
        self._locate = locate
        self._device = device
        self._dtype = dtype or preferred_dtype(device)
        self._budget = budget
        self._on_leave = on_leave or (lambda name: None)
        self._warm: OrderedDict[_Key, Checkpoint] = OrderedDict()

    @property
    def warm(self) -> tuple[str, ...]:
        """The names of the warm checkpoints, the one used last at the end."""
        return tuple(checkpoint.name for checkpoint in self._warm.values())

    @property
    def nbytes(self) -> int:
        return sum(checkpoint.nbytes for checkpoint in self._warm.values())

    def get(self, card: ModelCard) -> Checkpoint:
        """Return the card's checkpoint, the very same object while it is warm; raises ModelUnusable, OutOfMemory."""
        path = self._locate(card)
        key = _Key(card.name, path, card.prediction_type, _weights_files(path))
        if key in self._warm:
            self._warm.move_to_end(key)
            return self._warm[key]
        # An older file under the same name would only take up room.
        for stale in [other for other in self._warm if other.name == card.name]:
            self._drop(stale)
        self._make_room(key.nbytes)
        checkpoint = self._load(card, path)
        self._warm[key] = checkpoint
        self._make_room(0)
        return checkpoint

    def clear(self) -> None:
        """Let everything go, as after the device ran out of memory."""
        for key in list(self._warm):
            self._drop(key)
        self._give_back_memory()

    def _load(self, card: ModelCard, path: Path) -> Checkpoint:
        began = perf_counter()
        try:
            checkpoint = load_card(card, path, self._device, self._dtype)
        except OutOfMemory:
            if not self._warm:
                raise
            log.warning("no room for %s: letting %s go", card.name, ", ".join(self.warm))
            self.clear()
            checkpoint = load_card(card, path, self._device, self._dtype)
        log.info("loaded %s in %.1f s, %d MB", card.name, perf_counter() - began, checkpoint.nbytes // 10**6)
        return checkpoint

    def _make_room(self, wanted: int) -> None:
        """Let go of the oldest until `wanted` bytes more fit; the newest stays if nothing more is wanted."""
        keep = 0 if wanted else 1
        gone = False
        while len(self._warm) > keep and self.nbytes + wanted > self._budget:
            self._drop(next(iter(self._warm)))
            gone = True
        if gone:
            self._give_back_memory()

    def _drop(self, key: _Key) -> None:
        log.info("letting %s go", key.name)
        del self._warm[key]
        self._on_leave(key.name)

    def _give_back_memory(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def load_card(card: ModelCard, path: Path, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """Load what lies at `path` as the card describes it; raises ModelUnusable, OutOfMemory."""
    if not path.is_dir():
        raise ModelUnusable(
            f"The checkpoint `{card.name}` is not a diffusers folder, the only form that can be loaded."
        )
    base = card.base or folder_base(path)
    checkpoint = load_folder(path, name=card.name, base=base, device=device, dtype=dtype)
    scheduler = dict(checkpoint.scheduler_config)
    if card.prediction_type:
        scheduler["prediction_type"] = card.prediction_type
    return replace(checkpoint, scheduler_config=scheduler, file_hash=card.sha256[:10])


def _weights_files(path: Path) -> frozenset[tuple[str, int, int]]:
    stats = ((str(file), file.stat()) for file in path.rglob("*.safetensors"))
    return frozenset((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
