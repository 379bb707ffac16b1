"""`python -m worker.delivery`: wires settings, queue and writers, and delivers until SIGTERM."""

import asyncio
import os
import signal
import socket
import sys

import aiohttp

from easel.job_queue.connect import patient
from easel.job_queue.queue import JobQueue
from easel.part import run_part
from easel.settings import Settings
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
        writers = _writers(settings, session)
        await Deliverer(queue, writers, name=name, previews=settings.previews).run(url, stop)


def main() -> int:
    return run_part(lambda settings, url: asyncio.run(deliver(settings, url)))


if __name__ == "__main__":
    sys.exit(main())
