"""The Telegram door's life, over the wire: its start, its token, and its troubles."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.commands import Commands
from bot.telegram_bot.gateway import SORRY, run
from easel.catalog import Catalog
from easel.errors import QueueDown, SettingsError
from easel.job_queue.connect import impatient
from easel.job_queue.queue import JobQueue, Status
from tests.fakes.telegram_client import post
from tests.fakes.telegram_door import a_picture, answer_to, ask, commands_on, jobs, open_door, settings_for
from tests.fakes.telegram_server import FakeTelegram

QUEUE_DOWN = str(QueueDown())


@contextlib.asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """A Redis that takes the call and never says a word."""
    hung_up = asyncio.Event()

    async def listen(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hung_up.wait()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    hung_up.set()
    server.close()
    await server.wait_closed()


@contextlib.asynccontextmanager
async def no_server() -> AsyncIterator[str]:
    async with silent_server() as url:
        pass
    yield url


# -- the token


async def test_a_refused_token_is_one_sentence_and_one_call(
    telegram: FakeTelegram, commands: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(telegram)
    telegram.token = "1:somebody-elses"

    with pytest.raises(SettingsError, match="Telegram refuses TELEGRAM_TOKEN") as refused:
        await run(settings, commands)

    assert settings.telegram_token is not None
    token = settings.telegram_token.get_secret_value()
    assert token not in f"{refused.value} {refused.value.__cause__} {caplog.text}"
    assert len(telegram.requests) == 1


async def test_a_token_revoked_later_ends_the_door(telegram: FakeTelegram, commands: Commands) -> None:
    door = asyncio.create_task(run(settings_for(telegram), commands))
    await telegram.wait_for(lambda: telegram.calls("getUpdates"))

    telegram.token = "1:somebody-elses"
    await telegram.send("/help")

    with pytest.raises(SettingsError, match="Telegram refuses TELEGRAM_TOKEN"):
        await asyncio.wait_for(door, 5)


async def test_no_token_is_said_to_be_missing(telegram: FakeTelegram, commands: Commands) -> None:
    with pytest.raises(SettingsError, match="TELEGRAM_TOKEN is not set"):
        await run(settings_for(telegram).changed(telegram_token=None), commands)


async def test_the_token_is_in_no_line_of_the_log(
    telegram: FakeTelegram, commands: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    # As easel.logs sets them: they log the address of each request.
    for talkative in ("httpx", "httpcore"):
        caplog.set_level(logging.WARNING, talkative)
    telegram.fail_next("getUpdates", 502, html=True)
    telegram.lose_next("sendMessage", worked=False)

    async with open_door(telegram, commands):
        await telegram.send("/imagine a cat")
        await ask(telegram, "/help")

    assert "trying again" in caplog.text
    assert telegram.token not in caplog.text


# -- troubles of Telegram


async def test_telegram_being_away_at_the_start_is_waited_for(telegram: FakeTelegram, commands: Commands) -> None:
    telegram.fail_next("getMe", 502, html=True)
    telegram.fail_next("deleteWebhook", 429, parameters={"retry_after": 1})

    async with open_door(telegram, commands):
        assert await ask(telegram, "/help")


async def test_a_webhook_of_an_earlier_life_is_taken_away(telegram: FakeTelegram, commands: Commands) -> None:
    await post(telegram, "setWebhook", url="http://127.0.0.1:1/hook")

    async with open_door(telegram, commands):
        assert await ask(telegram, "/help")


async def test_what_was_fetched_is_not_fetched_again_after_a_restart(
    telegram: FakeTelegram, commands: Commands
) -> None:
    def is_a_later_poll(fields: dict[str, Any]) -> bool:
        return bool(fields["timeout"] and fields["offset"])

    telegram.fail_next("getUpdates", 502, times=20, when=is_a_later_poll)
    door = asyncio.create_task(run(settings_for(telegram), commands))
    await ask(telegram, "/help")
    await telegram.wait_for(lambda: 502 in {one.status for one in telegram.calls("getUpdates")})
    unconfirmed = len(telegram.mailbox.pending)

    door.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await door

    assert unconfirmed == 1
    assert telegram.mailbox.pending == []


async def test_a_flooded_chat_is_left_to_delivery_without_another_try(
    telegram: FakeTelegram, commands: Commands, queue: JobQueue
) -> None:
    telegram.flood(telegram.private, 30)

    async with open_door(telegram, commands):
        await telegram.send("/imagine a cat")
        await telegram.send("/imagine a cat --steps 0")
        await telegram.wait_for(lambda: len(telegram.calls("sendMessage")) == 2)

    (job,) = jobs(queue)
    state = queue.state(job.id)
    assert (state.status, state.message_id) == (Status.QUEUED, "")
    assert [one.status for one in telegram.calls("sendMessage")] == [429, 429]


async def test_a_lost_answer_to_the_placeholder_is_not_sent_again(
    telegram: FakeTelegram, commands: Commands, queue: JobQueue
) -> None:
    telegram.lose_next("sendMessage")

    async with open_door(telegram, commands):
        await telegram.send("/imagine a cat")
        await telegram.wait_for(lambda: telegram.private.from_bot)

    assert len(telegram.private.from_bot) == 1
    assert len(jobs(queue)) == 1


@pytest.mark.usefixtures("door")
async def test_a_sentence_is_sent_again_when_the_line_breaks(telegram: FakeTelegram) -> None:
    telegram.lose_next("sendMessage", worked=False)

    answer = await ask(telegram, "/imagine a cat --steps 0")

    assert answer.text == "`steps` must be a whole number from 1 to 150, not `0`."


@pytest.mark.usefixtures("door")
async def test_a_slow_answer_holds_nobody_up(telegram: FakeTelegram, queue: JobQueue) -> None:
    telegram.slow_next("sendMessage", 2)

    await ask(telegram, "/imagine a cat")
    await ask(telegram, "/imagine a dog")
    slow, quick = jobs(queue)
    await telegram.wait_for(lambda: queue.state(quick.id).message_id)

    assert queue.state(slow.id).message_id == ""


# -- troubles of ours


@pytest.mark.parametrize("trouble", [no_server, silent_server])
async def test_a_queue_that_is_away_is_told_within_two_seconds(telegram: FakeTelegram, trouble: object) -> None:
    assert callable(trouble)
    async with trouble() as url:
        with impatient(url) as redis:
            async with open_door(telegram, commands_on(redis, telegram, b"k" * 32)):
                said = await telegram.send("/imagine a cat")
                answer = await answer_to(telegram, said, timeout=5 * 2)

    assert answer.text == QUEUE_DOWN


async def test_a_press_while_the_queue_is_away_is_answered(
    telegram: FakeTelegram, commands: Commands, queue: JobQueue
) -> None:
    async with open_door(telegram, commands):
        _, picture = await a_picture(telegram, queue, telegram.private)

    async with no_server() as url:
        with impatient(url) as redis:
            async with open_door(telegram, commands_on(redis, telegram, queue.key)):
                query = await telegram.click(picture, picture.labels[0])
                await telegram.wait_for(lambda: query.answered, timeout=20)

    assert query.answer_text == QUEUE_DOWN
    assert len(query.answers) == 1


async def test_a_queue_that_comes_back_learns_of_the_placeholder(
    telegram: FakeTelegram, redis_url: str, queue: JobQueue
) -> None:
    telegram.slow_next("sendMessage", 0.5)

    with impatient(redis_url) as redis:
        async with open_door(telegram, commands_on(redis, telegram, queue.key)):
            placeholder = await ask(telegram, "/imagine a cat")
            await asyncio.to_thread(queue.connection.execute_command, "CLIENT", "PAUSE", "2500", "ALL")
            (job,) = await asyncio.to_thread(jobs, queue)
            state = await telegram.wait_for(lambda: queue.state(job.id).message_id)

    assert state == str(placeholder.message_id)


async def test_the_unexpected_is_logged_with_its_job_and_apologised_for(
    telegram: FakeTelegram, queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    working = commands_on(queue.connection, telegram, queue.key)
    async with open_door(telegram, working):
        _, picture = await a_picture(telegram, queue, telegram.private)

    def burning() -> Catalog:
        raise ZeroDivisionError("the house is on fire")

    async with open_door(telegram, Commands(queue, burning)):
        answer = await ask(telegram, "/imagine a cat")
        query = await telegram.click(picture, picture.labels[0])
        await telegram.wait_for(lambda: query.answered)

    assert (answer.text, query.answer_text) == (SORRY, SORRY)
    logged = [record for record in caplog.records if record.getMessage() == "an update failed"]
    assert [len(record.__dict__["job"]) for record in logged] == [16, 16]
    assert "the house is on fire" in caplog.text
