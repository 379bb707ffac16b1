"""Merges checkpoints, as A1111's checkpoint merger does, and bakes LoRAs into one; what comes of it is a single file.

Runs as `python -m worker.merging`, which `easel models merge` starts.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from easel.catalog import ModelCard, ModelKind, inner_path
from easel.errors import BadValue, EaselError, ModelUnusable
from easel.library import WatchedLibrary
from easel.models_file.changing import change_entry
from easel.settings import load_settings
from worker.checkpoints.load import build, read_card
from worker.checkpoints.parts import Part, Parts
from worker.checkpoints.writing import parts_of, write_file
from worker.networks.lora_file import read_lora
from worker.networks.outfit import Outfit
from worker.networks.wardrobe import Worn

HOME = "Stable-diffusion"
SPARE = 64 * 2**20
"""Bytes that are left free on the disk."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a checkpoint was made of others."""

    cards: tuple[ModelCard, ...]
    """Two for a weighted sum, three where the difference of the second and third is added, one to bake LoRAs only."""
    weight: float = 0.5
    loras: tuple[tuple[ModelCard, float], ...] = ()
    """Baked in last, each with its strength."""

    @property
    def method(self) -> str:
        """As A1111 calls it."""
        return ("No interpolation", "Weighted sum", "Add difference")[len(self.cards) - 1]

    def metadata(self) -> dict[str, str]:
        """What the file's header tells of it, under A1111's names (modules/extras.py there, `run_modelmerger`)."""
        hashes = [card.sha256 or card.name for card in self.cards]
        recipe = {
            "type": "easel",
            "primary_model_hash": hashes[0],
            "secondary_model_hash": hashes[1] if len(hashes) > 1 else None,
            "tertiary_model_hash": hashes[2] if len(hashes) > 2 else None,
            "interp_method": self.method,
            "multiplier": self.weight,
            "loras": {card.name: {"hash": card.sha256, "weight": weight} for card, weight in self.loras},
        }
        models = {key: {"name": card.name} for key, card in zip(hashes, self.cards, strict=True)}
        return {"format": "pt", "sd_merge_recipe": json.dumps(recipe), "sd_merge_models": json.dumps(models)}


def merged(sources: Sequence[Parts], weight: float) -> Parts:
    """Merge one to three checkpoints; the first gives the shape and keeps what the others lack. Raises BadValue."""
    first = sources[0]
    for other in sources[1:]:
        if other.base is not first.base:
            raise BadValue(
                f"`{first.name}` is {first.base} and `{other.name}` is {other.base}; "
                "only checkpoints of the same base can be merged."
            )
    columns = zip(*(source.modules for source in sources), strict=True)
    made = {column[0][0]: _part([part for _, part in column], weight) for column in columns}
    texts = tuple(part for name, part in made.items() if name.startswith("text_encoder"))
    return replace(first, unet=made["unet"], vae=made["vae"], text_encoders=texts)


def _part(parts: Sequence[Part], weight: float) -> Part:
    weights = {}
    for name, own in parts[0].weights.items():
        alike = [part.weights[name] for part in parts if name in part.weights]
        weights[name] = _mixed(name, alike, weight) if len(alike) == len(parts) and own.is_floating_point() else own
    return replace(parts[0], weights=weights)


def _mixed(name: str, alike: Sequence[Tensor], weight: float) -> Tensor:
    result = alike[0].clone()
    views = [result, *alike[1:]]
    if name == "conv_in.weight":
        # An inpainting checkpoint sees five channels more, which only it can say anything about.
        seen = min(one.shape[1] for one in views)
        views = [one[:, :seen] for one in views]
    if any(view.shape != views[0].shape for view in views):
        raise BadValue(f"The checkpoints do not fit each other: `{name}` has another shape in one of them.")
    one, *others = (view.float() for view in views)
    match others:
        case [two]:
            views[0].copy_(torch.lerp(one, two, weight))
        case [two, three]:
            views[0].copy_(one + weight * (two - three))
    return result


def baked(parts: Parts, loras: Sequence[tuple[Path, ModelCard, float]]) -> Parts:
    """Return the parts with LoRAs put on for good; raises ModelUnusable for one that does not fit."""
    kept = next(iter(parts.unet.weights.values())).dtype
    # Nothing can be reckoned in the 8 bits that some files have.
    dtype = kept if kept in {torch.float32, torch.float16, torch.bfloat16} else torch.float16
    checkpoint = build(parts, torch.device("cpu"), dtype)
    worn = tuple(Worn(read_lora(path, card.name), weight) for path, card, weight in loras)
    with Outfit(text=worn, unet=worn).on(checkpoint):
        return parts_of(checkpoint)


def merge(recipe: Recipe, locate: Callable[[ModelCard], Path], out: Path) -> None:
    """Carry a recipe out and write `out`, whole or not at all; raises BadValue, ModelUnusable, OutOfMemory."""
    if out.exists():
        raise BadValue(f"`{out.name}` is there already. Please give the new checkpoint another name with `--out`.")
    with torch.inference_mode():
        parts = merged([read_card(card, locate(card)) for card in recipe.cards], recipe.weight)
        if recipe.loras:
            parts = baked(parts, [(locate(card), card, weight) for card, weight in recipe.loras])
        out.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(out.parent).free < parts.nbytes + SPARE:
            raise BadValue(f"The disk has no room for the {parts.nbytes / 10**9:.1f} GB of the new checkpoint.")
        write_file(parts, out, recipe.metadata())


def entry(recipe: Recipe, path: str) -> dict[str, Any]:
    """Return what models.yaml should say about the new checkpoint: what its parent is asked with, it is asked with."""
    parent = recipe.cards[0].model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    kept: dict[str, Any] = {
        field: parent[field] for field in ("base", "family", "enlarge", "defaults") if field in parent
    }
    return {"kind": "checkpoint", "path": path, **kept}


def main(words: Sequence[str] | None = None) -> int:
    """Merge what the words name, print where it lies; return the exit status."""
    parser = argparse.ArgumentParser(prog="easel models merge")
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--weight", type=float, default=0.5)
    parser.add_argument("--add-difference", action="store_true")
    parser.add_argument("--lora", action="append", default=[])
    parser.add_argument("--out", default="")
    asked = parser.parse_args(words)
    try:
        settings = load_settings()
        library = WatchedLibrary(settings, tell=False)
        recipe = _recipe(asked, library)
        name = asked.out or "-".join([*(card.name for card in recipe.cards), *(card.name for card, _ in recipe.loras)])
        inner = inner_path(f"{HOME}/{name.removesuffix('.safetensors')}.safetensors")
        merge(recipe, library.path, library.models_dirs[0] / inner)
        change_entry(settings.models_file, Path(inner).stem, entry(recipe, inner))
    except (EaselError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{inner} is here. It can be used at once: easel imagine … --checkpoint {Path(inner).stem}\n")
    return 0


def _recipe(asked: argparse.Namespace, library: WatchedLibrary) -> Recipe:
    count, loras = len(asked.checkpoints), [_lora(words, library) for words in asked.lora]
    wanted = 3 if asked.add_difference else 2
    if count != wanted and not (count == 1 and loras and not asked.add_difference):
        raise BadValue(
            "Please name three checkpoints: to the first, the difference of the others is added."
            if asked.add_difference
            else "Please name two checkpoints, three with `--add-difference`, or one with `--lora`."
        )
    if not -1 <= asked.weight <= 2:
        raise BadValue("`--weight` is a number from -1 to 2: 0 keeps the first checkpoint, 1 takes the second.")
    cards = tuple(_here(library.catalog.checkpoint(name)) for name in asked.checkpoints)
    return Recipe(cards, asked.weight, tuple(loras))


def _lora(words: str, library: WatchedLibrary) -> tuple[ModelCard, float]:
    name, colon, weight = words.rpartition(":")
    try:
        number = float(weight) if colon else 1.0
    except ValueError:
        raise BadValue(f"`{weight}` is not a number. Please write `--lora name:0.8`.") from None
    return _here(library.catalog.model(ModelKind.LORA, name if colon else weight)), number


def _here(card: ModelCard) -> ModelCard:
    if not card.installed:
        raise ModelUnusable(f"The file of `{card.name}` is not in the models folders of this machine.")
    return card


if __name__ == "__main__":
    sys.exit(main())
