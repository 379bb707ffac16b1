"""Files that are replaced at one stroke, and the lock that lets one writer at a time do so."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace_file(path: Path, data: bytes) -> None:
    """Replace `path`: whoever reads it, or finds it after a crash, has the old bytes or the new ones; raises OSError.

    One writer at a time; what a killed one left beside it is written over by the next.
    """
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        new.chmod(path.stat().st_mode & 0o777)
    new.replace(path)
    if sys.platform != "win32":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, a file of its own beside it, against every process of this machine; raises OSError."""
    with path.with_name(f".{path.name}.lock").open("ab") as file:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl  # noqa: PLC0415

            fcntl.flock(file, fcntl.LOCK_EX)
        # Closing the file gives the lock back, and so does the end of the process, however it ends.
        yield
