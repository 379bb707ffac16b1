"""Has old pickles turned into safetensors, each once and in a child process of its own."""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from easel.catalog import ModelKind
from easel.confined import run_confined
from easel.errors import ModelUnusable
from easel.files import locked
from easel.identify.file import identify
from easel.pickles import Conversions, Verdict, stamp_of
from worker.pickles.child import most_written

log = logging.getLogger(__name__)

SECONDS = 120
"""What a small file may take by the clock, on a machine that is busy rendering; the child bounds its own computing."""
SLOWEST = 5 * 2**20
"""Bytes a second of a large file."""

_CHILD = "worker.pickles.child"
_MOST_SAID = 2**20


class Converter:
    """Belongs to a process; those of one machine take turns."""

    def __init__(self, data_dir: Path) -> None:
        self._conversions = Conversions(data_dir)

    def __call__(self, path: Path, kind: ModelKind) -> Verdict:
        """Convert a file that lies among those of `kind`, and remember what became of it.

        Raises ModelUnusable where nothing can be said about the file: it is still being written, or this machine has no
        room for what it is turned into.
        """
        folder = self._conversions.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(self._conversions.index):
                verdict = self._conversions.verdict(path) or self._verdict(path, kind)
        except OSError as error:
            log.warning("%s can not be converted: %s", path, error.strerror)
            raise ModelUnusable(f"`{path.name}` can not be converted: {error.strerror}.") from error
        return verdict

    def _verdict(self, path: Path, kind: ModelKind) -> Verdict:
        before = stamp_of(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        target = self._conversions.file(sha256)
        problem = self._conversions.refused(sha256)
        if not problem and not target.is_file():
            problem = self._converted(path, kind, sha256)
        if before is None or stamp_of(path) != before:
            target.unlink(missing_ok=True)
            raise ModelUnusable(f"`{path.name}` is still being written. Please try again when it is whole.")
        if problem:
            log.warning("%s is not used, and not tried again until it changes: %s", path, problem)
        verdict = Verdict(size=before[0], mtime_ns=before[1], sha256=sha256, problem=problem)
        self._conversions.keep(path, verdict)
        return verdict

    def _converted(self, path: Path, kind: ModelKind, sha256: str) -> str:
        """Put what `path` holds where it belongs; return why that can not be, empty where it was done."""
        target = self._conversions.file(sha256)
        part = target.with_name(f"{target.name}.part")
        size = path.stat().st_size
        if shutil.disk_usage(target.parent).free < 1.1 * size:
            raise ModelUnusable(f"There is no room left on this machine to convert `{path.name}`.")
        metadata = {"easel.file": path.name, "easel.kind": kind.value, "easel.sha256": sha256, "format": "pt"}
        try:
            code, said = run_confined(
                _CHILD,
                (str(path.resolve()), str(part.resolve())),
                given=json.dumps(metadata).encode(),
                seconds=SECONDS + size / SLOWEST,
                most=_MOST_SAID,
            )
            if problem := _problem(path, code, said) or _doubt(part, kind, size):
                return problem
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        log.info("converted %s to %s", path, target)
        return ""


def _problem(path: Path, code: int, said: bytes) -> str:
    """Return what the child had against the file; raises ModelUnusable where the fault is not the file's."""
    answer = _answer(said) if code == 0 else {}
    if failed := answer.get("failed"):
        raise ModelUnusable(f"`{path.name}` can not be converted: {failed}.")
    if not isinstance(answer.get("problem"), str):
        # A negative code is the signal that ended it.
        log.warning("the child that was to convert %s ended with %d", path, code)
        return "Converting it took more time or memory than any model needs; it may be a bomb."
    if answer["problem"]:
        return str(answer["problem"])
    if ignored := answer.get("ignored"):
        log.info("%s also holds %s, which were left out", path, ", ".join(map(str, ignored)))
    return ""


def _answer(said: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _doubt(part: Path, kind: ModelKind, size: int) -> str:
    """Return why what the child wrote is no model after all, empty where it is."""
    if not part.is_file() or part.stat().st_size > most_written(size):
        return "Converting it did not work."
    return identify(part, kind).problem
