"""A checkpoint that is read but on no device yet: the options and weights of its modules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from easel.catalog import Base


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One module."""

    config: Mapping[str, Any]
    """As diffusers and transformers write it."""
    weights: Mapping[str, Tensor]
    """By diffusers' names, on the CPU, as the file has them: mapped into memory and never written to.

    Empty where the file brought none.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """One checkpoint; what it weighs is in the system's page cache until somebody reads it."""

    name: str
    base: Base
    unet: Part
    vae: Part
    text_encoders: tuple[Part, ...]
    """One, or two on SDXL; their names are those below `text_model`."""
    tokenizers: tuple[CLIPTokenizer, ...]
    scheduler_config: Mapping[str, Any]
    stamp: "Stamp" = frozenset()
    """Of the files."""
    again: "Callable[[], Parts] | None" = field(default=None, repr=False)
    """Reads the same files once more; None where there are none."""
    file_hash: str = ""
    """First 10 hex digits of the file's SHA-256; empty while unknown."""
    notes: tuple[str, ...] = ()
    """What the asker should know about the file."""
    checked: set[torch.dtype] = field(default_factory=set, repr=False)
    """The precisions in which its weights turned out to be numbers."""

    @property
    def modules(self) -> tuple[tuple[str, Part], ...]:
        """Every part with its name in a diffusers folder."""
        texts = zip(("text_encoder", "text_encoder_2"), self.text_encoders, strict=False)
        return (("unet", self.unet), ("vae", self.vae), *texts)

    @property
    def nbytes(self) -> int:
        """Bytes of weights, in the precision of the file."""
        weights = chain.from_iterable(part.weights.values() for _, part in self.modules)
        return sum(one.numel() * one.element_size() for one in weights)

    def afresh(self) -> "Parts | None":
        """Map the files into memory once more, to be written to without a trace here or in the files; costs no copy.

        None where the files are no longer the same.
        """
        try:
            same = stamp_of(*(Path(name) for name, *_ in self.stamp)) == self.stamp
            return self.again() if self.again is not None and same else None
        except OSError:
            return None


Stamp = frozenset[tuple[str, int, int, int]]
"""Of each file its path, inode, bytes, and nanoseconds of change."""


def stamp_of(*files: Path) -> Stamp:
    """Return what changes whenever one of the files does; raises OSError."""
    states = ((str(file), file.stat()) for file in files)
    return frozenset((name, state.st_ino, state.st_size, state.st_mtime_ns) for name, state in states)
