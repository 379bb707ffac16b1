"""What an operation is: a way from a request to pictures that pauses wherever the engine has to denoise something."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from PIL import Image
from torch import Tensor

from easel.jobs import ImageRequest
from worker.engine.start import Start


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """One walk from noise to latents, made by the engine for all pictures of the request."""

    request: ImageRequest
    """Size, steps and strength are those of this walk alone."""
    start: Start = field(default_factory=Start)
    prompt_steps: int = 0
    """The steps over which the prompts change; 0 where those are the request's."""
    first_pass_steps: int | None = None
    """Of the pass before it, whose steps the prompts' schedules count too; None in a first pass."""


Operation = Generator[list[Pass], list[Tensor], list[Image.Image]]
"""Yields passes, is sent the latents of each, (n, 4, h, w), and returns the pictures."""


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """The end of an operation."""

    images: list[Image.Image]


def advance(operation: Operation, latents: list[Tensor] | None = None) -> list[Pass] | Done:
    """Go on with the latents that were asked for, None at the beginning; return what is asked for next, or the end."""
    try:
        return next(operation) if latents is None else operation.send(latents)
    except StopIteration as end:
        return Done(end.value)


def together(
    operations: Sequence[Operation],
) -> Generator[list[Pass], list[Tensor], list[list[Image.Image]]]:
    """Carry several operations out side by side, so that their passes share UNet calls; return what each returns."""
    finished: dict[int, list[Image.Image]] = {}
    answers: dict[int, list[Tensor] | None] = dict.fromkeys(range(len(operations)))
    while answers:
        asked: dict[int, list[Pass]] = {}
        for n, answer in answers.items():
            match advance(operations[n], answer):
                case Done(images):
                    finished[n] = images
                case passes:
                    asked[n] = passes
        if not asked:
            break
        latents = iter((yield [one for passes in asked.values() for one in passes]))
        answers = {n: [next(latents) for _ in passes] for n, passes in asked.items()}
    return [finished[n] for n in range(len(operations))]
