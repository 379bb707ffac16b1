"""ControlNets for tiny checkpoints, with random weights that do steer, and the layout in which the first ones were published."""

import re
from typing import Any

import torch
from diffusers import ControlNetModel
from torch import Tensor

from worker.checkpoints.checkpoint import Checkpoint


def tiny_controlnet(checkpoint: Checkpoint, *, seed: int = 5) -> Any:
    """Return a ControlNet as it is after some training: copied from the UNet, its connections no longer zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = ControlNetModel.from_unet(checkpoint.unet, conditioning_embedding_out_channels=(4, 8, 8, 12))
        connections = (
            *model.controlnet_down_blocks,
            model.controlnet_mid_block,
            model.controlnet_cond_embedding.conv_out,
        )
        for layer in connections:
            torch.nn.init.normal_(layer.weight, std=0.3)
            torch.nn.init.normal_(layer.bias, std=0.3)
    return model.eval().requires_grad_(False)


_PLACES = (
    (r"time_embedding\.linear_1", "time_embed.0"),
    (r"time_embedding\.linear_2", "time_embed.2"),
    (r"add_embedding\.linear_1", "label_emb.0.0"),
    (r"add_embedding\.linear_2", "label_emb.0.2"),
    (r"conv_in\.", "input_blocks.0.0."),
    (r"controlnet_cond_embedding\.conv_in", "input_hint_block.0"),
    (r"controlnet_cond_embedding\.conv_out", "input_hint_block.14"),
    (r"controlnet_mid_block", "middle_block_out.0"),
    (r"controlnet_down_blocks\.(\d+)", r"zero_convs.\1.0"),
    (r"mid_block\.resnets\.0", "middle_block.0"),
    (r"mid_block\.attentions\.0", "middle_block.1"),
    (r"mid_block\.resnets\.1", "middle_block.2"),
)
_LAYERS = (
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("time_emb_proj", "emb_layers.1"),
    ("conv_shortcut", "skip_connection"),
)


def published(model: Any, prefix: str = "control_model.") -> dict[str, Tensor]:
    """Return the weights under the names of lllyasviel's files."""
    return {prefix + _published(name): weight.clone() for name, weight in model.state_dict().items()}


def _published(name: str) -> str:
    if match := re.match(r"controlnet_cond_embedding\.blocks\.(\d+)(.*)", name):
        return f"input_hint_block.{2 * int(match[1]) + 2}{match[2]}"
    if match := re.match(r"down_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", name):
        block, kind, place, rest = int(match[1]), match[2], int(match[3]), match[4]
        if kind == "downsamplers":
            return f"input_blocks.{3 * block + 3}.0.op.{rest.removeprefix('conv.')}"
        name = f"input_blocks.{3 * block + place + 1}.{int(kind == 'attentions')}.{rest}"
        return _layers(name) if kind == "resnets" else name
    for pattern, replacement in _PLACES:
        if re.match(pattern, name):
            new = re.sub(rf"^{pattern}", replacement, name)
            return _layers(new) if "resnets" in name else new
    return name


def _layers(name: str) -> str:
    for new, old in _LAYERS:
        name = re.sub(rf"\.{new}\.", f".{old}.", name)
    return name
