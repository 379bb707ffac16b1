"""Where a job starts if not from noise alone: image-to-image, inpainting, ControlNet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from worker.engine.unet import Rows


class Residuals(Protocol):
    """A ControlNet, or several, as the engine sees it."""

    def __call__(self, rows: Rows, progress: float) -> tuple[Sequence[Tensor], Tensor] | None:
        """Return what is added to the UNet's down blocks and to its middle for these rows of one picture.

        `progress` is the share of steps done, 0 at the first; None adds nothing at this step.
        """


@dataclass(frozen=True, slots=True)
class Start:
    """What a job brings along besides its request; a tensor's first size is 1 (for all pictures) or their number."""

    latents: Tensor | None = None
    """(1 or n, 4, h, w), clean, as the VAE encodes times its scaling factor."""
    denoising_strength: float = 1.0
    """The share of the steps that is carried out, from the end; 0 keeps the latents as they are."""
    mask: Tensor | None = None
    """(1 or n, 1, h, w): 1 is repainted, 0 is held to `latents` at every step; for UNets of 4 channels."""
    noise: Tensor | None = None
    """(1 or n, 4, h, w), unit variance; drawn from the request's seeds if None."""
    extra: Tensor | None = None
    """(1 or n, c, h, w): channels that an inpainting UNet reads beside the latents (mask, then masked latents)."""
    residuals: Residuals | None = None
