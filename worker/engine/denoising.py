"""One job on its way: its pictures, each with a scheduler, a noise stream and latents that nobody else touches."""

from typing import Any

import torch
from torch import Tensor

from easel.errors import BadValue
from easel.jobs import ImageRequest
from worker.checkpoints.checkpoint import Checkpoint
from worker.conditioning.plan import PromptPlan
from worker.engine.batching import Shape
from worker.engine.estimate import finished
from worker.engine.noise import brownian, first_noise, seeds
from worker.engine.samplers import make_scheduler
from worker.engine.start import Start
from worker.engine.unet import Ask
from worker.networks.outfit import NOTHING, Outfit


class Picture:
    """One picture between noise and latents; `latents` are (1, 4, h, w), float32, on the checkpoint's device."""

    def __init__(self, request: ImageRequest, index: int, checkpoint: Checkpoint, start: Start) -> None:
        self._device = checkpoint.device
        self._scheduler = make_scheduler(request.sampler, request.schedule, checkpoint.scheduler_config, request.steps)
        self._begin(request.steps, start.denoising_strength)
        shape = latent_shape(request, checkpoint)
        drawn, self._noise = first_noise(request, index, shape)
        own = self._own(start.noise, index)
        self._first = drawn[None].to(self._device) if own is None else own
        self._clean = self._own(start.latents, index)
        self._mask = self._own(start.mask, index)
        self._extra = self._own(start.extra, index)
        self.latents = self._starting(pure=start.mask is not None and start.denoising_strength == 1)
        self._seen = self.latents
        self._told: tuple[Tensor, float, Tensor] | None = None
        if request.sampler == "DPM++ SDE":
            with self._noise.feeding(self._device):
                self._scheduler.noise_sampler = brownian(self._scheduler, self.latents, seeds(request, index)[0])

    @property
    def total(self) -> int:
        """UNet calls from start to end."""
        return len(self._timesteps)

    @property
    def done(self) -> bool:
        return self.at >= self.total

    @property
    def step(self) -> int:
        """The sampler's step that the next call belongs to, counted from 0."""
        return self.at // int(self._scheduler.order)

    @property
    def progress(self) -> float:
        return self.at / max(1, self.total)

    @property
    def estimate(self) -> Tensor | None:
        """What the last prediction makes of the picture, (1, 4, h, w) float32; None before the first."""
        return None if self._told is None else finished(self._scheduler, *self._told)

    def sample(self) -> tuple[Tensor, float]:
        """Return what the UNet sees next, (1, channels, h, w), and its timestep."""
        timestep = self._timesteps[self.at]
        scaled: Tensor = self._scheduler.scale_model_input(self.latents, timestep)
        self._seen = scaled
        return scaled if self._extra is None else torch.cat([scaled, self._extra], dim=1), float(timestep)

    def advance(self, prediction: Tensor) -> None:
        """Take one step with the UNet's guided prediction, (1, 4, h, w) float32."""
        timestep = self._timesteps[self.at]
        self._told = self._seen, float(timestep), prediction
        with self._noise.feeding(self._device):
            latents = self._scheduler.step(prediction, timestep, self.latents, return_dict=False)[0]
        self.at += 1
        self.latents = self._held(latents)

    def _begin(self, steps: int, strength: float) -> None:
        """Skip the steps that the strength spares, as the image-to-image pipelines of diffusers count them."""
        skipped = (steps - min(int(steps * strength), steps)) * self._scheduler.order
        self._timesteps = self._scheduler.timesteps[skipped:]
        self.at = 0
        if hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(skipped)

    def _own(self, given: Tensor | None, index: int) -> Tensor | None:
        """Return this picture's share, on the device; None for None."""
        if given is None:
            return None
        share = given[index : index + 1] if len(given) > 1 else given
        return share.to(self._device, torch.float32)

    def _starting(self, *, pure: bool) -> Tensor:
        if self._clean is None or pure:
            return self._first * float(self._scheduler.init_noise_sigma)
        return self._clean if self.done else self._noised(self._clean)

    def _held(self, latents: Tensor) -> Tensor:
        """Put what the mask keeps back to where it is at this noise level."""
        if self._mask is None or self._clean is None:
            return latents
        kept = self._clean if self.done else self._noised(self._clean)
        return (1 - self._mask) * kept + self._mask * latents

    def _noised(self, clean: Tensor) -> Tensor:
        """Return `clean` at the noise level of the next step.

        The scheduler's formula is linear: it is asked for its two factors, on the CPU, so that the GPU need not wait.
        """
        one, none = torch.ones(1, 1), torch.zeros(1, 1)
        timestep = self._timesteps[self.at : self.at + 1]
        keep = float(self._scheduler.add_noise(one, none, timestep))
        add = float(self._scheduler.add_noise(none, one, timestep))
        return keep * clean + add * self._first


class Denoising:
    """One job: its request, and its pictures until all of them are done."""

    def __init__(
        self,
        job_id: str,
        request: ImageRequest,
        checkpoint: Checkpoint,
        plan: PromptPlan,
        start: Start,
        outfit: Outfit = NOTHING,
    ) -> None:
        _check_channels(checkpoint, start)
        self.job_id = job_id
        self.request = request
        self.checkpoint = checkpoint
        self.outfit = outfit
        self._plan = plan
        self._residuals = start.residuals
        self.pictures = [Picture(request, index, checkpoint, start) for index in range(request.batch_size)]
        positives, _ = plan.at(0)
        embeds = positives[0][0].embeds
        _, height, width = latent_shape(request, checkpoint)
        self.shape = Shape(str(checkpoint.base), height, width, embeds.shape[1])
        self.key = (id(checkpoint), self.shape, request.tiling, start.residuals is not None, outfit.key)
        self.rows = len(positives) + self._needs_negative(positives)
        # What A1111 tells SDXL: the original and the target size are the picture's, nothing was cropped away.
        size = [request.height, request.width]
        pooled = positives[0][0].pooled
        self._time_ids = None if pooled is None else torch.tensor([[*size, 0, 0, *size]], device=embeds.device)

    @property
    def done(self) -> bool:
        return all(picture.done for picture in self.pictures)

    @property
    def progress(self) -> tuple[int, int]:
        """Steps done and steps in all, of an average picture."""
        return sum(picture.at for picture in self.pictures) // len(self.pictures), self.pictures[0].total

    @property
    def latents(self) -> Tensor:
        """(n, 4, h, w), float32."""
        return torch.cat([picture.latents for picture in self.pictures])

    @property
    def estimate(self) -> Tensor | None:
        """What the pictures are about to be, (n, 4, h, w) float32; None until all of them have had a step."""
        known = [one for picture in self.pictures if (one := picture.estimate) is not None]
        return torch.cat(known) if len(known) == len(self.pictures) else None

    def ask(self, picture: Picture) -> Ask:
        positives, negative = self._plan.at(min(picture.step, self.request.steps - 1))
        told = tuple(positive for positive, _ in positives)
        sample, timestep = picture.sample()
        residuals, progress = self._residuals, picture.progress
        return Ask(
            sample=sample,
            timestep=timestep,
            told=(*told, negative) if self._needs_negative(positives) else told,
            weights=tuple(weight for _, weight in positives),
            cfg_scale=self.request.cfg_scale,
            guidance_rescale=self.request.guidance_rescale,
            time_ids=self._time_ids,
            residuals=None if residuals is None else lambda rows: residuals(rows, progress),
        )

    def _needs_negative(self, positives: tuple[tuple[Any, float], ...]) -> bool:
        return self.request.cfg_scale > 1 or len(positives) > 1 or positives[0][1] != 1


def latent_shape(request: ImageRequest, checkpoint: Checkpoint) -> tuple[int, int, int]:
    """Return (channels, height, width) of one picture's latents."""
    vae = config(checkpoint.vae)
    factor = 2 ** (len(vae.block_out_channels) - 1)
    return vae.latent_channels, request.height // factor, request.width // factor


def config(module: Any) -> Any:
    """Return the options a diffusers module was built with; its types do not tell that it has any."""
    return module.config


def _check_channels(checkpoint: Checkpoint, start: Start) -> None:
    unet, vae = config(checkpoint.unet), config(checkpoint.vae)
    given = vae.latent_channels + (0 if start.extra is None else start.extra.shape[1])
    if unet.in_channels != given:
        raise BadValue(
            f"The checkpoint `{checkpoint.name}` is made for repainting a part of a picture: give it a picture and a mask."
            if start.extra is None
            else f"The checkpoint `{checkpoint.name}` can not repaint a part of a picture this way."
        )
