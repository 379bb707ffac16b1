"""Weights as they lie on the disk: one file's tensors by name, without running anything that came with them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Module

from easel.errors import ModelUnusable, OutOfMemory
from easel.identify.header import read_header
from worker.engine.memory import ran_out

WRAPPERS = ("params_ema", "params", "state_dict")
"""What trainers put around the weights; of several the first is the best."""


def read_weights(path: Path, what: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, on the CPU.

    `what` names the model in a sentence, such as "The upscaler `x`". Raises ModelUnusable.
    """
    weights = _unwrapped(_tensors(path, what))
    if not weights:
        raise ModelUnusable(f"{what} can not be used: it holds no weights.")
    return weights


def fill(module: Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Give a module that was built on `meta` its weights, without a copy; raises ModelUnusable unless they fit exactly."""
    try:
        module.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise ModelUnusable(
            f"{what} can not be used: its weights do not fit the kind of network that it is."
        ) from error
    module.eval().requires_grad_(False)


def move(module: Module, device: torch.device, dtype: torch.dtype, what: str) -> None:
    """Put a loaded module where it is to work, and check it; raises OutOfMemory or ModelUnusable."""
    # On a GPU the convolutions run on this layout without a copy.
    layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    # Torch's own: diffusers' warns of parts that want float32 even where there are none. Its types know no layout.
    to: Any = Module.to
    try:
        to(module, device=device, dtype=dtype, memory_format=layout)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        raise OutOfMemory(f"{what} does not fit into the memory of this worker.") from error
    # One answer for all, as asking a GPU after every tensor would stall it hundreds of times.
    if not torch.stack([torch.isfinite(weight).all() for weight in module.parameters()]).all():
        raise ModelUnusable(f"{what} can not be used: it holds values that are not numbers. Please install it again.")


def _tensors(path: Path, what: str) -> dict[str, Tensor]:
    try:
        read_header(path)
        weights: dict[str, Tensor] = load_file(path)
    except ModelUnusable as error:
        raise ModelUnusable(f"{what} can not be used. {error}") from error
    except (OSError, SafetensorError) as error:
        raise ModelUnusable(f"{what} can not be read. Please install it again.") from error
    return weights


def _unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights without what stood around them, which in a file without nesting became part of the names."""
    for wrapper in WRAPPERS:
        inside = {
            name.removeprefix(f"{wrapper}."): one for name, one in weights.items() if name.startswith(wrapper + ".")
        }
        if inside:
            return inside
    return weights
