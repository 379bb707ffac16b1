"""The real renderer: checkpoint, prompt, engine and development of one device, behind the renderer's protocol."""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from importlib.metadata import version

import torch
from torch import Tensor

from easel.catalog import ModelCard
from easel.errors import EaselError, UnknownModel
from easel.infotext.files import encode
from easel.infotext.text import ModelFacts, describe
from easel.jobs import ImageRequest
from easel.library import WatchedLibrary
from easel.pictures import enlarged
from worker import renderer
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.hot import CheckpointCache
from worker.conditioning.encoder import Encoder
from worker.develop import develop
from worker.devices import weights_budget
from worker.engine.engine import Engine, Failed, Rendered, Stepped

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Work:
    """A job on this device."""

    request: ImageRequest
    checkpoint: Checkpoint
    began: float = field(default_factory=time.perf_counter)
    developing: Future[renderer.Finished] | None = None


class DiffusersRenderer:
    """Renders with diffusers' models on one device; decoding and PNG run beside the next steps."""

    def __init__(self, library: WatchedLibrary, *, device: str, dtype: str = "auto") -> None:
        where = torch.device(device)
        precision = None if dtype == "auto" else getattr(torch, dtype)
        self._library = library
        self._engine = Engine(where)
        self._checkpoints = CheckpointCache(library.path, device=where, budget=weights_budget(where), dtype=precision)
        self._encoders: dict[str, tuple[Checkpoint, Encoder]] = {}
        self._works: dict[str, _Work] = {}
        self._darkroom = ThreadPoolExecutor(1, thread_name_prefix="develop")

    @property
    def busy(self) -> bool:
        return bool(self._works)

    @property
    def batch_key(self) -> str:
        return next((work.request.batch_key for work in self._works.values()), "")

    @property
    def room(self) -> int:
        denoising = [work for work in self._works.values() if work.developing is None]
        if not denoising:
            # The head of the line decides what fits beside it; more is claimed before the first step.
            return 1
        return self._engine.room(denoising[0].request, denoising[0].checkpoint)

    def admit(self, job_id: str, request: ImageRequest) -> None:
        checkpoint = self._checkpoints.get(self._card(request.checkpoint))
        plan = self._encoder(checkpoint).plan(request)
        self._engine.admit(job_id, request, checkpoint, plan)
        self._works[job_id] = _Work(request, checkpoint)

    def _card(self, name: str) -> ModelCard:
        try:
            return self._library.catalog.checkpoint(name)
        except UnknownModel:
            # The door may know a file that arrived since we last looked.
            return self._library.refresh().checkpoint(name)

    def _encoder(self, checkpoint: Checkpoint) -> Encoder:
        kept, encoder = self._encoders.get(checkpoint.name, (None, None))
        if encoder is None or kept is not checkpoint:
            warm = set(self._checkpoints.warm)
            self._encoders = {name: pair for name, pair in self._encoders.items() if name in warm}
            encoder = Encoder(checkpoint)
            self._encoders[checkpoint.name] = (checkpoint, encoder)
        return encoder

    def step(self) -> list[renderer.Event]:
        events: list[renderer.Event] = []
        for event in self._engine.step() if self._engine.busy else []:
            match event:
                case Stepped(job_id, step, total):
                    events.append(renderer.Stepped(job_id, step, total))
                case Rendered(job_id, latents):
                    self._works[job_id].developing = self._darkroom.submit(
                        _finish, job_id, self._works[job_id], latents
                    )
                case Failed(job_id, error):
                    self._works.pop(job_id, None)
                    events.append(renderer.Failed(job_id, error))
        return events + self._developed(block=not self._engine.busy)

    def _developed(self, *, block: bool) -> list[renderer.Event]:
        """Return what came out of the darkroom; with nothing else to do, wait a moment for it."""
        pending = {work.developing: job_id for job_id, work in self._works.items() if work.developing is not None}
        if not pending:
            return []
        done, _ = wait(pending, timeout=0.1 if block else 0, return_when="FIRST_COMPLETED")
        return [self._taken_out(pending[future], future) for future in done]

    def _taken_out(self, job_id: str, future: Future[renderer.Finished]) -> renderer.Event:
        del self._works[job_id]
        try:
            return future.result()
        except EaselError as error:
            return renderer.Failed(job_id, error)
        except Exception:
            log.exception("developing failed", extra={"job": job_id})
            return renderer.Failed(job_id, renderer.unforeseen(job_id))

    def cancel(self, job_id: str) -> None:
        self._engine.cancel(job_id)
        self._works.pop(job_id, None)


def _finish(job_id: str, work: _Work, latents: Tensor) -> renderer.Finished:
    """Turn latents into PNG files; runs in the darkroom's thread."""
    images = develop(work.checkpoint.vae, latents, tiling=work.request.tiling)
    pictures, texts = [], []
    for n, image in enumerate(images):
        text = _infotext(work, n)
        texts.append(text)
        pictures.append(encode(enlarged(image, work.request.enlarge), "PNG", text))
    return renderer.Finished(job_id, tuple(pictures), tuple(texts), time.perf_counter() - work.began)


def _infotext(work: _Work, n: int) -> str:
    request = work.request.changed(seed=(work.request.seed + n) % 2**32)
    facts = ModelFacts(work.request.checkpoint, work.checkpoint.file_hash, version=f"Easel {version('easel')}")
    return describe(request, facts)
