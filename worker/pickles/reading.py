"""Reads what torch.save wrote, zip archives and the older stream of pickles alike, without torch and without running it.

Formats: torch/serialization.py, `_save` and `_legacy_save`.
"""

import io
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from easel.errors import ModelUnusable
from worker.pickles.names import stand_in
from worker.pickles.stand_ins import Inert, Numbers, Storage

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MAX_NAMES = 20
_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Of an entry in a zip archive, as far as the lengths of its name and its extra field."""

DAMAGED = "The file is damaged, or was not written by PyTorch."
_BROKEN = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, NotImplementedError, EOFError, ValueError, TypeError,
    LookupError, AttributeError, ArithmeticError, RecursionError, ImportError,
)  # fmt: skip
"""What readers raise on damaged files; of an ImportError the file only claims that there is something to import."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds; the numbers of its tensors are still in it."""

    tree: Any
    places: Mapping[str, int]
    """Where the storages begin, in bytes, by key."""
    ignored: tuple[str, ...]
    """Names that a model may have, but of which nothing is used."""


@dataclass(slots=True)
class _Notes:
    """What is noticed on the way."""

    storages: dict[str, Storage] = field(default_factory=dict)
    """Whole ones, by key."""
    ignored: dict[str, None] = field(default_factory=dict)
    forbidden: dict[str, None] = field(default_factory=dict)


class _Unpickler(pickle.Unpickler):
    """Finds stand-ins only, so that nothing but they and plain values ever come into being."""

    def __init__(self, file: BinaryIO, notes: _Notes) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")
        self._notes = notes

    def find_class(self, module: str, name: str) -> Any:
        found, allowed = stand_in(module, name)
        names = self._notes.ignored if allowed else self._notes.forbidden
        if not (allowed and found is not Inert) and len(names) < _MAX_NAMES:
            names[_printable(f"{module}.{name}")] = None
        return found

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "module":
            # In the older stream, a class with its source code.
            return pid[1]
        word, numbers, key, _device, count, *view = pid
        if word != "storage" or not isinstance(numbers, Numbers) or type(count) is not int or count < 0:
            raise ValueError("a storage is of a kind that is not known")
        storage = Storage(str(key), numbers, count)
        first = self._notes.storages.setdefault(storage.key, storage)
        if first.nbytes != storage.nbytes:
            raise ValueError("a storage is described in two ways")
        if view and view[0]:
            _, start, length = view[0]
            if not 0 <= start <= start + length <= count:
                raise ValueError("a part of a storage is larger than the whole")
            return Storage(storage.key, numbers, length, start)
        return storage


def read_pickle(file: BinaryIO, size: int) -> Content:
    """Read a file of `size` bytes; raises ModelUnusable with a sentence, and MemoryError where it asks for too much."""
    notes = _Notes()
    try:
        zipped = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        tree, places = _zipped(file, size, notes) if zipped else _streamed(file, size, notes)
    except _BROKEN as error:
        _check_names(notes)
        raise ModelUnusable(DAMAGED) from error
    _check_names(notes)
    return Content(tree, places, tuple(notes.ignored))


def _check_names(notes: _Notes) -> None:
    if notes.forbidden:
        named = ", ".join(f"`{name}`" for name in notes.forbidden)
        raise ModelUnusable(f"It asks for {named}, which no model needs: it may be meant to run code. Nothing was run.")


def _zipped(file: BinaryIO, size: int, notes: _Notes) -> tuple[Any, dict[str, int]]:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        _check_archive(entries, size)
        named = {entry.filename.partition("/")[2]: entry for entry in entries}
        if "constants.pkl" in named:
            raise ModelUnusable("It is a program (TorchScript), not weights.")
        if "byteorder" in named and archive.read(named["byteorder"]) != b"little":
            raise ModelUnusable("It was written on a machine of another byte order.")
        tree = _Unpickler(io.BytesIO(archive.read(named["data.pkl"])), notes).load()
    places = {}
    for key, storage in notes.storages.items():
        entry = named[f"data/{key}"]
        if entry.file_size < storage.nbytes:
            raise ValueError("a storage is shorter than it should be")
        places[key] = _start(file, entry, size)
    return tree, places


def _check_archive(entries: list[zipfile.ZipInfo], size: int) -> None:
    packed = any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries)
    if packed or sum(entry.file_size for entry in entries) > size:
        raise ModelUnusable("It is compressed, as PyTorch never writes; it may be a bomb.")


def _start(file: BinaryIO, entry: zipfile.ZipInfo, size: int) -> int:
    file.seek(entry.header_offset)
    mark, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    start = entry.header_offset + _LOCAL_HEADER.size + int(name) + int(extra)
    if mark != b"PK\x03\x04" or start + entry.file_size > size:
        raise ValueError("an entry leads out of the file")
    return start


def _streamed(file: BinaryIO, size: int, notes: _Notes) -> tuple[Any, dict[str, int]]:
    def following() -> Any:
        return _Unpickler(file, notes).load()

    if following() != _MAGIC or following() != _PROTOCOL or not following()["little_endian"]:
        raise ValueError("no file of PyTorch, or from a machine of another byte order")
    tree, keys = following(), following()
    places: dict[str, int] = {}
    for key in map(str, keys):
        storage = notes.storages[key]
        if int.from_bytes(file.read(8), "little") != storage.count:
            raise ValueError("a storage has another length than it should")
        places[key] = file.tell()
        file.seek(storage.nbytes, io.SEEK_CUR)
        if file.tell() > size:
            raise EOFError
    if missing := notes.storages.keys() - places.keys():
        raise KeyError(*missing)
    return tree, places


def _printable(name: str) -> str:
    return re.sub(r"[^\w.]", "?", name, flags=re.ASCII)[:80]
