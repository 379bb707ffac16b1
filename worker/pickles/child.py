"""The child process that turns one old pickle into safetensors.

It runs as `python -m worker.pickles.child SOURCE TARGET`, is given the metadata as JSON, and writes a JSON object:
`problem`, a sentence where the file is refused, `ignored`, names in it that were passed over, and `failed`, what this
machine could not do. Any other end is the file's doing.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from easel.confined import Bounds, confine
from easel.errors import ModelUnusable
from worker.pickles.layout import laid_out
from worker.pickles.reading import read_pickle
from worker.pickles.stand_ins import Lazy
from worker.pickles.writing import write_safetensors

MEMORY = 2**30
"""Bytes of address space; however large the weights are, only pieces of them are held."""

_HEADER = 16 * 2**20


def cpu_seconds(size: int) -> int:
    """Return what a file of so many bytes may take; copying runs at some hundred times this speed."""
    return 30 + size // (20 * 2**20)


def most_written(size: int) -> int:
    """Return the bytes that may come out of so many; tensors that share numbers are written one by one."""
    return 2 * size + _HEADER


def main() -> int:
    source, target = map(Path, sys.argv[1:])
    size = source.stat().st_size
    confine(Bounds(MEMORY, cpu_seconds(size), most_written(size)))
    sys.stdout.write(json.dumps(converted(source, target, json.load(sys.stdin))))
    return 0


def converted(source: Path, target: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Turn `source` into `target`, with `metadata` in it; return what is to be said of it."""
    size = source.stat().st_size
    try:
        with source.open("rb") as file:
            content = read_pickle(file, size)
            tensors, told = laid_out(content.tree)
            _check_size(tensors, size)
            with target.open("wb") as out:
                write_safetensors(out, tensors, told | dict(metadata), file, content.places)
    except ModelUnusable as error:
        return {"problem": str(error)}
    except MemoryError:
        return {"problem": "It asks for far more memory than a model needs; it may be a bomb."}
    except OSError as error:
        return {"failed": error.strerror}
    return {"problem": "", "ignored": content.ignored}


def _check_size(tensors: Mapping[str, Lazy], size: int) -> None:
    if sum(tensor.nbytes for tensor in tensors.values()) > most_written(size) - _HEADER:
        raise ModelUnusable("Its weights are larger than the file; it may be a bomb.")


if __name__ == "__main__":
    sys.exit(main())
