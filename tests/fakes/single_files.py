"""Checkpoints in one file, in the usual layout and in the odd ones that are met in the wild."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.writing import parts_of, write_file

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "cond_stage_model."

Weights = dict[str, Tensor]


def save_single(checkpoint: Checkpoint, path: Path) -> Path:
    """Write a checkpoint as Civitai has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(parts_of(checkpoint), path)
    return path


def changed(source: Path, path: Path, change: Callable[[Weights], Weights]) -> Path:
    """Write what `change` makes of a file's weights, with the file's metadata."""
    with safe_open(str(source), framework="pt") as file:
        metadata = file.metadata()
    weights = {name: tensor.clone() for name, tensor in load_file(source).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(change(weights), path, metadata=metadata)
    return path


def old_text_names(weights: Weights) -> Weights:
    """Return them as NovelAI's files of 2022 have them."""
    return {name.replace("transformer.text_model.", "transformer."): one for name, one in weights.items()}


def unprefixed(weights: Weights) -> Weights:
    return {name.removeprefix(UNET): one for name, one in weights.items()}


def averaged(weights: Weights) -> Weights:
    """Return the UNet only as latent-diffusion's running average has it: without dots."""
    told = {name: "model_ema." + name.removeprefix("model.").replace(".", "") for name in weights}
    return {told[name] if name.startswith(UNET) else name: one for name, one in weights.items()}


def with_averages(weights: Weights) -> Weights:
    """Return both, the averages being other numbers."""
    return weights | {name: one + 1 for name, one in averaged(weights).items() if name.startswith("model_ema.")}


def with_strays(weights: Weights) -> Weights:
    """Return them with what training, merging and conversion leave behind."""
    return weights | {
        "betas": torch.linspace(0, 1, 1000),
        "alphas_cumprod": torch.linspace(1, 0, 1000),
        "model_ema.decay": torch.tensor(0.9999),
        "model_ema.num_updates": torch.tensor(7),
        f"{TEXT}transformer.text_model.embeddings.position_ids": torch.arange(77).unsqueeze(0),
        f"{TEXT}logit_scale": torch.tensor(4.6),
        f"{VAE}loss.logvar": torch.zeros(()),
        "lora_unet_leftover.alpha": torch.tensor(1.0),
        "optimizer.state": torch.zeros(3),
    }


def without(*prefixes: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: one for name, one in weights.items() if not name.startswith(prefixes)}


def in_precision(dtype: torch.dtype) -> Callable[[Weights], Weights]:
    return lambda weights: {name: one.to(dtype) for name, one in weights.items()}


def vae_forms(weights: Mapping[str, Tensor], diffusers: Mapping[str, Tensor]) -> dict[str, Weights]:
    """Return a VAE as it is published: within a checkpoint's names, by itself, and by diffusers, old and new."""
    own = {name.removeprefix(VAE): one for name, one in weights.items() if name.startswith(VAE)}
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    before = dict(diffusers)
    for new, name in old.items():
        before = {key.replace(f"attentions.0.{new}.", f"attentions.0.{name}."): one for key, one in before.items()}
    return {
        "plain": own | {"loss.logvar": torch.zeros(())},
        "prefixed": {f"{VAE}{name}": one for name, one in own.items()},
        "other prefix": {f"vae.{name}": one for name, one in own.items()},
        "diffusers": dict(diffusers),
        "old diffusers": before,
    }


def one_value(weights: Weights, name: str, value: float) -> Weights:
    """Return them with one number replaced."""
    weights[name].view(-1)[math.prod(weights[name].shape) // 2] = value
    return weights
