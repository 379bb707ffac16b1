"""The models of one device: found in the catalog by name, loaded when they are first asked for."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from torch import nn

from easel.catalog import Base, ModelCard, ModelKind
from easel.errors import ModelUnusable, RenderError, UnknownModel
from easel.jobs import ImageRequest
from easel.library import Library
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.hot import CheckpointCache
from worker.checkpoints.load import read_card
from worker.checkpoints.parts import Parts
from worker.checkpoints.single_file import no_lender
from worker.checkpoints.vae import VaeCache, own_vae
from worker.conditioning.encoder import Encoder
from worker.conditioning.plan import PromptPlan
from worker.control.controlnet import ControlNet, ControlNetCache
from worker.devices import ram_budget, weights_budget
from worker.engine.memory import make_room, offload
from worker.networks.embedding import Heard, Vocabulary
from worker.networks.outfit import NOTHING, Outfit
from worker.networks.shelf import Shelf
from worker.upscale.hot import UpscalerCache
from worker.upscale.rrdbnet import RRDBNet

log = logging.getLogger(__name__)


class Models:
    """Any thread may ask for a model. While it uses one it holds `denoising` or `working`, whichever is its part.

    Loading a checkpoint holds both: the libraries set torch's default precision meanwhile, for all threads.
    """

    def __init__(
        self,
        library: Library,
        *,
        device: torch.device,
        dtype: torch.dtype | None = None,
        ram_gb: float | None = None,
    ) -> None:
        self.device = device
        self.denoising = threading.Lock()
        """Held to use UNets, ControlNets and text encoders."""
        self.working = threading.Lock()
        """Held to use VAEs and upscalers."""
        self._library = library
        self._loading = threading.Lock()
        self._encoders: dict[str, tuple[Checkpoint, Encoder]] = {}
        self._vocabulary = Vocabulary(library)
        self._networks = Shelf(library, self.card)
        self._checkpoints = CheckpointCache(
            library.path,
            device=device,
            budget=weights_budget(device),
            ram_budget=ram_budget(device, ram_gb),
            dtype=dtype,
            on_leave=self._let_go,
        )
        self._checkpoints.read = self._read
        self._vaes = VaeCache(library.path, device=device)
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
            return self._checkpoints.get(card, self._alone())

    def _read(self, card: ModelCard, path: Path) -> Parts:
        return read_card(card, path, self._lend)

    def _lend(self, card: ModelCard, base: Base, width: int) -> Parts:
        for donor in self._library.catalog.cards(ModelKind.CHECKPOINT):
            if donor.name == card.name or (donor.base, donor.context_dim) != (base, width):
                continue
            try:
                return read_card(donor, self._library.path(donor))
            except ModelUnusable as error:
                log.debug("%s lends no text encoder: %s", donor.name, error)
        return no_lender(card, base, width)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self.denoising, self.working:
            yield

    @property
    def warm(self) -> tuple[str, ...]:
        """The names of the checkpoints on the device, the one loaded last at the end."""
        return self._checkpoints.warm

    @property
    def in_ram(self) -> tuple[str, ...]:
        """The names of the checkpoints that are read already."""
        return self._checkpoints.in_ram

    def expect(self, coming: Sequence[str], stopped: Callable[[], bool] = lambda: False) -> None:
        """Keep what is asked for next, the first one first, and read the first that is not on the device into RAM."""
        cards = []
        for name in coming:
            try:
                cards.append(self._library.catalog.checkpoint(name))
            except UnknownModel:
                continue
        self._checkpoints.expect([card.name for card in cards])
        cold = next((card for card in cards if card.name not in self.warm), None)
        if cold is not None:
            try:
                self._checkpoints.prefetch(cold, stopped)
            except (RenderError, OSError) as error:
                # Whoever asked for it is told in its turn.
                log.debug("%s is not read ahead: %s", cold.name, error)

    def plan(
        self,
        request: ImageRequest,
        checkpoint: Checkpoint,
        *,
        first_pass_steps: int | None = None,
        outfit: Outfit = NOTHING,
    ) -> PromptPlan:
        """Encode the request's prompts; raises `BadPrompt`. The caller holds none of the locks."""
        embeddings = self.heard(request, checkpoint).embeddings
        with self._loading:
            kept, encoder = self._encoders.get(checkpoint.name, (None, None))
            if encoder is None or kept is not checkpoint:
                warm = set(self._checkpoints.warm)
                self._encoders = {name: pair for name, pair in self._encoders.items() if name in warm}
                encoder = Encoder(checkpoint)
                self._encoders[checkpoint.name] = (checkpoint, encoder)
        with self.denoising:
            return encoder.plan(request, first_pass_steps=first_pass_steps, embeddings=embeddings, outfit=outfit)

    def outfit(self, request: ImageRequest, checkpoint: Checkpoint) -> Outfit:
        """Return what the request's prompt has the checkpoint wear; raises UnknownModel, BadValue, ModelUnusable."""
        with self._loading:
            return self._networks.outfit(request.networks, checkpoint, _card_of(checkpoint))

    def heard(self, request: ImageRequest, checkpoint: Checkpoint) -> Heard:
        """Return the embeddings that the request's prompts name, loaded; raises BadPrompt."""
        texts = (request.prompt, request.negative_prompt)
        return self._vocabulary.heard(texts, _card_of(checkpoint), _widths(checkpoint))

    def vae(self, request: ImageRequest, checkpoint: Checkpoint) -> AutoencoderKL:
        """Return what turns the request's pictures to latents and back: the VAE that it names, or the checkpoint's own.

        Raises UnknownModel, BadValue, ModelUnusable, OutOfMemory. The caller holds none of the locks.
        """
        name = request.vae
        if not name and not checkpoint.has_vae:
            name = self.card(checkpoint.name).defaults.vae or ""
        if not name:
            return own_vae(checkpoint)
        card = self.card(name, ModelKind.VAE)
        with self._loading:
            return self._vaes.get(card, checkpoint)

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

    def relieve(self, checkpoint: Checkpoint) -> bool:
        """Make room for a picture of this checkpoint: others leave, then what does not denoise goes into RAM.

        False when nothing is left to move. The caller holds `denoising`.
        """
        freed = False
        # Whoever is loading waits for `denoising`, and so can not be waited for.
        if self._loading.acquire(blocking=False):
            try:
                freed = self._checkpoints.keep_only(checkpoint.name)
            finally:
                self._loading.release()
        if not freed:
            freed = checkpoint.wardrobe.to_ram()
        if not freed:
            with self.working:
                freed = offload(checkpoint.vae, *checkpoint.text_encoders)
                if freed and checkpoint.has_vae:
                    # Processors are slow with half precision.
                    cast("nn.Module", checkpoint.vae).to(torch.float32)
        if freed:
            log.warning("memory is short: made room for %s", checkpoint.name)
            make_room(self.device)
        return freed

    def _let_go(self, name: str) -> None:
        # An encoder refers to its checkpoint, whose memory is wanted.
        self._encoders.pop(name, None)


def _widths(checkpoint: Checkpoint) -> tuple[int, ...]:
    """Return the width of each text encoder."""
    encoders = cast("tuple[Any, ...]", checkpoint.text_encoders)
    return tuple(encoder.config.hidden_size for encoder in encoders)


def _card_of(checkpoint: Checkpoint) -> ModelCard:
    """Return what a checkpoint is as it was loaded; its file may be gone since."""
    width = sum(_widths(checkpoint))
    return ModelCard(name=checkpoint.name, kind=ModelKind.CHECKPOINT, base=checkpoint.base, context_dim=width)
