"""Brings a model file into the models folders: told by its content, put where its kind belongs, never over another."""

import errno
import filecmp
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from easel.catalog import ModelKind
from easel.errors import ModelUnusable
from easel.identify.file import identify
from easel.identify.header import read_header
from easel.identify.identified import Identified
from easel.model_folders import FOLDERS, SUFFIXES, inside
from easel.names import MAX_NAME
from easel.sidecars import INFOS, PREVIEWS

HOMES = {
    ModelKind.CHECKPOINT: "Stable-diffusion",
    ModelKind.LORA: "Lora",
    ModelKind.EMBEDDING: "embeddings",
    ModelKind.VAE: "VAE",
    ModelKind.HYPERNETWORK: "hypernetworks",
    ModelKind.CONTROLNET: "ControlNet",
    ModelKind.UPSCALER: "ESRGAN",
}
"""Folders as A1111 calls them."""

_SPARE = 64 * 2**20
"""Bytes that a copy leaves free on the disk."""

_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class Imported:
    path: Path
    seen: Identified
    notes: tuple[str, ...] = ()
    """What its owner should know besides."""


def import_model(
    source: Path, root: Path, *, kind: ModelKind | None = None, move: bool = False, roots: tuple[Path, ...] = ()
) -> Imported:
    """Put `source` into the models folder `root`, linked where that is possible; `kind` counts where nothing else tells.

    Raises ModelUnusable with the reason, and then nothing has changed. `roots` are the models folders there are.
    """
    source = _there(source)
    if inside(source, [root, *roots]):
        raise ModelUnusable(f"`{source.name}` lies in the models folders already.")
    seen = identify(source, kind)
    if seen.problem or seen.kind is None:
        raise ModelUnusable(f"`{source.name}` was not imported. {seen.problem}")
    notes = []
    if kind not in {None, seen.kind}:
        notes.append(f"It is no {kind.noun if kind else ''}, but a {seen.kind.noun}, and lies where those do.")
    if seen.pickled:
        notes.append("It is a pickle, which is used only where the settings allow it.")
    try:
        path = _placed(source, _home(root, seen.kind))
    except OSError as error:
        raise ModelUnusable(f"`{source.name}` was not imported: {error.strerror or error}.") from error
    try:
        beside = _bring_sidecars(source, path)
        if move:
            _take_away([source, *beside])
    except OSError as error:
        notes.append(f"Not all went well after that: {error.filename}: {error.strerror}.")
    return Imported(path, seen, tuple(notes))


def _there(source: Path) -> Path:
    """Return where the file really is, or raise ModelUnusable."""
    try:
        real = source.expanduser().resolve(strict=True)
        if real.is_file() and real.suffix.lower() not in SUFFIXES:
            read_header(real)
    except (OSError, RuntimeError) as error:
        raise ModelUnusable(f"`{source}` can not be read: {getattr(error, 'strerror', '') or error}.") from error
    except ModelUnusable as error:
        raise ModelUnusable(f"`{source.name}` was not imported. {error}") from error
    return real


def _home(root: Path, kind: ModelKind) -> Path:
    """Return the folder of a kind: the one that A1111 would use, or whichever of the kind is there."""
    usual = root / HOMES[kind]
    if not usual.is_dir() and root.is_dir():
        others = [one for one in sorted(root.iterdir()) if FOLDERS.get(one.name.lower()) is kind and one.is_dir()]
        usual = others[0] if others else usual
    usual.mkdir(parents=True, exist_ok=True)
    return usual


def _names(source: Path) -> Iterator[str]:
    folder = source.is_dir()
    stem, suffix = (source.name, "") if folder else (source.stem, source.suffix)
    if not folder and suffix.lower() not in SUFFIXES:
        stem, suffix = source.name, ".safetensors"
    plain = "".join(sign if sign.isprintable() and sign not in '/\\:*?"<>|' else "_" for sign in stem)
    plain = plain.strip(" .")[: MAX_NAME - 60] or "model"
    yield plain + suffix
    for number in count(2):
        yield f"{plain}-{number}{suffix}"


def _placed(source: Path, home: Path) -> Path:
    for name in _names(source):
        target = home / name
        if _same(source, target):
            raise ModelUnusable(f"`{source.name}` is there already, as {home.name}/{name}.")
        with suppress(FileExistsError):
            if source.is_dir():
                _copy_folder(source, target)
            else:
                _link_or_copy(source, target)
            return target
    raise AssertionError("names never end")


def _same(source: Path, target: Path) -> bool:
    return (
        source.is_file()
        and target.is_file()
        and source.stat().st_size == target.stat().st_size
        and filecmp.cmp(source, target, shallow=False)
    )


def _link_or_copy(source: Path, target: Path) -> None:
    """Make `target` whole at one stroke; raises FileExistsError where something has the name."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
    else:
        return
    _check_room(source.stat().st_size, target.parent)
    # The library does not look at hidden files.
    part = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        _copy(source, part)
        _rename_without_overwriting(part, target)
    finally:
        part.unlink(missing_ok=True)


def _copy(source: Path, part: Path) -> None:
    with source.open("rb") as old, part.open("xb") as new:
        shutil.copyfileobj(old, new, 4 * 2**20)
        new.flush()
        os.fsync(new.fileno())
    if part.stat().st_size != source.stat().st_size:
        raise ModelUnusable(f"`{source.name}` changed while it was copied; please try again when it is whole.")


def _rename_without_overwriting(part: Path, target: Path) -> None:
    try:
        os.link(part, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        # A disk without links: the name is taken first, and filled at one stroke.
        target.open("xb").close()
        part.replace(target)


def _copy_folder(source: Path, target: Path) -> None:
    if target.exists():
        raise FileExistsError
    _check_room(sum(file.stat().st_size for file in source.rglob("*") if file.is_file()), target.parent)
    part = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        shutil.copytree(source, part)
        # Over a folder that is not empty nothing can be renamed.
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check_room(size: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE:
        raise ModelUnusable(f"There is no room for it: {size / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free.")


def _bring_sidecars(source: Path, target: Path) -> list[Path]:
    """Copy what lies beside the file, and return those of which there is a copy now."""
    brought = []
    for suffix in (*INFOS, *PREVIEWS) if source.is_file() else ():
        beside, there = source.with_name(source.stem + suffix), target.with_name(target.stem + suffix)
        if beside.is_file() and not there.exists():
            shutil.copyfile(beside, there)
            brought.append(beside)
    return brought


def _take_away(sources: Sequence[Path]) -> None:
    for source in sources:
        if source.is_dir():
            shutil.rmtree(source)
        else:
            source.unlink()
