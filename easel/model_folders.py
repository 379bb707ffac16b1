"""Finds the model files below the models folders, laid out as A1111 or ComfyUI do."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from easel.catalog import ModelKind
from easel.identify.file import PICKLES
from easel.identify.folder import INDEX
from easel.sidecars import INFOS, PREVIEWS

FOLDERS = {
    "stable-diffusion": ModelKind.CHECKPOINT,
    "checkpoints": ModelKind.CHECKPOINT,
    "lora": ModelKind.LORA,
    "loras": ModelKind.LORA,
    "lycoris": ModelKind.LORA,
    "embeddings": ModelKind.EMBEDDING,
    "vae": ModelKind.VAE,
    "hypernetworks": ModelKind.HYPERNETWORK,
    "controlnet": ModelKind.CONTROLNET,
    "esrgan": ModelKind.UPSCALER,
    "realesrgan": ModelKind.UPSCALER,
    "upscale_models": ModelKind.UPSCALER,
}
"""Folder names, in small letters."""

SUFFIXES = PICKLES | {".safetensors"}
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Found:
    """A weights file or diffusers folder, not yet looked into."""

    root: int
    """Of which models folder, counted from 0."""
    path: str
    """From there, with `/`."""
    kind: ModelKind
    """What its place says."""
    size: int
    """Bytes; of a folder, all its files."""
    stamp: tuple[int, ...]
    """Changes whenever the file or a sidecar does."""
    infos: tuple[str, ...] = ()
    """Names of sidecars with facts, beside it."""
    preview: str = ""
    """Name of the picture beside it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a walk has come to."""

    root: int
    path: str
    kind: ModelKind


@dataclass(slots=True)
class _Walk:
    """One walk: where links may lead, what was seen, and what was wrong."""

    roots: Sequence[Path]
    """Resolved."""
    problems: list[str]
    linked: set[Path] = field(default_factory=set)


def find_models(roots: Sequence[Path]) -> tuple[list[Found], list[str]]:
    """Walk `roots` and return what lies there, in a stable order, with sentences about what could not be followed."""
    walk = _Walk([root.resolve() for root in roots], [])
    found = [one for index in range(len(roots)) for one in _root(walk, index)]
    return sorted(found, key=lambda one: (one.root, one.path)), walk.problems


def find_one(roots: Sequence[Path], path: str, kind: ModelKind) -> Found | None:
    """Return what lies at `path`, wherever in a models folder that is; None where nothing usable does."""
    walk = _Walk([root.resolve() for root in roots], [])
    for index, root in enumerate(walk.roots):
        place = root / path
        if not inside(place, walk.roots):
            continue
        beside = _entries(walk, place.parent)
        if place.name in beside and (found := next(_looked(walk, _Place(index, path, kind), beside), None)):
            return found
    return None


def inside(path: Path, roots: Sequence[Path]) -> bool:
    """Tell whether `path`, links followed, lies in one of `roots`."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    return any(real.is_relative_to(root.resolve()) for root in roots)


def _root(walk: _Walk, index: int) -> Iterator[Found]:
    for name, entry in _entries(walk, walk.roots[index]).items():
        kind = FOLDERS.get(name.lower())
        if kind is not None and entry.is_dir():
            yield from _folder(walk, entry, _Place(index, name, kind))


def _folder(walk: _Walk, folder: os.DirEntry[str], place: _Place) -> Iterator[Found]:
    entries = _entries(walk, Path(folder.path))
    for name, entry in entries.items():
        inner = _Place(place.root, f"{place.path}/{name}", place.kind)
        if entry.is_dir() and not Path(entry.path, INDEX).is_file():
            if inner.path.count("/") < MAX_DEPTH:
                yield from _folder(walk, entry, inner)
        else:
            yield from _looked(walk, inner, entries)


def _looked(walk: _Walk, place: _Place, beside: Mapping[str, os.DirEntry[str]]) -> Iterator[Found]:
    """Yield the model at `place`, nothing where there is none; `beside` is what lies in its folder."""
    entry = beside[place.path.rpartition("/")[2]]
    try:
        if not entry.is_dir():
            if _parted(entry.name)[1] in SUFFIXES:
                yield _file(entry, place, beside)
        elif Path(entry.path, INDEX).is_file():
            yield from _diffusers(walk, entry, place)
    except FileNotFoundError:
        # Taken away while we looked; the next walk will not see it.
        return
    except OSError as error:
        walk.problems.append(f"{entry.path} can not be read: {error.strerror}.")


def _file(entry: os.DirEntry[str], place: _Place, beside: Mapping[str, os.DirEntry[str]]) -> Found:
    stem, _ = _parted(entry.name)
    infos = tuple(stem + suffix for suffix in INFOS if stem + suffix in beside)
    states = [one.stat() for one in (entry, *(beside[info] for info in infos))]
    return Found(
        root=place.root,
        path=place.path,
        # A1111 lets a checkpoint's own VAE lie beside it under this name.
        kind=ModelKind.VAE if stem.lower().endswith(".vae") else place.kind,
        size=states[0].st_size,
        stamp=tuple(number for state in states for number in (state.st_size, state.st_mtime_ns)),
        infos=infos,
        preview=next((stem + suffix for suffix in PREVIEWS if stem + suffix in beside), ""),
    )


def _diffusers(walk: _Walk, entry: os.DirEntry[str], place: _Place) -> Iterator[Found]:
    parts = sorted(Path(entry.path).rglob("*"))
    if not all(_allowed(walk, part) for part in parts if part.is_symlink()):
        return
    states = [part.stat() for part in parts if part.is_file()]
    size, newest = sum(state.st_size for state in states), max(state.st_mtime_ns for state in states)
    yield Found(place.root, place.path, ModelKind.CHECKPOINT, size, (size, newest, len(states)))


def _parted(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    return stem, (dot + suffix).lower()


def _entries(walk: _Walk, folder: Path) -> dict[str, os.DirEntry[str]]:
    """Return what may be looked at in `folder`, by name, in order."""
    try:
        with os.scandir(folder) as entries:
            seen = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        walk.problems.append(f"{folder} can not be read: {error.strerror}.")
        return {}
    return {
        entry.name: entry
        for entry in seen
        if not entry.name.startswith(".") and (not entry.is_symlink() or _followed(walk, Path(entry.path)))
    }


def _allowed(walk: _Walk, link: Path) -> bool:
    """Tell whether `link` leads to a place inside the models folders, and say so where it does not."""
    if inside(link, walk.roots):
        return True
    walk.problems.append(f"{link} links to a place outside the models folders, or to nothing; it is left out.")
    return False


def _followed(walk: _Walk, link: Path) -> bool:
    """Tell whether to look behind `link`: only inside the models folders, not into a folder above, and only once."""
    if not _allowed(walk, link):
        return False
    real = link.resolve()
    if real in walk.linked or link.is_relative_to(real):
        return False
    walk.linked.add(real)
    return True
