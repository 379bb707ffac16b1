"""What a loaded checkpoint is: the modules that paint, on one device."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTokenizer

from easel.catalog import Base
from worker.networks.wardrobe import Wardrobe


@dataclass(frozen=True, slots=True, weakref_slot=True)
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
    notes: tuple[str, ...] = ()
    """What the asker should know about the file."""
    wardrobe: Wardrobe = field(default_factory=Wardrobe, compare=False, repr=False)
    """What its weights have on; a checkpoint of other weights in the same modules needs one of its own."""

    @property
    def has_vae(self) -> bool:
        """Whether it brought a VAE; where it did not, `vae` is one without weights, on `meta`."""
        return next(cast("nn.Module", self.vae).parameters()).device.type != "meta"

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
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor.device.type != "meta")

    @property
    def _first_weight(self) -> torch.Tensor:
        return next(self.modules[0].parameters())
