"""Hires fix: the latents of a first pass, made larger and painted over a second time."""

import math
from collections.abc import Mapping

import torch
from PIL import Image
from torch import Tensor

from easel.errors import BadValue
from easel.jobs import Control, HiresFix, ImageRequest
from worker.engine.start import Start
from worker.operations.frame import SMOOTH, Size
from worker.operations.operation import Operation, Pass
from worker.operations.scene import MOST
from worker.operations.tools import Tools

MOST_STEPS = 150

LATENT: Mapping[str, tuple[str, bool]] = {
    "latent": ("bilinear", False),
    "latent (antialiased)": ("bilinear", True),
    "latent (bicubic)": ("bicubic", False),
    "latent (bicubic antialiased)": ("bicubic", True),
    "latent (nearest)": ("nearest", False),
    "latent (nearest-exact)": ("nearest-exact", False),
}
"""A1111's ways to enlarge latents: torch's mode, and whether it looks at more than the nearest ones."""


def second_pass(
    request: ImageRequest, hires: HiresFix, latents: Tensor, tools: Tools, control: tuple[Control, Image.Image] | None
) -> Operation:
    """Paint the latents of a first pass, (n, 4, h, w), over at a larger size, from the same seeds."""
    again = larger(request, hires)
    size = (again.width, again.height)
    latents = _enlarged(request, hires.upscaler, latents, size, tools)
    residuals = None if control is None else tools.steering(again, *control, size)
    start = Start(latents, hires.denoising_strength, residuals=residuals)
    prompt_steps = hires.steps or request.steps
    (latents,) = yield [Pass(again, start, prompt_steps=prompt_steps, first_pass_steps=request.steps)]
    return tools.develop(again, latents)


def larger(request: ImageRequest, hires: HiresFix) -> ImageRequest:
    """Return the request of the second pass; raises BadValue where its pictures would be too large.

    As in A1111 its steps are those that are really taken, so that all of them are more by as much as the strength
    spares, up to 150.
    """
    width, height = (8 * round(side * hires.scale / 8) for side in (request.width, request.height))
    if max(width, height) > MOST:
        raise BadValue(
            f"Hires fix would make {width}x{height}; at most {MOST}x{MOST} can be drawn. "
            "Please choose a smaller size or scale."
        )
    steps, strength = hires.steps or request.steps, hires.denoising_strength
    if strength:
        steps = min(math.ceil(steps / strength), max(MOST_STEPS, steps))
    return request.changed(width=width, height=height, steps=steps, hires_fix=None)


def _enlarged(request: ImageRequest, upscaler: str, latents: Tensor, size: Size, tools: Tools) -> Tensor:
    """Return the latents at `size` in pixels; as latents, or by way of pictures."""
    if upscaler.casefold() in LATENT:
        mode, antialias = LATENT[upscaler.casefold()]
        factor = request.width // latents.shape[-1]
        with torch.inference_mode():
            return torch.nn.functional.interpolate(
                latents, size=(size[1] // factor, size[0] // factor), mode=mode, antialias=antialias
            )
    scale = max(size[0] / request.width, size[1] / request.height)
    pictures = [tools.upscaled(image, scale, upscaler) for image in tools.develop(request, latents)]
    return tools.encode(request, [one if one.size == size else one.resize(size, SMOOTH) for one in pictures])
