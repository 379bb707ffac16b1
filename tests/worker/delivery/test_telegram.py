import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from PIL import Image

from easel.buttons import rows
from easel.job_queue.queue import JobQueue
from easel.jobs import Job, TelegramAddress
from tests.fakes.jobs import a_job
from tests.fakes.results import a_picture, end, is_running
from tests.fakes.telegram_client import post
from tests.fakes.telegram_messages import Chat, Message
from tests.fakes.telegram_server import FakeTelegram
from worker.delivery.api import Api
from worker.delivery.loop import Deliverer
from worker.delivery.telegram import TelegramWriter


@pytest.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as server:
        yield server
        assert server.violations == []


@asynccontextmanager
async def delivering(queue: JobQueue, redis_url: str, telegram: FakeTelegram, at_once: int = 1) -> AsyncIterator[None]:
    """Run delivery processes' loops beside the test."""
    stop = asyncio.Event()
    async with aiohttp.ClientSession() as session:
        writer = TelegramWriter(Api(session), token=telegram.token, base=telegram.api_base)
        loops = [Deliverer(queue, {"telegram": writer}, name=f"d{n}") for n in range(at_once)]
        running = [asyncio.create_task(loop.run(redis_url, stop)) for loop in loops]
        yield
        stop.set()
        await asyncio.gather(*running)


async def asked(
    queue: JobQueue, telegram: FakeTelegram, chat: Chat | None = None, **changes: object
) -> tuple[Job, Message]:
    """Queue a job and write its placeholder, as the door does."""
    chat = chat or telegram.private
    job = a_job(reply_to=TelegramAddress(chat_id=chat.id), **changes)
    await asyncio.to_thread(queue.put, job)
    answer = await post(telegram, "sendMessage", chat_id=chat.id, text="Queued")
    number = answer["result"]["message_id"]
    await asyncio.to_thread(queue.placed, job.id, str(number))
    message = chat.find(number)
    assert message is not None
    return job, message


async def test_the_placeholder_shows_place_then_progress_then_becomes_the_picture(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram
) -> None:
    job, message = await asked(queue, telegram, prompt="a <b>red</b> _apple_")

    async with delivering(queue, redis_url, telegram):
        await telegram.wait_for(lambda: "No worker is running yet" in message.words)
        is_running(queue, job, 2, 4)
        await telegram.wait_for(lambda: "step 2 of 4" in message.words, timeout=60)
        end(queue, job, a_picture())
        await telegram.wait_for(lambda: message.photo)

    assert "a <b>red</b> _apple_" in message.words
    assert "seed 1 · 4 steps" in message.words
    assert message.labels == [label for row in rows(1) for label, _, _ in row]
    assert len(telegram.private.from_bot) == 1
    assert queue.state(job.id).delivered


async def test_several_pictures_become_one_grid(queue: JobQueue, redis_url: str, telegram: FakeTelegram) -> None:
    job, message = await asked(queue, telegram, batch_size=4)
    end(queue, job, *(a_picture(color) for color in ("red", "green", "blue", "black")))

    async with delivering(queue, redis_url, telegram):
        photo = await telegram.wait_for(lambda: message.photo)

    assert Image.open(io.BytesIO(photo)).size == (132, 132)


async def test_a_failure_is_told_in_the_placeholder(queue: JobQueue, redis_url: str, telegram: FakeTelegram) -> None:
    job, message = await asked(queue, telegram)
    end(queue, job, failure="Too large for this card; try 512x512.")

    async with delivering(queue, redis_url, telegram):
        await telegram.wait_for(lambda: "try 512x512" in message.words)

    assert message.labels == ["🗑️ Delete"]


async def test_a_lost_reply_shows_the_picture_once(queue: JobQueue, redis_url: str, telegram: FakeTelegram) -> None:
    telegram.lose_next("editMessageMedia", worked=True, times=2)
    job, message = await asked(queue, telegram)
    end(queue, job, a_picture())

    async with delivering(queue, redis_url, telegram):
        await telegram.wait_for(lambda: queue.state(job.id).delivered, timeout=60)

    assert message.photo
    assert len(telegram.private.from_bot) == 1


async def test_flood_control_is_obeyed_and_nothing_is_lost(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram
) -> None:
    telegram.fail_next("editMessageMedia", 429, parameters={"retry_after": 2})
    job, message = await asked(queue, telegram)
    end(queue, job, a_picture())

    async with delivering(queue, redis_url, telegram):
        await telegram.wait_for(lambda: message.photo, timeout=60)

    first, second = telegram.calls("editMessageMedia")
    assert second.at - first.at >= 2


async def test_a_chat_that_threw_the_bot_out_ends_the_job_quietly(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram
) -> None:
    job, _ = await asked(queue, telegram, telegram.group)
    await telegram.kick_bot(telegram.group, telegram.alice)
    end(queue, job, a_picture())

    async with delivering(queue, redis_url, telegram):
        await telegram.wait_for(lambda: queue.state(job.id).delivered)

    assert len(telegram.calls("editMessageMedia")) == 1
    assert len(telegram.calls("sendPhoto")) == 0


async def test_a_placeholder_that_was_deleted_is_replaced_once(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram
) -> None:
    job, message = await asked(queue, telegram)
    await post(telegram, "deleteMessage", chat_id=telegram.private.id, message_id=message.message_id)
    end(queue, job, a_picture())

    async with delivering(queue, redis_url, telegram):
        await telegram.wait_for(lambda: queue.state(job.id).delivered)

    assert [bool(one.photo) for one in telegram.private.from_bot] == [True]


async def test_delivery_writes_the_placeholder_when_the_door_died_before_it(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram
) -> None:
    job = a_job(reply_to=TelegramAddress(chat_id=telegram.private.id))
    queue.put(job)
    queue.connection.delete(f"easel:mouth:{job.id}")
    queue.connection.zadd("easel:owed", {job.id: 0})

    async with delivering(queue, redis_url, telegram):
        await telegram.wait_for(lambda: telegram.private.from_bot)
        end(queue, job, a_picture())
        await telegram.wait_for(lambda: telegram.private.from_bot[0].photo, timeout=60)

    assert len(telegram.private.from_bot) == 1


async def test_four_delivery_processes_show_each_picture_once(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram
) -> None:
    jobs = [await asked(queue, telegram) for _ in range(12)]

    async with delivering(queue, redis_url, telegram, at_once=4):
        for job, _ in jobs:
            end(queue, job, a_picture())
        await telegram.wait_for(lambda: all(queue.state(job.id).delivered for job, _ in jobs), timeout=60)

    assert all(message.photo for _, message in jobs)
    assert len(telegram.calls("editMessageMedia")) == 12
    assert len(telegram.private.from_bot) == 12


async def test_a_forum_topic_gets_its_answer_in_the_topic(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram
) -> None:
    job = a_job(reply_to=TelegramAddress(chat_id=telegram.forum.id, thread_id=77))
    queue.put(job)
    queue.connection.delete(f"easel:mouth:{job.id}")
    end(queue, job, a_picture())

    async with delivering(queue, redis_url, telegram):
        await telegram.wait_for(lambda: queue.state(job.id).delivered)

    assert [message.thread for message in telegram.forum.from_bot] == [77]


async def test_the_token_is_in_no_error(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    telegram.lose_next("editMessageMedia", worked=False, times=1)
    telegram.fail_next("editMessageMedia", 502)
    job, _ = await asked(queue, telegram)
    end(queue, job, a_picture())

    async with delivering(queue, redis_url, telegram):
        await telegram.wait_for(lambda: queue.state(job.id).delivered, timeout=60)

    assert "did not answer" in caplog.text
    assert telegram.token not in caplog.text
