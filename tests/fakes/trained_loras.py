"""LoRAs as trainers make them: LyCORIS's own modules on a tiny checkpoint, their files, and what they compute while training."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lycoris
import torch
from lycoris.modules.boft import ButterflyOFTModule
from lycoris.modules.ia3 import IA3Module
from safetensors.torch import save_file
from torch import Tensor, nn

from easel.catalog import Base
from worker.checkpoints.checkpoint import Checkpoint

RANK = 4

ALGORITHMS: Mapping[str, tuple[Any, dict[str, Any]]] = {
    "lora": (lycoris.LoConModule, {}),
    "tucker": (lycoris.LoConModule, {"use_tucker": True}),
    "dora": (lycoris.LoConModule, {"weight_decompose": True}),
    "dora of inputs": (lycoris.LoConModule, {"weight_decompose": True, "wd_on_out": False}),
    "loha": (lycoris.LohaModule, {}),
    "loha tucker": (lycoris.LohaModule, {"use_tucker": True}),
    "lokr": (lycoris.LokrModule, {"factor": 4}),
    "lokr tucker": (lycoris.LokrModule, {"factor": 4, "use_tucker": True, "lora_dim": 1}),
    "lokr in four": (lycoris.LokrModule, {"factor": 4, "decompose_both": True, "lora_dim": 1}),
    "lokr whole": (lycoris.LokrModule, {"factor": 4, "full_matrix": True}),
    "lokr dora": (lycoris.LokrModule, {"factor": 4, "weight_decompose": True}),
    "full": (lycoris.FullModule, {}),
    "oft": (lycoris.DiagOFTModule, {"constraint": 0.01}),
    "oft rescaled": (lycoris.DiagOFTModule, {"rescaled": True}),
    "boft": (ButterflyOFTModule, {"rescaled": True}),
    "glora": (lycoris.GLoRAModule, {}),
    "ia3": (IA3Module, {}),
    "ia3 of inputs": (IA3Module, {"train_on_input": True}),
}


def train(module: nn.Module, algorithm: str, seed: int = 0) -> Any:
    """Return LyCORIS's own module for one layer, as if it had learned something."""
    kind, options = ALGORITHMS[algorithm]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trained = kind("layer", module, 1.0, **({"lora_dim": RANK, "alpha": 2.0} | options))
        with torch.no_grad():
            for weight in trained.parameters():
                if not any(weight is own for own in module.parameters()):
                    weight.add_(torch.randn_like(weight) * 0.1)
    return trained


def train_norm(module: nn.Module) -> Any:
    trained: Any = lycoris.NormModule("layer", module, 1.0)
    with torch.no_grad():
        trained.w_norm.normal_(0, 0.1)
        trained.b_norm.normal_(0, 0.1)
    return trained


def pieces(trained: Any) -> dict[str, Tensor]:
    """Return what is saved of one layer, as LyCORIS names it."""
    if isinstance(trained, lycoris.FullModule):
        if trained.is_diff:
            return {"diff": trained.weight.detach().clone(), "diff_b": trained.bias.detach().clone()}
        # Once it was put on, its weights are the layer's own.
        return dict(trained.custom_state_dict())
    saved = trained.custom_state_dict() or trained.state_dict()
    return {name: tensor.detach().clone().contiguous() for name, tensor in saved.items()}


@contextmanager
def training(*trained: Any) -> Iterator[None]:
    """Let the layers compute what they compute while they are trained."""
    for one in trained:
        one.apply_to()
    try:
        yield
    finally:
        for one in trained:
            one.restore()


@dataclass(frozen=True, slots=True)
class Trained:
    """A LoRA of a whole checkpoint."""

    layers: dict[str, Any]
    """LyCORIS's module by kohya's name of the layer."""

    def of(self, *prefixes: str) -> list[Any]:
        return [layer for name, layer in self.layers.items() if name.startswith(prefixes)]

    @property
    def weights(self) -> dict[str, Tensor]:
        return {f"{name}.{piece}": one for name, layer in self.layers.items() for piece, one in pieces(layer).items()}

    def save(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(self.weights, path)
        return path


Named = Callable[[str], str]


def train_checkpoint(checkpoint: Checkpoint, algorithm: str = "lora", seed: int = 0) -> Trained:
    """Train the attention of the UNet, its convolutions where kohya names them alike, and the text encoders."""
    unet_name: Named = original_name if checkpoint.base is Base.SDXL else flat_name
    places = [(f"lora_unet_{unet_name(name)}", module) for name, module in unet_layers(checkpoint.unet)]
    encoders = ["lora_te1", "lora_te2"] if checkpoint.base is Base.SDXL else ["lora_te"]
    for prefix, encoder in zip(encoders, checkpoint.text_encoders, strict=True):
        for name, module in encoder.named_modules():
            if isinstance(module, nn.Linear) and re.search(r"self_attn|mlp", name):
                inner = name if name.startswith("text_model.") else f"text_model.{name}"
                places.append((f"{prefix}_{flat_name(inner)}", module))
    return Trained({name: train(module, algorithm, seed + n) for n, (name, module) in enumerate(places)})


def unet_layers(unet: Any) -> Iterator[tuple[str, nn.Module]]:
    for name, module in unet.named_modules():
        if ".attentions." in name and isinstance(module, nn.Linear | nn.Conv2d):
            yield name, module


def flat_name(name: str) -> str:
    return name.replace(".", "_")


def original_name(name: str) -> str:
    """Return what kohya calls an attention layer of SDXL: the place in the original code, with diffusers' ending."""
    words = name.split(".")
    if words[0] == "mid_block":
        return flat_name(f"middle_block.1.{'.'.join(words[3:])}")
    blocks, first = ("input_blocks", 1) if words[0] == "down_blocks" else ("output_blocks", 0)
    return flat_name(f"{blocks}.{3 * int(words[1]) + int(words[3]) + first}.1.{'.'.join(words[4:])}")
