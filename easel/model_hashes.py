"""Hashes of whole model files: how they are computed, and where they are remembered until a file changes."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from easel.catalog import ModelKind
from easel.files import locked, replace_file
from easel.jobs import Frozen
from easel.model_folders import Found

log = logging.getLogger(__name__)

FILE = "hashes.json"
"""In the data folder."""

CHUNK = 4 * 2**20
"""Bytes read at once: long enough for the interpreter to be left to others meanwhile."""

_VERSION = 1
_HASH = re.compile(r"[0-9a-f]{64}")
_SHORT = re.compile(r"([0-9a-f]{12})?")


class Hashed(Frozen):
    """What was computed over one file."""

    sha256: str
    autov3: str = ""
    """Of a LoRA: over the weights without the header, 12 digits (A1111's modules/hashes.py, `addnet_hash_safetensors`)."""


def hash_file(path: Path, kind: ModelKind | None, after: Callable[[int], None] = lambda _: None) -> Hashed:
    """Read `path` from end to end; `after` hears the bytes of each piece and may raise; raises OSError."""
    whole, weights = hashlib.sha256(), hashlib.sha256()
    short = kind is ModelKind.LORA and path.suffix.lower() == ".safetensors"
    with path.open("rb", buffering=0) as file:
        skip = 8 + int.from_bytes(file.read(8), "little") if short else 0
        file.seek(0)
        at = 0
        while piece := file.read(CHUNK):
            whole.update(piece)
            if short and at + len(piece) > skip:
                weights.update(memoryview(piece)[max(0, skip - at) :])
            at += len(piece)
            _let_go(file.fileno(), at)
            after(len(piece))
    return Hashed(sha256=whole.hexdigest(), autov3=weights.hexdigest()[:12] if short else "")


def _let_go(descriptor: int, upto: int) -> None:
    """Keep what is read once from pushing what is read often out of the system's cache; mapped pages stay."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, upto, os.POSIX_FADV_DONTNEED)


class Hashes:
    """Hashes by place, size and time of change, in one JSON file that the processes of a machine share."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: tuple[int, int] | None = None
        self._kept: dict[str, tuple[int, int, Hashed]] = {}
        self._new: dict[str, tuple[int, int, Hashed]] = {}
        self.reload()

    def of(self, key: str, found: Found) -> Hashed | None:
        """Return what was computed over the file at `key` as it is now, None where it is not known."""
        size, changed, hashed = self._kept.get(key, (0, 0, None))
        return hashed if (size, changed) == found.stamp[:2] else None

    def add(self, key: str, found: Found, hashed: Hashed) -> None:
        """Remember; `save` writes it down."""
        self._kept[key] = self._new[key] = (found.stamp[0], found.stamp[1], hashed)

    def changed(self) -> bool:
        """Tell whether another process has written the file since we looked."""
        return self._stamp() != self._seen

    def reload(self) -> None:
        """Read what other processes wrote; what is damaged is forgotten."""
        self._seen = self._stamp()
        self._kept = self._read() | self._new

    def save(self, roots: Sequence[Path], here: set[str]) -> None:
        """Write what is new, and forget what lay below `roots` and is not `here` any more."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._file):
                kept = self._read() | self._new
                # A folder with nothing in it may be a disk that is not there today; its hashes took hours.
                there = [root for root in roots if any(key.startswith(f"{root}/") for key in here)]
                gone = [key for key in kept.keys() - here if any(Path(key).is_relative_to(root) for root in there)]
                for key in gone:
                    del kept[key]
                files = {key: [size, changed, one.sha256, one.autov3] for key, (size, changed, one) in kept.items()}
                replace_file(self._file, json.dumps({"version": _VERSION, "files": files}).encode())
        except OSError as error:
            log.warning("the hashes of the model files can not be kept in %s: %s", self._file, error.strerror)
            return
        self._kept, self._new, self._seen = kept, {}, self._stamp()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            state = self._file.stat()
        except OSError:
            return None
        return state.st_mtime_ns, state.st_ino

    def _read(self) -> dict[str, tuple[int, int, Hashed]]:
        try:
            said = json.loads(self._file.read_bytes())
            if said["version"] == _VERSION:
                return {str(key): _entry(*entry) for key, entry in said["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            log.debug("no hashes of model files are known yet")
        return {}


def _entry(size: Any, changed: Any, sha256: Any, autov3: Any) -> tuple[int, int, Hashed]:
    if not _HASH.fullmatch(sha256) or not _SHORT.fullmatch(autov3):
        raise ValueError("this is no hash")
    return int(size), int(changed), Hashed(sha256=sha256, autov3=autov3)
