"""The models of one device: found in the catalog by name, loaded when they are first asked for."""

import threading

import torch

from easel.catalog import ModelCard, ModelKind
from easel.errors import UnknownModel
from easel.jobs import ImageRequest
from easel.library import WatchedLibrary
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.hot import CheckpointCache
from worker.conditioning.encoder import Encoder
from worker.conditioning.plan import PromptPlan
from worker.control.controlnet import ControlNet, ControlNetCache
from worker.devices import weights_budget
from worker.upscale.hot import UpscalerCache
from worker.upscale.rrdbnet import RRDBNet


class Models:
    """Any thread may ask for a model. While it uses one it holds `denoising` or `working`, whichever is its part.

    Loading a checkpoint holds both: the libraries set torch's default precision meanwhile, for all threads.
    """

    def __init__(self, library: WatchedLibrary, *, device: torch.device, dtype: torch.dtype | None = None) -> None:
        self.device = device
        self.denoising = threading.Lock()
        """Held to use UNets, ControlNets and text encoders."""
        self.working = threading.Lock()
        """Held to use VAEs and upscalers."""
        self._library = library
        self._loading = threading.Lock()
        self._encoders: dict[str, tuple[Checkpoint, Encoder]] = {}
        self._checkpoints = CheckpointCache(
            library.path, device=device, budget=weights_budget(device), dtype=dtype, on_leave=self._let_go
        )
        self._upscalers = UpscalerCache(library.path, device=device, dtype=dtype)
        self._controlnets = ControlNetCache(library.path)

    def card(self, name: str, kind: ModelKind = ModelKind.CHECKPOINT) -> ModelCard:
        """Find a model; raises `UnknownModel`."""
        try:
            return self._library.catalog.model(kind, name)
        except UnknownModel:
            # The door may know a file that arrived since we last looked.
            return self._library.refresh().model(kind, name)

    def checkpoint(self, name: str) -> Checkpoint:
        """Return a checkpoint, the same object while it is warm; raises UnknownModel, ModelUnusable, OutOfMemory.

        The caller holds none of the locks.
        """
        card = self.card(name)
        with self._loading:
            if card.name in self._checkpoints.warm:
                return self._checkpoints.get(card)
            with self.denoising, self.working:
                return self._checkpoints.get(card)

    def plan(self, request: ImageRequest, checkpoint: Checkpoint) -> PromptPlan:
        """Encode the request's prompts; raises `BadPrompt`. The caller holds none of the locks."""
        with self._loading:
            kept, encoder = self._encoders.get(checkpoint.name, (None, None))
            if encoder is None or kept is not checkpoint:
                warm = set(self._checkpoints.warm)
                self._encoders = {name: pair for name, pair in self._encoders.items() if name in warm}
                encoder = Encoder(checkpoint)
                self._encoders[checkpoint.name] = (checkpoint, encoder)
        with self.denoising:
            return encoder.plan(request)

    def upscaler(self, name: str) -> RRDBNet:
        """Return an upscaler; raises UnknownModel, ModelUnusable, OutOfMemory."""
        card = self.card(name, ModelKind.UPSCALER)
        with self._loading:
            return self._upscalers.get(card)

    def controlnet(self, name: str, checkpoint: Checkpoint) -> ControlNet:
        """Return a ControlNet for this checkpoint; raises UnknownModel, ModelUnusable, OutOfMemory."""
        card = self.card(name, ModelKind.CONTROLNET)
        with self._loading:
            return self._controlnets.get(card, checkpoint)

    def _let_go(self, name: str) -> None:
        # An encoder refers to its checkpoint, whose memory is wanted.
        self._encoders.pop(name, None)
