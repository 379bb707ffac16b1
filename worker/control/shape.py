"""How a ControlNet is built, read off the shapes of its weights, and which checkpoints it can steer."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from easel.catalog import Base
from easel.errors import ModelUnusable
from worker.checkpoints.checkpoint import Checkpoint
from worker.engine.denoising import config

NOUNS = {Base.SD15: "SD 1.5", Base.SD2: "SD 2", Base.SDXL: "SDXL"}

OF_THE_UNET = (
    "act_fn",
    "addition_embed_type",
    "addition_time_embed_dim",
    "attention_head_dim",
    "cross_attention_dim",
    "downsample_padding",
    "flip_sin_to_cos",
    "freq_shift",
    "mid_block_scale_factor",
    "norm_eps",
    "norm_num_groups",
    "num_attention_heads",
    "only_cross_attention",
    "resnet_time_scale_shift",
    "upcast_attention",
)
"""What no shape tells, or not in every ControlNet: it began as a copy of the UNet it steers, so it has these from there."""

_OTHERS = (
    ("lora_controlnet", "is a Control-LoRA"),
    ("task_embedding", "is a union of several ControlNets"),
    ("control_add_embedding.linear_1.weight", "is a union of several ControlNets"),
    ("difference", "holds only the difference to a checkpoint"),
)


def hidden(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what the checkpoint's UNet has in common with every ControlNet for it."""
    unet = config(checkpoint.unet)
    return {key: unet[key] for key in OF_THE_UNET}


def base_of(weights: Mapping[str, Tensor], what: str) -> Base:
    """Tell what a ControlNet was made for, `weights` under diffusers' names; raises ModelUnusable if they are none."""
    for mark, fault in _OTHERS:
        if mark in weights:
            raise ModelUnusable(f"{what} can not be used: it {fault}. Please install a plain one.")
    needed = ("conv_in.weight", "controlnet_cond_embedding.conv_in.weight", "controlnet_mid_block.weight")
    if not all(name in weights and weights[name].ndim == 4 for name in needed):
        raise ModelUnusable(f"{what} can not be used: it is no ControlNet for Stable Diffusion.")
    if "add_embedding.linear_1.weight" in weights:
        return Base.SDXL
    ranks = {weight.ndim for name, weight in weights.items() if name.endswith(".proj_in.weight")}
    return Base.SD2 if ranks == {2} else Base.SD15


def built_as(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what the shapes tell of diffusers' options, `weights` being a ControlNet's."""

    def size(name: str, axis: int) -> int:
        return int(weights[f"{name}.weight"].shape[axis])

    blocks = range(_count(r"down_blocks\.(\d+)\.resnets\.0\.", weights))
    depths = [_depth(rf"down_blocks\.{n}\.attentions\.0\.", weights) for n in blocks]
    middle = _depth(r"mid_block\.attentions\.0\.", weights)
    contexts = [one.shape[1] for name, one in weights.items() if name.endswith(".attn2.to_k.weight") and one.ndim == 2]
    hints = range(1, _count(r"controlnet_cond_embedding\.blocks\.(\d+)\.", weights), 2)
    told: dict[str, Any] = {
        "in_channels": size("conv_in", 1),
        "conditioning_channels": size("controlnet_cond_embedding.conv_in", 1),
        "conditioning_embedding_out_channels": (
            size("controlnet_cond_embedding.conv_in", 0),
            *(size(f"controlnet_cond_embedding.blocks.{n}", 0) for n in hints),
        ),
        "block_out_channels": tuple(size(f"down_blocks.{n}.resnets.0.conv1", 0) for n in blocks),
        "layers_per_block": _count(r"down_blocks\.0\.resnets\.(\d+)\.", weights),
        "down_block_types": tuple("DownBlock2D" if depth is None else "CrossAttnDownBlock2D" for depth in depths),
        "mid_block_type": "UNetMidBlock2D" if middle is None else "UNetMidBlock2DCrossAttn",
        # The last number is the middle's too; blocks without attention do not ask for theirs.
        "transformer_layers_per_block": (*(depth or 0 for depth in depths[:-1]), middle or 0),
        "use_linear_projection": any(
            name.endswith(".proj_in.weight") and one.ndim == 2 for name, one in weights.items()
        ),
    }
    if contexts:
        told["cross_attention_dim"] = contexts[0]
    if "add_embedding.linear_1.weight" in weights:
        told["projection_class_embeddings_input_dim"] = size("add_embedding.linear_1", 1)
    return told


def check_base(what: str, base: Base, checkpoint: Checkpoint) -> None:
    """Raise ModelUnusable unless the checkpoint is of this base."""
    if base is not checkpoint.base:
        raise ModelUnusable(
            f"{what} is made for {NOUNS[base]}, but the checkpoint `{checkpoint.name}` is {NOUNS[checkpoint.base]}. "
            "Please choose another of the two."
        )


def check_fit(what: str, model: Any, checkpoint: Checkpoint) -> None:
    """Raise ModelUnusable unless what the ControlNet says can be added inside the checkpoint's UNet."""
    own, unet = model.config, config(checkpoint.unet)
    if own.conditioning_channels != 3 or own.in_channels != config(checkpoint.vae).latent_channels:
        raise ModelUnusable(f"{what} can not be used: it does not follow colour pictures. Please choose another one.")
    attends = any("Attn" in kind for kind in (*own.down_block_types, own.mid_block_type))
    same = (
        tuple(own.block_out_channels) == tuple(unet.block_out_channels)
        and own.layers_per_block == unet.layers_per_block
        and (not attends or own.cross_attention_dim == unet.cross_attention_dim)
        and own.projection_class_embeddings_input_dim == unet.projection_class_embeddings_input_dim
    )
    if not same:
        raise ModelUnusable(
            f"{what} and the checkpoint `{checkpoint.name}` are both {NOUNS[checkpoint.base]}, but of different sizes. "
            "Please choose another of the two."
        )


def _count(pattern: str, weights: Mapping[str, Tensor]) -> int:
    return len({match[1] for name in weights if (match := re.match(pattern, name))})


def _depth(start: str, weights: Mapping[str, Tensor]) -> int | None:
    """Return how many transformer layers stand one behind the other there, None where there is no attention at all."""
    if not any(re.match(start, name) for name in weights):
        return None
    return _count(rf"{start}transformer_blocks\.(\d+)\.", weights)
