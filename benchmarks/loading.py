"""How soon a full-size checkpoint in one file is ready for its first step, against diffusers' `from_single_file`.

Random weights under the names that Civitai's files have, written for the occasion and deleted again; nothing is
downloaded. Each way of loading is a process of its own, with the file in the system's cache for both.
Run from the repository: python -m benchmarks.loading --help
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import diffusers
import torch

from easel.catalog import Base, ModelCard, ModelKind
from tests.fakes.full_size import full_size
from worker.checkpoints.build import build, pour
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.load import read_card
from worker.checkpoints.parts import Parts
from worker.checkpoints.skeleton import quiet
from worker.checkpoints.writing import file_weights

ROOM = 1.2
"""Of the file's size, to be free on the disk."""
BLOCK = 2**24
"""Random numbers that are written again and again."""


def write_random(parts: Parts, path: Path) -> None:
    """Write a file as large as the real one, float16, without ever holding it in memory."""
    weights = file_weights(parts)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    entries: dict[str, Any] = dict(header)
    for name, weight in weights.items():
        end = at + 2 * weight.numel()
        entries[name] = {"dtype": "F16", "shape": list(weight.shape), "data_offsets": [at, end]}
        at = end
    free = shutil.disk_usage(path.parent).free
    if free < at * ROOM:
        raise SystemExit(f"{at * ROOM / 1e9:.1f} GB are needed in {path.parent}, and {free / 1e9:.1f} GB are free.")
    head = json.dumps(entries).encode()
    head += b" " * (-len(head) % 8)
    numbers = torch.randn(BLOCK, generator=torch.Generator().manual_seed(0)).mul(0.02).half().numpy().tobytes()
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        while at:
            at -= file.write(numbers[: min(at, len(numbers))])


def write_config(parts: Parts, folder: Path) -> Path:
    """Write what diffusers wants to be told beside the file: options and tokenizers, no weights."""
    xl = parts.base is Base.SDXL
    classes = {
        "unet": ("diffusers", "UNet2DConditionModel"),
        "vae": ("diffusers", "AutoencoderKL"),
        "text_encoder": ("transformers", "CLIPTextModel"),
        "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
    }
    index: dict[str, Any] = {"_class_name": "StableDiffusionXLPipeline" if xl else "StableDiffusionPipeline"}
    for part, content in parts.modules:
        library, name = classes[part]
        index[part] = [library, name]
        kind = {"_class_name": name} if library == "diffusers" else {"model_type": "clip_text_model"}
        _write(folder / part / "config.json", {**kind, **content.config})
    for part, tokenizer in zip(("tokenizer", "tokenizer_2"), parts.tokenizers, strict=False):
        index[part] = ["transformers", "CLIPTokenizer"]
        tokenizer.save_pretrained(folder / part)
    index["scheduler"] = ["diffusers", "EulerDiscreteScheduler"]
    _write(folder / "scheduler" / "scheduler_config.json", dict(parts.scheduler_config))
    if not xl:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    _write(folder / "model_index.json", index)
    return folder


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def timed(call: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    began = time.perf_counter()
    result = call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return result, time.perf_counter() - began


def touched(modules: list[torch.nn.Module], device: torch.device) -> float:
    """Return the seconds of reading every weight once, as a first step does."""
    return timed(lambda: [one.aminmax() for module in modules for one in module.parameters()], device)[1]


def used() -> dict[str, float]:
    """Return the most memory this process has had, mapped files included, and what it holds beside those; MB."""
    status = Path("/proc/self/status").read_text()
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, "own_mb": own / 1000}


def theirs(folder: Path, base: Base, device: torch.device, rounds: int) -> dict[str, Any]:
    quiet()
    kind: Any = diffusers.StableDiffusionXLPipeline if base is Base.SDXL else diffusers.StableDiffusionPipeline
    options = {"config": str(folder / "config"), "local_files_only": True, "torch_dtype": torch.float16}
    ready, read, memory = [], [], {}
    for _ in range(rounds):
        pipe, seconds = timed(
            lambda: kind.from_single_file(str(folder / "a.safetensors"), **options).to(device), device
        )
        modules = [one for one in pipe.components.values() if isinstance(one, torch.nn.Module)]
        ready.append(seconds)
        read.append(seconds + touched(modules, device))
        memory = memory or used()
        del pipe, modules
    return {"ready": ready, "read": read, **memory}


def ours(folder: Path, base: Base, device: torch.device, rounds: int) -> dict[str, Any]:
    quiet()
    card = ModelCard(name="full", kind=ModelKind.CHECKPOINT, base=base)
    files = [folder / "a.safetensors", folder / "b.safetensors"]
    loaded, first = timed(lambda: build(read_card(card, files[0]), device, torch.float16), device)
    first_read = first + touched(list(loaded.modules), device)
    memory = used()
    parts = [read_card(card, file) for file in files]
    checkpoint: Checkpoint = loaded
    for one in parts:
        checkpoint = pour(one, checkpoint)
    ready, read = [], []
    for turn in range(rounds):
        kept = checkpoint
        checkpoint, seconds = timed(lambda kept=kept, turn=turn: pour(parts[turn % 2], kept), device)
        ready.append(seconds)
        read.append(seconds + touched(list(checkpoint.modules), device))
    return {"first": first, "first_read": first_read, "ready": ready, "read": read, **memory}


def child(way: str, folder: Path, base: Base, device: torch.device, rounds: int) -> None:
    figures = {"theirs": theirs, "ours": ours}[way](folder, base, device, rounds)
    print(json.dumps(figures))


def run(way: str, folder: Path, base: Base, device: str, rounds: int) -> dict[str, Any]:
    words = [sys.executable, "-m", "benchmarks.loading", "--child", way, "--folder", str(folder)]
    words += ["--base", base, "--device", device, "--rounds", str(rounds)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(base: Base, where: Path | None, device: str, rounds: int) -> dict[str, float]:
    """Write the files, load them in both ways, and return seconds, megabytes and ratios."""
    with tempfile.TemporaryDirectory(prefix="easel-loading-", dir=where) as name:
        folder = Path(name)
        parts = full_size(base)
        write_random(parts, folder / "a.safetensors")
        (folder / "b.safetensors").hardlink_to(folder / "a.safetensors")
        write_config(parts, folder / "config")
        told = {way: run(way, folder, base, device, rounds) for way in ("theirs", "ours")}
    middle = {way: {key: statistics.median(told[way][key]) for key in ("ready", "read")} for way in told}
    return {
        "from_single_file_s": middle["theirs"]["ready"],
        "first_load_s": told["ours"]["first"],
        "switch_s": middle["ours"]["ready"],
        "switch_ratio": middle["ours"]["ready"] / middle["theirs"]["ready"],
        "first_load_ratio": told["ours"]["first"] / told["theirs"]["ready"][0],
        "first_load_with_all_weights_read_ratio": told["ours"]["first_read"] / told["theirs"]["read"][0],
        "with_all_weights_read_ratio": middle["ours"]["read"] / middle["theirs"]["read"],
        "peak_memory_ratio": told["ours"]["peak_mb"] / told["theirs"]["peak_mb"],
        "own_memory_mb": told["ours"]["own_mb"],
        "from_single_file_own_memory_mb": told["theirs"]["own_mb"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Base, choices=list(Base), default=Base.SD15)
    parser.add_argument("--where", type=Path, help="folder with room for the file; the system's temporary one if unset")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.child:
        child(told.child, told.folder, told.base, torch.device(told.device), told.rounds)
        return
    for name, value in measure(told.base, told.where, told.device, told.rounds).items():
        print(f"{told.base} {name} {value:.3f}")


if __name__ == "__main__":
    main()
