"""What a picture is about to become, small and without the VAE: a latent's four numbers are nearly a colour already."""

import io
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from easel.catalog import Base
from easel.errors import RenderError
from worker.checkpoints.checkpoint import Checkpoint
from worker.engine.decode import decode
from worker.engine.denoising import config

log = logging.getLogger(__name__)

SIDE = 256
"""Pixels, of the longer side."""
MOST_BYTES = 20_000
QUALITIES = (80, 60, 40, 20, 5)


@dataclass(frozen=True, slots=True, eq=False)
class Colours:
    """How latents, as the engine has them, become colours between -1 and 1."""

    matrix: Tensor
    """(4, 3)"""
    offset: Tensor
    """(3,)"""

    def of(self, latents: Tensor) -> Tensor:
        """Return (n, h, w, 3) between 0 and 1 for (n, 4, h, w)."""
        colours = torch.einsum("nchw,cd->nhwd", latents, self.matrix) + self.offset
        return (colours.nan_to_num() / 2 + 0.5).clamp(0, 1)


# As measured by ComfyUI, comfy/latent_formats.py.
_SD1 = Colours(
    torch.tensor(
        [[0.3512, 0.2297, 0.3227], [0.3250, 0.4974, 0.2350], [-0.2829, 0.1762, 0.2721], [-0.2120, -0.2616, -0.7177]]
    ),
    torch.zeros(3),
)
_SDXL = Colours(
    torch.tensor(
        [[0.3651, 0.4232, 0.4341], [-0.2533, -0.0042, 0.1068], [0.1076, 0.1111, -0.0362], [-0.3165, -0.2492, -0.2188]]
    ),
    torch.tensor([0.1084, -0.0175, -0.0011]),
)
_PUBLISHED: Mapping[Base, tuple[float, Colours]] = {
    Base.SD15: (0.18215, _SD1),
    Base.SD2: (0.18215, _SD1),
    Base.SDXL: (0.13025, _SDXL),
}
"""The scaling factor of each base's VAE, and what its latents look like."""
_GREY = Colours(torch.full((4, 3), 0.25), torch.zeros(3))


class Previewer:
    """Makes previews; finds out once for each VAE that is not one of the published ones what its latents look like."""

    def __init__(self) -> None:
        self._fitted: WeakKeyDictionary[Any, tuple[list[float], Colours]] = WeakKeyDictionary()

    def preview(self, checkpoint: Checkpoint, latents: Tensor, vae: AutoencoderKL | None = None) -> bytes:
        """Return a JPEG of at most 20 kB and 256 pixels a side for (n, 4, h, w); several pictures stand in a grid.

        `latents` should be an estimate of the finished ones, as `Engine.estimate` returns: those still on their way
        show mostly noise.
        """
        return _jpeg(_sheet(self.colours(checkpoint, vae).of(latents.float().cpu())))

    def colours(self, checkpoint: Checkpoint, vae: AutoencoderKL | None = None) -> Colours:
        """Return what the latents of this checkpoint look like through this VAE, or through its own."""
        vae = vae or checkpoint.vae
        options = config(vae)
        factor, published = _PUBLISHED[checkpoint.base]
        if tuple(options.block_out_channels) == (128, 256, 512, 512) and math.isclose(options.scaling_factor, factor):
            return published
        # Another checkpoint's weights may have been poured into the same module.
        mark = _mark(vae)
        kept = self._fitted.get(vae)
        if kept is None or kept[0] != mark:
            kept = self._fitted[vae] = mark, _found_out(vae)
        return kept[1]


def _mark(vae: Any) -> list[float]:
    """Return a few numbers by which a VAE's weights are known again."""
    numbers: list[float] = [] if vae.device.type == "meta" else next(vae.decoder.parameters()).flatten()[:8].tolist()
    return numbers


def _found_out(vae: Any) -> Colours:
    """Fit the colours, by least squares, to what the VAE makes of a few smooth random latents."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.randn(4, config(vae).latent_channels, 4, 4, generator=random)
    latents = torch.nn.functional.interpolate(coarse, size=(16, 16), mode="bilinear")
    try:
        pixels = decode(vae, latents)
    except RenderError:
        log.warning("what the latents of a VAE look like could not be found out; its previews are grey", exc_info=True)
        return _GREY
    seen = torch.nn.functional.adaptive_avg_pool2d(pixels, (16, 16)) * 2 - 1
    known = torch.cat([latents, torch.ones_like(latents[:, :1])], dim=1)
    answer = torch.linalg.lstsq(
        known.permute(0, 2, 3, 1).flatten(0, 2), seen.permute(0, 2, 3, 1).flatten(0, 2)
    ).solution
    return Colours(answer[:-1], answer[-1])


def _sheet(pixels: Tensor) -> Image.Image:
    """Return (n, h, w, 3) side by side and one below the other, as square as possible."""
    count, height, width, _ = pixels.shape
    columns = math.ceil(math.sqrt(count))
    sheet = Image.new("RGB", (columns * width, math.ceil(count / columns) * height))
    for n, one in enumerate((pixels * 255).round().to(torch.uint8)):
        sheet.paste(Image.fromarray(one.numpy()), (n % columns * width, n // columns * height))
    scale = SIDE / max(sheet.size)
    size = (max(1, round(sheet.width * scale)), max(1, round(sheet.height * scale)))
    return sheet.resize(size, Image.Resampling.BICUBIC)


def _jpeg(image: Image.Image) -> bytes:
    data = b""
    for quality in QUALITIES:
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality)
        data = out.getvalue()
        if len(data) <= MOST_BYTES:
            break
    return data
