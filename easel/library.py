"""The models on this machine: what lies in the models folders, joined with what `models.yaml` says about it."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, time_ns
from typing import Protocol

from easel.catalog import Catalog, ModelCard
from easel.errors import ModelUnusable, UnknownModel
from easel.model_cards import Joined, Known, Made
from easel.model_facts import Memory, place_of
from easel.model_folders import Found, Walked, changed_since, find_one, inside, walked
from easel.model_hashes import FILE, Hashed, Hashes
from easel.model_roots import ModelRoots, model_roots
from easel.models_file.reading import ModelsFile, WatchedModels, read_models_file
from easel.pickles import Convert, Pickles
from easel.settings import Settings

log = logging.getLogger(__name__)

MEMORY = "models.json"
"""In the data folder: what is known about the files, from run to run."""

EVERY = 5.0
"""Seconds between two walks through the folders."""

RECENT_NS = 600 * 10**9
"""A file that can not be used, and was changed within this time, may be whole at any moment."""

GLANCE = 0.5
"""Seconds between two looks at what tells that something changed: models.yaml, and when folders were changed."""


Finish = Callable[[ModelCard], ModelCard]


class Library(Protocol):
    """What those who use models ask of a library."""

    @property
    def catalog(self) -> Catalog:
        """The newest catalog, from memory."""
        ...

    def refresh(self) -> Catalog:
        """Look again and return the catalog; blocks."""
        ...

    def path(self, card: ModelCard) -> Path:
        """Return where a card's file lies; raises ModelUnusable."""
        ...


@dataclass(frozen=True, slots=True)
class Shown:
    """One look at everything."""

    models: ModelsFile
    known: tuple[Known, ...]
    catalog: Catalog
    problems: tuple[str, ...]


def load_catalog(
    models_dirs: Sequence[Path], models_file: Path | ModelsFile, cache_dir: Path, *, allow_pickles: bool = False
) -> tuple[Catalog, list[str]]:
    """Return the catalog of `models_dirs`, and sentences about what was left out; raises ModelsFileError."""
    models = models_file if isinstance(models_file, ModelsFile) else read_models_file(models_file)
    roots = ModelRoots(tuple(models_dirs))
    walk = walked(roots.folders)
    pickles = Pickles(cache_dir, allowed=allow_pickles)
    seen = _joined(roots, models, walk, _Remembered(Memory(cache_dir / MEMORY), Hashes(cache_dir / FILE), pickles))
    return seen.catalog, [*walk.problems, *seen.problems]


def locate(card: ModelCard, models_dirs: Sequence[Path]) -> Path:
    """Return where a card's file lies; raises ModelUnusable where it is gone or leads out of the models folders."""
    if not card.root or int(card.root) >= len(models_dirs):
        raise ModelUnusable(f"The file of `{card.name}` is not in the models folders of this machine.")
    path = models_dirs[int(card.root)] / card.path
    if not inside(path, models_dirs):
        raise ModelUnusable(f"The file of `{card.name}` is gone, or is a link out of the models folders.")
    return path


class WatchedLibrary:
    """The newest catalog of this machine, for as long as a process runs."""

    def __init__(self, settings: Settings, *, tell: bool = True, convert: Convert | None = None) -> None:
        """Look at everything once; without `tell` somebody else logs the problems; raises ModelsFileError.

        `convert` is how old pickles are made usable here.
        """
        self.roots = model_roots(settings)
        self.models_dirs = self.roots.folders
        self.problems: tuple[str, ...] = ()
        """What was left out, in sentences for the owner."""
        self.of_folders: tuple[str, ...] = ()
        """Those among them that no other machine can mend."""
        self._tells = tell
        self._models = WatchedModels(settings.models_file)
        self._hashes = Hashes(settings.data_dir / FILE)
        self._pickles = Pickles(settings.data_dir, allowed=settings.allow_pickles, convert=convert)
        self._remembered = _Remembered(Memory(settings.data_dir / MEMORY), self._hashes, self._pickles)
        self._lock = threading.Lock()
        self._known: tuple[object, ...] = ()
        self._folders: dict[str, int] = {}
        self._due = self._glance_due = 0.0
        self.shown = Shown(ModelsFile(), (), Catalog(), ())
        self.refresh()

    @property
    def catalog(self) -> Catalog:
        return self.shown.catalog

    def refresh(self) -> Catalog:
        """Look again and return the catalog, the same object if nothing changed; blocks while it reads folders."""
        with self._lock:
            return self._refreshed()

    def _refreshed(self) -> Catalog:
        started = perf_counter()
        models = self._models.current()
        if rehashed := self._hashes.changed():
            self._hashes.reload()
        walk = walked(self.models_dirs, self.roots.shelves)
        known = (models, walk.found, walk.problems, self._models.problem, self._pickles.stamp)
        if known != self._known or rehashed:
            self.shown = _joined(self.roots, models, walk, self._remembered)
            self._known = known
            self.of_folders = (*filter(None, [self._models.problem]), *walk.problems)
            before, self.problems = self.problems, (*self.of_folders, *self.shown.problems)
            if self._tells:
                tell_new(self.problems, before)
        self._folders = walk.folders | self._growing()
        now = perf_counter()
        # A large library, or one on a slow mount, is looked at less often.
        self._due = now + max(EVERY, 20 * (now - started))
        self._glance_due = now + max(GLANCE, 4 * (now - started))
        return self.catalog

    def _growing(self) -> dict[str, int]:
        """Return the files that may still be copied, with their times of change: their folders tell nothing of that."""
        roots, since = [root.resolve() for root in self.models_dirs], time_ns() - RECENT_NS
        return {
            place_of(roots, found): found.stamp[1]
            for found, facts in self.shown.known
            if facts.seen.problem and found.stamp[1] > since
        }

    def glance(self) -> Catalog:
        """Return the catalog, looking again only where a file or folder tells that something changed, or it is time."""
        with self._lock:
            started = perf_counter()
            converted = self._known[-1:] != (self._pickles.stamp,)
            if started >= self._due or converted or self._models.changed() or self._hashes.changed():
                return self._refreshed()
            if started >= self._glance_due:
                if changed_since(self._folders):
                    return self._refreshed()
                self._glance_due = perf_counter() + max(GLANCE, 20 * (perf_counter() - started))
            return self.catalog

    def path(self, card: ModelCard) -> Path:
        """Return where a card's weights lie, of an old pickle what it was turned into; raises ModelUnusable."""
        return self._pickles.usable(locate(card, self.models_dirs), card)

    def unhashed(self) -> list[tuple[Path, Known]]:
        """Return the usable files, not folders, over which no hash was computed yet, small ones first."""
        roots = [root.resolve() for root in self.models_dirs]
        found = [
            (Path(place_of(roots, one)), (one, facts))
            for one, facts in self.shown.known
            if not facts.sha256 and not facts.seen.problem
        ]
        return sorted(((path, one) for path, one in found if path.is_file()), key=lambda known: known[1][0].size)

    def remember(self, path: Path, found: Found, hashed: Hashed) -> None:
        """Take note of a computed hash; cards show it once it is saved."""
        with self._lock:
            self._hashes.add(str(path), found, hashed)

    def save_hashes(self) -> None:
        """Write down what was computed, and show it."""
        with self._lock:
            roots = [root.resolve() for root in self.models_dirs]
            self._hashes.save(roots, {place_of(roots, one) for one, _ in self.shown.known})
            self._known = ()
            self._refreshed()


def tell_new(problems: Sequence[str], before: Sequence[str]) -> None:
    """Log what was not a problem before."""
    for problem in dict.fromkeys(problems):
        if problem not in before:
            log.warning("%s", problem)


@dataclass(frozen=True, slots=True)
class _Remembered:
    """What need not be found out again."""

    memory: Memory
    hashes: Hashes
    pickles: Pickles
    made: Made = field(default_factory=dict)


def _joined(roots: ModelRoots, models: ModelsFile, walk: Walked, remembered: _Remembered) -> Shown:
    paths = {one.path for one in walk.found}
    elsewhere = [
        one
        for card in models.cards
        if card.path and card.path not in paths and (one := find_one(roots.folders, card.path, card.kind))
    ]
    everything = [*walk.found, *elsewhere]
    folders = [root.resolve() for root in roots.folders]
    known: list[Known] = []
    for one in everything:
        facts = remembered.memory.facts(folders, one, remembered.hashes)
        if facts.seen.pickled:
            facts = remembered.pickles.applied(Path(place_of(folders, one)), facts)
        known.append((one, facts))
    remembered.memory.save(folders, everything)
    return shown(models, known, remembered.made)


def shown(models: ModelsFile, known: Sequence[Known], made: Made | None = None, finish: Finish | None = None) -> Shown:
    """Join what the owner says with what is known about the files; `finish` adds what else a card shows."""
    joined = Joined(models.cards, known, made)
    cards = joined.cards if finish is None else map(finish, joined.cards)
    catalog, problems = Catalog(cards, default=models.default), joined.problems
    if models.default:
        try:
            catalog.checkpoint(models.default)
        except UnknownModel as error:
            problems = [*problems, f"models.yaml, default: {error}"]
    return Shown(models, tuple(known), catalog, tuple(problems))
