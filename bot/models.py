"""`easel models`: what lies in the models folders, told, checked and added to at the command line; without torch."""

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from easel import words
from easel.catalog import Catalog, ModelCard, ModelKind
from easel.errors import BadValue, ModelUnusable, UnknownModel
from easel.identify.file import PICKLES, identify
from easel.identify.header import read_header
from easel.job_queue.catalog import CatalogBoard
from easel.job_queue.connect import impatient
from easel.library import WatchedLibrary
from easel.model_cards import Known
from easel.model_facts import Facts, place_of
from easel.model_folders import SUFFIXES
from easel.model_hashes import hash_file
from easel.model_import import import_model
from easel.names import Names
from easel.settings import Settings, load_settings
from easel.shared_library import SharedLibrary


def _console() -> Console:
    # Into a pipe, a line is as long as it needs to be.
    return Console(width=None if sys.stdout.isatty() else 200)


@contextmanager
def _catalog(settings: Settings) -> Iterator[tuple[WatchedLibrary, Catalog, Sequence[str]]]:
    """Lend what lies here, the catalog that everybody sees, and what is wrong."""
    if settings.redis_url is None:
        local = WatchedLibrary(settings, tell=False)
        yield local, local.catalog, local.problems
        return
    with impatient(settings.redis_url.get_secret_value()) as connection:
        shared = SharedLibrary(settings, CatalogBoard(connection, key=settings.signing_key()), role="guest")
        yield shared.local, shared.look(), shared.problems


def kind_of(word: str) -> ModelKind | None:
    """Read a kind, None for an empty word; raises BadValue."""
    if not word:
        return None
    try:
        return ModelKind(word.strip().lower())
    except ValueError:
        raise BadValue(f"`{word}` is no kind of model; there are {', '.join(ModelKind)}.") from None


# -- list and info


def list_models(kind: str, search: str) -> None:
    """Print one line for each model, and what is wrong."""
    console = _console()
    only = kind_of(kind)
    with _catalog(load_settings()) as (_, catalog, problems):
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("name", "kind", "base", "family", "size", "trigger words", ""):
            table.add_column(column, justify="right" if column == "size" else "left", overflow="fold")
        count = 0
        for one in ModelKind if only is None else [only]:
            cards = catalog.search(one, search, limit=10**6) if search else catalog.cards(one)
            for card in cards:
                table.add_row(*map(Text, _row(card)))
            count += len(cards)
        console.print(table if count else "There are no such models." if search or only else "There are no models yet.")
        for problem in () if search or only else problems:
            console.print(problem, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _row(card: ModelCard) -> tuple[str, ...]:
    remarks = ["" if card.installed else "its file is missing", "nsfw" if card.nsfw else ""]
    remarks += ["inpainting" if card.in_channels == 9 else "", *(card.workers or ())]
    return (
        card.name,
        card.kind.noun,
        words.base(card.base) if card.base else "",
        card.family,
        words.size(card.file_size) if card.file_size else "",
        ", ".join(card.trigger_words),
        ", ".join(filter(None, remarks)),
    )


def show(name: str, kind: str) -> None:
    """Print all that is known about a model."""
    console = _console()
    with _catalog(load_settings()) as (local, catalog, problems):
        for card in _named(catalog, name, kind_of(kind)):
            table = Table(box=None, pad_edge=False, show_header=False)
            for field, value in _facts(card, local):
                if value:
                    table.add_row(Text(field, style="bold"), Text(value))
            console.print(table)
            for problem in problems:
                if f"`{card.name}`" in problem or (card.path and card.path in problem):
                    console.print(problem, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _named(catalog: Catalog, name: str, kind: ModelKind | None) -> list[ModelCard]:
    """Return the models of that name, of every kind; raises UnknownModel."""
    if kind is not None:
        return [catalog.model(kind, name)]
    found = []
    for one in ModelKind:
        try:
            found.append(catalog.model(one, name))
        except UnknownModel:
            continue
    if not found:
        cards = sorted({card.name for card in catalog.all})
        raise UnknownModel("model", name, [cards[n] for n in Names([[one] for one in cards]).nearest(name)])
    return found


def _facts(card: ModelCard, local: WatchedLibrary) -> Iterator[tuple[str, str]]:
    facts = _known(card, local)
    yield "name", card.name
    yield "title", card.title
    algorithm = facts.seen.algorithm if facts else ""
    yield "kind", card.kind.noun if algorithm in {"", "lora"} else f"{card.kind.noun} ({algorithm})"
    yield "base", words.base(card.base) if card.base else "unknown"
    yield "family", card.family
    yield "prediction", card.prediction_type + (" with zero terminal SNR" if card.zero_snr else "")
    yield "channels", "9, for inpainting" if card.in_channels == 9 else ""
    yield "prompt width", str(card.context_dim or "")
    yield "vectors", str(facts.seen.vectors or "") if facts else ""
    yield "trigger words", ", ".join(card.trigger_words)
    yield "aliases", ", ".join(card.aliases)
    yield "defaults", ", ".join(f"{key} {value}" for key, value in card.defaults.model_dump(exclude_none=True).items())
    yield "size", f"{words.size(card.file_size)} ({card.file_size:,} bytes)" if card.file_size else ""
    yield "file", str(local.models_dirs[int(card.root)] / card.path) if card.root else f"{card.path} (not here)"
    yield "on", ", ".join(card.workers or ())
    waiting = card.root and PurePosixPath(card.path).suffix.lower() in SUFFIXES
    yield "SHA-256", card.sha256 or ("not computed yet" if waiting else "")
    yield "AutoV2", card.sha256[:10]
    yield "AutoV3", card.autov3
    yield "nsfw", "yes" if card.nsfw else ""
    yield "only for roles", ", ".join(card.roles)
    yield "only in chats", ", ".join(card.chats)
    yield "source", card.source
    yield "notes", card.notes
    yield "preview", card.preview


def _known(card: ModelCard, local: WatchedLibrary) -> Facts | None:
    place = (card.root, card.path)
    return next((facts for found, facts in local.shown.known if (str(found.root), found.path) == place), None)


# -- verify


def verify(name: str) -> int:
    """Read every file of this machine, or that of one model, from end to end; return 1 where one is damaged."""
    console = _console()
    settings = load_settings()
    local = WatchedLibrary(settings, tell=False)
    files = _chosen(local, name)
    written = {card.name: card.sha256 for card in local.shown.models.cards}
    said = {card.path: written.get(card.name, "") for card in local.catalog.all}
    damaged = 0
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=sum(found.size for _, (found, _) in files))
        for path, (found, facts) in files:
            bar.update(task, description=found.path)
            try:
                problem = _damage(path)
                if not problem and path.is_file():
                    hashed = hash_file(path, facts.seen.kind, lambda count: bar.advance(task, count))
                    problem = _difference(hashed.sha256, facts, said.get(found.path, ""))
                    if not problem and not facts.seen.problem:
                        local.remember(path, found, hashed)
            except OSError as error:
                problem = f"It can not be read: {error.strerror}."
            damaged += bool(problem)
            verdict = problem or (f"whole, but not used: {facts.seen.problem}" if facts.seen.problem else "whole")
            console.print(f"{found.path}: {verdict}", markup=False, highlight=False, soft_wrap=True)
    local.save_hashes()
    console.print(f"{len(files)} {'file' if len(files) == 1 else 'files'}, {damaged} damaged.", highlight=False)
    return int(damaged > 0)


def _chosen(local: WatchedLibrary, name: str) -> list[tuple[Path, Known]]:
    roots = [root.resolve() for root in local.models_dirs]
    places = None if not name else {(card.root, card.path) for card in _named(local.catalog, name, None) if card.root}
    files = [(Path(place_of(roots, found)), (found, facts)) for found, facts in local.shown.known]
    chosen = [one for one in files if places is None or (str(one[1][0].root), one[1][0].path) in places]
    if name and not chosen:
        raise ModelUnusable(f"The file of `{name}` is not in the models folders of this machine.")
    return chosen


def _damage(path: Path) -> str:
    """Return what is wrong with a file's own order, "" where it is whole, known to us or not."""
    if path.is_dir() or path.suffix.lower() in PICKLES:
        return identify(path, ModelKind.CHECKPOINT).problem
    try:
        read_header(path)
    except ModelUnusable as error:
        return str(error)
    return ""


def _difference(sha256: str, facts: Facts, said: str) -> str:
    known = {
        "the hash that was computed before, though its date is the same": facts.sha256,
        "the hash in models.yaml": said,
        "the hash that its site gives": facts.beside.sha256,
    }
    wrong = [where for where, other in known.items() if other not in {"", sha256}]
    return f"It is damaged, or another version: its SHA-256 is not {' nor '.join(wrong)}." if wrong else ""


# -- import


def bring(paths: Iterable[Path], *, move: bool, kind: str) -> None:
    """Import files, each told by its content, and print what they are called now; raises ModelUnusable."""
    console = _console()
    settings = load_settings()
    wanted = kind_of(kind)
    for path in paths:
        roots = tuple(settings.models_dir)
        imported = import_model(path, roots[0], kind=wanted, move=move, roots=roots)
        local = WatchedLibrary(settings, tell=False)
        inner = imported.path.relative_to(roots[0]).as_posix()
        cards = [card for card in local.catalog.all if card.root and card.path == inner]
        named = f"called `{cards[0].name}`: {words.model_facts(cards[0])}" if cards else "which is not used yet"
        for line in (f"{inner} is here, {named}.", *imported.notes):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


# -- merge


def merge(checkpoints: Sequence[str], weight: float, *, add_difference: bool, loras: Sequence[str], out: str) -> int:
    """Let a process with torch merge checkpoints; return its exit status."""
    options = [f"--weight={weight}", *(f"--lora={one}" for one in loras), *([f"--out={out}"] if out else [])]
    options += ["--add-difference"] if add_difference else []
    return subprocess.run(
        [sys.executable, "-m", "worker.merging", *options, "--", *checkpoints], check=False
    ).returncode
