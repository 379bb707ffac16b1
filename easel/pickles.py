"""Old pickles among the model files: left alone unless the owner allows them, and then used as what they were turned into."""

import json
import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from easel.catalog import ModelCard, ModelKind
from easel.errors import ModelUnusable
from easel.files import replace_file
from easel.identify.file import PICKLES, identify, is_pickle
from easel.identify.identified import Identified
from easel.jobs import Frozen
from easel.model_facts import RULES_VERSION, Facts

log = logging.getLogger(__name__)

FOLDER = "converted"
"""In the data folder: what pickles were turned into, by the SHA-256 of the pickle."""
INDEX = "index.json"
"""There: what became of which file."""


class Verdict(Frozen):
    """What became of a pickle, for as long as it does not change."""

    size: int
    """Bytes of the pickle."""
    mtime_ns: int
    sha256: str
    problem: str = ""
    """Why it could not be turned into anything, in a sentence."""

    @property
    def stamp(self) -> tuple[int, int]:
        return self.size, self.mtime_ns


Convert = Callable[[Path, ModelKind], Verdict]
"""Turns a pickle, which lies in a folder for that kind, into safetensors."""


class Conversions:
    """What became of the pickles of this machine, in one file that several processes share; one at a time writes it."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / FOLDER
        self.index = self.folder / INDEX
        self._stamp: object = None
        self._verdicts: dict[str, Verdict] = {}

    @property
    def stamp(self) -> object:
        """What changes whenever something became of a pickle."""
        try:
            state = self.index.stat()
        except OSError:
            return None
        return state.st_size, state.st_mtime_ns, state.st_ino

    def verdict(self, path: Path) -> Verdict | None:
        """Return what became of the file as it is now, None where nothing did yet."""
        verdict = self._read().get(str(path.resolve()))
        usable = verdict is not None and (verdict.problem or self.file(verdict.sha256).is_file())
        return verdict if verdict is not None and usable and verdict.stamp == stamp_of(path) else None

    def refused(self, sha256: str) -> str:
        """Return why a file of the same content was refused, empty where none was."""
        return next((one.problem for one in self._read().values() if one.sha256 == sha256 and one.problem), "")

    def file(self, sha256: str) -> Path:
        return self.folder / f"{sha256}.safetensors"

    def keep(self, path: Path, verdict: Verdict) -> None:
        """Remember what became of `path`, and let go of what is gone; raises OSError.

        The caller holds the index's lock.
        """
        kept = {name: one for name, one in self._read().items() if not _gone(Path(name))}
        kept[str(path.resolve())] = verdict
        files = {name: one.model_dump() for name, one in kept.items()}
        replace_file(self.index, json.dumps({"version": RULES_VERSION, "files": files}, indent=1).encode())
        in_use = {one.sha256 for one in kept.values()}
        for file in self.folder.glob("*.safetensors"):
            if file.stem not in in_use:
                file.unlink(missing_ok=True)

    def _read(self) -> dict[str, Verdict]:
        stamp = self.stamp
        if stamp != self._stamp:
            self._verdicts = self._parsed() if stamp else {}
            self._stamp = stamp
        return self._verdicts

    def _parsed(self) -> dict[str, Verdict]:
        try:
            kept = json.loads(self.index.read_bytes())
            verdicts = {str(name): Verdict.model_validate(one) for name, one in kept["files"].items()}
            # By other rules, what was refused may be known.
            same = kept["version"] == RULES_VERSION
            return {name: one for name, one in verdicts.items() if same or not one.problem}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ValidationError) as error:
            log.warning("what became of the pickles can not be read from %s: %s", self.index, type(error).__name__)
            return {}


class Pickles:
    """How one process treats them."""

    def __init__(self, data_dir: Path, *, allowed: bool, convert: Convert | None = None) -> None:
        """Without `convert` only what was converted before can be used."""
        self._conversions = Conversions(data_dir)
        self._allowed = allowed
        self._convert = convert

    @property
    def stamp(self) -> object:
        """What changes whenever `applied` may answer otherwise."""
        return self._conversions.stamp if self._allowed else None

    def applied(self, path: Path, facts: Facts) -> Facts:
        """Return what is known about the file at `path`, and of a pickle what became of it."""
        if not facts.seen.pickled or facts.seen.problem:
            return facts
        return facts.changed(seen=self._seen(path, facts.seen))

    def _seen(self, path: Path, seen: Identified) -> Identified:
        if not self._allowed:
            return seen.changed(problem=_off(path))
        verdict = self._conversions.verdict(path)
        if verdict is None:
            return seen
        if verdict.problem:
            return seen.changed(problem=verdict.problem)
        return _identified(self._conversions.file(verdict.sha256), seen.kind, path.stem)

    def usable(self, path: Path, card: ModelCard) -> Path:
        """Return the file to be loaded for a card whose own file lies at `path`, converting it first where it must be.

        Raises ModelUnusable. The first time this takes as long as copying the file twice.
        """
        try:
            if not is_pickle(path):
                return path
        except OSError as error:
            raise ModelUnusable(f"The file of `{card.name}` can not be read: {error.strerror}.") from error
        if not self._allowed:
            raise ModelUnusable(f"The {card.kind.noun} `{card.name}` can not be used. {_off(path)}")
        verdict = self._conversions.verdict(path)
        if verdict is None and self._convert is not None:
            verdict = self._convert(path, card.kind)
        if verdict is None:
            raise ModelUnusable(f"The {card.kind.noun} `{card.name}` was not converted from its old format yet.")
        if verdict.problem:
            raise ModelUnusable(f"The {card.kind.noun} `{card.name}` can not be used. {verdict.problem}")
        file = self._conversions.file(verdict.sha256)
        kind = _identified(file, card.kind, path.stem).kind
        if kind is not None and kind is not card.kind:
            raise ModelUnusable(
                f"By its weights, the kind of `{card.name}` is {kind.noun}, not {card.kind.noun}; "
                "from now on it is listed as that."
            )
        return file


def stamp_of(path: Path) -> tuple[int, int] | None:
    """Return a file's bytes and its nanoseconds of change; None where it is gone."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


def _gone(path: Path) -> bool:
    """Tell whether a file was deleted; where its folder is missing, too, a disk may only be away for a while."""
    return path.parent.is_dir() and not path.exists()


def _off(path: Path) -> str:
    suffix = path.suffix.lower() if path.suffix.lower() in PICKLES else "pickle"
    return (
        f"This is an old {suffix} file, a format that can run code; such files are left alone. Please install the "
        ".safetensors version, or set EASEL_ALLOW_PICKLES=1, and it is converted without running anything in it."
    )


@lru_cache(maxsize=4096)
def _identified(file: Path, folder: ModelKind | None, name: str) -> Identified:
    # What was converted never changes.
    return identify(file, folder, name=name)
