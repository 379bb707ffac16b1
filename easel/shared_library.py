"""One catalog for many machines: the bot's machine joins what all of them have and publishes it, the others follow."""

import asyncio
import hashlib
import logging
import re
import socket
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Literal

from redis.exceptions import RedisError

from easel.catalog import Catalog, ModelCard
from easel.errors import Untrusted
from easel.job_queue.catalog import ALIVE_S, CatalogBoard, Published
from easel.library import WatchedLibrary, shown, tell_new
from easel.model_cards import Made
from easel.model_reports import FilesOf, has_file, report_of, together
from easel.pickles import Convert
from easel.settings import Settings

log = logging.getLogger(__name__)

POLL_S = 0.3
"""Between two looks; hints make it quicker, and nothing depends on them."""


CLOSE_S = 3.0
"""A Redis that hangs holds up the end of a process no longer than this."""

Role = Literal["bot", "worker", "guest"]
"""A bot publishes, if it is the first; a worker reports and follows; a guest only looks, as the command line does."""


def machine_of(settings: Settings) -> str:
    """Name this machine and its models folders; processes that share those share the name."""
    place = "\n".join(map(str, (*settings.models_dir, settings.models_file, settings.comfyui_paths, _machine_id())))
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:60] or "machine"
    return f"{host}-{hashlib.sha256(place.encode()).hexdigest()[:6]}"


def _machine_id() -> str:
    """Tell machines of one name apart, as far as the system can."""
    try:
        return Path("/etc/machine-id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


class SharedLibrary:
    """The newest catalog in a process of several machines; without Redis, that of this machine or the last one heard of.

    `look` is the one way in which it changes; `catalog` answers from memory.
    """

    def __init__(self, settings: Settings, board: CatalogBoard, role: Role, *, convert: Convert | None = None) -> None:
        """Look at this machine once, not yet at Redis; raises ModelsFileError.

        `convert` is how old pickles are made usable here.
        """
        self.local = WatchedLibrary(settings, tell=False, convert=convert)
        self.machine = machine_of(settings)
        self.catalog = self.local.catalog
        self.problems: tuple[str, ...] = ()
        """What was left out, in sentences for the owner."""
        self.generation = 0
        """Of the published catalog that is in use, 0 while none is."""
        self._board = board
        self._role = role
        # On the built-in server everybody is on this machine, and sees the same files with their own eyes.
        self._one_machine = settings.redis_url is None
        self._me = f"{self.machine}-{uuid.uuid4().hex[:8]}"
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._away = False
        self._announced = ("", 0.0)
        self._reported: object = None
        self._looked_at = 0
        self._unpublished = True
        self._published: Published | None = None
        self._heard: dict[str, tuple[str, FilesOf]] = {}
        self._made: Made = {}
        self._made_of: tuple[object, ...] = (self.local.shown,)

    def path(self, card: ModelCard) -> Path:
        """Return where a card's weights lie on this machine; raises ModelUnusable."""
        return self.local.path(card)

    def refresh(self) -> Catalog:
        """Look at everything again and return the catalog; blocks."""
        self.local.refresh()
        return self.look()

    def look(self) -> Catalog:
        """Take in what changed here and elsewhere, and tell the others; blocks for a few round trips."""
        with self._lock:
            self.local.glance()
            try:
                self._share()
                self._away = False
            except (RedisError, OSError) as error:
                if not self._away:
                    log.warning("the catalog is not shared while Redis is away: %s", error)
                self._away, self._reported = True, None
            self._make()
            return self.catalog

    def _share(self) -> None:
        if self._role == "worker":
            self._report()
            follows = True
        else:
            self._hear_machines()
            owns = self._role == "bot" and self._board.owns(self._me)
            if owns:
                self._publish()
            follows = not owns and self._board.owned()
        if follows and not self._one_machine:
            self._hear_catalog()

    # -- a worker's part

    def _report(self) -> None:
        now = monotonic()
        digest, told = self._announced
        same = self._reported is self.local.shown
        if same and now - told < ALIVE_S / 3:
            return
        # A Redis that lost everything is told again.
        if same and self._board.announce(self.machine, digest):
            self._announced = digest, now
            return
        self._announced = self._board.report(self.machine, report_of(self.local.shown.known)), now
        self._reported = self.local.shown

    def _hear_catalog(self) -> None:
        generation = self._board.generation()
        if generation == self._looked_at:
            return
        self._looked_at = generation
        try:
            heard = self._board.published()
        except Untrusted as error:
            log.warning("%s The last catalog stays in use.", error)
            return
        # An older one than we have was written back by somebody else.
        if heard is not None and heard.generation > self.generation:
            self._published, self.generation = heard, heard.generation

    # -- a bot's part

    def _publish(self) -> None:
        self._published = None
        self._make()
        if self._unpublished or self._board.generation() != self.generation:
            cards = [card.model_dump(mode="json", exclude_defaults=True) for card in self.catalog.all]
            self.generation = self._board.publish(self.machine, self.catalog.default, cards, after=self.generation)
            self._unpublished = False
            log.info("published catalog %d with %d models", self.generation, len(cards))

    def _hear_machines(self) -> None:
        machines = self._board.machines()
        heard: dict[str, tuple[str, FilesOf]] = {}
        for machine, digest in machines.items():
            if machine in self._heard and self._heard[machine][0] == digest:
                heard[machine] = self._heard[machine]
                continue
            # What lies here we see ourselves, and need to know only that somebody paints with it.
            files = FilesOf(()) if machine == self.machine else self._files_of(machine)
            if files is not None:
                heard[machine] = digest, files
        self._heard = heard

    def _files_of(self, machine: str) -> FilesOf | None:
        try:
            reported = self._board.files(machine)
        except Untrusted as error:
            log.warning("%s It is left out.", error)
            return None
        return None if reported is None else FilesOf([one.known for one in reported])

    # -- the catalog

    def _make(self) -> None:
        """Make the catalog anew where anything it is made of has changed."""
        made_of = (
            self.local.shown,
            self.local.of_folders,
            self._published,
            tuple((name, one[0]) for name, one in self._heard.items()),
        )
        if made_of == self._made_of:
            return
        own = self._published is None or self._published.machine == self.machine
        before, self.problems = self.problems, self.local.problems
        self.catalog = self._joined() if own else self._adopted()
        tell_new(self.problems, before)
        self._made_of, self._unpublished = made_of, True

    def _joined(self) -> Catalog:
        """Join what this machine and the others have with what models.yaml says here."""
        if not self._heard:
            return self.local.catalog
        mine = FilesOf(self.local.shown.known)
        files = {name: mine if name == self.machine else one for name, (_, one) in sorted(self._heard.items())}
        others = [one.known for name, one in files.items() if name != self.machine]

        def with_workers(card: ModelCard) -> ModelCard:
            return card.model_copy(
                update={"workers": tuple(name for name, one in files.items() if has_file(card, one))}
            )

        if not others:
            return Catalog(map(with_workers, self.local.catalog.all), default=self.local.catalog.default)
        known = together(self.local.shown.known, others)
        everywhere = shown(self.local.shown.models, known, self._made, with_workers)
        self.problems = (*self.local.of_folders, *everywhere.problems)
        return everywhere.catalog

    def _adopted(self) -> Catalog:
        """Take over the published catalog, each card with its file here, and add what only this machine knows."""
        assert self._published is not None
        mine, local = FilesOf(self.local.shown.known), self.local.catalog
        by_name = {(card.kind, card.name): card for card in local.all}
        cards: dict[tuple[object, str], ModelCard] = {}
        for card in self._published.cards:
            placed = _placed(card, mine)
            own = by_name.get((card.kind, card.name))
            # A worker paints with the file that it has under this name rather than with none.
            better = self._role == "worker" and own is not None and own.root and not placed.root
            cards[card.kind, card.name] = own if own is not None and better else placed
        if self._role == "worker":
            cards = {key: card for key, card in by_name.items() if key not in cards} | cards
        return Catalog(cards.values(), default=self._published.default)

    # -- for as long as the process runs

    def run(self) -> None:
        """Keep looking until `close`."""
        while not self._ended.is_set():
            self.look()
            self._board.wait(POLL_S)
        with suppress(RedisError, OSError):
            self._board.disown(self._me)

    def start(self) -> None:
        """Keep looking in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="library", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the next look be the last one."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    async def watch(self) -> None:
        """Keep looking, for ever, without holding up the event loop."""
        try:
            await asyncio.to_thread(self.run)
        finally:
            self.close()


def _placed(card: ModelCard, mine: FilesOf) -> ModelCard:
    """Return the card as it is on this machine: its root, or none where the file is not here."""
    path = card.path if mine.sizes.get(card.path) == card.file_size else ""
    if not path and card.sha256 and (found := mine.hashes.get(card.sha256)):
        path = found.path
    if path:
        return card.model_copy(update={"root": str(mine.roots[path]), "path": path})
    return card.model_copy(update={"root": ""})
