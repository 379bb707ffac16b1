"""The models on this machine: what lies in the models folders, joined with what `models.yaml` says about it."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from easel.catalog import Catalog, ModelCard
from easel.errors import ModelUnusable, UnknownModel
from easel.model_cards import Joined
from easel.model_facts import Memory
from easel.model_folders import Found, find_models, find_one, inside
from easel.models_file.reading import ModelsFile, WatchedModels, read_models_file
from easel.settings import Settings

log = logging.getLogger(__name__)

MEMORY = "models.json"
"""In the data folder: what is known about the files, from run to run."""

EVERY = 5.0
"""Seconds between two looks at the folders."""


def load_catalog(
    models_dirs: Sequence[Path], models_file: Path | ModelsFile, cache_dir: Path
) -> tuple[Catalog, list[str]]:
    """Return the catalog of `models_dirs`, and sentences about what was left out; raises ModelsFileError."""
    models = models_file if isinstance(models_file, ModelsFile) else read_models_file(models_file)
    found, problems = find_models(models_dirs)
    catalog, more = _joined(models_dirs, models, found, Memory(cache_dir / MEMORY))
    return catalog, [*problems, *more]


def locate(card: ModelCard, models_dirs: Sequence[Path]) -> Path:
    """Return where a card's file lies; raises ModelUnusable where it is gone or leads out of the models folders."""
    if not card.installed or int(card.root) >= len(models_dirs):
        raise ModelUnusable(f"The file of `{card.name}` is not in the models folders of this machine.")
    path = models_dirs[int(card.root)] / card.path
    if not inside(path, models_dirs):
        raise ModelUnusable(f"The file of `{card.name}` is gone, or is a link out of the models folders.")
    return path


class WatchedLibrary:
    """The newest catalog, for as long as a process runs."""

    def __init__(self, settings: Settings) -> None:
        """Look at everything once; raises ModelsFileError."""
        self.models_dirs = settings.models_dir
        self.problems: tuple[str, ...] = ()
        """What was left out, in sentences for the owner."""
        self._models = WatchedModels(settings.models_file)
        self._memory = Memory(settings.data_dir / MEMORY)
        self._lock = threading.Lock()
        self._known: tuple[object, ...] = ()
        self._due = 0.0
        self.catalog = Catalog()
        self.refresh()

    def refresh(self) -> Catalog:
        """Look again and return the catalog, the same object if nothing changed; blocks while it reads folders."""
        with self._lock:
            started = perf_counter()
            models = self._models.current()
            found, problems = find_models(self.models_dirs)
            known = (models, found, problems, self._models.problem)
            if known != self._known:
                self.catalog, more = _joined(self.models_dirs, models, found, self._memory)
                self._known = known
                self._tell([*filter(None, [self._models.problem]), *problems, *more])
            # A large library, or one on a slow mount, is looked at less often.
            self._due = perf_counter() + max(EVERY, 20 * (perf_counter() - started))
            return self.catalog

    def fresh(self) -> Catalog:
        """Return the catalog, at most a few seconds old; looks again where that is due."""
        return self.refresh() if perf_counter() >= self._due else self.catalog

    async def watch(self) -> None:
        """Keep the catalog fresh, for ever, without holding up the event loop."""
        while True:
            await asyncio.sleep(max(0.1, self._due - perf_counter()))
            await asyncio.to_thread(self.refresh)

    def path(self, card: ModelCard) -> Path:
        """Return where a card's file lies; raises ModelUnusable."""
        return locate(card, self.models_dirs)

    def _tell(self, problems: Sequence[str]) -> None:
        for problem in problems:
            if problem not in self.problems:
                log.warning("%s", problem)
        self.problems = tuple(problems)


def _joined(
    models_dirs: Sequence[Path], models: ModelsFile, found: Sequence[Found], memory: Memory
) -> tuple[Catalog, list[str]]:
    paths = {one.path for one in found}
    elsewhere = [
        one
        for card in models.cards
        if card.path and card.path not in paths and (one := find_one(models_dirs, card.path, card.kind))
    ]
    everything = [*found, *elsewhere]
    roots = [root.resolve() for root in models_dirs]
    joined = Joined(models.cards, [(one, memory.facts(roots, one)) for one in everything])
    memory.save(roots, everything)
    catalog = Catalog(joined.cards, default=models.default)
    problems = joined.problems
    if models.default:
        try:
            catalog.checkpoint(models.default)
        except UnknownModel as error:
            problems = [*problems, f"models.yaml, default: {error}"]
    return catalog, problems
