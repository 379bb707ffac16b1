"""What a ControlNet tells the UNet at each step of one job."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from easel.jobs import Control
from worker.control.controlnet import ControlNet
from worker.control.preprocess import preprocess
from worker.engine.unet import Rows


class Steering:
    """A ControlNet with the picture it follows; the engine's `Residuals`.

    Prompt and negative prompt are both steered, as A1111's "balanced" does. A step is steered if it begins between
    `start` and `end`.
    """

    def __init__(self, controlnet: ControlNet, control: Control, shown: Image.Image) -> None:
        """`shown` is as large as the pictures that are drawn; a second pass at another size needs another one."""
        self._model = controlnet.model
        self._control = control
        pixels = torch.from_numpy(np.array(shown.convert("RGB"))).permute(2, 0, 1)[None]
        self._hint = pixels.to(self._model.device, self._model.dtype) / 255

    def __call__(self, rows: Rows, progress: float) -> tuple[Sequence[Tensor], Tensor] | None:
        control = self._control
        if not control.start <= progress < control.end or not control.weight:
            return None
        down, middle = self._model(
            # An inpainting UNet is given more channels than the latents.
            rows.sample[:, : self._model.config.in_channels],
            rows.timesteps,
            encoder_hidden_states=rows.embeds,
            controlnet_cond=self._hint.expand(len(rows.sample), -1, -1, -1),
            conditioning_scale=control.weight,
            added_cond_kwargs=rows.added,
            return_dict=False,
        )
        return down, middle


def steering(controlnet: ControlNet, control: Control, picture: Image.Image, size: tuple[int, int]) -> Steering:
    """Return what steers pictures of `size` (width, height) after `picture`, turned as `control` asks."""
    return Steering(controlnet, control, preprocess(picture, control.preprocessor, size))
