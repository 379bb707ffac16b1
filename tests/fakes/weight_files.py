"""Writes small safetensors files with chosen names and shapes, and any header one likes."""

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path

Shapes = Mapping[str, tuple[int, ...]]

UNET = "model.diffusion_model."


def safetensors(path: Path, shapes: Shapes, metadata: Mapping[str, str] | None = None) -> Path:
    """Write float16 zeros, as a hole in the file."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata is not None else {}
    at = 0
    for name, shape in shapes.items():
        size = 2 * prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return raw_safetensors(path, json.dumps(header).encode(), at)


def raw_safetensors(path: Path, header: bytes, data: int, *, length: int | None = None) -> Path:
    """Write `header` as it is, with `data` bytes of nothing behind it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write((len(header) if length is None else length).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + data)
    return path


def checkpoint(base: str, *, channels: int = 4, context: int = 0) -> dict[str, tuple[int, ...]]:
    """Return names and shapes as the original trainers wrote them, at small sizes."""
    linear = base != "sd15"
    projection = (8, 8) if linear else (8, 8, 1, 1)
    width = context or {"sd15": 768, "sd2": 1024, "sdxl": 2048}[base]
    shapes: dict[str, tuple[int, ...]] = {
        f"{UNET}input_blocks.0.0.weight": (8, channels, 3, 3),
        f"{UNET}input_blocks.4.1.proj_in.weight": projection,
        f"{UNET}input_blocks.4.1.transformer_blocks.0.attn1.to_k.weight": (8, 8),
        f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (8, width),
        f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias": (8,),
        "first_stage_model.encoder.conv_in.weight": (8, 3, 3, 3),
        "first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3),
    }
    if base == "sdxl":
        shapes |= {
            f"{UNET}label_emb.0.0.weight": (8, 8),
            f"{UNET}middle_block.1.transformer_blocks.9.attn1.to_q.weight": (8, 8),
            "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight": (77, 8),
            "conditioner.embedders.1.model.positional_embedding": (77, 8),
        }
    elif base == "sd2":
        shapes["cond_stage_model.model.positional_embedding"] = (77, 8)
    else:
        shapes["cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"] = (77, 8)
    return shapes


def lora(base: str, algorithm: str = "lora") -> dict[str, tuple[int, ...]]:
    """Return kohya's and LyCORIS's names for one cross attention and one convolution."""
    width = {"sd15": 768, "sd2": 1024, "sdxl": 2048}[base]
    block = (
        "input_blocks_4_1_transformer_blocks_1" if base == "sdxl" else "down_blocks_0_attentions_0_transformer_blocks_0"
    )
    key = f"lora_unet_{block}_attn2_to_k"
    down: dict[str, dict[str, tuple[int, ...]]] = {
        "lora": {"lora_down.weight": (4, width), "lora_up.weight": (8, 4)},
        "locon": {"lora_down.weight": (4, width), "lora_up.weight": (8, 4)},
        "dora": {"lora_down.weight": (4, width), "lora_up.weight": (8, 4), "dora_scale": (1, width)},
        "loha": {"hada_w1_a": (8, 4), "hada_w1_b": (4, width), "hada_w2_a": (8, 4), "hada_w2_b": (4, width)},
        "lokr": {"lokr_w1": (2, 8), "lokr_w2_a": (4, 4), "lokr_w2_b": (4, width // 8)},
        "oft": {"oft_blocks": (2, 4, 4)},
        "full": {"diff": (8, width), "diff_b": (8,)},
        "glora": {"a1.weight": (4, width), "a2.weight": (8, 4), "b1.weight": (4, 8), "b2.weight": (8, 4)},
        "ia3": {"weight": (8,), "on_input": ()},
    }
    shapes = {f"{key}.{name}": shape for name, shape in down[algorithm].items()} | {f"{key}.alpha": ()}
    if algorithm == "locon":
        conv = key.replace("attn2_to_k", "conv1")
        shapes |= {f"{conv}.lora_down.weight": (4, 8, 3, 3), f"{conv}.lora_up.weight": (8, 4, 1, 1)}
    return shapes
