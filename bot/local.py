"""Easel on one machine: `easel up`, and `easel imagine` which starts what it needs and waits for the picture."""

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from bot.asking.pictures import PICTURES, Attached
from bot.asking.place import OWN
from bot.asking.sources import Sources
from bot.commands import Commands, Placed
from bot.processes import Family
from easel import words
from easel.errors import BadValue, QueueDown, RenderError, SettingsError
from easel.job_queue.catalog import CatalogBoard
from easel.job_queue.connect import impatient, redis_of
from easel.job_queue.queue import JobQueue, JobState, Status
from easel.jobs import Asker, FolderAddress, ImageResult, new_job_id
from easel.logs import configure_logging
from easel.parent import child_words
from easel.settings import Settings, load_settings
from easel.shared_library import SharedLibrary

POLL_S = 0.05
START_S = 120
"""A worker that was started here and does not appear within this time never will."""


def _has_worker_parts() -> bool:
    """Whether this machine can paint: asked without importing anything heavy."""
    return all(importlib.util.find_spec(name) for name in ("torch", "diffusers", "transformers"))


# -- easel up


def up() -> int:
    """Run everything until Ctrl+C; return the exit status."""
    settings = load_settings()
    configure_logging(settings, secrets=[settings.signing_key().decode()])
    console = Console(stderr=True)
    with redis_of(settings):
        parts = _parts(settings, console)
        console.print("Stop with Ctrl+C.")
        status = Family(parts, settings.environment()).run()
        console.print("Stopped.")
    return status


def _parts(settings: Settings, console: Console) -> dict[str, str]:
    """Say in plain words what runs and what is missing; return part -> module."""
    parts: dict[str, str] = {}
    where = "your Redis" if settings.redis_url is not None else f"the built-in server in {settings.data_dir}"
    console.print(f"Queue: {where}.")
    if _has_worker_parts():
        parts["worker"] = "worker"
        console.print(f"Worker: {settings.device or 'every visible device'}.")
    else:
        console.print("Worker: none here, as torch is not installed (pip install -c constraints.txt -e '.[worker]').")
    doors = {"Discord": settings.discord_token, "Telegram": settings.telegram_token}
    for name, token in doors.items():
        missing = f"off; set {name.upper()}_TOKEN in .env to turn it on"
        console.print(f"{name}: {'on' if token is not None else missing}.")
    if any(doors.values()):
        parts |= {"delivery": "worker.delivery", "bot": "bot"}
    else:
        console.print('Try `easel imagine "a red apple"` in another window.')
    return parts


# -- easel imagine


def imagine(form: Mapping[str, object], out: Path) -> None:
    """Draw pictures into `out`, print where they are and how they were made."""
    settings = load_settings(log_level="WARNING") if "EASEL_LOG_LEVEL" not in os.environ else load_settings()
    configure_logging(settings, secrets=[settings.signing_key().decode()])
    console = Console()
    # A `kill` unwinds like Ctrl+C, so that nothing started here is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        url = stack.enter_context(redis_of(settings))
        queue = JobQueue(impatient(url), key=settings.signing_key(), kept_bytes=settings.kept_mb * 2**20)
        library = SharedLibrary(settings, CatalogBoard(queue.connection, key=queue.key), role="guest")
        library.look()
        commands = Commands(queue, lambda: library.catalog, sources=Sources.of(settings))
        wish = commands.wish(asyncio.run(commands.open(with_files(form))), OWN)
        asker = Asker(network="local", id=os.environ.get("USER", "me"))
        jobs = commands.draw_all(wish, asker=asker, reply_to=FolderAddress(), job_id=new_job_id())
        for note in wish.notes:
            console.print(note, highlight=False, markup=False, soft_wrap=True)
        if queue.workers() == 0:
            stack.enter_context(_worker(settings))
        stack.enter_context(_cancelling(queue, jobs))
        for placed in jobs:
            _show(queue, _wait(queue, placed.job.id, console), out, console)


def with_files(form: Mapping[str, object]) -> dict[str, object]:
    """Return the form with files where it names some: at the command line a picture is a path or an address."""
    return {
        name: Attached(partial(_read, Path(value)))
        if name in PICTURES and isinstance(value, str) and not value.lower().startswith(("http://", "https://"))
        else value
        for name, value in form.items()
    }


async def _read(path: Path) -> bytes:
    try:
        return await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise BadValue(f"The file `{path}` can not be read: {error.strerror}.") from error


@contextmanager
def _cancelling(queue: JobQueue, jobs: Sequence[Placed]) -> Iterator[None]:
    """Leave nothing in the queue that nobody waits for any more."""
    try:
        yield
    except BaseException:
        with suppress(QueueDown):
            for placed in jobs:
                queue.cancel(placed.job.id)
        raise


@contextmanager
def _worker(settings: Settings) -> Iterator[None]:
    """Lend a worker for one picture."""
    if not _has_worker_parts():
        raise SettingsError(
            "No worker is running, and this machine can not be one: install it with "
            "`pip install -c constraints.txt -e '.[worker]'`, or start `easel worker` elsewhere."
        )
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", *child_words()],
        env={**os.environ, **settings.environment()},
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait(queue: JobQueue, job_id: str, console: Console) -> ImageResult:
    """Show progress until there is a result."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("Starting the worker", total=None)
        deadline = time.monotonic() + START_S
        while (state := queue.state(job_id)).status is not Status.OVER:
            if state.status is Status.LOST:
                raise RenderError("The job was lost on the way. Please try again.")
            if queue.workers():
                deadline = time.monotonic() + START_S
            elif time.monotonic() > deadline:
                raise RenderError("No worker starts. What it said stands above; `easel worker` shows more.")
            _advance(bar, task, state, queue)
            time.sleep(POLL_S)
        total = state.job.request.steps
        bar.update(task, description="Done", total=total, completed=total)
    assert state.result is not None
    return state.result


def _advance(bar: Progress, task: TaskID, state: JobState, queue: JobQueue) -> None:
    if state.status is Status.QUEUED:
        starting = queue.workers() == 0
        bar.update(task, description="Starting the worker" if starting else words.queued(state.place, 1), total=None)
    elif state.progress is None or state.progress.step == 0:
        bar.update(task, description="Loading the model", total=None)
    else:
        step, total = state.progress.step, state.progress.total
        bar.update(task, description=f"Step {step} of {total}", total=total, completed=step)


def _show(queue: JobQueue, result: ImageResult, out: Path, console: Console) -> None:
    if result.failure is not None:
        raise RenderError(result.failure.text)
    out.mkdir(parents=True, exist_ok=True)
    for n, name in enumerate(result.pictures):
        file = _unused(out / f"{time.strftime('%Y%m%d-%H%M%S')}-{result.request.seed + n}.png")
        file.write_bytes(queue.picture(name))
        console.print(str(file), highlight=False, soft_wrap=True)
    console.print(words.finished(result), highlight=False, markup=False, soft_wrap=True)


def _unused(file: Path) -> Path:
    """Return `file`, or another name beside it where that is taken: two prompts may have one seed."""
    others = (file.with_stem(f"{file.stem}-{n}") for n in count(2))
    return file if not file.exists() else next(other for other in others if not other.exists())
