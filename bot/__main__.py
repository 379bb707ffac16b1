"""`python -m bot`: wires settings, queue, catalog and the doors whose token is set, and runs them in one event loop."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from bot.asking.sources import Sources
from bot.browsing.previews import Previews
from bot.commands import Commands
from bot.warmth import Warmth
from easel.errors import SettingsError
from easel.job_queue.catalog import CatalogBoard
from easel.job_queue.connect import impatient
from easel.job_queue.queue import JobQueue
from easel.part import run_part
from easel.settings import Settings
from easel.shared_library import SharedLibrary

Door = Callable[[Settings, Commands], Awaitable[None]]


def _doors(settings: Settings) -> list[Door]:
    """Return the doors whose token is set; a network that is not used is not even imported."""
    doors: list[Door] = []
    if settings.discord_token is not None:
        from bot.discord_bot.gateway import run as discord  # noqa: PLC0415

        doors.append(discord)
    if settings.telegram_token is not None:
        from bot.telegram_bot.gateway import run as telegram  # noqa: PLC0415

        doors.append(telegram)
    if not doors:
        raise SettingsError("No token is set: set DISCORD_TOKEN or TELEGRAM_TOKEN, in the environment or in .env.")
    return doors


async def serve(settings: Settings, url: str) -> None:
    """Run the doors until SIGTERM or SIGINT."""
    queue = JobQueue(impatient(url), key=settings.signing_key(), kept_bytes=settings.kept_mb * 2**20)
    board = CatalogBoard(impatient(url), key=settings.signing_key())
    library = SharedLibrary(settings, board, role="bot")
    warmth = Warmth(queue.warm)
    commands = Commands(
        queue,
        lambda: library.catalog,
        is_admin=settings.is_admin,
        sources=Sources.of(settings),
        warm=warmth.names,
        previews=Previews(library.local.models_dirs),
    )
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    # A Redis that hangs must not let the calls of many people wait for each other.
    loop.set_default_executor(ThreadPoolExecutor(32, thread_name_prefix="queue"))
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    running = [asyncio.ensure_future(door(settings, commands)) for door in _doors(settings)]
    watches = [asyncio.ensure_future(library.watch()), asyncio.ensure_future(warmth.watch())]
    stopped = asyncio.ensure_future(stop.wait())
    done, pending = await asyncio.wait([*running, *watches, stopped], return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


def main() -> int:
    return run_part(lambda settings, url: asyncio.run(serve(settings, url)))


if __name__ == "__main__":
    sys.exit(main())
