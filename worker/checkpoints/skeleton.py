"""Modules without weights: built from their options in a moment, and compared by them."""

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from easel.catalog import Base

Slots = Mapping[str, tuple[nn.Module, str]]
"""Where each weight stands: by its whole name, the module that holds it and its name there."""

BELOW = "text_model."
"""Before the names of a text encoder's weights in some classes and files, and not in others."""

_TEXT_OPTIONS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
    "hidden_act",
    "layer_norm_eps",
)
_PER_LEVEL = ("attention_head_dim", "transformer_layers_per_block", "layers_per_block", "cross_attention_dim")
_UNMEANING = frozenset({"sample_size", "upcast_attention"})
"""Changes nothing: sizes come with the request, and torch's attention works in full precision anyway."""


def empty_module(base: Base, part: str, config: Mapping[str, Any], device: torch.device) -> nn.Module:
    """Build a part on `meta`, ready to be filled and never to be trained; raises whatever the libraries do."""
    quiet()
    with torch.device("meta"):
        module = _module(base, part, config)
    for owner in module.modules():
        for name, buffer in list(owner._buffers.items()):
            if buffer is None:
                continue
            if name != "position_ids":
                raise ValueError(f"a buffer called {name}")
            owner._buffers[name] = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
    return module.eval().requires_grad_(requires_grad=False)


def _module(base: Base, part: str, config: Mapping[str, Any]) -> nn.Module:
    module: Any
    if part == "unet":
        module = UNet2DConditionModel.from_config(dict(config))
    elif part == "vae":
        module = AutoencoderKL.from_config(dict(config))
    else:
        kind = CLIPTextModelWithProjection if base is Base.SDXL and part == "text_encoder_2" else CLIPTextModel
        module = kind(CLIPTextConfig.from_dict(dict(config)))
    result: nn.Module = module
    return result


def slots_of(module: nn.Module) -> Slots:
    return {
        f"{path}.{name}".removeprefix(BELOW): (owner, name)
        for path, owner in module.named_modules()
        for name, weight in owner._parameters.items()
        if weight is not None
    }


def same_options(part: str, config: Mapping[str, Any], module: Any) -> bool:
    """Tell whether the module was built with options that mean the same."""
    if part.startswith("text"):
        names = (*_TEXT_OPTIONS, "projection_dim") if part == "text_encoder_2" else _TEXT_OPTIONS
        wanted = CLIPTextConfig.from_dict(dict(config))
        return all(getattr(wanted, name) == getattr(module.config, name) for name in names)
    return _meaning(part, config) == _meaning(part, dict(module.config))


def _meaning(part: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options in one spelling, those that are not given with their defaults."""
    given = {**_defaults(part), **config}
    levels = len(given["block_out_channels"])
    told: dict[str, Any] = {}
    for name in _defaults(part):
        value = given[name]
        if isinstance(value, int) and not isinstance(value, bool) and name in _PER_LEVEL:
            value = [value] * levels
        told[name] = list(value) if isinstance(value, list | tuple) else value or None
    return {name: value for name, value in told.items() if name not in _UNMEANING}


@cache
def _defaults(part: str) -> Mapping[str, Any]:
    kind: Any = UNet2DConditionModel if part == "unet" else AutoencoderKL
    parameters = inspect.signature(kind.__init__).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}


@cache
def quiet() -> None:
    """Keep both libraries from drawing progress bars and from warning of what is checked here."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
