"""`python -m bot`: wires settings, queue, catalog and the doors whose token is set, and runs them in one event loop."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from bot.asking.sources import Sources
from bot.commands import Commands
from easel.errors import ModelsFileError, SettingsError
from easel.job_queue.connect import impatient, redis_of
from easel.job_queue.queue import JobQueue
from easel.library import WatchedLibrary
from easel.logs import configure_logging
from easel.parent import die_with_parent_if_told
from easel.settings import Settings, load_settings

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
    queue = JobQueue(impatient(url), key=settings.signing_key())
    library = WatchedLibrary(settings)
    commands = Commands(queue, lambda: library.catalog, is_admin=settings.is_admin, sources=Sources.of(settings))
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    # A Redis that hangs must not let the calls of many people wait for each other.
    loop.set_default_executor(ThreadPoolExecutor(32, thread_name_prefix="queue"))
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    running = [asyncio.ensure_future(door(settings, commands)) for door in _doors(settings)]
    watch = asyncio.ensure_future(library.watch())
    stopped = asyncio.ensure_future(stop.wait())
    done, pending = await asyncio.wait([*running, watch, stopped], return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


def main() -> int:
    die_with_parent_if_told()
    try:
        settings = load_settings()
        configure_logging(settings, secrets=[settings.signing_key().decode()])
        with redis_of(settings) as url:
            asyncio.run(serve(settings, url))
    except (SettingsError, ModelsFileError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
