"""From a card to a checkpoint that is ready to paint, whatever form its file has."""

from dataclasses import replace
from pathlib import Path

import torch

from easel.catalog import Base, ModelCard
from worker.checkpoints.build import build, preferred_dtype
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.folder import folder_base, read_folder
from worker.checkpoints.parts import Parts
from worker.checkpoints.single_file import Lend, no_lender, read_file

__all__ = ["build", "folder_base", "load_card", "load_folder", "preferred_dtype", "read_card"]


def load_folder(path: Path, *, name: str, base: Base, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """Load a diffusers folder without the hub; raises ModelUnusable with what is wrong, OutOfMemory where it is too big."""
    return build(read_folder(path, name, base), device, dtype)


def load_card(card: ModelCard, path: Path, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """Load what lies at `path` as the card describes it; raises ModelUnusable, OutOfMemory."""
    return build(read_card(card, path), device, dtype)


def read_card(card: ModelCard, path: Path, lend: Lend = no_lender) -> Parts:
    """Read what lies at `path`, a folder or a file, as the card describes it; raises ModelUnusable."""
    folder = path.is_dir()
    parts = read_folder(path, card.name, card.base or folder_base(path)) if folder else read_file(path, card, lend)
    scheduler = dict(parts.scheduler_config)
    if card.prediction_type:
        scheduler["prediction_type"] = card.prediction_type
    if card.zero_snr:
        # Lin et al. 2023, sections 3.1 and 3.3.
        scheduler |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return replace(parts, scheduler_config=scheduler, file_hash=card.sha256[:10])
