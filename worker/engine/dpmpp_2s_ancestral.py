"""DPM++ 2S a, which diffusers lacks: k-diffusion's `sample_dpmpp_2s_ancestral` on the scaffold of its DPM2 a."""

from typing import Any

import diffusers
import torch
from torch import Tensor

_Scaffold: Any = diffusers.KDPM2AncestralDiscreteScheduler


class DPMSolver2SAncestralScheduler(_Scaffold):  # type: ignore[misc] # diffusers has no types
    """Asks the UNet at each sigma and again half way (in log sigma) to the next, as DPM2 a does, and solves in x0."""

    sample: Tensor | None

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor,
        sample: Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return the next sample and the predicted clean one, both shaped as `sample`."""
        first = self.state_in_first_order
        here = self.step_index if first else self.step_index - 1
        sigma, middle = self.sigmas[here], self.sigmas_interpol[here]
        clean = self._clean(model_output, sample, sigma if first else middle)
        self._step_index += 1
        if first:
            self.sample = sample
            ratio = middle / sigma
            return ratio * sample + (1 - ratio) * clean, clean
        ratio = self.sigmas_down[here] / sigma
        origin, self.sample = self.sample, None
        assert origin is not None
        noise = torch.randn(origin.shape, generator=generator, dtype=origin.dtype, device=origin.device)
        return ratio * origin + (1 - ratio) * clean + noise * self.sigmas_up[here], clean

    def _clean(self, model_output: Tensor, sample: Tensor, sigma: Tensor) -> Tensor:
        if self.config.prediction_type == "v_prediction":
            scale = sigma**2 + 1
            return sample / scale - model_output * sigma / scale**0.5
        return sample - sigma * model_output
