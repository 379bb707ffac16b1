"""Child processes that open what strangers made: without our secrets, and within bounds that end them and nothing else."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_INHERITED = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""Variables that a child gets to see; tokens are none of its business."""

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""A child may start no further threads, and libraries that want to would end it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a child may cost."""

    memory: int
    """Bytes of address space."""
    cpu_seconds: int
    file_size: int = 0
    """Bytes of the largest file that it may write."""


def confine(bounds: Bounds) -> None:
    """Bound what this process may cost from now on; does nothing outside Linux."""
    if sys.platform != "linux":
        return
    import resource  # noqa: PLC0415

    most = {
        resource.RLIMIT_AS: bounds.memory,
        resource.RLIMIT_CPU: bounds.cpu_seconds,
        resource.RLIMIT_FSIZE: bounds.file_size,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    for what, value in most.items():
        _, hard = resource.getrlimit(what)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (bound, bound))
    os.nice(5)  # those who wait for us go first


def run_confined(
    module: str, words: Sequence[str] = (), *, given: bytes = b"", seconds: float, most: int
) -> tuple[int, bytes]:
    """Run `python -m module`, which confines itself, for at most `seconds`; return how it ended and what it wrote.

    `given` goes to its standard input; of its output at most `most` bytes are taken. A negative code is the signal that
    ended it.
    """
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=_environment(),
    )
    killer = threading.Timer(seconds, child.kill)
    killer.start()
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        with child:
            # It reads to the end before it writes, so neither waits for the other; it may die before that.
            with suppress(BrokenPipeError), child.stdin:
                child.stdin.write(given)
            output = child.stdout.read(most)
    finally:
        killer.cancel()
    return child.returncode, output


def _environment() -> dict[str, str]:
    root = Path(__file__).parents[1]
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return inherited | _ONE_THREAD | {"PYTHONPATH": str(root)}
