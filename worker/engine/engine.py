"""The denoise loop of one device: jobs that agree share each UNet call, and come and go between calls."""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from easel.errors import EaselError, OutOfMemory, RenderError
from easel.jobs import ImageRequest
from worker.checkpoints.checkpoint import Checkpoint
from worker.conditioning.plan import PromptPlan
from worker.engine.batching import BatchPolicy, Shape
from worker.engine.compiled import as_written, compile_blocks
from worker.engine.denoising import Denoising, Picture, latent_shape
from worker.engine.memory import make_room, ran_out
from worker.engine.seamless import seamless
from worker.engine.start import Start
from worker.engine.unet import predict
from worker.networks.outfit import NOTHING, Outfit

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

ROWS_PER_PICTURE = 2
"""The prompt and the negative prompt."""
PATIENCE = 32
"""Calls for which a group waits while others can go on with what their checkpoint has on; changing it costs about two."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """A job went on; for several pictures this is their average."""

    job_id: str
    step: int
    total: int
    """UNet calls from start to end, which for second-order samplers is about twice the steps."""


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A job is denoised and has left the engine."""

    job_id: str
    latents: Tensor
    """(n, 4, h, w), float32, on the checkpoint's device; possibly not finite, which the decoder finds out."""


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """A job could not go on and has left the engine."""

    job_id: str
    error: EaselError


Event = Stepped | Rendered | Failed
Turn = tuple[Denoising, Picture]


class Engine:
    """One per device, owned by one thread. After an exception from `step` the device is lost, and every job with it."""

    def __init__(
        self,
        device: torch.device | str,
        policy: BatchPolicy | None = None,
        *,
        compiled: bool = False,
        relieve: Callable[[Checkpoint], bool] = lambda _: False,
    ) -> None:
        """Ask `relieve` for room where one row does not fit beside what else is on the device, until it has none to give."""
        self.device = torch.device(device)
        self.policy = policy or BatchPolicy(self.device)
        self._compiled = compiled
        self._relieve = relieve
        self._jobs: dict[str, Denoising] = {}
        self._served: dict[object, int] = {}
        self._waiting: dict[object, int] = {}
        """Since which call each group waits."""
        self._calls = 0

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    def room(self, request: ImageRequest, checkpoint: Checkpoint) -> int:
        """Return how many more pictures like these can be taken on without slowing down those at work."""
        _, height, width = latent_shape(request, checkpoint)
        fresh = Shape(str(checkpoint.base), height, width, 77)
        alike = [job.shape for job in self._jobs.values() if job.shape[:3] == fresh[:3]]
        rows = max(self.policy.limit(shape) for shape in alike or [fresh])
        at_work = sum(len(job.pictures) for job in self._jobs.values())
        return max(0, max(1, rows // ROWS_PER_PICTURE) - at_work)

    @torch.inference_mode()
    def admit(
        self,
        job_id: str,
        request: ImageRequest,
        checkpoint: Checkpoint,
        plan: PromptPlan,
        start: Start | None = None,
        outfit: Outfit = NOTHING,
    ) -> None:
        """Take a job on; it joins at the next call. Raises `RequestError` if it can not be, ValueError if it is here already."""
        if job_id in self._jobs:
            raise ValueError(f"job {job_id} is in the engine already")
        if self._compiled:
            compile_blocks(checkpoint.unet)
        self._jobs[job_id] = Denoising(job_id, request, checkpoint, plan, start or Start(), outfit)

    def cancel(self, job_id: str) -> bool:
        """Drop a job before the next call; False if it is not here."""
        return self._jobs.pop(job_id, None) is not None

    @torch.inference_mode()
    def estimate(self, job_id: str) -> Tensor | None:
        """Return what a job's pictures are about to be, (n, 4, h, w) float32; None before that is known, or if it is not here."""
        job = self._jobs.get(job_id)
        return None if job is None else job.estimate

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Make one UNet call for the jobs whose turn it is, and tell what came of it; nothing where nothing waits."""
        turns = self._next()
        failed: list[Event] = []
        for (job, picture), outcome in self._outcomes(turns):
            stepped = outcome if isinstance(outcome, Exception) else _tried(partial(picture.advance, outcome))
            if isinstance(stepped, Exception) and self.cancel(job.job_id):
                failed.append(Failed(job.job_id, _told(job, stepped)))
        moved = {job.job_id: job for job, _ in turns if job.job_id in self._jobs}
        return [*failed, *(Stepped(job.job_id, *job.progress) for job in moved.values()), *self._finished()]

    def _next(self) -> list[Turn]:
        """Return the pictures of the group that waits longest, as many as one call carries."""
        groups: dict[object, list[Turn]] = {}
        for job in self._jobs.values():
            groups.setdefault(job.key, []).extend((job, picture) for picture in job.pictures if not picture.done)
        waiting = {key: turns for key, turns in groups.items() if turns}
        if not waiting:
            return []
        self._calls += 1
        self._served = {key: self._served.get(key, 0) for key in waiting}
        self._waiting = {key: self._waiting.get(key, self._calls) for key in waiting}
        key = min(self._at_hand(waiting), key=lambda one: self._served[one])
        self._served[key] = self._calls
        self._waiting[key] = self._calls + 1
        turns = waiting[key]
        return _fitting(turns, self.policy.limit(turns[0][0].shape))

    def _at_hand(self, waiting: Mapping[object, list[Turn]]) -> list[object]:
        """Return the groups whose turn it may be: those for which a checkpoint in use would have to change wait."""
        first = {key: turns[0][0] for key, turns in waiting.items()}
        ready = [key for key, job in first.items() if job.outfit.is_on(job.checkpoint)]
        in_use = {id(first[key].checkpoint) for key in ready}
        return [
            key
            for key, job in first.items()
            if key in ready or id(job.checkpoint) not in in_use or self._calls - self._waiting[key] >= PATIENCE
        ]

    def _outcomes(self, turns: list[Turn]) -> list[tuple[Turn, Tensor | Exception]]:
        """Ask the UNet; where that fails, ask for less at once, or one by one until only the culprit is left."""
        if not turns:
            return []
        result = _tried(partial(self._predictions, turns))
        if not isinstance(result, Exception):
            return list(zip(turns, result, strict=True))
        if ran_out(result):
            # The frames in its trace hold the very tensors that were too many.
            return self._with_less(turns, result.with_traceback(None))
        if len(turns) == 1:
            return [(turns[0], result)]
        return [outcome for turn in turns for outcome in self._outcomes([turn])]

    def _with_less(self, turns: list[Turn], fault: Exception) -> list[tuple[Turn, Tensor | Exception]]:
        shape = turns[0][0].shape
        rows = min(self.policy.limit(shape), sum(job.rows for job, _ in turns))
        make_room(self.device)
        if rows == 1:
            relieved = self._relieve(turns[0][0].checkpoint)
            return self._outcomes(turns[:1]) if relieved else [(turns[0], fault)]
        limit = self.policy.too_large(shape, rows)
        _log.warning("%d rows of %s do not fit into memory; going on with %d", rows, shape, limit)
        return self._outcomes(_fitting(turns, limit))

    def _predictions(self, turns: list[Turn]) -> list[Tensor]:
        first = turns[0][0]
        unet: Any = first.checkpoint.unet
        wrapping = seamless(unet) if first.request.tiling else nullcontext()
        asks = [job.ask(picture) for job, picture in turns]
        limit = self.policy.limit(first.shape)
        with (
            first.outfit.painting(first.checkpoint),
            as_written(unet) if first.outfit.hypernetworks else nullcontext(),
            wrapping,
            self.policy.timed(first.shape, sum(len(ask.told) for ask in asks)),
        ):
            return predict(unet, asks, most=limit)

    def _finished(self) -> list[Event]:
        done = [job for job in self._jobs.values() if job.done]
        for job in done:
            del self._jobs[job.job_id]
        return [Rendered(job.job_id, job.latents) for job in done]


def _fitting(turns: Iterable[Turn], limit: int) -> list[Turn]:
    """Return the oldest turns whose rows are at most `limit` together, but one at least."""
    chosen: list[Turn] = []
    rows = 0
    for job, picture in turns:
        rows += job.rows
        if chosen and rows > limit:
            break
        chosen.append((job, picture))
    return chosen


def _tried(call: Callable[[], Result]) -> Result | Exception:
    """Return what the call returns, or the exception that one of several jobs has raised in it."""
    try:
        return call()
    except torch.AcceleratorError:
        raise
    except Exception as error:  # noqa: BLE001 - here jobs part: the fault of one must not become its neighbours'
        return error


def _told(job: Denoising, fault: Exception) -> EaselError:
    """Return a job's fault as people are told it."""
    if isinstance(fault, EaselError):
        return fault
    _log.error("job %s failed in the engine", job.job_id, exc_info=fault)
    error: EaselError
    if ran_out(fault):
        size = f"{job.request.width}x{job.request.height}"
        error = OutOfMemory(f"There is not enough memory here for a picture of {size}. Please ask for a smaller one.")
    else:
        error = RenderError("The picture could not be made: the renderer failed on the way. Its log has the reason.")
    error.__cause__ = fault
    return error
