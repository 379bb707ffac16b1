"""The real renderer: the operations of many jobs on one device, whose passes share one engine."""

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from easel.errors import EaselError, Expired
from easel.infotext.text import ModelFacts
from easel.jobs import ImageRequest
from easel.library import Library
from worker import renderer
from worker.checkpoints.checkpoint import Checkpoint
from worker.conditioning.plan import PromptPlan
from worker.darkroom import Darkroom
from worker.engine.engine import Engine, Event, Failed, Rendered, Stepped
from worker.engine.preview import Previewer
from worker.finish import facts_of, finish, short_hash
from worker.habits import USUAL, Habits
from worker.models import Models
from worker.networks.outfit import Outfit
from worker.operations.operation import Done, Operation, Pass, advance
from worker.operations.perform import calls_for, perform
from worker.operations.tools import Fetch, Tools

log = logging.getLogger(__name__)

PLACES = 2
"""In the darkroom: while one job is developed, another can begin."""
DEVELOPING = 4
"""Jobs that may wait for the darkroom before no more are taken in."""
PREVIEW_S = 1.5
"""Between two previews of one job."""


def nothing_kept(name: str) -> bytes:
    """Fetch from a result store that there is none of."""
    raise Expired(f"The picture {name} is not kept here.")


@dataclass(slots=True)
class _Work:
    """A job on this device; its operation is either with the engine or in the darkroom."""

    job_id: str
    request: ImageRequest
    operation: Operation
    tools: Tools
    total: int
    """UNet calls."""
    facts: ModelFacts
    """For the infotext."""
    cancelled: threading.Event
    began: float = field(default_factory=time.perf_counter)
    passes: dict[str, Tensor | None] = field(default_factory=dict)
    """What the engine was given last, by its name there, and what has come back."""
    steps: dict[str, int] = field(default_factory=dict)
    """Calls made for each pass so far, the earlier ones included."""
    sample: tuple[ImageRequest, Checkpoint] | None = None
    """What one of the passes in the engine is like; None while there is none."""
    developing: "Future[list[Pass] | renderer.Finished] | None" = None
    previewed: float = field(default_factory=time.perf_counter)
    notes: dict[str, None] = field(default_factory=dict)
    """What the asker should know, each sentence once."""

    @property
    def done(self) -> int:
        return min(self.total, sum(self.steps.values()))

    @property
    def leaving(self) -> bool:
        """Whether the engine will not see it again."""
        return self.sample is None and 0 < self.total == self.done


class DiffusersRenderer:
    """Renders with diffusers' models on one device; `fetch` returns pictures from the result store.

    What comes before and after denoising is done in the darkroom, beside the engine's next steps.
    """

    def __init__(
        self,
        library: Library,
        *,
        device: str,
        fetch: Fetch = nothing_kept,
        habits: Habits = USUAL,
    ) -> None:
        where = torch.device(device)
        precision = None if habits.dtype == "auto" else getattr(torch, habits.dtype)
        self._fetch = fetch
        self._models = Models(library, device=where, dtype=precision, ram_gb=habits.ram_gb)
        # Elsewhere compiled blocks are not worth the wait.
        compiled = habits.compiled and where.type == "cuda"
        self._engine = Engine(where, compiled=compiled, relieve=self._models.relieve)
        self._previews = habits.previews
        self._previewer = Previewer()
        self._works: dict[str, _Work] = {}
        self._darkroom = Darkroom(PLACES, shares_cores=where.type == "cpu")

    @property
    def models(self) -> Models:
        return self._models

    @property
    def busy(self) -> bool:
        return bool(self._works)

    @property
    def batch_key(self) -> str:
        return next((work.request.batch_key for work in self._works.values()), "")

    @property
    def room(self) -> int:
        at_work = [work for work in self._works.values() if not work.leaving]
        if not at_work:
            # The head of the line decides what fits beside it; more is claimed before the first step.
            return int(len(self._works) < DEVELOPING)
        samples = [work.sample for work in at_work if work.sample is not None]
        if not samples or any(work.request.plot is not None for work in at_work):
            return 0
        coming = sum(work.request.batch_size for work in at_work if work.sample is None)
        return max(0, self._engine.room(*samples[0]) - coming)

    def admit(self, job_id: str, request: ImageRequest) -> None:
        facts = facts_of(request, self._models.card)
        total = calls_for(request, self._models.card)
        cancelled = threading.Event()
        tools = Tools(self._models, self._fetch, cancelled.is_set)
        work = _Work(job_id, request, perform(request, tools), tools, total, facts, cancelled)
        self._works[job_id] = work
        self._develop(work, None)

    def step(self) -> list[renderer.Event]:
        with self._models.denoising:
            events = self._engine.step() if self._engine.busy else []
        return self._heard(events) + self._developed(block=not self._engine.busy)

    def cancel(self, job_id: str) -> None:
        work = self._works.pop(job_id, None)
        if work is not None:
            work.cancelled.set()
            if work.developing is not None:
                work.developing.cancel()
            for name in work.passes:
                self._engine.cancel(name)

    def close(self) -> None:
        """Leave all jobs out, and end the darkroom's threads."""
        for job_id in list(self._works):
            self.cancel(job_id)
        self._darkroom.close()

    def _heard(self, events: Iterable[Event]) -> list[renderer.Event]:
        """Take in what the engine told; return what people are told of it."""
        moved: dict[str, _Work] = {}
        failed: list[renderer.Event] = []
        for event in events:
            work = self._works.get(event.job_id.rpartition("/")[0])
            if work is None:
                continue
            match event:
                case Stepped(name, step):
                    work.steps[name] = step
                    moved[work.job_id] = work
                case Rendered(name, latents):
                    self._take_back(work, name, latents)
                case Failed(_, error):
                    moved.pop(work.job_id, None)
                    failed.append(self._failed(work, error))
        return [*(self._stepped(work) for work in moved.values()), *failed]

    def _take_back(self, work: _Work, name: str, latents: Tensor) -> None:
        work.passes[name] = latents
        answers = [one for one in work.passes.values() if one is not None]
        if len(answers) == len(work.passes):
            work.passes, work.sample = {}, None
            self._develop(work, answers)

    def _develop(self, work: _Work, latents: list[Tensor] | None) -> None:
        work.developing = self._darkroom.submit(partial(_develop, work, latents), alone=not self._engine.busy)

    def _stepped(self, work: _Work) -> renderer.Stepped:
        preview = b""
        if self._previews and time.perf_counter() - work.previewed >= PREVIEW_S:
            preview = self._preview(work)
        return renderer.Stepped(work.job_id, work.done, work.total, preview)

    def _preview(self, work: _Work) -> bytes:
        """Return a preview of what is at work, empty where that can not be had at once."""
        looks = (self._engine.estimate(name) if done is None else done for name, done in work.passes.items())
        estimates = [one for one in looks if one is not None]
        if work.sample is None or not estimates or not self._models.working.acquire(blocking=False):
            return b""
        try:
            alike = [one for one in estimates if one.shape[1:] == estimates[0].shape[1:]]
            request, checkpoint = work.sample
            preview = self._previewer.preview(checkpoint, torch.cat(alike), work.tools.kept_vae(request))
        finally:
            self._models.working.release()
        work.previewed = time.perf_counter()
        return preview

    def _developed(self, *, block: bool) -> list[renderer.Event]:
        """Take in what came out of the darkroom; with nothing else to do, wait a moment for it."""
        pending = {work.developing: work for work in self._works.values() if work.developing is not None}
        done, _ = wait(pending, timeout=0.1 if block else 0, return_when="FIRST_COMPLETED")
        return [event for future in done if (event := self._taken_out(pending[future], future)) is not None]

    def _taken_out(
        self, work: _Work, future: "Future[list[Pass] | renderer.Finished]"
    ) -> renderer.Finished | renderer.Failed | None:
        """Return how the job ended; None where it goes on in the engine."""
        work.developing = None
        try:
            outcome = future.result()
            if isinstance(outcome, renderer.Finished):
                del self._works[work.job_id]
                return outcome
            self._give_to_the_engine(work, outcome)
        except EaselError as error:
            return self._failed(work, error)
        except torch.AcceleratorError:
            raise
        except Exception:
            log.exception("an operation failed", extra={"job": work.job_id})
            return self._failed(work, renderer.unforeseen(work.job_id))
        return None

    def _give_to_the_engine(self, work: _Work, passes: Sequence[Pass]) -> None:
        loaded = [work.tools.checkpoint(one.request) for one in passes]
        outfits = [self._models.outfit(one.request, checkpoint) for one, checkpoint in zip(passes, loaded, strict=True)]
        plans = [self._plan(*each) for each in zip(passes, loaded, outfits, strict=True)]
        for one, checkpoint, plan, outfit in zip(passes, loaded, plans, outfits, strict=True):
            self._tell(work, one.request, checkpoint, outfit)
            name = f"{work.job_id}/{len(work.steps)}"
            with self._models.denoising:
                self._engine.admit(name, one.request, checkpoint, plan, one.start, outfit)
            work.steps[name] = 0
            work.passes[name] = None
        work.sample = (passes[0].request, loaded[0])

    def _plan(self, one: Pass, checkpoint: Checkpoint, outfit: Outfit) -> PromptPlan:
        told = one.request.changed(steps=one.prompt_steps or one.request.steps)
        return self._models.plan(told, checkpoint, first_pass_steps=one.first_pass_steps, outfit=outfit)

    def _tell(self, work: _Work, request: ImageRequest, checkpoint: Checkpoint, outfit: Outfit) -> None:
        """Keep for the end what is to be said about networks and embeddings."""
        heard = self._models.heard(request, checkpoint)
        work.notes |= dict.fromkeys((*checkpoint.notes, *outfit.notes, *heard.notes))
        hashes = {card.name: short_hash(card) for card in heard.cards}
        work.facts = replace(work.facts, embedding_hashes={**work.facts.embedding_hashes, **hashes})

    def _failed(self, work: _Work, error: EaselError) -> renderer.Failed:
        self.cancel(work.job_id)
        return renderer.Failed(work.job_id, error)


def _develop(work: _Work, latents: list[Tensor] | None) -> list[Pass] | renderer.Finished:
    """Carry an operation on until it needs the engine, or to its end; runs in the darkroom."""
    outcome = advance(work.operation, latents)
    # An operation that asks for nothing gets nothing.
    while outcome == []:
        outcome = advance(work.operation, [])
    if isinstance(outcome, Done):
        finished = finish(work.job_id, work.request, work.facts, outcome.images, work.began)
        return replace(finished, notes=tuple(work.notes))
    return outcome
