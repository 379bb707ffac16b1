"""The names of weights in LoRA files, whoever trained them, and the places in a checkpoint that they mean."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from torch import nn

from worker.checkpoints.names import unet_names

Part = Literal["unet", "text", "text_2"]

_LOW_RANK = {
    f"{name}.weight": piece
    for piece, names in {
        "down": ("lora_down", "lora_A", "lora_A.default", "lora.down", "lora_linear_layer.down"),
        "up": ("lora_up", "lora_B", "lora_B.default", "lora.up", "lora_linear_layer.up"),
        "core": ("lora_mid",),
        "lengths": ("lora_magnitude_vector", "lora_magnitude_vector.default"),
    }.items()
    for name in names
}
_SAME = (
    *("alpha", "dora_scale", "diff", "diff_b", "w_norm", "b_norm", "oft_blocks", "rescale", "weight", "on_input"),
    *(f"hada_{name}" for name in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")),
    *(f"lokr_{name}" for name in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")),
    *(f"{name}.weight" for name in ("a1", "a2", "b1", "b2")),
)
PIECES: Mapping[str, str] = {name: name for name in _SAME} | _LOW_RANK | {"lora_magnitude_vector": "lengths"}
"""What the end of a name says, in one spelling: kohya's, PEFT's, that of old diffusers, and LyCORIS's."""

_PREFIXES: tuple[tuple[str, Part], ...] = (
    ("lora_unet_", "unet"),
    ("lora_te1_", "text"),
    ("lora_te2_", "text_2"),
    ("lora_te_", "text"),
    ("lycoris_unet_", "unet"),
    ("lycoris_te1_", "text"),
    ("lycoris_te2_", "text_2"),
    ("lycoris_te_", "text"),
    ("lycoris_", "unet"),
    ("text_encoder_2_", "text_2"),
    ("text_encoder_", "text"),
    ("text_encoders_clip_l_transformer_", "text"),
    ("text_encoders_clip_g_transformer_", "text_2"),
    ("unet_", "unet"),
    ("model_diffusion_model_", "unet"),
    ("diffusion_model_", "unet"),
)
_PEFT = "base_model_model_"


class Place(NamedTuple):
    """Where a weight belongs: part of the checkpoint, and module with `_` for every dot."""

    part: Part
    module: str


def split(key: str) -> tuple[str, str] | None:
    """Return a tensor's module, as the file calls it, and what piece of the change it is; None for an unknown ending."""
    # diffusers before PEFT: `…attn1.processor.to_q_lora.down.weight`
    for ending, piece in (("_lora.down.weight", "down"), ("_lora.up.weight", "up")):
        if key.endswith(ending):
            name = key.removesuffix(ending).replace(".processor.", ".")
            return (f"{name}.0" if name.endswith("to_out") else name), piece
    words = key.split(".")
    for count in range(min(3, len(words) - 1), 0, -1):
        if known := PIECES.get(".".join(words[-count:])):
            return ".".join(words[:-count]), known
    return None


def place(name: str) -> Place:
    """Return what a module's name in a file means; one without any prefix is taken for the UNet's."""
    plain = name.replace(".", "_").removeprefix(_PEFT)
    for prefix, part in _PREFIXES:
        if plain.startswith(prefix):
            inner = plain.removeprefix(prefix).removeprefix(_PEFT)
            return Place(part, inner if part == "unet" else inner.removeprefix("text_model_"))
    return Place("unet", plain)


def modules_by_place(unet: Any, text_encoders: Sequence[nn.Module]) -> dict[Place, nn.Module]:
    """Return every module that has weights of its own, the UNet's under diffusers' and under the original names."""
    places: dict[Place, nn.Module] = {}
    parts: tuple[Part, ...] = ("text", "text_2")
    for part, encoder in zip(parts, text_encoders, strict=False):
        for name, module in _with_weights(encoder):
            places[Place(part, name.replace(".", "_").removeprefix("text_model_"))] = module
    attends = [hasattr(block, "attentions") for block in unet.down_blocks]
    originals = unet_names(attends, len(unet.down_blocks[0].resnets))
    for name, module in _with_weights(unet):
        places[Place("unet", name.replace(".", "_"))] = module
        if original := originals.file(name):
            places[Place("unet", original.replace(".", "_"))] = module
    return places


def _with_weights(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, one in module.named_modules():
        if isinstance(one._parameters.get("weight"), nn.Parameter):
            yield name, one
