"""The last thing done to a job's pictures: they become PNG files that tell how they were made."""

import time
from collections.abc import Sequence
from importlib.metadata import version

from PIL import Image

from easel.infotext.files import encode
from easel.infotext.text import ModelFacts, describe
from easel.jobs import ImageRequest
from worker.engine.noise import seeds
from worker.operations.paint import settled
from worker.renderer import Finished


def finish(job_id: str, request: ImageRequest, file_hash: str, images: Sequence[Image.Image], began: float) -> Finished:
    """Return the finished job; `began` is when it was taken in, by `time.perf_counter`."""
    texts = [infotext(request, file_hash, n) for n in range(len(images))]
    pictures = [encode(image, "PNG", text) for image, text in zip(images, texts, strict=True)]
    return Finished(job_id, tuple(pictures), tuple(texts), time.perf_counter() - began)


def infotext(request: ImageRequest, file_hash: str, n: int) -> str:
    """Return what is written into picture `n`, with the seeds that are its own."""
    seed, variation_seed = seeds(request, n)
    facts = ModelFacts(request.checkpoint, file_hash, version=f"Easel {version('easel')}")
    return describe(settled(request).changed(seed=seed, variation_seed=variation_seed), facts)
