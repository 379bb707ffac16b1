"""What a loaded checkpoint is: the modules that paint, on one device."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTokenizer

from easel.catalog import Base


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One loaded checkpoint: its modules on one device."""

    name: str
    base: Base
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoders: tuple[nn.Module, ...]
    """One, or two on SDXL."""
    tokenizers: tuple[CLIPTokenizer, ...]
    """As many as text encoders."""
    scheduler_config: Mapping[str, Any]
    """The diffusers scheduler's options as published with the checkpoint: betas, prediction type and the like."""
    file_hash: str = ""
    """First 10 hex digits of the file's SHA-256; empty while unknown."""

    @property
    def device(self) -> torch.device:
        return self._first_weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the UNet; the VAE may be held in another."""
        return self._first_weight.dtype

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        # diffusers' classes are known to mypy only as empty stand-ins.
        return (cast("nn.Module", self.unet), cast("nn.Module", self.vae), *self.text_encoders)

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers held on the device."""
        tensors = chain.from_iterable(chain(module.parameters(), module.buffers()) for module in self.modules)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @property
    def _first_weight(self) -> torch.Tensor:
        return next(self.modules[0].parameters())
