"""What a picture is about to become, as far as the UNet's last answer tells."""

import math
from typing import Any

from torch import Tensor

FLOOR = 2**-24
"""Of the signal's share: pure noise would be divided by nothing."""


def finished(scheduler: Any, sample: Tensor, timestep: float, prediction: Tensor) -> Tensor:
    """Return the clean latents that `prediction` points to; all are (1, 4, h, w), `sample` is what the UNet saw.

    Whatever the sampler's own scale, the UNet sees signal and noise in the shares of its training (Ho et al. 2020;
    for predictions of velocity Salimans and Ho 2022).
    """
    shares = scheduler.alphas_cumprod
    below = min(int(timestep), len(shares) - 1)
    above = min(below + 1, len(shares) - 1)
    between = float(shares[below]) + (timestep - below) * float(shares[above] - shares[below])
    signal, noise = math.sqrt(max(between, FLOOR)), math.sqrt(max(1 - between, 0))
    clean: Tensor
    match scheduler.config.prediction_type:
        case "sample":
            clean = prediction
        case "v_prediction":
            clean = signal * sample - noise * prediction
        case _:
            clean = (sample - noise * prediction) / signal
    return clean
