"""Seconds to change LoRAs at the module counts of SD 1.5 and SDXL, over loading and unloading them with diffusers.

    python -m benchmarks.networks [--models sd15,sdxl] [--rounds 5] [--device cpu] [--widths tiny|real] [--rank 8]

Weights are random. Tiny widths measure what each module costs whatever its size, real ones the arithmetic as well; those
are for a GPU. The ratio needs peft, which Easel itself does not: without it only our own times are told.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from easel.catalog import Base
from tests.fakes.tiny_models import as_pipeline, tiny_checkpoint
from tests.fakes.trained_loras import flat_name, original_name
from worker.checkpoints.checkpoint import Checkpoint
from worker.networks.lora_file import read_lora
from worker.networks.outfit import NOTHING, Outfit
from worker.networks.wardrobe import Worn

WIDTHS = {
    "tiny": {Base.SD15: (32, 32, 64, 64), Base.SDXL: (32, 64, 128)},
    "real": {Base.SD15: (320, 640, 1280, 1280), Base.SDXL: (320, 640, 1280)},
}
TEXT = {"tiny": (32, 64), "real": (768, 1280)}
LAYERS = {Base.SD15: (12,), Base.SDXL: (12, 32)}


def build(base: Base, widths: str, device: torch.device) -> Checkpoint:
    """Return a checkpoint with as many modules as the published ones."""
    small = tiny_checkpoint(base)
    sides = TEXT[widths][: len(LAYERS[base])]
    encoders = tuple(
        _encoder(kind, side, layers)
        for kind, side, layers in zip((CLIPTextModel, CLIPTextModelWithProjection), sides, LAYERS[base], strict=False)
    )
    pattern: Any = small.unet
    config: dict[str, Any] = dict(pattern.config)
    config |= {
        "block_out_channels": WIDTHS[widths][base],
        "cross_attention_dim": sum(sides),
        "norm_num_groups": 32,
    }
    if base is Base.SDXL:
        config |= {
            "transformer_layers_per_block": (1, 2, 10),
            "reverse_transformer_layers_per_block": None,
            "projection_class_embeddings_input_dim": sides[-1] + 6 * 8,
        }
    unet: Any = UNet2DConditionModel.from_config(config)
    made = replace(small, unet=unet.eval().requires_grad_(False), text_encoders=encoders)
    for module in made.modules:
        # Torch's own: diffusers' warns of parts that want float32 even where there are none.
        nn.Module.to(module, device, torch.float16 if device.type == "cuda" else torch.float32)
    return made


def _encoder(kind: Any, width: int, layers: int) -> nn.Module:
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=max(4, width // 64),
        projection_dim=width,
    )
    encoder: nn.Module = kind(config)
    return encoder.eval().requires_grad_(requires_grad=False)


def write_lora(checkpoint: Checkpoint, path: Path, rank: int, seed: int) -> int:
    """Write what kohya writes for the attention of the UNet and the text encoders; return the number of modules."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}
    xl = checkpoint.base is Base.SDXL
    for name, module in _layers(checkpoint, xl=xl):
        shape = module.weight.shape
        kernel = shape[2:]
        down = torch.randn(rank, shape[1], *kernel, generator=generator) * 0.02
        up = torch.randn(shape[0], rank, *[1] * len(kernel), generator=generator) * 0.02
        weights |= {f"{name}.lora_down.weight": down.half(), f"{name}.lora_up.weight": up.half()}
        weights[f"{name}.alpha"] = torch.tensor(float(rank))
    save_file(weights, path)
    return len(weights) // 3


def _layers(checkpoint: Checkpoint, *, xl: bool) -> list[tuple[str, Any]]:
    unet = [
        (f"lora_unet_{original_name(name) if xl else flat_name(name)}", module)
        for name, module in checkpoint.modules[0].named_modules()
        if ".attentions." in name and isinstance(module, nn.Linear | nn.Conv2d)
    ]
    prefixes = ("lora_te1", "lora_te2") if xl else ("lora_te",)
    text = [
        (f"{prefix}_text_model_{flat_name(name.removeprefix('text_model.'))}", module)
        for prefix, encoder in zip(prefixes, checkpoint.text_encoders, strict=True)
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and ("self_attn" in name or "mlp" in name)
    ]
    return [*unet, *text]


def timed(device: torch.device, call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def ours(checkpoint: Checkpoint, files: list[Path]) -> dict[str, float]:
    """Return the seconds of one round of each kind of change."""

    def put_on(outfit: Outfit) -> None:
        with outfit.on(checkpoint):
            pass

    def dressed(*worn: tuple[Any, float]) -> Outfit:
        own = tuple(Worn(lora, strength) for lora, strength in worn)
        return Outfit(own, own)

    device = checkpoint.device
    loras = [read_lora(file, file.stem) for file in files]
    put_on(NOTHING)
    took = {"new": timed(device, lambda: put_on(dressed((read_lora(files[0], "new"), 1.0))))}
    put_on(dressed((loras[0], 1.0)))
    took["switch"] = timed(device, lambda: put_on(dressed((loras[1], 0.8))))
    took["three"] = timed(device, lambda: put_on(dressed(*((lora, 0.5) for lora in loras))))
    took["again"] = timed(device, lambda: put_on(dressed(*((lora, 0.5) for lora in loras))))
    took["off"] = timed(device, lambda: put_on(NOTHING))
    return took


def theirs(pipeline: Any, file: Path, device: torch.device) -> float:
    """Return the seconds in which diffusers loads the file and unloads it."""

    def load_and_unload() -> None:
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name)
        pipeline.unload_lora_weights()

    return timed(device, load_and_unload)


def measure(base: Base, options: argparse.Namespace) -> None:
    device = torch.device(options.device)
    checkpoint = build(base, options.widths, device)
    pipeline = None if find_spec("peft") is None else as_pipeline(checkpoint)
    rounds, their = [], []
    with tempfile.TemporaryDirectory(prefix="easel-") as folder:
        files = [Path(folder) / f"style{seed}.safetensors" for seed in range(3)]
        count = max(write_lora(checkpoint, file, options.rank, seed) for seed, file in enumerate(files))
        ours(checkpoint, files)
        for _ in range(options.rounds):
            # In turns, as a machine is not equally busy all the time.
            rounds.append(ours(checkpoint, files))
            if pipeline is not None:
                their.append(theirs(pipeline, files[0], device))
    took = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    print(f"{base.value:<6} {count:>5} modules  " + "  ".join(f"{n} {1000 * s:.1f} ms" for n, s in took.items()))
    if pipeline is None:
        print("       peft is not installed, so there is nothing to compare with")
        return
    whole = statistics.median(their)
    print(
        f"       diffusers, load and unload {1000 * whole:.0f} ms: "
        f"a new file and off again {(took['new'] + took['off']) / whole:.3f}x, a switch {took['switch'] / whole:.3f}x"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="sd15,sdxl")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--widths", choices=sorted(WIDTHS), default="tiny")
    parser.add_argument("--rank", type=int, default=8)
    options = parser.parse_args()
    print("new: read a file and put it on; switch, three, again, off: to another, to three, to the same, to none")
    for name in options.models.split(","):
        measure(Base(name), options)


if __name__ == "__main__":
    main()
