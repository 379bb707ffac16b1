"""ControlNets from the disk: single files in both layouts and diffusers folders, read offline, a few kept warm."""

import inspect
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from diffusers import ControlNetModel

from easel.catalog import Base, ModelCard
from easel.errors import ModelUnusable
from worker.checkpoints.checkpoint import Checkpoint
from worker.control.names import with_diffusers_names
from worker.control.shape import base_of, built_as, check_base, check_fit, hidden
from worker.recent import Recent
from worker.weights_file import fill, move, read_weights

log = logging.getLogger(__name__)

Locate = Callable[[ModelCard], Path]
"""Where the card's weights file or diffusers folder lies."""

_STRANGE = (ValueError, TypeError, KeyError, IndexError, RuntimeError, ZeroDivisionError)
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors")


@dataclass(frozen=True, slots=True)
class ControlNet:
    """One loaded ControlNet, on the device of the checkpoints it steers."""

    name: str
    base: Base
    model: Any
    """diffusers' `ControlNetModel`."""

    @property
    def what(self) -> str:
        return _what(self.name)


class ControlNetCache:
    """Loads ControlNets once; belongs to the one thread that owns the device."""

    def __init__(self, locate: Locate, *, most: int = 2) -> None:
        self._locate = locate
        self._warm: Recent[ControlNet] = Recent(most)

    def get(self, card: ModelCard, checkpoint: Checkpoint) -> ControlNet:
        """Return the card's ControlNet on the checkpoint's device, the same object while it is warm.

        Raises ModelUnusable where it is not made for such a checkpoint or can not be read, and OutOfMemory.
        """
        built = (str(checkpoint.device), checkpoint.dtype, str(hidden(checkpoint)))
        key = (card.name, card.root, card.path, card.sha256, *built)
        controlnet = self._warm.get(key, lambda: self._load(card, checkpoint))
        check_base(controlnet.what, controlnet.base, checkpoint)
        check_fit(controlnet.what, controlnet.model, checkpoint)
        return controlnet

    def clear(self) -> None:
        """Let all of them go, as after the device ran out of memory."""
        self._warm.clear()

    def _load(self, card: ModelCard, checkpoint: Checkpoint) -> ControlNet:
        began = perf_counter()
        loaded = load_controlnet(self._locate(card), name=card.name, checkpoint=checkpoint)
        log.info("loaded %s in %.1f s", card.name, perf_counter() - began)
        return loaded


def load_controlnet(path: Path, *, name: str, checkpoint: Checkpoint) -> ControlNet:
    """Load a single file or a diffusers folder for checkpoints like this one, on its device and in its precision.

    Raises ModelUnusable with what is wrong, OutOfMemory where it is too big.
    """
    what = _what(name)
    file, said = _folder(path, what) if path.is_dir() else (path, {})
    content = read_weights(file, what)
    try:
        weights = with_diffusers_names(content)
        base = base_of(weights, what)
        check_base(what, base, checkpoint)
        with torch.device("meta"):
            model: Any = ControlNetModel(**hidden(checkpoint) | built_as(weights) | said)
    except _STRANGE as error:
        raise ModelUnusable(f"{what} can not be used: it is built in a way that is not known here.") from error
    fill(model, weights, what)
    check_fit(what, model, checkpoint)
    move(model, checkpoint.device, checkpoint.dtype, what)
    return ControlNet(name, base, model)


def _folder(path: Path, what: str) -> tuple[Path, dict[str, Any]]:
    """Return a diffusers folder's weights file and the options that its config has for us."""
    file = next((path / name for name in _WEIGHTS if (path / name).is_file()), None)
    if file is None:
        raise ModelUnusable(f"{what} has no {_WEIGHTS[0]} in its folder. Please install a version with one.")
    try:
        content = json.loads((path / "config.json").read_text(encoding="utf-8"))
        kind, options = content["_class_name"], dict(content)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelUnusable(f"{what} has no readable config.json in its folder. Please install it again.") from error
    if kind != "ControlNetModel":
        raise ModelUnusable(f"{what} is a folder of another kind: `{str(kind)[:60]}`.")
    known = inspect.signature(ControlNetModel.__init__).parameters
    return file, {key: value for key, value in options.items() if key in known}


def _what(name: str) -> str:
    return f"The ControlNet `{name}`"
