"""Checkpoints in one file, as Civitai, A1111, ComfyUI and the trainers write them: read offline, without a copy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor
from transformers import CLIPTokenizer

from easel.catalog import Base, ModelCard, ModelKind
from easel.errors import ModelUnusable
from easel.identify.file import identify
from easel.identify.identified import Identified
from worker.checkpoints.build import reading
from worker.checkpoints.configs import (
    BETAS,
    Shapes,
    published_vae,
    text_config,
    unet_config,
    vae_config,
    vae_file_names,
)
from worker.checkpoints.keys import Names, Split, TextNames, split, vae_part
from worker.checkpoints.names import QUERY_KEY_VALUE, modern_attention, open_clip_to_clip
from worker.checkpoints.parts import Part, Parts, stamp_of
from worker.checkpoints.said import Said, read_said
from worker.checkpoints.vocabulary import PADS, clip_tokenizer

SD2_LAYERS = 23
"""SD 2 was trained on the last layer but one of its text encoder, so that diffusers leaves the last one of 24 out."""

Tensors = Mapping[str, Tensor]


Lend = Callable[[ModelCard, Base, int], Parts]
"""Find a checkpoint whose text encoders fit a card's file, by base and width of the prompt; raises ModelUnusable."""


def no_lender(card: ModelCard, base: Base, width: int) -> Parts:
    """Lend nothing."""
    raise ModelUnusable(
        f"The checkpoint `{card.name}` lacks its text encoder, and no other {base} checkpoint lies here to lend one. "
        "Please install a version that is whole, or any other checkpoint of its base."
    )


def read_file(path: Path, card: ModelCard, lend: Lend = no_lender) -> Parts:
    """Read a checkpoint from a safetensors file, a missing text encoder borrowed; raises ModelUnusable with what is wrong.

    What the card says of the prediction type and of zero SNR goes before what the file says.
    """
    seen = identify(path, ModelKind.CHECKPOINT)
    if seen.problem or seen.kind is not ModelKind.CHECKPOINT or seen.base is None or seen.pickled:
        raise ModelUnusable(f"The checkpoint `{card.name}` can not be used. {_reason(seen)}")
    with reading(card.name, "file"):
        stamp = stamp_of(path)
        tensors, metadata = _mapped(path)
    return _Reader(card, seen.base, seen, tensors, metadata, lend).parts(path, stamp)


def read_vae_file(path: Path, base: Base) -> Part:
    """Read a VAE by itself, under any of the names that it is known by; raises whatever is wrong, ValueError first."""
    tensors, _ = _mapped(path)
    return _vae(base, vae_part(tensors, loose=True), tensors, {})


def _reason(seen: Identified) -> str:
    if seen.problem:
        return seen.problem
    if seen.pickled:
        return "It is an old pickle, a format that can run code. Please install a version in .safetensors."
    return f"It is a {seen.kind.noun}." if seen.kind is not None else "Nothing tells what it is."


def _mapped(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """Return a file's tensors, mapped into memory and not read, and its metadata."""
    with safe_open(str(path), framework="pt", device="cpu") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 - no dict


@dataclass(frozen=True, slots=True, eq=False)
class _Reader:
    """One file on its way."""

    card: ModelCard
    base: Base
    seen: Identified
    tensors: Tensors
    metadata: Mapping[str, str]
    lend: Lend

    def parts(self, path: Path, stamp: Any) -> Parts:
        name = self.card.name
        found = split(self.tensors, self.base)
        self._check(found)
        with reading(name, "description"):
            said = read_said(self.metadata, PADS[self.base])
        lent = None if all(one.names for one in found.texts) else self.lend(self.card, self.base, self.seen.context_dim)
        texts = [] if lent is None else list(lent.text_encoders)
        for number, (part, names) in enumerate(
            zip(("text_encoder", "text_encoder_2"), found.texts if lent is None else (), strict=False)
        ):
            with reading(name, part):
                texts.append(_text(self.base, number, names, self.tensors, said.modules.get(part, {})))
        with reading(name, "unet"):
            unet = _unet(self.base, found.unet, self.tensors, _pooled(texts), said.modules.get("unet", {}))
        with reading(name, "vae"):
            vae = _vae(self.base, found.vae, self.tensors, said.modules.get("vae", {}))
        return Parts(
            name=name,
            base=self.base,
            unet=unet,
            vae=vae,
            text_encoders=tuple(texts),
            tokenizers=_tokenizers(said, self.base) if lent is None else lent.tokenizers,
            scheduler_config=self._scheduler(said),
            stamp=stamp,
            again=lambda: read_file(path, self.card, self.lend),
            notes=found.notes if lent is None else (*found.notes, f"Its text encoder is that of {lent.name}."),
        )

    def _check(self, found: Split) -> None:
        name = self.card.name
        if any(one.endswith(".scale_weight") for one in found.unet):
            raise ModelUnusable(
                f"The checkpoint `{name}` is in scaled fp8, which can not be read. "
                "Please install a version in fp16, bf16 or plain fp8."
            )

    def _scheduler(self, said: Said) -> Mapping[str, Any]:
        prediction = {"prediction_type": self.seen.prediction_type} if self.seen.prediction_type else {}
        zero_snr = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if self.seen.zero_snr else {}
        return {**BETAS, **prediction, **zero_snr, **said.scheduler}


def _unet(base: Base, names: Names, tensors: Tensors, pooled: int, said: Mapping[str, Any]) -> Part:
    config, table = unet_config(base, _shapes(names, tensors), pooled)
    weights: dict[str, Tensor] = {}
    for name, place in names.items():
        told = table.diffusers(name)
        if told is None:
            # Left out, it would be missing in the picture.
            raise ValueError(f"{name} has no place")
        weights[told] = tensors[place]
    return Part({**config, **said}, weights)


def _vae(base: Base, names: Names, tensors: Tensors, said: Mapping[str, Any]) -> Part:
    """Return the VAE, or the options of the usual one where there is none."""
    if not names:
        return Part({**published_vae(base), **said}, {})
    if any(".down_blocks." in name for name in names):
        told = {modern_attention(name): tensors[place] for name, place in names.items()}
    else:
        table = vae_file_names(_shapes(names, tensors))
        # A trainer's losses and discriminators lie beside it; a missing weight is found out later.
        told = {name: tensors[place] for one, place in names.items() if (name := table.diffusers(one)) is not None}
    config = vae_config(base, {name: tuple(tensor.shape) for name, tensor in told.items()})
    return Part({**config, **said}, told)


def _text(base: Base, number: int, names: TextNames, tensors: Tensors, said: Mapping[str, Any]) -> Part:
    weights = {name: tensors[place] for name, place in names.names.items()}
    if names.open_clip:
        weights = _from_open_clip(weights)
        if base is Base.SD2:
            weights = _without_the_last_layer(weights)
    config = text_config(base, number, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    return Part({**config, **said}, weights)


def _from_open_clip(weights: Tensors) -> dict[str, Tensor]:
    told: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        renamed = open_clip_to_clip(name)
        pieces = tensor.chunk(len(QUERY_KEY_VALUE)) if len(renamed) > 1 else (tensor,)
        told |= zip(renamed, pieces, strict=False)
    # OpenCLIP multiplies from the other side; ComfyUI writes both.
    if "text_projection.weight" in weights:
        told["text_projection.weight"] = weights["text_projection.weight"]
    elif "text_projection" in weights:
        told["text_projection.weight"] = weights["text_projection"].t()
    return told


def _without_the_last_layer(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    numbers = [int(name.split(".")[2]) for name in weights if name.startswith("encoder.layers.")]
    last = max(numbers, default=-1)
    if last + 1 == SD2_LAYERS:
        return weights
    return {name: tensor for name, tensor in weights.items() if not name.startswith(f"encoder.layers.{last}.")}


def _pooled(texts: Sequence[Part]) -> int:
    return int(texts[1].config["projection_dim"]) if len(texts) > 1 else 0


def _tokenizers(said: Said, base: Base) -> tuple[CLIPTokenizer, ...]:
    return tuple(own or clip_tokenizer(pad) for own, pad in zip(said.tokenizers, PADS[base], strict=True))


def _shapes(names: Names, tensors: Tensors) -> Shapes:
    return {name: tuple(tensors[place].shape) for name, place in names.items()}
