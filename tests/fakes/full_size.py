"""The published configurations of the real checkpoints, written down by hand from their `config.json` files."""

from typing import Any

import torch

from easel.catalog import Base
from worker.checkpoints.configs import BETAS
from worker.checkpoints.parts import Part, Parts
from worker.checkpoints.skeleton import empty_module, slots_of
from worker.checkpoints.vocabulary import PADS, clip_tokenizer

_CLIP = {"vocab_size": 49408, "max_position_embeddings": 77, "layer_norm_eps": 1e-5}
_CLIP_L = _CLIP | {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
}
_CLIP_H = _CLIP | {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "projection_dim": 512,
}
_CLIP_BIG_G = _CLIP | {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}
_UNET: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
_UNETS: dict[Base, dict[str, Any]] = {
    Base.SD15: _UNET,
    Base.SD2: _UNET
    | {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True},
    Base.SDXL: _UNET
    | {
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "cross_attention_dim": 2048,
        "attention_head_dim": [5, 10, 20],
        "use_linear_projection": True,
        "transformer_layers_per_block": [1, 2, 10],
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
_VAE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
_TEXTS = {Base.SD15: [_CLIP_L], Base.SD2: [_CLIP_H], Base.SDXL: [_CLIP_L, _CLIP_BIG_G]}


def full_size(base: Base, *, in_channels: int = 4) -> Parts:
    """Return a checkpoint of the real size, all its weights on `meta`, in float16."""
    vae = _VAE | {"scaling_factor": 0.13025 if base is Base.SDXL else 0.18215}
    return Parts(
        name=f"full-{base}",
        base=base,
        unet=_part(base, "unet", _UNETS[base] | {"in_channels": in_channels}),
        vae=_part(base, "vae", vae),
        text_encoders=tuple(
            _part(base, ("text_encoder", "text_encoder_2")[number], config)
            for number, config in enumerate(_TEXTS[base])
        ),
        tokenizers=tuple(clip_tokenizer(pad) for pad in PADS[base]),
        scheduler_config=dict(BETAS),
    )


def _part(base: Base, part: str, config: dict[str, Any]) -> Part:
    slots = slots_of(empty_module(base, part, config, torch.device("cpu")))
    return Part(config, {name: getattr(*place).detach().half() for name, place in slots.items()})
