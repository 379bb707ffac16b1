"""Wildcards: lists of words in text files below one folder, named `__colours__` or `__animals/birds__` in a prompt."""

import difflib
import logging
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

from easel.errors import BadPrompt
from easel.prompt.text import quoted

MAX_BYTES = 2**20
"""Of one file."""

MAX_NAMES = 1000
"""Files that `names` lists."""

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[\w. -]++(?:/[\w. -]++)*+")


class WildcardSource(Protocol):
    def lines(self, name: str) -> Sequence[str]:
        """Return the choices, none of them empty; raises BadPrompt if there is no such wildcard."""
        ...


class Wildcards:
    """The `*.txt` files below `folder`: a choice on each line, `#` begins a line of comment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> tuple[str, ...]:
        """Return what can be asked for, sorted, of a large folder only some; nothing if there is no folder."""
        files = islice(self._folder.rglob("*.txt"), MAX_NAMES)
        return tuple(sorted(file.relative_to(self._folder).with_suffix("").as_posix() for file in files))

    def lines(self, name: str) -> tuple[str, ...]:
        data = self._read(name)
        if len(data) > MAX_BYTES:
            raise BadPrompt(
                f"The wildcard file {quoted(name)} is larger than {MAX_BYTES // 2**20} MiB and is not read."
            )
        # Files come from many editors: a wrong byte shall cost one character, not the picture.
        text = data.decode("utf-8-sig", "replace").replace("\0", "\ufffd")
        lines = (line.strip() for line in text.splitlines())
        return tuple(line for line in lines if line and not line.startswith("#"))

    def _read(self, name: str) -> bytes:
        """Return the start of the file, one byte more than may be used."""
        if not _NAME.fullmatch(name) or any(not part.strip(". ") for part in name.split("/")):
            raise BadPrompt(
                f"{quoted(name)} can not be the name of a wildcard: it is a file below the wildcard folder."
            )
        try:
            path = (self._folder / f"{name}.txt").resolve(strict=True)
            if path.is_relative_to(self._folder.resolve()) and path.is_file():
                with path.open("rb") as file:
                    return file.read(MAX_BYTES + 1)
        except (OSError, RuntimeError) as error:
            # No such file, one that may not be read, a name too long for the disk, or a circle of links.
            _log.info("wildcard %r is not readable: %s", name, error)
        raise BadPrompt(f"There is no wildcard called {quoted(name)}. {self._hint(name)}")

    def _hint(self, name: str) -> str:
        nearest = difflib.get_close_matches(name, self.names(), n=3)
        if nearest:
            return f"Did you mean {' or '.join(map(quoted, nearest))}?"
        return "To write the underscores themselves, put `\\` before them."
