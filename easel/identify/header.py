"""The header of a safetensors file, read by hand so that no lie in it costs time or memory.

Format: https://github.com/huggingface/safetensors#format
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from easel.errors import ModelUnusable

MAX_HEADER = 16 * 2**20
"""Bytes. A large SDXL checkpoint has 0.3 MB, the tags of a large training set add a few."""
MAX_TENSORS = 20_000
"""A full LyCORIS for SDXL has about 7,000."""

_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0", "I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}

_IMPOSTORS = (
    (
        re.compile(rb"\s*<(?:!doctype|html|head|\?xml|script)", re.I),
        "This is a web page, not a model: was a login needed?",
    ),
    (re.compile(rb"\s*\{\s*\""), "This is a message of a web service, not a model: was a login needed?"),
    (
        re.compile(rb"version https://git-lfs"),
        "This is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`.",
    ),
    (re.compile(rb"PK\x03\x04|\x80[\x02-\x05]"), "This is a pickle under a false name, and pickles can run code."),
    (re.compile(rb"GGUF"), "This is a GGUF file, which Easel can not read."),
)

_METADATA = re.compile(r'\{"__metadata__": ?(?=\{)')
_SPACES = frozenset(" \t\r\n")
_SPACE = re.compile(r"[ \t\r\n]+")
_DECODER = json.JSONDecoder()
_Value = TypeVar("_Value")


# An entry as every known writer writes it; whatever looks different is read by hand, at a quarter of the speed.
_USUAL = re.compile(
    r'"([^"\\\x00-\x1f]{1,500})": ?\{"dtype": ?"([A-Z0-9_]{2,11})", ?"shape": ?\[([0-9, ]{0,120})\],'
    r' ?"data_offsets": ?\[(0|[1-9][0-9]{0,17}), ?(0|[1-9][0-9]{0,17})\]\}(, ?|\} *$)'
)
_SIDES = re.compile(r"(?:0|[1-9][0-9]{0,9})(?:, ?(?:0|[1-9][0-9]{0,9})){0,9}")


class Tensor(NamedTuple):
    """One tensor, not yet read."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    """Byte in the file."""
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """Read and check the header; raises ModelUnusable with a sentence, and OSError where the file can not be read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
        length = int.from_bytes(head[:8], "little")
        if length > size - 8 or head[8:9] != b"{":
            raise ModelUnusable(impostor(head, size))
        if length > MAX_HEADER:
            raise ModelUnusable(f"Its header is larger than {MAX_HEADER // 2**20} MiB, which no real model needs.")
        file.seek(8)
        raw = file.read(length)
    if raw.count(b'"data_offsets"') > MAX_TENSORS:
        raise ModelUnusable(f"Its header names more than {MAX_TENSORS} tensors, which no real model has.")
    try:
        text = raw.decode()
        header = _usual(text) or _parsed(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelUnusable("Its header is damaged.") from error
    _check_layout(header, size - 8 - length)
    moved = 8 + length
    tensors = {
        name: Tensor(dtype, shape, start + moved, end + moved)
        for name, (dtype, shape, start, end) in header.tensors.items()
    }
    return Header(tensors, header.metadata)


def impostor(head: bytes, size: int, what: str = "safetensors file") -> str:
    """Return what a file is that begins with `head`, as it is not `what` it should be."""
    if size == 0:
        return "The file is empty."
    sentences = (sentence for pattern, sentence in _IMPOSTORS if pattern.match(head))
    return next(sentences, f"This is not a whole {what}; is it still being copied?")


def _usual(text: str) -> Header | None:
    """Read a header that is written as usual; None where anything at all is odd, which says nothing about it."""
    metadata: dict[str, str] = {}
    at = 1
    if (head := _METADATA.match(text)) is not None:
        metadata, at = _object(text, head.end(), lambda _, place: _string(text, place))
        if text[at : at + 1] != ",":
            return None
        at = _skip(text, at + 1)
    tensors: dict[str, Tensor] = {}
    shapes: dict[str, tuple[tuple[int, ...], int]] = {}
    count, sign = 0, ","
    while sign[0] == "," and (entry := _USUAL.match(text, at)) is not None:
        name, dtype, sides, first, last, sign = entry.groups()
        if sides not in shapes:
            if sides and not _SIDES.fullmatch(sides):
                return None
            shape = tuple(map(int, sides.split(","))) if sides else ()
            shapes[sides] = shape, prod(shape)
        shape, size = shapes[sides]
        start, end = int(first), int(last)
        if dtype not in _BITS or size * _BITS[dtype] != (end - start) * 8:
            return None
        tensors[name] = Tensor(dtype, shape, start, end)
        count, at = count + 1, entry.end()
    whole = sign[0] == "}" and count == len(tensors) and "__metadata__" not in tensors
    return Header(tensors, metadata) if whole else None


def _parsed(text: str) -> Header:
    """Read the JSON pair by pair, so that the first wrong value ends it; raises ValueError, KeyError or TypeError."""
    metadata: dict[str, str] = {}

    def value(name: str, at: int) -> tuple[Tensor | None, int]:
        if name == "__metadata__":
            inner, at = _object(text, at, lambda _, place: _string(text, place))
            metadata.update(inner)
            return None, at
        return _tensor(text, at)

    entries, at = _object(text, 0, value)
    if text[at:].strip():
        raise ValueError("something stands behind the header")
    return Header({name: tensor for name, tensor in entries.items() if tensor is not None}, metadata)


def _object(text: str, at: int, value: Callable[[str, int], tuple[_Value, int]]) -> tuple[dict[str, _Value], int]:
    found: dict[str, _Value] = {}
    at = _after(text, at, "{")
    if text[at : at + 1] == "}":
        return found, at + 1
    while True:
        name, at = _string(text, at)
        if name in found or len(found) > MAX_TENSORS:
            raise ValueError("a name stands twice, or there are too many")
        found[name], at = value(name, _after(text, at, ":"))
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            return found, at + 1
        at = _after(text, at, ",")


def _tensor(text: str, at: int) -> tuple[Tensor, int]:
    end = text.find("}", at, at + 1000) + 1
    # A fourth colon would be a fact given twice, of which json keeps the last.
    if text.count(":", at, end) != 3:
        raise ValueError("a tensor has three facts")
    entry: Any = _DECODER.raw_decode(text[at:end])[0]
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    numbers = [*shape, *offsets]
    if dtype not in _BITS or len(offsets) != 2 or any(type(one) is not int or one < 0 for one in numbers):
        raise ValueError("a tensor's facts are wrong")
    if prod(shape) * _BITS[dtype] != (offsets[1] - offsets[0]) * 8:
        raise ValueError("a tensor's size does not fit its shape")
    return Tensor(dtype, tuple(shape), offsets[0], offsets[1]), end


def _string(text: str, at: int) -> tuple[str, int]:
    if text[at : at + 1] != '"':
        raise ValueError("a name or a text was expected")
    value, end = _DECODER.raw_decode(text, at)
    return str(value), end


def _skip(text: str, at: int) -> int:
    # Most writers leave no space; looking first halves the time.
    if text[at : at + 1] in _SPACES and (match := _SPACE.match(text, at)):
        return match.end()
    return at


def _after(text: str, at: int, sign: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != sign:
        raise ValueError(f"`{sign}` was expected")
    return _skip(text, at + 1)


def _check_layout(header: Header, size: int) -> None:
    """Raise ModelUnusable unless the tensors fill the file without a gap or an overlap."""
    places = sorted((tensor.start, tensor.end) for tensor in header.tensors.values())
    if not places:
        raise ModelUnusable("It holds no weights.")
    if places[0][0] != 0 or any(one[1] != other[0] for one, other in pairwise(places)):
        raise ModelUnusable("Its header is damaged: the weights overlap or leave gaps.")
    if places[-1][1] != size:
        raise ModelUnusable(
            f"Of {places[-1][1]} bytes of weights {size} are there; is it still being copied, or was the download cut off?"
        )
