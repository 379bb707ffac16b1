"""A library of tiny models, a result store in memory, and what operations make of requests with both."""

import io
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from easel.catalog import Base
from easel.errors import Expired
from easel.jobs import ImageRequest
from easel.library import WatchedLibrary
from tests.fakes.engine_jobs import Run, small, wide_engine
from tests.fakes.esrgan_files import OldEsrgan, new_names
from tests.fakes.model_place import Place
from tests.fakes.tiny_controlnets import published, tiny_controlnet
from tests.fakes.tiny_models import save_folder, tiny_checkpoint
from worker.checkpoints.checkpoint import Checkpoint
from worker.engine.samplers import make_scheduler
from worker.models import Models
from worker.operations.operation import Done, Operation, Pass, advance
from worker.operations.perform import perform
from worker.operations.tools import Tools

SAYS = """
    models:
      tiny: {kind: checkpoint, path: Stable-diffusion/tiny, base: sd15}
      other: {kind: checkpoint, path: Stable-diffusion/other, base: sd15}
      painter: {kind: checkpoint, path: Stable-diffusion/painter, base: sd15}
      xl: {kind: checkpoint, path: Stable-diffusion/xl, base: sdxl}
      twice: {kind: upscaler, path: ESRGAN/twice.safetensors}
      edges: {kind: controlnet, path: ControlNet/edges.safetensors, base: sd15}
"""


@dataclass(slots=True)
class Drawn:
    """What came of a request, and on which way."""

    images: list[Image.Image]
    passes: list[Pass] = field(default_factory=list)
    latents: list[Tensor] = field(default_factory=list)
    """Of each pass."""
    calls: int = 0
    """Of the UNet."""


class Workshop:
    def __init__(self, folder: Path) -> None:
        place = Place(folder)
        checkpoints = place.models / "Stable-diffusion"
        save_folder(tiny_checkpoint(Base.SD15), checkpoints / "tiny")
        save_folder(tiny_checkpoint(Base.SD15, seed=1), checkpoints / "other")
        save_folder(tiny_checkpoint(Base.SD15, in_channels=9), checkpoints / "painter")
        save_folder(tiny_checkpoint(Base.SDXL), checkpoints / "xl")
        for name in ("ESRGAN", "ControlNet"):
            (place.models / name).mkdir()
        save_file(new_names(OldEsrgan(1)), place.models / "ESRGAN" / "twice.safetensors")
        steering = published(tiny_controlnet(tiny_checkpoint(Base.SD15)))
        save_file(
            {name: one.contiguous() for name, one in steering.items()},
            place.models / "ControlNet" / "edges.safetensors",
        )
        place.says(SAYS)
        self.library = WatchedLibrary(place.settings())
        self.models = Models(self.library, device=torch.device("cpu"))
        self._pictures: dict[str, bytes] = {}
        self._numbers = itertools.count()

    def keep(self, image: Image.Image) -> str:
        """Put a picture into the result store and return its name."""
        out = io.BytesIO()
        image.save(out, "PNG")
        return self.keep_bytes(out.getvalue())

    def keep_bytes(self, data: bytes) -> str:
        name = f"picture-{next(self._numbers)}"
        self._pictures[name] = data
        return name

    def fetch(self, name: str) -> bytes:
        if name not in self._pictures:
            raise Expired("The picture is gone.")
        return self._pictures[name]

    @property
    def tools(self) -> Tools:
        return Tools(self.models, self.fetch)

    def checkpoint(self, name: str = "tiny") -> Checkpoint:
        return self.models.checkpoint(name)

    def draw(self, request: ImageRequest) -> Drawn:
        """Carry the request out alone, its passes in an engine of their own."""
        return self.carry_out(perform(request, self.tools))

    def carry_out(self, operation: Operation) -> Drawn:
        drawn = Drawn([])
        outcome = advance(operation)
        while not isinstance(outcome, Done):
            engine = wide_engine(64)
            for n, one in enumerate(outcome):
                checkpoint = self.checkpoint(one.request.checkpoint)
                told = one.request.changed(steps=one.prompt_steps or one.request.steps)
                outfit = self.models.outfit(one.request, checkpoint)
                plan = self.models.plan(told, checkpoint, first_pass_steps=one.first_pass_steps, outfit=outfit)
                engine.admit(str(n), one.request, checkpoint, plan, one.start, outfit)
            run = Run(engine)
            assert not run.failures
            answers = [run.latents[str(n)] for n in range(len(outcome))]
            drawn.passes += outcome
            drawn.latents += answers
            drawn.calls += run.calls
            outcome = advance(operation, answers)
        drawn.images = outcome.images
        return drawn


def asked(**changes: Any) -> ImageRequest:
    """Return a small request for the tiny checkpoint."""
    return small(**{"checkpoint": "tiny", "sampler": "DDIM"} | changes)


def photo(width: int = 64, height: int = 64, seed: int = 5) -> Image.Image:
    """Return a picture with soft and hard parts, no two pixels alike for long."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def mask_of(size: tuple[int, int], *boxes: tuple[int, int, int, int]) -> Image.Image:
    """Return a black mask, white in the boxes."""
    mask = Image.new("L", size, 0)
    for box in boxes:
        mask.paste(255, box)
    return mask


def bytes_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def difference(one: Image.Image, other: Image.Image) -> int:
    """Return the greatest difference of two pictures of one size, of 255."""
    return int(np.abs(bytes_of(one) - bytes_of(other)).max())


def scheduler_for(request: ImageRequest, checkpoint: Checkpoint) -> Any:
    return make_scheduler(request.sampler, request.schedule, checkpoint.scheduler_config, request.steps)
