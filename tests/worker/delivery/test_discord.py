import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from easel.buttons import rows
from easel.job_queue.queue import JobQueue
from easel.jobs import Asker, DiscordAddress, Job
from tests.fakes.discord_interaction import Interaction
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.discord_wire import Wire
from tests.fakes.jobs import a_request
from tests.fakes.results import a_picture, end, is_running
from worker.delivery.api import Api
from worker.delivery.discord import DiscordWriter, discord_headers
from worker.delivery.loop import Deliverer

COMMAND = {"name": "imagine", "description": "Draw", "type": 1}


@pytest.fixture
async def discord() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord() as server:
        yield server
        assert server.violations == []
        assert server.own_faults == []


@asynccontextmanager
async def delivering(queue: JobQueue, redis_url: str, discord: FakeDiscord) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with aiohttp.ClientSession() as session:
        writer = DiscordWriter(Api(session, discord_headers(discord.token)), base=discord.api_base)
        running = asyncio.create_task(Deliverer(queue, {"discord": writer}, name="d").run(redis_url, stop))
        yield
        stop.set()
        await running


async def asked(
    queue: JobQueue, discord: FakeDiscord, *, waited_s: float = 0.0, bot_in_channel: bool = True, placed: bool = True
) -> tuple[Job, Interaction]:
    """Ask for a picture, defer and write the placeholder, as the door does."""
    async with aiohttp.ClientSession() as session:
        wire = Wire(discord, session)
        await wire.send("PUT", f"/applications/{discord.application_id}/commands", [COMMAND])
        interaction = await discord.slash("imagine")
        await wire.acknowledge(interaction)
        job = Job(
            id=f"job{interaction.id}"[:24],
            request=a_request(prompt="a *red* apple @everyone <@1> [x](http://evil.example)"),
            asker=Asker(network="discord", id=str(discord.alice.id)),
            reply_to=DiscordAddress(
                application_id=str(discord.application_id),
                interaction_token=interaction.token,
                created_at=time.time() - waited_s,
                channel_id=str(discord.general.id),
                guild_id=str(discord.guild_id),
                bot_in_channel=bot_in_channel,
            ),
            asked_at=time.time() - waited_s,
        )
        await asyncio.to_thread(queue.put, job)
        if placed:
            _, body = await wire.hook(
                "PATCH", interaction, body={"content": "Queued", "allowed_mentions": {"parse": []}}
            )
            await asyncio.to_thread(queue.placed, job.id, body["id"])
    return job, interaction


async def until(check: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def test_the_deferred_message_shows_progress_and_becomes_the_picture(
    queue: JobQueue, redis_url: str, discord: FakeDiscord
) -> None:
    job, interaction = await asked(queue, discord)

    async with delivering(queue, redis_url, discord):
        is_running(queue, job, 2, 4)
        await interaction.wait_for(lambda message: "step 2 of 4" in message.content)
        end(queue, job, a_picture("red"), a_picture("green"))
        message = await interaction.wait_for(lambda message: len(message.attachments) == 2)

    assert [button.label for button in message.buttons] == [label for row in rows(2) for label, _, _ in row]
    assert "seed 1 · 4 steps" in message.content.replace("\\", "")
    assert message.history[-1].via == "bot"
    assert all(call.allowed_mentions == {"parse": []} for call in discord.requests if call.says_something)
    assert not message.pings


async def test_a_prompts_markup_is_shown_literally(queue: JobQueue, redis_url: str, discord: FakeDiscord) -> None:
    job, interaction = await asked(queue, discord)
    end(queue, job, a_picture())

    async with delivering(queue, redis_url, discord):
        message = await interaction.wait_for(lambda message: bool(message.attachments))

    assert "a \\*red\\* apple @everyone \\<@1\\> \\[x\\]\\(http://evil.example\\)" in message.content


async def test_the_picture_comes_by_bot_token_when_the_interaction_is_over(
    queue: JobQueue, redis_url: str, discord: FakeDiscord
) -> None:
    job, interaction = await asked(queue, discord, waited_s=3600)
    interaction.expire()
    end(queue, job, a_picture())

    async with delivering(queue, redis_url, discord):
        message = await interaction.wait_for(lambda message: bool(message.attachments))
        await discord.wait_for_message(lambda message: "your picture is ready" in message.content)

    assert message.history[-1].via == "bot"
    pings = [one for one in discord.messages_in() if one.pings]
    assert [sorted(ping.pings) for ping in pings] == [[str(discord.alice.id)]]
    assert len(discord.messages_in()) == 2


async def test_a_placeholder_that_a_moderator_deleted_is_replaced_by_one_message(
    queue: JobQueue, redis_url: str, discord: FakeDiscord
) -> None:
    job, interaction = await asked(queue, discord, waited_s=1000)
    interaction.expire()
    await discord.moderate_away(await interaction.message)
    end(queue, job, a_picture())
    discord.lose_reply("POST", r"/channels/\d+/messages")

    async with delivering(queue, redis_url, discord):
        await discord.wait_for_call("POST", r"/channels/\d+/messages", count=2)
        await until(lambda: queue.state(job.id).delivered)

    pictures = [message for message in discord.messages_in() if message.attachments]
    assert len(pictures) == 1
    assert f"<@{discord.alice.id}>" in pictures[0].content


async def test_where_the_bot_has_no_access_the_interaction_carries_the_picture(
    queue: JobQueue, redis_url: str, discord: FakeDiscord
) -> None:
    job, interaction = await asked(queue, discord, bot_in_channel=False)
    end(queue, job, a_picture())

    async with delivering(queue, redis_url, discord):
        message = await interaction.wait_for(lambda message: bool(message.attachments))

    assert message.history[-1].via == "interaction"


async def test_a_channel_closed_to_the_bot_ends_the_job_without_a_storm(
    queue: JobQueue, redis_url: str, discord: FakeDiscord
) -> None:
    job, interaction = await asked(queue, discord, waited_s=1000)
    interaction.expire()
    discord.general.forbidden = True
    end(queue, job, a_picture())

    async with delivering(queue, redis_url, discord):
        await until(lambda: queue.state(job.id).delivered)

    assert queue.state(job.id).delivered
    refused = [call for call in discord.requests if call.status == 403]
    assert len(refused) <= 2


async def test_429_and_5xx_are_waited_out_and_the_picture_comes_once(
    queue: JobQueue, redis_url: str, discord: FakeDiscord
) -> None:
    job, interaction = await asked(queue, discord)
    limited = {"message": "You are being rate limited.", "retry_after": 1.5, "global": False}
    discord.fail_next("PATCH", r"/channels/\d+/messages/\d+", 429, json=limited)
    discord.fail_next("PATCH", r"/channels/\d+/messages/\d+", 503)
    discord.lose_reply("PATCH", r"/channels/\d+/messages/\d+")
    end(queue, job, a_picture())

    async with delivering(queue, redis_url, discord):
        await interaction.wait_for(lambda message: bool(message.attachments), timeout_s=20)
        await until(lambda: queue.state(job.id).delivered)

    assert queue.state(job.id).delivered
    assert len(discord.messages_in()) == 1
    assert discord.unused_troubles == []


async def test_delivery_writes_the_placeholder_when_the_door_died_before_it(
    queue: JobQueue, redis_url: str, discord: FakeDiscord
) -> None:
    job, interaction = await asked(queue, discord, placed=False)
    queue.connection.delete(f"easel:mouth:{job.id}")
    queue.connection.zadd("easel:owed", {job.id: 0})

    async with delivering(queue, redis_url, discord):
        message = await interaction.wait_for(lambda message: "No worker is running yet" in message.content)
        await until(lambda: queue.state(job.id).message_id == str(message.id))
        end(queue, job, a_picture())
        await interaction.wait_for(lambda message: bool(message.attachments))
