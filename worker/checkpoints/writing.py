"""Writes a checkpoint as one file, under the names that every other program reads."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from easel.catalog import Base
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.configs import Shapes, text_config, unet_config, vae_config
from worker.checkpoints.keys import CLIP, OPEN_CLIP, TEXT, UNET, VAE
from worker.checkpoints.names import QUERY_KEY_VALUE, clip_to_open_clip, unet_names, vae_names
from worker.checkpoints.parts import Part, Parts
from worker.checkpoints.said import write_said
from worker.checkpoints.skeleton import BELOW

_OPEN_CLIP_TEXTS = {(Base.SD2, 0), (Base.SDXL, 1)}


def write_file(parts: Parts, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write the parts to `path` in the precision that they have, or leave what is there; raises OSError."""
    weights = file_weights(parts)
    prediction = parts.scheduler_config.get("prediction_type", "epsilon")
    zero_snr = bool(parts.scheduler_config.get("rescale_betas_zero_snr"))
    if parts.base is Base.SDXL and prediction == "v_prediction":
        # Empty marks, which every program looks for.
        weights |= {"v_pred": torch.zeros(0)} | ({"ztsnr": torch.zeros(0)} if zero_snr else {})
    said = {
        "format": "pt",
        "modelspec.prediction_type": "v" if prediction == "v_prediction" else "epsilon",
        **_own_words(parts, {name: tuple(weight.shape) for name, weight in weights.items()}),
        **(metadata or {}),
    }
    # In the same folder, under a name that no library looks at: what is read stays whole.
    unfinished = path.with_name(f"{path.name}.part")
    try:
        save_file({name: weight.contiguous() for name, weight in weights.items()}, unfinished, metadata=said)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def parts_of(checkpoint: Checkpoint) -> Parts:
    """Return the parts of a loaded checkpoint; on the CPU they share its memory."""
    unet, vae, *encoders = checkpoint.modules
    return Parts(
        name=checkpoint.name,
        base=checkpoint.base,
        unet=_part(unet),
        vae=_part(vae) if checkpoint.has_vae else Part(dict(_config(vae)), {}),
        text_encoders=tuple(_part(encoder) for encoder in encoders),
        tokenizers=checkpoint.tokenizers,
        scheduler_config=checkpoint.scheduler_config,
        file_hash=checkpoint.file_hash,
    )


def file_weights(parts: Parts) -> dict[str, Tensor]:
    """Return all weights by the names of a single file."""
    return dict([*_unet(parts.unet), *_vae(parts.vae), *_texts(parts)])


def _part(module: nn.Module) -> Part:
    weights = {name.removeprefix(BELOW): weight.detach().cpu() for name, weight in module.named_parameters()}
    return Part(_config(module), weights)


def _config(module: Any) -> Mapping[str, Any]:
    config = module.config
    options: Mapping[str, Any] = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return options


def _unet(unet: Part) -> Iterator[tuple[str, Tensor]]:
    attends = [kind.startswith("CrossAttn") for kind in unet.config["down_block_types"]]
    names = unet_names(attends, unet.config["layers_per_block"])
    for name, weight in unet.weights.items():
        yield f"{UNET}{_named(names.file(name), name)}", weight


def _vae(vae: Part) -> Iterator[tuple[str, Tensor]]:
    names = vae_names(len(vae.config["block_out_channels"]), vae.config["layers_per_block"])
    for name, weight in vae.weights.items():
        # What is a plain projection today was a kernel of 1 x 1.
        kernel = weight.ndim == 2 and "attentions." in name
        yield f"{VAE}{_named(names.file(name), name)}", weight[..., None, None] if kernel else weight


def _texts(parts: Parts) -> Iterator[tuple[str, Tensor]]:
    for number, (place, text) in enumerate(zip(TEXT[parts.base], parts.text_encoders, strict=True)):
        if (parts.base, number) not in _OPEN_CLIP_TEXTS:
            yield from ((f"{place}{CLIP}{name}", weight) for name, weight in text.weights.items())
            continue
        weights = dict(_open_clip(text.weights))
        if parts.base is Base.SD2:
            weights |= _one_more_layer(weights, text.config["num_hidden_layers"])
        yield from ((f"{place}{OPEN_CLIP}{name}", weight) for name, weight in weights.items())


def _open_clip(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, weight in weights.items():
        if name == "text_projection.weight":
            yield "text_projection", weight.t()
        elif (told := clip_to_open_clip(name)) is not None and "in_proj_" in told:
            yield told, torch.cat([weights[name.replace(QUERY_KEY_VALUE[0], one)] for one in QUERY_KEY_VALUE])
        elif told is not None:
            yield told, weight


def _one_more_layer(weights: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Return a last layer that is never used, as every file of SD 2 has one."""
    head = f"transformer.resblocks.{layers - 1}."
    return {
        name.replace(head, f"transformer.resblocks.{layers}.", 1): weight.clone()
        for name, weight in weights.items()
        if name.startswith(head)
    }


def _named(told: str | None, name: str) -> str:
    if told is None:
        raise ValueError(f"single files have no name for {name}")
    return told


def _own_words(parts: Parts, shapes: Shapes) -> dict[str, str]:
    """Return the metadata for what nobody could tell from the weights."""
    unet = {name.removeprefix(UNET): shape for name, shape in shapes.items() if name.startswith(UNET)}
    texts = [_shapes(text) for text in parts.text_encoders]
    pooled = texts[1]["text_projection.weight"][0] if len(texts) > 1 else 0
    told = {"unet": unet_config(parts.base, unet, pooled)[0]}
    if parts.vae.weights:
        told["vae"] = vae_config(parts.base, _shapes(parts.vae))
    for number, one in enumerate(texts):
        told[("text_encoder", "text_encoder_2")[number]] = text_config(parts.base, number, one)
    own = {part: content.config for part, content in parts.modules if part in told}
    return write_said(own, told, parts.scheduler_config, parts.tokenizers)


def _shapes(part: Part) -> Shapes:
    return {name: tuple(weight.shape) for name, weight in part.weights.items()}
