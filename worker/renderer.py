"""What the GPU worker asks of whoever paints: take a job in, make one step, leave one out."""

from dataclasses import dataclass
from typing import Protocol

from easel.errors import EaselError, RenderError
from easel.jobs import ImageRequest


@dataclass(frozen=True, slots=True)
class Stepped:
    """A job went one sampler step further."""

    job_id: str
    step: int
    total: int
    preview: bytes = b""
    """A small JPEG of what the pictures are about to become; empty at most steps."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A job is done: its PNG files, one infotext each."""

    job_id: str
    pictures: tuple[bytes, ...]
    infotexts: tuple[str, ...]
    seconds: float
    """From admission to the last byte."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """A job ended without a picture; the renderer goes on."""

    job_id: str
    error: EaselError


Event = Stepped | Finished | Failed


class Renderer(Protocol):
    """One device's renderer; used from one thread."""

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        ...

    @property
    def batch_key(self) -> str:
        """The key that a job must have to join what is being painted; empty when idle."""
        ...

    @property
    def room(self) -> int:
        """How many more pictures fit beside what is being painted."""
        ...

    def admit(self, job_id: str, request: ImageRequest) -> None:
        """Take a job in; raise `RequestError` or `RenderError` when it can not be painted."""
        ...

    def step(self) -> list[Event]:
        """Make one step for some of the jobs and return what happened; never raises for one job's fault."""
        ...

    def cancel(self, job_id: str) -> None:
        """Leave a job out from the next step on; unknown ids are ignored."""
        ...


def unforeseen(job_id: str) -> RenderError:
    """Return the sentence for a fault of ours; its trace stands in the log under the job's id."""
    return RenderError(f"Something went wrong while drawing. Tell the admin this number: {job_id}.")
