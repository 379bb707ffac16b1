"""The Telegram door for tests: opened on a fake Telegram, written to, and closed with nothing left in hand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from redis import Redis

from bot.asking.sources import Sources
from bot.commands import Commands
from bot.telegram_bot.gateway import run
from easel.buttons import LABELS, Button, button_id
from easel.catalog import Base, Catalog, ModelCard, ModelKind
from easel.job_queue.queue import JobQueue
from easel.jobs import Job
from easel.settings import Settings, load_settings
from tests.fakes.telegram_client import post
from tests.fakes.telegram_messages import Chat, Message, User
from tests.fakes.telegram_server import FakeTelegram

OWNER = User(6_134_567_890, "Carol", "carol_hosts")
"""Is on EASEL_ADMINS."""


def a_catalog() -> Catalog:
    names = ("easel-demo", "dreamshaper-8")
    return Catalog(
        [ModelCard(name=name, kind=ModelKind.CHECKPOINT, base=Base.SD15, path=name, root="0") for name in names]
    )


def settings_for(telegram: FakeTelegram, **changes: str) -> Settings:
    written = {
        "TELEGRAM_TOKEN": telegram.token,
        "TELEGRAM_API_BASE": telegram.api_base,
        "TELEGRAM_FILE_BASE": telegram.file_base,
        "EASEL_ADMINS": f"telegram:{OWNER.id}",
    }
    return load_settings(written | changes)


def commands_on(redis: "Redis", telegram: FakeTelegram, key: bytes, **changes: str) -> Commands:
    catalog, settings = a_catalog(), settings_for(telegram, **changes)
    return Commands(JobQueue(redis, key=key), lambda: catalog, is_admin=settings.is_admin, sources=Sources.of(settings))


@contextlib.asynccontextmanager
async def open_door(telegram: FakeTelegram, commands: Commands) -> AsyncIterator[None]:
    """Serve until the block ends; everything the bot was told by then has been dealt with."""
    door = asyncio.create_task(run(settings_for(telegram), commands))
    try:
        await telegram.wait_for(lambda: door.done() or telegram.calls("getUpdates"))
        yield
        await telegram.wait_for(lambda: door.done() or not telegram.mailbox.pending)
    finally:
        door.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await door


async def answer_to(telegram: FakeTelegram, said: Message, timeout: float = 5.0) -> Message:
    """Return the bot's first reply to `said`."""
    return await telegram.wait_for(
        lambda: next((one for one in said.chat.from_bot if one.reply_to is said), None), timeout
    )


async def ask(telegram: FakeTelegram, text: str, **where: Any) -> Message:
    return await answer_to(telegram, await telegram.send(text, **where))


def jobs(queue: JobQueue) -> list[Job]:
    """Return what is queued, the oldest first."""
    return [queue.state(job_id).job for job_id in queue.rq.job_ids]


async def a_picture(telegram: FakeTelegram, queue: JobQueue, chat: Chat, **who: Any) -> tuple[Job, Message]:
    """Ask for a picture as Alice, and put the buttons under it as delivery does."""
    message = await ask(telegram, "/imagine a red apple --seed 5", chat=chat, **who)
    job = jobs(queue)[-1]
    await telegram.wait_for(lambda: queue.state(job.id).message_id)
    row = [
        {"text": label, "callback_data": button_id(Button(verb, job.id), queue.key)} for verb, label in LABELS.items()
    ]
    there = {"chat_id": chat.id, "message_id": message.message_id, "text": "a red apple"}
    await post(telegram, "editMessageText", **there, reply_markup={"inline_keyboard": [row]})
    return job, message
