"""Where models are looked for: the models folders of the settings, and what ComfyUI's `extra_model_paths.yaml` names."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from easel.catalog import ModelKind
from easel.errors import ModelsFileError
from easel.models_file.tree import Node, read_tree

if TYPE_CHECKING:
    from easel.settings import Settings

COMFYUI_KINDS = {
    "checkpoints": ModelKind.CHECKPOINT,
    "loras": ModelKind.LORA,
    "embeddings": ModelKind.EMBEDDING,
    "vae": ModelKind.VAE,
    "hypernetworks": ModelKind.HYPERNETWORK,
    "controlnet": ModelKind.CONTROLNET,
    "upscale_models": ModelKind.UPSCALER,
}
"""What ComfyUI calls our kinds; its other folders (clip, unet, configs …) hold nothing for us."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A folder that holds one kind of models, whatever it is called."""

    root: int
    """Of which models folder, counted from 0."""
    path: str
    """From there, with `/`; empty for the whole folder."""
    kind: ModelKind


@dataclass(frozen=True, slots=True)
class ModelRoots:
    """The models folders; those with shelves are looked into there alone, the others are laid out as A1111 does."""

    folders: tuple[Path, ...]
    shelves: tuple[Shelf, ...] = ()


def model_roots(settings: "Settings") -> ModelRoots:
    """Return the models folders of the settings; raises ModelsFileError for a list of ComfyUI's that is wrong."""
    file = settings.comfyui_paths
    named = _read(file) if file is not None else []
    first = [one for one in named if one.first]
    roots = [one.root for one in first] + list(settings.models_dir) + [one.root for one in named if not one.first]
    folders = tuple(dict.fromkeys(roots))
    shelves = [Shelf(folders.index(one.root), one.path, one.kind) for one in (*first, *named) if one.path is not None]
    # A folder that is laid out as usual is looked into by names; what else is listed there stands beside it.
    return ModelRoots(folders, tuple(dict.fromkeys(one for one in shelves if _own(one, folders, settings.models_dir))))


def _own(shelf: Shelf, folders: Sequence[Path], usual: Sequence[Path]) -> bool:
    return folders[shelf.root] not in usual


@dataclass(frozen=True, slots=True)
class _Named:
    """One line of a list: a folder of a kind below some root, and whether ComfyUI looks there first."""

    root: Path
    path: str | None
    kind: ModelKind
    first: bool


def _read(file: Path) -> list[_Named]:
    try:
        tree = read_tree(file.name, file.read_bytes())
    except OSError as error:
        raise ModelsFileError(file.name, 1, "", f"can not be read: {error.strerror}") from error
    if not isinstance(tree.value, dict):
        raise ModelsFileError(file.name, tree.row + 1, "", "must be groups of folders, each with a `base_path:`")
    return [one for name, node in tree.value.items() for one in _section(file, name, node)]


def _section(file: Path, name: str, section: Node) -> Iterator[_Named]:
    """Read one group as ComfyUI does (utils/extra_config.py there)."""
    if section.value is None:
        return
    if not isinstance(section.value, dict):
        raise ModelsFileError(file.name, section.row + 1, name, "must be a group of folders")
    fields = {key: _text(file, f"{name}.{key}", node) for key, node in section.value.items()}
    base = Path(os.path.expandvars(fields.pop("base_path", ""))).expanduser()
    first = fields.pop("is_default", "").lower() in {"true", "yes", "on", "1"}
    root = Path(os.path.normpath(file.parent / base))
    for key, text in fields.items():
        kind = COMFYUI_KINDS.get(key)
        for line in text.splitlines() if kind else ():
            if kind and (inner := line.strip()):
                yield _named(root, inner, kind, first=first)


def _named(root: Path, inner: str, kind: ModelKind, *, first: bool) -> _Named:
    place = Path(os.path.normpath(root / Path(inner).expanduser()))
    # A link out of the root is a root of its own: the owner has named it.
    if place != root and place.is_relative_to(root) and place.resolve().is_relative_to(root.resolve()):
        return _Named(root, place.relative_to(root).as_posix(), kind, first)
    return _Named(place, "", kind, first)


def _text(file: Path, field: str, node: Node) -> str:
    if isinstance(node.value, str | None):
        return node.value or ""
    raise ModelsFileError(file.name, node.row + 1, field, "must be a folder, or several below each other after a `|`")
