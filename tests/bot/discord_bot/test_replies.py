"""Answers on Discord when Redis, the line or Discord itself is in trouble."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis import Redis

from bot.commands import Commands, job_id_for
from easel.job_queue.connect import impatient
from easel.job_queue.queue import JobQueue
from tests.conftest import KEY
from tests.fakes.discord_door import AT_ONCE_S, a_picture, commands_on, jobs, open_door, placed, until
from tests.fakes.discord_server import FakeDiscord

AWAY = "The queue can not be reached right now. Nothing was started; please try again in a minute."
SORRY = "Something went wrong on my side. Please try again."


@pytest.fixture
async def hung_redis() -> AsyncIterator[str]:
    """A server that takes connections and never says a word."""
    silence = asyncio.Event()

    async def listen(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silence.wait()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    silence.set()
    server.close()


async def test_a_redis_that_hangs_is_told_within_seconds(discord: FakeDiscord, hung_redis: str) -> None:
    with impatient(hung_redis) as redis:
        async with open_door(discord, commands_on(redis, discord, KEY)):
            began = time.monotonic()
            asked = [await discord.slash("imagine", {"prompt": "a cat"}) for _ in range(5)]
            acknowledged = [await interaction.acknowledged for interaction in asked]
            messages = [await interaction.message for interaction in asked]
            took = time.monotonic() - began

    assert max(acknowledged) < AT_ONCE_S
    assert took < 5 * 2
    assert {message.content for message in messages} == {AWAY}
    assert {message.ephemeral for message in messages} == {False}


async def test_a_redis_that_is_gone_is_told(discord: FakeDiscord) -> None:
    with impatient("redis://127.0.0.1:9") as redis:
        async with open_door(discord, commands_on(redis, discord, KEY)):
            interaction = await discord.slash("imagine", {"prompt": "a cat"})
            message = await interaction.message

    assert message.content == AWAY


async def test_a_press_while_redis_is_gone_is_told(discord: FakeDiscord, commands: Commands, queue: JobQueue) -> None:
    async with open_door(discord, commands):
        _, message = await a_picture(discord, queue)
    with impatient("redis://127.0.0.1:9") as redis:
        async with open_door(discord, commands_on(redis, discord, KEY)):
            again = await discord.click(message, "🔄 Again")
            delete = await discord.click(message, "🗑️ Delete")
            said = [await again.message, await delete.wait_for(lambda one: one is not message)]

    assert [(one.content, one.ephemeral) for one in said] == [(AWAY, False), (AWAY, True)]
    assert not message.deleted


async def test_a_lost_answer_to_the_acknowledgement_loses_nothing(
    discord: FakeDiscord, commands: Commands, queue: JobQueue
) -> None:
    async with open_door(discord, commands):
        discord.lose_reply("POST", "/callback$")
        interaction = await discord.slash("imagine", {"prompt": "a cat"})
        message = await interaction.message

    (job,) = jobs(queue)
    assert job.id == job_id_for("discord", interaction.id)
    assert queue.state(job.id).message_id == str(message.id)
    assert all("already been acknowledged" in remark for remark in discord.violations)
    discord.violations.clear()


async def test_a_cut_line_does_not_keep_the_acknowledgement_from_arriving(
    discord: FakeDiscord, commands: Commands, queue: JobQueue
) -> None:
    async with open_door(discord, commands):
        discord.cut("POST", "/callback$", times=2)
        interaction = await discord.slash("imagine", {"prompt": "a cat"})
        await interaction.message

    assert await interaction.acknowledged < 2
    assert len(jobs(queue)) == 1


@pytest.mark.usefixtures("door")
async def test_a_placeholder_that_fails_is_left_to_delivery(
    discord: FakeDiscord, queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    discord.fail_next("PATCH", "@original$", 403, json={"message": "Missing Access", "code": 50001})

    interaction = await discord.slash("imagine", {"prompt": "a cat"})

    await until(lambda: "a message could not be written: 403" in caplog.text)
    (job,) = jobs(queue)
    assert queue.state(job.id).message_id == ""
    assert interaction.original is not None
    assert not interaction.original.deleted


@pytest.mark.usefixtures("door")
async def test_a_placeholder_survives_a_cut_line_and_an_error_of_discord(discord: FakeDiscord, queue: JobQueue) -> None:
    discord.cut("PATCH", "@original$")
    discord.fail_next("PATCH", "@original$", 502)

    interaction = await discord.slash("imagine", {"prompt": "a cat"})

    message = await interaction.message
    (job,) = jobs(queue)
    assert await placed(queue, job) == message.id


async def test_two_processes_with_one_token_queue_one_job_and_write_one_placeholder(
    discord: FakeDiscord, commands: Commands, queue: JobQueue
) -> None:
    async with open_door(discord, commands), open_door(discord, commands):
        await until(lambda: len(discord.gateway.identifies) == 2)
        interaction = await discord.slash("imagine", {"prompt": "a cat"})
        await interaction.message
        await discord.wait_for_call("POST", "/callback$", count=2)

    assert len(jobs(queue)) == 1
    assert len(discord.calls("PATCH", "@original$")) == 1
    assert all("already been acknowledged" in remark for remark in discord.violations)
    discord.violations.clear()


async def test_what_is_in_hand_is_finished_before_the_door_closes(
    discord: FakeDiscord, commands: Commands, queue: JobQueue
) -> None:
    async with open_door(discord, commands):
        discord.delay("POST", "/callback$", 0.5)
        interaction = await discord.slash("imagine", {"prompt": "a cat"})
        await discord.wait_for_call("POST", "/callback$")

    message = await interaction.message
    (job,) = jobs(queue)
    assert queue.state(job.id).message_id == str(message.id)


@pytest.mark.parametrize("name", ["imagine", "help"])
async def test_what_nobody_expected_is_logged_and_apologised_for(
    discord: FakeDiscord, queue: JobQueue, caplog: pytest.LogCaptureFixture, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.discord_bot.gateway.help_text", lambda: 1 / 0)
    commands = Commands(queue, lambda: 1 / 0)  # type: ignore[arg-type, return-value]

    async with open_door(discord, commands):
        interaction = await discord.slash(name, {"prompt": "a cat"} if name == "imagine" else {})
        message = await interaction.message

    assert (message.content, message.ephemeral) == (SORRY, True)
    (record,) = [record for record in caplog.records if record.message == "an interaction failed"]
    assert record.__dict__["job"] == job_id_for("discord", interaction.id)
    assert record.exc_info is not None
    assert "ZeroDivisionError" in caplog.text


async def test_a_redis_that_refuses_is_told_as_one_that_is_away(discord: FakeDiscord, redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        commands = commands_on(redis, discord, KEY)
        redis.hset(commands.queue.rq.key, "not", "a list")
        async with open_door(discord, commands):
            interaction = await discord.slash("imagine", {"prompt": "a cat"})
            message = await interaction.wait_for(lambda one: one.content != "")

    assert message.content == AWAY


async def test_what_nobody_expected_of_the_queue_leaves_nobody_thinking(
    discord: FakeDiscord, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Redis.from_url(redis_url) as redis:
        commands = commands_on(redis, discord, "no bytes")  # type: ignore[arg-type]
        async with open_door(discord, commands):
            interaction = await discord.slash("imagine", {"prompt": "a cat"})
            message = await interaction.wait_for(lambda one: one.content != "")

    assert (message.content, message.ephemeral) == (SORRY, True)
    assert interaction.original is not None
    assert interaction.original.deleted
    assert "TypeError" in caplog.text


async def test_what_nobody_expected_of_a_press_leaves_nobody_thinking(
    discord: FakeDiscord, commands: Commands, queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_door(discord, commands):
        _, message = await a_picture(discord, queue)
    broken = Commands(queue, lambda: 1 / 0)  # type: ignore[arg-type, return-value]

    async with open_door(discord, broken):
        press = await discord.click(message, "🔄 Again")
        answer = await press.wait_for(lambda one: one.content == SORRY)

    assert answer.ephemeral
    assert [one for one in press.messages if not one.deleted] == [answer]
    assert "ZeroDivisionError" in caplog.text
    assert len(jobs(queue)) == 1


@pytest.mark.usefixtures("door")
async def test_a_placeholder_out_of_time_is_left_to_delivery(
    discord: FakeDiscord, queue: JobQueue, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.discord_bot.replies.PLACEHOLDER_S", 0.2)
    discord.delay("PATCH", "@original$", 1.0)

    await discord.slash("imagine", {"prompt": "a cat"})

    await until(lambda: "left to delivery: out of time" in caplog.text)
    (job,) = jobs(queue)
    assert queue.state(job.id).message_id == ""
