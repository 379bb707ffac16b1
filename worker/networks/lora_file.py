"""A LoRA, or one of its kin, from a file: read and checked as a whole before any weight is touched."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from easel.errors import ModelUnusable
from easel.identify.header import read_header
from worker.networks.algorithms import Change
from worker.networks.assembly import MISMATCHED, Pieces, bias_change, weight_change
from worker.networks.keys import Place, place, split
from worker.networks.patches import finite
from worker.weights_file import read_weights

_KINDS = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2)
_NUMBERS = {"alpha", "on_input"}
"""Pieces that some trainers write as whole numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What the file teaches one module."""

    place: Place
    weight: Change | None
    bias: Change | None


@dataclass(frozen=True, slots=True, eq=False)
class LoraFile:
    """A file's content, finite and complete in itself; whether it fits a checkpoint is seen when it is put on."""

    name: str
    lessons: tuple[Lesson, ...]
    unread: int
    """Tensors whose names say nothing to us."""
    stamp: object = field(default_factory=object)
    """Stands for this reading of the file where something remembers it without keeping the weights."""


def read_lora(path: Path, name: str) -> LoraFile:
    """Read a file of any of the known trainers; raises ModelUnusable."""
    what = f"The LoRA `{name}`"
    tensors = read_weights(path, what)
    modules: dict[str, dict[str, Tensor]] = {}
    unread = 0
    for key, tensor in tensors.items():
        if (found := split(key)) is None:
            unread += 1
        else:
            module, piece = found
            modules.setdefault(module, {})[piece] = tensor
    _check_values(modules, what)
    if any("down" in pieces and "alpha" not in pieces for pieces in modules.values()):
        _add_alphas(modules, read_header(path).metadata)
    lessons = []
    for module, pieces in modules.items():
        if (lesson := _lesson(module, pieces, what)) is None:
            unread += len(pieces)
        else:
            lessons.append(lesson)
    if not lessons:
        raise ModelUnusable(f"{what} can not be used: nothing in it changes a weight in a way that is known here.")
    return LoraFile(name, tuple(lessons), unread)


def _lesson(module: str, pieces: Pieces, what: str) -> Lesson | None:
    """Return None for pieces that say nothing."""
    try:
        weight, bias = weight_change(pieces), bias_change(pieces)
    except MISMATCHED as error:
        raise ModelUnusable(
            f"{what} can not be used: what it says about `{module[:100]}` does not match itself. "
            "Please install it again."
        ) from error
    return None if weight is None and bias is None else Lesson(place(module), weight, bias)


def _check_values(modules: Mapping[str, dict[str, Tensor]], what: str) -> None:
    """Raise ModelUnusable unless all can be calculated with; what torch can not calculate with is widened in place."""
    floating = []
    for pieces in modules.values():
        for piece, tensor in pieces.items():
            if tensor.dtype not in _KINDS and not (piece in _NUMBERS and not tensor.is_complex()):
                raise ModelUnusable(
                    f"{what} can not be used: its weights are of a kind that can not be added to others."
                )
            if tensor.dtype.itemsize == 1:
                pieces[piece] = tensor.float()
            if tensor.is_floating_point():
                floating.append(pieces[piece])
    if not finite(floating):
        raise ModelUnusable(f"{what} can not be used: it holds values that are not numbers. Please install it again.")


def _add_alphas(modules: Mapping[str, dict[str, Tensor]], metadata: Mapping[str, str]) -> None:
    """Give each module the alpha that diffusers keeps in the metadata, where PEFT's files have none of their own."""
    for component, config in _adapters(metadata):
        for name, pieces in modules.items():
            inner = name.removeprefix(f"{component}.")
            if "alpha" in pieces or "down" not in pieces or (component and inner == name):
                continue
            alpha, rank = _alpha(config, inner), len(pieces["down"])
            if alpha:
                factor = math.sqrt(rank) if config.get("use_rslora") is True else 1.0
                pieces["alpha"] = torch.tensor(alpha * factor)


def _adapters(metadata: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what the file's writer says about each component it changes, such as `unet`."""
    try:
        written = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except (ValueError, RecursionError):
        return
    options = {name.partition(".")[::2]: value for name, value in written.items()} if isinstance(written, dict) else {}
    for component in sorted({component for component, _ in options}):
        yield component, {option: value for (owner, option), value in options.items() if owner == component}


def _alpha(config: Mapping[str, Any], module: str) -> float:
    """Return a module's alpha, 0 where nothing usable is said; a pattern means names that end with it."""
    patterns = config.get("alpha_pattern")
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        if isinstance(value, int | float) and re.search(rf"(?:^|\.){re.escape(pattern)}$", module):
            return float(value)
    alpha = config.get("lora_alpha")
    return float(alpha) if isinstance(alpha, int | float) and math.isfinite(alpha) else 0.0
