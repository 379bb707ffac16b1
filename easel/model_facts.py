"""What is known about each found model, remembered from run to run until its file changes."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from pydantic import ValidationError

from easel.files import locked, replace_file
from easel.identify.file import identify
from easel.identify.identified import Identified
from easel.jobs import Frozen
from easel.model_folders import Found
from easel.model_hashes import Hashes
from easel.sidecars import Sidecar, read_sidecars

log = logging.getLogger(__name__)

RULES_VERSION = 2
"""Of what is remembered; a new one lets every file be looked at again."""


TELL_S = 10.0


class Facts(Frozen):
    """What a file and its sidecars say."""

    seen: Identified
    beside: Sidecar = Sidecar()
    sha256: str = ""
    """Computed over the whole file; empty until then."""
    autov3: str = ""


class Memory:
    """Facts by place, size and time of change, in one JSON file that several processes may share."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._kept: dict[str, tuple[list[int], Any]] = self._read()
        self._facts: dict[str, tuple[tuple[int, ...], Facts]] = {}
        self._changed = False
        self._looked = 0
        self._told_at = monotonic()

    def facts(self, roots: Sequence[Path], found: Found, hashes: Hashes) -> Facts:
        """Return what is known about `found`, looking into the file only if it changed; `roots` are resolved."""
        key = place_of(roots, found)
        stamp, facts = self._facts.get(key, ((), None))
        if facts is None or stamp != found.stamp:
            facts = self._remembered(key, found) or self._looked_up(key, found)
            self._facts[key] = found.stamp, facts
        hashed = hashes.of(key, found)
        if hashed is not None and facts.sha256 != hashed.sha256:
            # Written down elsewhere, as hashes do not age with our rules.
            facts = facts.model_copy(update={"sha256": hashed.sha256, "autov3": hashed.autov3})
            self._facts[key] = found.stamp, facts
        return facts

    def save(self, roots: Sequence[Path], found: Sequence[Found]) -> None:
        """Write what is new, and forget what is gone from `roots`; a place that can not be written only costs time."""
        here = {place_of(roots, one) for one in found}
        gone = [key for key in self._kept.keys() - here if any(Path(key).is_relative_to(root) for root in roots)]
        for key in gone:
            del self._kept[key]
        if not (self._changed or gone):
            return
        self._changed = False
        data = json.dumps({"version": RULES_VERSION, "files": self._kept}, separators=(",", ":")).encode()
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._file):
                replace_file(self._file, data)
        except OSError as error:
            log.warning("what is known about the model files can not be kept in %s: %s", self._file, error.strerror)

    def _remembered(self, key: str, found: Found) -> Facts | None:
        stamp, kept = self._kept.get(key, ([], None))
        if kept is None or tuple(stamp) != found.stamp:
            return None
        try:
            return Facts.model_validate(kept)
        except ValidationError:
            return None

    def _looked_up(self, key: str, found: Found) -> Facts:
        path = Path(key)
        facts = Facts(
            seen=identify(path, found.kind),
            beside=read_sidecars([path.with_name(info) for info in found.infos], found.size),
        )
        self._kept[key] = list(found.stamp), facts.model_dump(mode="json", exclude_defaults=True)
        self._changed = True
        self._looked += 1
        # The first look into a large library takes minutes, and nobody likes a silent start.
        if monotonic() - self._told_at > TELL_S:
            log.info("looked into %d new model files so far", self._looked)
            self._told_at = monotonic()
        return facts

    def _read(self) -> dict[str, tuple[list[int], Any]]:
        try:
            kept = json.loads(self._file.read_bytes())
            if kept["version"] == RULES_VERSION:
                return {str(key): (list(stamp), facts) for key, (stamp, facts) in kept["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            log.debug("nothing is remembered about the model files yet")
        return {}


def place_of(roots: Sequence[Path], found: Found) -> str:
    """Return where a found file lies, as the key of what is remembered about it."""
    # Joining texts is ten times as fast as joining paths, and this is done for every file.
    return f"{roots[found.root]}/{found.path}"
