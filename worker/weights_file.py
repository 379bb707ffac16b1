"""Weights as they lie on the disk: one file's tensors by name, without running anything that came with them."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Module

from easel.errors import ModelUnusable, OutOfMemory
from easel.identify.file import PICKLES
from easel.identify.header import read_header
from worker.engine.memory import ran_out

WRAPPERS = ("params_ema", "params", "state_dict")
"""What trainers put around the weights; of several the first is the best."""

_BROKEN = (pickle.UnpicklingError, OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError)


def read_weights(path: Path, what: str, *, pickles: bool = False) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of an old pickle where `pickles` allows it, on the CPU.

    `what` names the model in a sentence, such as "The upscaler `x`". Raises ModelUnusable.
    """
    pickled = path.suffix.lower() in PICKLES
    if pickled and not pickles:
        raise ModelUnusable(
            f"{what} is an old {path.suffix.lower()} file, a format that can run code. "
            "Please install a version in .safetensors, or ask the owner to allow old files."
        )
    weights = _unwrapped(_unpickled(path, what) if pickled else _tensors(path, what))
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


def _tensors(path: Path, what: str) -> Mapping[str, Tensor]:
    try:
        read_header(path)
        return load_file(path)
    except ModelUnusable as error:
        raise ModelUnusable(f"{what} can not be used. {error}") from error
    except (OSError, SafetensorError) as error:
        raise ModelUnusable(f"{what} can not be read. Please install it again.") from error


def _unpickled(path: Path, what: str) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():
            # Said of TorchScript archives, which hold programs and are refused right after.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except _BROKEN as error:
        raise ModelUnusable(
            f"{what} can not be read: the file is damaged, or holds more than weights. "
            "Please install a version in .safetensors."
        ) from error
    return content if isinstance(content, dict) else {}


def _unwrapped(content: Mapping[str, Any]) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(inner := content.get(wrapper), dict):
            content = inner
            break
    weights = {name: one for name, one in content.items() if isinstance(name, str) and isinstance(one, Tensor)}
    for wrapper in WRAPPERS:
        # Written to safetensors, which knows no nesting, a wrapper becomes part of the names.
        inside = {
            name.removeprefix(f"{wrapper}."): one for name, one in weights.items() if name.startswith(wrapper + ".")
        }
        if inside:
            return inside
    return weights
