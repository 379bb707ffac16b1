"""Regional compilation: the UNet's repeated blocks, compiled once for all sizes, and run as they are where that must be."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import WeakSet

import torch

_compiled: "WeakSet[Any]" = WeakSet()


def compile_blocks(unet: Any, *, backend: str = "inductor") -> None:
    """Have the UNet's repeated blocks compiled when they are first used, which takes a while; their weights may change."""
    if unet not in _compiled:
        unet.compile_repeated_blocks(fullgraph=True, dynamic=True, backend=backend)
        _compiled.add(unet)


def as_written(unet: Any) -> AbstractContextManager[Any]:
    """Run the UNet uncompiled for as long as this lasts: hooks inside of compiled blocks are not heard."""
    if unet not in _compiled:
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance
