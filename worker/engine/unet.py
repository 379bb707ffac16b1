"""One call of the UNet for the pictures of many jobs: gather their rows, ask, guide."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worker.conditioning.plan import Conditioning

Added = tuple[Sequence[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Rows:
    """What the UNet is given: r rows, on its device and in its dtype."""

    sample: Tensor
    """(r, channels, h, w)"""
    timesteps: Tensor
    """(r,), float32"""
    embeds: Tensor
    """(r, 77 k, dim)"""
    pooled: Tensor | None
    """(r, 1280) on SDXL"""
    time_ids: Tensor | None
    """(r, 6) on SDXL"""

    @property
    def added(self) -> dict[str, Tensor] | None:
        """What diffusers calls `added_cond_kwargs`."""
        if self.pooled is None or self.time_ids is None:
            return None
        return {"text_embeds": self.pooled, "time_ids": self.time_ids}

    def cut(self, start: int, stop: int) -> "Rows":
        return Rows(
            self.sample[start:stop],
            self.timesteps[start:stop],
            self.embeds[start:stop],
            None if self.pooled is None else self.pooled[start:stop],
            None if self.time_ids is None else self.time_ids[start:stop],
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """What one picture wants to know at one step."""

    sample: Tensor
    """(1, channels, h, w), float32, scaled for the UNet."""
    timestep: float
    told: tuple[Conditioning, ...]
    """The positives, then the negative if it is needed."""
    weights: tuple[float, ...]
    """One for each positive."""
    cfg_scale: float
    guidance_rescale: float
    time_ids: Tensor | None = None
    """(1, 6): height, width, crop top and left, target height and width."""
    residuals: Callable[[Rows], Added | None] | None = None


def predict(unet: Any, asks: Sequence[Ask], *, most: int) -> list[Tensor]:
    """Return each picture's guided prediction, (1, 4, h, w) float32; a call carries at most `most` rows."""
    rows = _gather(unet, asks)
    counts = [len(ask.told) for ask in asks]
    added = _residuals(asks, rows, counts)
    parts = [_forward(unet, rows, added, slice(at, at + most)) for at in range(0, sum(counts), most)]
    told = torch.split(torch.cat(parts).float(), counts)
    return [guided(ask, prediction) for ask, prediction in zip(asks, told, strict=True)]


def guided(ask: Ask, prediction: Tensor) -> Tensor:
    """Combine a picture's rows into one: classifier-free guidance, several positives added up by weight.

    Composition as in Liu et al. 2022, rescaling as in Lin et al. 2023, section 3.4.
    """
    if len(ask.told) == len(ask.weights):
        return prediction
    negative = prediction[-1:]
    towards = sum(
        weight * (positive - negative)
        for weight, positive in zip(ask.weights, torch.split(prediction, 1), strict=False)
    )
    result = negative + ask.cfg_scale * towards
    if not ask.guidance_rescale:
        return result
    spread = (negative + towards).std() / result.std()
    return result * (ask.guidance_rescale * spread + (1 - ask.guidance_rescale))


def _gather(unet: Any, asks: Sequence[Ask]) -> Rows:
    # diffusers would look through all its modules for either.
    weight = next(unet.parameters())
    dtype, device = weight.dtype, weight.device
    told = [one for ask in asks for one in ask.told]
    pooled = [one.pooled for one in told if one.pooled is not None]
    time_ids = [ask.time_ids.expand(len(ask.told), -1) for ask in asks if ask.time_ids is not None]
    timesteps = torch.tensor([ask.timestep for ask in asks for _ in ask.told], dtype=torch.float32)
    return Rows(
        sample=torch.cat([ask.sample.expand(len(ask.told), -1, -1, -1) for ask in asks]).to(dtype),
        timesteps=timesteps.to(device, non_blocking=True),
        embeds=torch.cat([one.embeds for one in told]),
        pooled=torch.cat(pooled) if pooled else None,
        time_ids=torch.cat(time_ids).to(dtype) if time_ids else None,
    )


def _residuals(asks: Sequence[Ask], rows: Rows, counts: Sequence[int]) -> Added | None:
    """Return the ControlNets' words for all rows; pictures that add nothing at this step get zeros."""
    at, given = 0, []
    for ask, count in zip(asks, counts, strict=True):
        given.append(ask.residuals(rows.cut(at, at + count)) if ask.residuals else None)
        at += count
    pattern = next((one for one in given if one is not None), None)
    if pattern is None:
        return None
    filled = [one or _silence(pattern, count) for one, count in zip(given, counts, strict=True)]
    down = [torch.cat(blocks) for blocks in zip(*(one[0] for one in filled), strict=True)]
    return down, torch.cat([one[1] for one in filled])


def _silence(pattern: Added, count: int) -> Added:
    down, middle = pattern
    return [block.new_zeros(count, *block.shape[1:]) for block in down], middle.new_zeros(count, *middle.shape[1:])


def _forward(unet: Any, rows: Rows, added: Added | None, part: slice) -> Tensor:
    rows = rows.cut(part.start, part.stop)
    down, middle = added or (None, None)
    prediction: Tensor = unet(
        rows.sample,
        rows.timesteps,
        encoder_hidden_states=rows.embeds,
        added_cond_kwargs=rows.added,
        down_block_additional_residuals=None if down is None else tuple(block[part] for block in down),
        mid_block_additional_residual=None if middle is None else middle[part],
        return_dict=False,
    )[0]
    return prediction
