"""Writes a safetensors file, copying the numbers from the pickle a piece at a time.

Format: https://github.com/huggingface/safetensors#format
"""

import json
import os
from collections.abc import Mapping
from typing import BinaryIO

from easel.errors import ModelUnusable
from worker.pickles.stand_ins import Lazy

_PIECE = 4 * 2**20
_MAX_SCATTERED = 256 * 2**20
"""Bytes of a tensor whose numbers have to be put into order."""


def write_safetensors(
    target: BinaryIO,
    tensors: Mapping[str, Lazy],
    metadata: Mapping[str, str],
    source: BinaryIO,
    places: Mapping[str, int],
) -> None:
    """Write the tensors, the widest numbers first, so that each is aligned; raises ModelUnusable, OSError."""
    order = sorted(tensors, key=lambda name: (-tensors[name].numbers.size, name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name in order:
        one = tensors[name]
        start, end = end, end + one.nbytes
        header[name] = {"dtype": one.numbers.dtype, "shape": list(one.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    target.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        one = tensors[name]
        # Numbers of the storage before the tensor's own: a part of a row begins inside it.
        first = places[one.storage.key] + one.storage.start * one.storage.numbers.size
        source.seek(first + one.offset * one.numbers.size)
        if one.in_order:
            _copy(source, target, one.nbytes)
        else:
            target.write(_sorted(source, one))
    target.flush()
    os.fsync(target.fileno())


def _copy(source: BinaryIO, target: BinaryIO, nbytes: int) -> None:
    while nbytes:
        piece = source.read(min(nbytes, _PIECE))
        if not piece:
            raise ModelUnusable("The file is shorter than it should be.")
        target.write(piece)
        nbytes -= len(piece)


def _sorted(source: BinaryIO, tensor: Lazy) -> bytes:
    # Only here, as it doubles the time that a child takes to start.
    import numpy as np  # noqa: PLC0415

    size = tensor.numbers.size
    if tensor.span * size > _MAX_SCATTERED:
        raise ModelUnusable("A tensor in it is too large and too scattered.")
    row = np.frombuffer(source.read(tensor.span * size), dtype=f"V{size}")
    if len(row) != tensor.span:
        raise ModelUnusable("The file is shorter than it should be.")
    steps = tuple(step * size for step in tensor.stride)
    return np.lib.stride_tricks.as_strided(row, tensor.shape, steps).tobytes()
