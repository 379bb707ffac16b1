"""`python -m worker.delivery`: wires settings, queue and writers, and delivers until SIGTERM."""

import asyncio
import os
import signal
import socket
import sys

import aiohttp

from easel.errors import SettingsError
from easel.job_queue.connect import patient, redis_of
from easel.job_queue.queue import JobQueue
from easel.logs import configure_logging
from easel.parent import die_with_parent_if_told
from easel.settings import Settings, load_settings
from worker.delivery.api import Api
from worker.delivery.discord import DiscordWriter, discord_headers
from worker.delivery.loop import Deliverer
from worker.delivery.message import Writer
from worker.delivery.telegram import TelegramWriter


def _writers(settings: Settings, session: aiohttp.ClientSession) -> dict[str, Writer]:
    writers: dict[str, Writer] = {}
    if settings.discord_token is not None:
        headers = discord_headers(settings.discord_token.get_secret_value())
        writers["discord"] = DiscordWriter(Api(session, headers), base=settings.discord_api_base)
    if settings.telegram_token is not None:
        token = settings.telegram_token.get_secret_value()
        writers["telegram"] = TelegramWriter(Api(session), token=token, base=settings.telegram_api_base)
    return writers


async def deliver(settings: Settings, url: str) -> None:
    """Deliver until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    queue = JobQueue(patient(url), key=settings.signing_key())
    async with aiohttp.ClientSession(trust_env=True) as session:
        name = f"{socket.gethostname()}-{os.getpid()}"
        await Deliverer(queue, _writers(settings, session), name=name).run(url, stop)


def main() -> int:
    die_with_parent_if_told()
    try:
        settings = load_settings()
        configure_logging(settings, secrets=[settings.signing_key().decode()])
        with redis_of(settings) as url:
            asyncio.run(deliver(settings, url))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
