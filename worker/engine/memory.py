"""What running out of memory looks like on each device, and how to make some room."""

import gc
from typing import Any

import torch

_WORDS = ("can't allocate memory", "not enough memory", "out of memory", "_STATUS_ALLOC_FAILED")


def ran_out(error: BaseException) -> bool:
    """Tell whether `error` is for want of memory: on a GPU, in a library that calls it, or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def make_room(device: torch.device) -> None:
    """Give back what is held without being used."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def offload(*modules: Any) -> bool:
    """Move modules into the computer's own memory, where they work on, only slower; False where all are there already."""
    # The meta device stands for a part that is missing.
    there = [one for one in modules if next(one.parameters()).device.type not in {"cpu", "meta"}]
    for one in there:
        one.to("cpu")
    return bool(there)
