"""Styles as the owner keeps them: ready-made pieces of prompt by name, in A1111's `styles.csv`."""

import csv
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from easel.prompt.text import MAX_LENGTH

MAX_BYTES = 2**20
MAX_STYLES = 5000

EVERY = 5.0
"""Seconds between two looks at the file."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Style:
    prompt: str
    """Put around what was typed where it says `{prompt}`, else behind it."""
    negative_prompt: str = ""


Styles = Mapping[str, Style]


def read_styles(path: Path) -> Styles:
    """Return what stands in `path`, nothing where there is no file; raises ValueError with what is wrong with it."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ValueError(f"it can not be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES // 2**20} MiB")
    try:
        text = data.decode("utf-8-sig").replace("\0", "\ufffd")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"it is no CSV file in UTF-8: {error}") from error
    if rows and "name" not in rows[0]:
        raise ValueError("its first line must be name,prompt,negative_prompt")
    styles = {str(row["name"]).strip(): _style(row) for row in rows[:MAX_STYLES] if row["name"]}
    return {name: style for name, style in styles.items() if name and style != Style("")}


def _style(row: Mapping[str, str | None]) -> Style:
    """Read a row; until 2022 the prompt's column was called `text`."""
    prompt = row.get("prompt") or row.get("text") or ""
    return Style(prompt.strip()[:MAX_LENGTH], (row.get("negative_prompt") or "").strip()[:MAX_LENGTH])


class WatchedStyles:
    """The newest styles, for as long as a process runs; a file that is broken leaves the last good ones."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._styles: Styles = {}
        self._seen: object = None
        self._due = 0.0

    def current(self) -> Styles:
        """Return the styles by name, at most a few seconds old."""
        if monotonic() >= self._due:
            self._look()
            self._due = monotonic() + EVERY
        return self._styles

    def _look(self) -> None:
        try:
            stat = self._path.stat()
            seen: object = (stat.st_mtime_ns, stat.st_size)
        except OSError:
            seen = ""
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._styles = read_styles(self._path)
        except ValueError as problem:
            log.warning("%s is not used: %s", self._path.name, problem)
