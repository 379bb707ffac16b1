"""Finds the model files below the models folders, laid out as A1111 or ComfyUI do."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from easel.catalog import ModelKind
from easel.hub_folders import current_revision, is_hub_folder
from easel.identify.file import PICKLES
from easel.identify.folder import INDEX
from easel.model_roots import Shelf
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
    """Of which models folder, counted from 0; -1 where it lies on another machine."""
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
    folders: dict[str, int] = field(default_factory=dict)
    """Every folder looked into, with its time of change before that."""
    known: set[tuple[int, int]] = field(default_factory=set)
    """Device and inode of each of them."""


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walk has found."""

    found: tuple[Found, ...]
    """In a stable order."""
    problems: tuple[str, ...]
    """Sentences about what could not be followed."""
    folders: dict[str, int]
    """Every folder looked into, with its time of change in ns before that: a new file changes it."""


def walked(roots: Sequence[Path], shelves: Sequence[Shelf] = ()) -> Walked:
    """Walk `roots`, those that have shelves by their shelves alone."""
    walk = _Walk([root.resolve() for root in roots], [])
    shelved = {shelf.root for shelf in shelves}
    places = [_Place(shelf.root, shelf.path, shelf.kind) for shelf in shelves]
    found = [one for index in range(len(roots)) if index not in shelved for one in _root(walk, index)]
    found += [one for place in places for one in _shelf(walk, place)]
    return Walked(tuple(sorted(found, key=lambda one: (one.root, one.path))), tuple(walk.problems), dict(walk.folders))


def changed_since(folders: Mapping[str, int]) -> bool:
    """Tell whether one of the folders of a walk gained or lost an entry; much cheaper than another walk."""
    return any(_changed_at(folder) != then for folder, then in folders.items())


def _changed_at(folder: str) -> int:
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return -1


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
        if is_hub_folder(name):
            yield from _hub(walk, Path(entry.path), _Place(index, name, ModelKind.CHECKPOINT))
        elif kind is not None and entry.is_dir():
            yield from _folder(walk, Path(entry.path), _Place(index, name, kind))


def _shelf(walk: _Walk, place: _Place) -> Iterator[Found]:
    folder = walk.roots[place.root] / place.path
    if folder.is_dir():
        yield from _folder(walk, folder, place)
    else:
        walk.problems.append(f"{folder} is not there, or is no folder.")


def _folder(walk: _Walk, folder: Path, place: _Place) -> Iterator[Found]:
    entries = _entries(walk, folder)
    for name, entry in entries.items():
        inner = _Place(place.root, f"{place.path}/{name}".lstrip("/"), place.kind)
        if entry.is_dir() and is_hub_folder(name):
            yield from _hub(walk, Path(entry.path), inner)
        elif entry.is_dir() and not Path(entry.path, INDEX).is_file():
            if inner.path.count("/") < MAX_DEPTH:
                yield from _folder(walk, Path(entry.path), inner)
        else:
            yield from _looked(walk, inner, entries)


def _hub(walk: _Walk, folder: Path, place: _Place) -> Iterator[Found]:
    """Yield what one revision of a repository holds: itself where it is a diffusers folder, else its files."""
    revision = current_revision(folder)
    entries = _entries(walk, folder / "snapshots") if revision else {}
    if revision not in entries:
        return
    inner = _Place(place.root, f"{place.path}/snapshots/{revision}", place.kind)
    if Path(entries[revision].path, INDEX).is_file():
        yield from _looked(walk, inner, entries)
    else:
        yield from _folder(walk, Path(entries[revision].path), inner)


def _looked(walk: _Walk, place: _Place, beside: Mapping[str, os.DirEntry[str]]) -> Iterator[Found]:
    """Yield the model at `place`, nothing where there is none; `beside` is what lies in its folder."""
    entry = beside[place.path.rpartition("/")[2]]
    try:
        if not entry.is_dir():
            if _parted(entry.name)[1] in SUFFIXES:
                yield _file(entry, place, beside)
        elif Path(entry.path, INDEX).is_file():
            yield from _diffusers(walk, entry, place, beside)
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
        preview=_preview(stem, beside),
    )


def _diffusers(
    walk: _Walk, entry: os.DirEntry[str], place: _Place, beside: Mapping[str, os.DirEntry[str]]
) -> Iterator[Found]:
    parts = sorted(Path(entry.path).rglob("*"))
    if not all(_allowed(walk, part) for part in parts if part.is_symlink()):
        return
    states = [part.stat() for part in parts if part.is_file()]
    size, newest = sum(state.st_size for state in states), max(state.st_mtime_ns for state in states)
    stamp = (size, newest, len(states))
    preview = _preview(entry.name, beside)
    yield Found(place.root, place.path, ModelKind.CHECKPOINT, size, stamp, preview=preview)


def _preview(stem: str, beside: Mapping[str, os.DirEntry[str]]) -> str:
    return next((stem + suffix for suffix in PREVIEWS if stem + suffix in beside), "")


def _parted(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    return stem, (dot + suffix).lower()


def _entries(walk: _Walk, folder: Path) -> dict[str, os.DirEntry[str]]:
    """Return what may be looked at in `folder`, by name, in order; nothing where the walk has been before."""
    try:
        state = folder.stat()
        if (state.st_dev, state.st_ino) in walk.known:
            return {}
        walk.known.add((state.st_dev, state.st_ino))
        walk.folders[str(folder)] = state.st_mtime_ns
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
