"""The upscalers one device keeps warm."""

from collections.abc import Callable
from pathlib import Path

import torch

from easel.catalog import ModelCard
from worker.checkpoints.load import preferred_dtype
from worker.recent import Recent
from worker.upscale.rrdbnet import RRDBNet, load_upscaler


class UpscalerCache:
    """Loads upscalers once; belongs to the one thread that owns the device."""

    def __init__(
        self,
        locate: Callable[[ModelCard], Path],
        *,
        device: torch.device,
        dtype: torch.dtype | None = None,
        most: int = 2,
    ) -> None:
        """`locate` tells where a card's weights lie."""
        self._locate = locate
        self._device = device
        self._dtype = dtype or preferred_dtype(device)
        self._warm: Recent[RRDBNet] = Recent(most)

    def get(self, card: ModelCard) -> RRDBNet:
        """Return the card's upscaler, the very same object while it is warm; raises ModelUnusable, OutOfMemory."""
        return self._warm.get((card.name, card.root, card.path, card.sha256), lambda: self._load(card))

    def clear(self) -> None:
        """Let all of them go, as after the device ran out of memory."""
        self._warm.clear()

    def _load(self, card: ModelCard) -> RRDBNet:
        return load_upscaler(self._locate(card), name=card.name, device=self._device, dtype=self._dtype)
