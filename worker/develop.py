"""From latents to images, as diffusers' own pipelines round them."""

from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from worker.engine.decode import decode


def develop(vae: Any, latents: Tensor, *, tiling: bool = False) -> list[Image.Image]:
    """Return one RGB image per latent of (n, 4, h, w); raise `BlackPicture` or `OutOfMemory`."""
    pixels = decode(vae, latents, tiling=tiling).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(one) for one in (pixels * 255).round().astype(np.uint8)]
