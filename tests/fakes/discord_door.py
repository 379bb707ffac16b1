"""The Discord door for tests: opened on a fake Discord, used by its people, and closed with nothing left in hand."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from redis import Redis

from bot.asking.sources import Sources
from bot.commands import Commands
from bot.discord_bot.gateway import run
from easel.buttons import LABELS, Button, button_id
from easel.catalog import Base, Catalog, ModelCard, ModelKind
from easel.job_queue.queue import JobQueue
from easel.jobs import Job
from easel.settings import Settings, load_settings
from tests.fakes.discord_messages import Message
from tests.fakes.discord_server import FakeDiscord

T = TypeVar("T")

AT_ONCE_S = 2.0
"""A tenth of that on a free machine; after three seconds Discord gives up."""


def a_catalog() -> Catalog:
    names = ("easel-demo", "dreamshaper-8")
    return Catalog(
        [ModelCard(name=name, kind=ModelKind.CHECKPOINT, base=Base.SD15, path=name, root="0") for name in names]
    )


def settings_for(discord: FakeDiscord, **changes: str) -> Settings:
    """Return settings as they are written, without a gateway: Discord says where that is."""
    written = {
        "DISCORD_TOKEN": discord.token,
        "DISCORD_API_BASE": discord.api_base,
        "EASEL_ADMINS": f"discord:{discord.owner.id}",
    }
    return load_settings(written | changes)


def commands_on(redis: "Redis", discord: FakeDiscord, key: bytes, **changes: str) -> Commands:
    catalog, settings = a_catalog(), settings_for(discord, **changes)
    return Commands(JobQueue(redis, key=key), lambda: catalog, is_admin=settings.is_admin, sources=Sources.of(settings))


@contextlib.asynccontextmanager
async def open_door(discord: FakeDiscord, commands: Commands, settings: Settings | None = None) -> AsyncIterator[None]:
    """Serve until the block ends; raises what ended the door before."""
    door = asyncio.ensure_future(run(settings or settings_for(discord), commands))
    try:
        await until(lambda: door.done() or discord.gateway.ready)
        if not door.done():
            yield
    finally:
        door.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await door


async def until(look: Callable[[], T], timeout_s: float = 60) -> T:
    """Return what `look` finds, once it is truthy."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, "not seen in time"
        await asyncio.sleep(0.005)
    return found


def jobs(queue: JobQueue) -> list[Job]:
    """Return what is queued, the oldest first."""
    return [queue.state(job_id).job for job_id in queue.rq.job_ids]


async def placed(queue: JobQueue, job: Job) -> int:
    """Return the message that was handed to delivery."""
    return int(await until(lambda: queue.state(job.id).message_id))


async def a_picture(
    discord: FakeDiscord, queue: JobQueue, *, count: int = 1, size: str = "512x512", **where: Any
) -> tuple[Job, Message]:
    """Ask for a picture as alice, and put the buttons under it as delivery does."""
    filled = {"prompt": "a red apple", "seed": 5, "count": count, "size": size}
    interaction = await discord.slash("imagine", filled, **where)
    message = await interaction.message
    job = jobs(queue)[-1]
    await placed(queue, job)
    put_buttons(message, job, queue.key)
    return job, message


def put_buttons(message: Message, job: Job, key: bytes, **ids: str) -> None:
    """Put the buttons of `job` under a message, or others in their place: verb -> id."""
    row = [
        {
            "type": 2,
            "id": n,
            "style": 2,
            "label": label,
            "custom_id": ids.get(verb, button_id(Button(verb, job.id), key)),
        }
        for n, (verb, label) in enumerate(LABELS.items(), start=2)
    ]
    state = message.state
    message.edit(type(state)(content="**a red apple**", components=({"type": 1, "id": 1, "components": row},)))
