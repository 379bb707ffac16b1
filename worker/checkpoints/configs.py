"""The options that each base's modules are built with: what was published, at the sizes that the weights show.

Checked against the published `config.json` files: at full size they are these, but for what is only said in training.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from easel.catalog import Base
from worker.checkpoints.names import Names, unet_names, vae_names

Shapes = Mapping[str, tuple[int, ...]]
Config = dict[str, Any]

BETAS: Mapping[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "prediction_type": "epsilon",
}
"""What Stable Diffusion was trained with; used where nothing else is said."""

SCALING: Mapping[Base, float] = {Base.SD15: 0.18215, Base.SD2: 0.18215, Base.SDXL: 0.13025}
"""By what a VAE's latents are multiplied."""

SAMPLE_SIZE: Mapping[Base, int] = {Base.SD15: 64, Base.SD2: 96, Base.SDXL: 128}
"""Latents on a side of the pictures that were trained on."""

_HEAD = 64
"""Width of an attention head, in the text encoders, and since SD 2 in the UNet; SD 1 has eight heads of any width."""
_GROUPS = 32
"""At most; fewer where a width is no multiple."""
_CLIP_WORDS = 49_408
_ACTIVATIONS: Mapping[Base, tuple[str, ...]] = {
    Base.SD15: ("quick_gelu",),
    Base.SD2: ("gelu",),
    Base.SDXL: ("quick_gelu", "gelu"),
}


class _Level(NamedTuple):
    width: int
    layers: int
    depth: int
    """Transformer layers in each attention; 0 is none."""


def unet_config(base: Base, shapes: Shapes, pooled: int = 0) -> tuple[Config, Names]:
    """Tell a UNet by its weights in a file's names; `pooled` is the width of SDXL's pooled vector.

    Raises KeyError, IndexError or ValueError where it is not built as Stable Diffusion's are.
    """
    levels = list(_levels(shapes))
    depths = [level.depth for level in levels]
    middle = _count(shapes, r"middle_block\.1\.transformer_blocks\.(\d+)\.")
    layers = levels[0].layers
    if any(level.layers != layers for level in levels):
        raise ValueError("every level has as many layers")
    widths = [level.width for level in levels]
    linear = len(_first(shapes, r"proj_in\.weight$")) == 2
    config: Config = {
        "sample_size": SAMPLE_SIZE[base],
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "layers_per_block": layers,
        "block_out_channels": widths,
        "norm_num_groups": _groups(widths),
        "cross_attention_dim": _first(shapes, r"attn2\.to_k\.weight$")[1],
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in depths[::-1]],
        # The middle has as many as the coarsest level, also where that has none.
        "transformer_layers_per_block": [max(1, depth) for depth in depths[:-1]] + [middle],
        "attention_head_dim": 8 if base is Base.SD15 else [max(1, width // _HEAD) for width in widths],
        "use_linear_projection": linear,
    }
    if base is Base.SD2:
        config["upcast_attention"] = True
    if "label_emb.0.0.weight" in shapes:
        told = shapes["label_emb.0.0.weight"][1]
        config |= {
            "addition_embed_type": "text_time",
            # Beside the pooled vector it is told six numbers: sizes and where the picture was cropped.
            "addition_time_embed_dim": (told - pooled) // 6,
            "projection_class_embeddings_input_dim": told,
        }
    return config, unet_names([bool(depth) for depth in depths], layers)


def _levels(shapes: Shapes) -> Iterable[_Level]:
    blocks = _count(shapes, r"input_blocks\.(\d+)\.")
    width = layers = depth = 0
    for block in range(1, blocks):
        head = f"input_blocks.{block}"
        if f"{head}.0.op.weight" in shapes:
            yield _Level(width, layers, depth)
            layers = 0
            continue
        width, layers = shapes[f"{head}.0.out_layers.3.weight"][0], layers + 1
        depth = _count(shapes, rf"input_blocks\.{block}\.1\.transformer_blocks\.(\d+)\.")
    yield _Level(width, layers, depth)


def vae_file_names(shapes: Shapes) -> Names:
    """Return what a VAE's weights are called that stand in a file's own names."""
    levels = _count(shapes, r"encoder\.down\.(\d+)\.")
    return vae_names(levels, _count(shapes, r"encoder\.down\.0\.block\.(\d+)\."))


def vae_config(base: Base, shapes: Shapes) -> Config:
    """Tell a VAE by its weights in diffusers' names; raises KeyError, IndexError or ValueError."""
    levels = _count(shapes, r"encoder\.down_blocks\.(\d+)\.")
    widths = [shapes[f"encoder.down_blocks.{level}.resnets.0.conv1.weight"][0] for level in range(levels)]
    return {
        "sample_size": SAMPLE_SIZE[base] * 8 if base is not Base.SD2 else 512,
        "in_channels": shapes["encoder.conv_in.weight"][1],
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "layers_per_block": _count(shapes, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        "block_out_channels": widths,
        "norm_num_groups": _groups(widths),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "mid_block_add_attention": "encoder.mid_block.attentions.0.to_q.weight" in shapes,
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
        "scaling_factor": SCALING[base],
        "force_upcast": True,
    }


def published_vae(base: Base) -> Config:
    """Return the options of the base's own VAE, for a checkpoint that has none."""
    return {
        "sample_size": 1024 if base is Base.SDXL else 512,
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "layers_per_block": 2,
        "block_out_channels": [128, 256, 512, 512],
        "norm_num_groups": _GROUPS,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "scaling_factor": SCALING[base],
        "force_upcast": True,
    }


def text_config(base: Base, number: int, shapes: Shapes) -> Config:
    """Tell a base's text encoder, counted from 0, by its weights in transformers' names; raises KeyError, IndexError."""
    words, width = shapes["embeddings.token_embedding.weight"]
    return {
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": shapes["encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": _count(shapes, r"encoder\.layers\.(\d+)\."),
        "num_attention_heads": max(1, width // _HEAD),
        "max_position_embeddings": shapes["embeddings.position_embedding.weight"][0],
        "projection_dim": shapes.get("text_projection.weight", (width,))[0],
        "hidden_act": _ACTIVATIONS[base][number],
        "layer_norm_eps": 1e-5,
        # The published ones say 2, by which transformers takes the highest id, which may be another word.
        "bos_token_id": words - 2,
        "eos_token_id": words - 1,
        "pad_token_id": 1 if words == _CLIP_WORDS else words - 1,
    }


def _count(shapes: Shapes, pattern: str) -> int:
    """Return how many there are of what the pattern numbers; raises ValueError unless they are counted without a gap."""
    seen = {int(match[1]) for name in shapes if (match := re.match(pattern, name))}
    if seen != set(range(len(seen))):
        raise ValueError("a block is missing")
    return len(seen)


def _first(shapes: Shapes, pattern: str) -> tuple[int, ...]:
    return next((shape for name, shape in shapes.items() if re.search(pattern, name)), (0, 0))


def _groups(widths: Iterable[int]) -> int:
    common = math.gcd(*widths)
    return max(size for size in range(1, _GROUPS + 1) if common % size == 0)
