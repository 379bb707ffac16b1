"""Diffusers folders from the disk: read offline, and from safetensors only."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTokenizer

from easel.catalog import Base
from easel.errors import ModelUnusable
from easel.identify.header import read_header
from worker.checkpoints.build import reading
from worker.checkpoints.configs import BETAS
from worker.checkpoints.names import modern_attention
from worker.checkpoints.parts import Part, Parts, stamp_of
from worker.checkpoints.skeleton import BELOW
from worker.checkpoints.vocabulary import PADS, clip_tokenizer, folder_tokenizer

_TEXTS = ("text_encoder", "text_encoder_2")
_TOKENIZERS = ("tokenizer", "tokenizer_2")


def read_folder(path: Path, name: str, base: Base) -> Parts:
    """Read a diffusers folder without the hub; raises ModelUnusable with what is wrong."""
    path = path.resolve()
    files: list[Path] = []
    unet, vae, *encoders = (_part(path, name, part, files) for part in ("unet", "vae", *_TEXTS[: len(PADS[base])]))
    tokenizers = (_tokenizer(path, name, *pair) for pair in zip(_TOKENIZERS, PADS[base], strict=False))
    with reading(name, "scheduler"):
        scheduler = _json(path / "scheduler" / "scheduler_config.json") or dict(BETAS)
    return Parts(
        name=name,
        base=base,
        unet=unet,
        vae=vae,
        text_encoders=tuple(encoders),
        tokenizers=tuple(tokenizers),
        scheduler_config=scheduler,
        stamp=stamp_of(*files),
        again=lambda: read_folder(path, name, base),
    )


def folder_base(path: Path) -> Base:
    """Tell the base of a diffusers folder from its structure; what is neither SDXL nor SD 2 counts as SD 1.5."""
    if (path / "text_encoder_2").is_dir():
        return Base.SDXL
    return Base.SD2 if _json(path / "unet" / "config.json").get("use_linear_projection") else Base.SD15


def _part(path: Path, name: str, part: str, files: list[Path]) -> Part:
    """Read one part, and add its files to `files`."""
    own = _weights_files(path / part, name, part)
    files += own
    weights: dict[str, Tensor] = {}
    with reading(name, part):
        config = _json(path / part / "config.json")
        if not config:
            raise ValueError("there is no config.json")
        for file in own:
            try:
                read_header(file)
            except ModelUnusable as error:
                raise ValueError(str(error)) from error
            weights |= load_file(file)
    return Part(config, {_modern(weight): tensor for weight, tensor in weights.items()})


def _modern(name: str) -> str:
    return modern_attention(name.removeprefix(BELOW))


def _weights_files(folder: Path, name: str, part: str) -> list[Path]:
    """Return the weights in one spelling: the plain one if it is there, else such as `fp16`."""
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelUnusable(
            f"The checkpoint `{name}` has its {part} as `.bin` only, a format that can run code. "
            "Please install a version with safetensors."
            if any(folder.glob("*.bin"))
            else f"The checkpoint `{name}` has no weights for its {part}. Please install it again."
        )
    # diffusion_pytorch_model.fp16[-00001-of-00002].safetensors, against diffusion_pytorch_model[-0…].safetensors
    spellings = {file: file.name.split(".")[1].partition("-")[0] for file in weights}
    variants = set(spellings.values())
    chosen = "safetensors" if "safetensors" in variants else "fp16" if "fp16" in variants else min(variants)
    return [file for file, spelling in spellings.items() if spelling == chosen]


def _tokenizer(path: Path, name: str, part: str, pad: str) -> CLIPTokenizer:
    """Return the folder's own, or CLIP's where it has none."""
    if not (path / part).is_dir():
        return clip_tokenizer(pad)
    with reading(name, part):
        return folder_tokenizer(path / part, pad)


def _json(path: Path) -> Mapping[str, Any]:
    """Return the object in a JSON file; empty where there is no such file."""
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise TypeError(f"{path.name} holds no object")
    return content
