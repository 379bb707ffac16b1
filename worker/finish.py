"""The last thing done to a job's pictures: they become PNG files that tell how they were made."""

import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

from PIL import Image

from easel.catalog import ModelCard, ModelKind
from easel.errors import UnknownModel
from easel.infotext.files import encode
from easel.infotext.text import ModelFacts, describe
from easel.jobs import ImageRequest
from worker.engine.noise import seeds
from worker.operations.paint import settled
from worker.renderer import Finished

Find = Callable[[str, ModelKind], ModelCard]
"""Returns the card of a name; raises UnknownModel."""


def finish(
    job_id: str, request: ImageRequest, facts: ModelFacts, images: Sequence[Image.Image], began: float
) -> Finished:
    """Return the finished job; `began` is when it was taken in, by `time.perf_counter`."""
    texts = [infotext(request, facts, n) for n in range(len(images))]
    pictures = [encode(image, "PNG", text) for image, text in zip(images, texts, strict=True)]
    return Finished(job_id, tuple(pictures), tuple(texts), time.perf_counter() - began)


def infotext(request: ImageRequest, facts: ModelFacts, n: int) -> str:
    """Return what is written into picture `n`, with the seeds that are its own."""
    seed, variation_seed = seeds(request, n)
    return describe(settled(request).changed(seed=seed, variation_seed=variation_seed), facts)


def facts_of(request: ImageRequest, find: Find) -> ModelFacts:
    """Return what the infotext says about the models that a request names; raises UnknownModel, BadPrompt."""
    told = f"Easel {version('easel')}"
    try:
        checkpoint = find(request.checkpoint, ModelKind.CHECKPOINT)
        vae = find(request.vae, ModelKind.VAE) if request.vae else None
        loras = {tag.name: find(tag.name, ModelKind.LORA) for tag in request.networks if tag.kind == "lora"}
    except UnknownModel:
        if request.upscale is None:
            raise
        # What once drew the picture need not be here to enlarge it.
        return ModelFacts(request.checkpoint, version=told)
    return ModelFacts(
        request.checkpoint,
        checkpoint.sha256[:10],
        request.vae,
        "" if vae is None else vae.sha256[:10],
        {name: short_hash(card) for name, card in loras.items()},
        version=told,
    )


def short_hash(card: ModelCard) -> str:
    """Return the digits by which others know a network, empty while they are unknown: AutoV3, else AutoV2."""
    return card.autov3 or card.sha256[:10]
