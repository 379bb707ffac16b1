"""Locks that run out, processes that sleep, rubbish in Redis, a token that is refused: nothing is lost or shown twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from easel.errors import TryLater
from easel.job_queue import names
from easel.job_queue.owed import Owed
from easel.job_queue.queue import JobQueue, JobState
from easel.jobs import Job
from tests.fakes.jobs import a_job
from tests.fakes.results import a_picture, end, is_running
from tests.fakes.telegram_client import post
from tests.fakes.telegram_messages import Message as Shown
from tests.fakes.telegram_server import FakeTelegram
from tests.worker.delivery import test_discord, test_telegram
from worker.delivery.api import Api
from worker.delivery.loop import Deliverer
from worker.delivery.message import Message
from worker.delivery.telegram import TelegramWriter

discord = test_discord.discord
telegram = test_telegram.telegram


@dataclass
class Line:
    """A network on which `during` happens while a message is written."""

    words_first = False
    during: Callable[[], None] = lambda: None
    slow_s: float = 0.0
    written: list[Message] = field(default_factory=list)
    calls: int = 0
    at_once: int = 0
    most_at_once: int = 0

    async def write(self, state: JobState, message: Message) -> str:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.slow_s)
        await asyncio.to_thread(self.during)
        self.at_once -= 1
        self.written.append(message)
        return "17"

    async def call_asker(self, state: JobState, message_id: str) -> None:
        self.calls += 1
        raise TryLater("perhaps it was heard", seconds=0.1)


def placed(queue: JobQueue, *, waited_s: float = 0.0) -> Job:
    job = a_job().changed(asked_at=time.time() - waited_s)
    queue.put(job)
    queue.placed(job.id, "17")
    return job


@asynccontextmanager
async def running(redis_url: str, *deliverers: Deliverer) -> AsyncIterator[None]:
    stop = asyncio.Event()
    tasks = [asyncio.create_task(one.run(redis_url, stop)) for one in deliverers]
    yield
    stop.set()
    await asyncio.gather(*tasks)


async def until(check: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def test_an_upload_that_takes_longer_than_the_lock_is_made_once(
    queue: JobQueue, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in ("easel.job_queue.owed", "worker.delivery.loop"):
        monkeypatch.setattr(f"{where}.MOUTH_S", 1)
    monkeypatch.setattr("easel.job_queue.owed.LOOK_LEASE_S", 1)
    line = Line(slow_s=3)
    job = placed(queue)
    end(queue, job, a_picture())

    async with running(redis_url, *(Deliverer(queue, {"telegram": line}, name="d") for _ in range(2))):
        await until(lambda: queue.state(job.id).delivered)

    assert len(line.written) == line.most_at_once == 1


async def test_what_a_sleeper_writes_too_late_is_not_the_last_word(queue: JobQueue) -> None:
    job = placed(queue)
    is_running(queue, job, 2, 4)
    awake = Line()

    def meanwhile() -> None:
        queue.connection.delete(names.mouth_key(job.id))
        end(queue, job, a_picture())
        asyncio.run(Deliverer(queue, {"telegram": awake}, name="awake").look(job.id))
        assert queue.state(job.id).delivered

    asleep = Line(during=meanwhile)
    await Deliverer(queue, {"telegram": asleep}, name="asleep").look(job.id)

    assert [bool(message.pictures) for message in awake.written + asleep.written] == [True, False]
    (again,) = Owed(queue).take(9)
    await Deliverer(queue, {"telegram": awake}, name="next").look(again)
    assert [bool(message.pictures) for message in awake.written] == [True, True]
    assert queue.state(job.id).delivered
    assert Owed(queue).take(9) == []


def test_a_lock_is_left_and_kept_only_by_its_holder(queue: JobQueue) -> None:
    owed = Owed(queue)
    owed.take_mouth("job1", "me")

    assert not owed.leave_mouth("job1", "you")
    assert not owed.keep_mouth("job1", "you")
    assert owed.keep_mouth("job1", "me")
    assert owed.leave_mouth("job1", "me")
    assert not owed.leave_mouth("job1", "me")
    assert owed.take_mouth("job1", "you")


async def test_who_waited_long_is_called_once_even_if_nobody_can_say_whether_it_was_heard(queue: JobQueue) -> None:
    job = placed(queue, waited_s=600)
    end(queue, job, a_picture())
    line = Line()
    deliverer = Deliverer(queue, {"telegram": line}, name="d")

    await deliverer.look(job.id)
    Owed(queue).owe_again(job.id)
    await deliverer.look(job.id)

    assert line.calls == 1
    assert queue.state(job.id).delivered
    assert Owed(queue).take(9) == []


async def test_rubbish_in_redis_does_not_stop_delivery(queue: JobQueue, redis_url: str) -> None:
    line = Line()
    queue.connection.zadd(names.OWED, {b"\xff\xfe": 0, b"a b": 0, "unknown1": 0})

    async with running(redis_url, Deliverer(queue, {"telegram": line}, name="d")):
        await until(lambda: queue.connection.zcard(names.OWED) == 0)
        for hint in (b"[" * 100_000, b"\xff", b"7", b"{"):
            await asyncio.to_thread(queue.connection.publish, names.EVENTS, hint)
        await asyncio.to_thread(queue.connection.set, names.OWED, "not a set")
        await asyncio.sleep(1)
        await asyncio.to_thread(queue.connection.delete, names.OWED)
        job = await asyncio.to_thread(placed, queue)
        end(queue, job, a_picture())
        await until(lambda: queue.state(job.id).delivered)

    assert not queue.connection.exists(names.record_key("unknown1"))


async def test_what_we_can_not_read_stays_owed(queue: JobQueue) -> None:
    job = placed(queue)
    end(queue, job, a_picture())
    line = Line()

    await Deliverer(JobQueue(queue.connection, key=b"another"), {"telegram": line}, name="wrong").look(job.id)

    assert not queue.state(job.id).delivered
    assert Owed(queue).take(9) == []
    assert (queue.connection.zscore(names.OWED, job.id) or 0) > queue.now() + 60
    await Deliverer(queue, {"telegram": line}, name="right").look(job.id)
    assert queue.state(job.id).delivered


@asynccontextmanager
async def telling(queue: JobQueue, redis_url: str, telegram: FakeTelegram, token: str) -> AsyncIterator[None]:
    async with aiohttp.ClientSession() as session:
        writer = TelegramWriter(Api(session), token=token, base=telegram.api_base)
        async with running(redis_url, Deliverer(queue, {"telegram": writer}, name="d")):
            yield


async def ended(queue: JobQueue, telegram: FakeTelegram, jobs: int) -> list[tuple[Job, Shown]]:
    asked = [await test_telegram.asked(queue, telegram) for _ in range(jobs)]
    for job, _ in asked:
        await asyncio.to_thread(end, queue, job, a_picture())
    return asked


async def test_while_the_token_is_refused_nothing_is_given_up_and_the_network_is_left_alone(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram
) -> None:
    asked = await ended(queue, telegram, 5)
    before = len(telegram.requests)

    async with telling(queue, redis_url, telegram, "7:revoked"):
        await telegram.wait_for(lambda: len(telegram.requests) > before)
        await asyncio.sleep(1.5)

    assert 1 <= len(telegram.requests) - before <= 5
    assert not any(queue.state(job.id).delivered for job, _ in asked)
    for job, _ in asked:
        Owed(queue).owe_again(job.id)
    async with telling(queue, redis_url, telegram, telegram.token):
        await telegram.wait_for(lambda: all(message.photo for _, message in asked), timeout=60)


async def test_a_stranger_who_answers_for_the_network_is_not_believed(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.delivery.api.STRANGE_S", 0.5)
    telegram.fail_next("editMessageMedia", 200, html=True)
    ((job, message),) = await ended(queue, telegram, 1)

    async with telling(queue, redis_url, telegram, telegram.token):
        await telegram.wait_for(lambda: queue.state(job.id).delivered, timeout=60)

    assert message.photo


async def test_a_chat_that_asked_to_wait_is_left_alone_by_all_pictures(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram
) -> None:
    first, second = [await test_telegram.asked(queue, telegram) for _ in range(2)]
    await asyncio.to_thread(end, queue, first[0], a_picture())
    telegram.flood(telegram.private, 3)

    async with telling(queue, redis_url, telegram, telegram.token):
        await telegram.wait_for(lambda: telegram.calls("editMessageMedia"))
        await asyncio.to_thread(end, queue, second[0], a_picture())
        await telegram.wait_for(lambda: second[1].photo and first[1].photo, timeout=60)

    # Words about either may be under way when the first refusal comes; after it, nothing is tried in vain.
    edits = [call.status for call in telegram.requests if call.method.startswith("edit")]
    assert 1 <= edits.count(429) <= 2
    assert 429 not in edits[edits.index(200) :]


async def test_a_picture_is_not_shown_twice_when_the_answer_to_its_post_is_lost(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram
) -> None:
    ((job, message),) = await ended(queue, telegram, 1)
    await post(telegram, "deleteMessage", chat_id=telegram.private.id, message_id=message.message_id)
    for method in ("sendMessage", "sendPhoto"):
        telegram.lose_next(method, worked=True)

    async with telling(queue, redis_url, telegram, telegram.token):
        await telegram.wait_for(lambda: queue.state(job.id).delivered, timeout=60)

    assert [bool(shown.photo) for shown in telegram.private.from_bot].count(True) == 1


async def test_a_picture_that_telegram_does_not_take_is_told_in_words(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram
) -> None:
    job, message = await test_telegram.asked(queue, telegram)
    await asyncio.to_thread(end, queue, job, a_picture(size=(9000, 1100)))

    async with telling(queue, redis_url, telegram, telegram.token):
        await telegram.wait_for(lambda: queue.state(job.id).delivered, timeout=60)

    assert "fewer or smaller" in message.words
    assert message.labels


async def test_a_picture_that_discord_does_not_take_is_told_in_words(
    queue: JobQueue, redis_url: str, discord: test_discord.FakeDiscord
) -> None:
    job, interaction = await test_discord.asked(queue, discord)
    await asyncio.to_thread(end, queue, job, bytes(job.reply_to.file_limit + 1))

    async with test_discord.delivering(queue, redis_url, discord):
        await interaction.wait_for(lambda message: "fewer or smaller" in message.content)
        await until(lambda: queue.state(job.id).delivered)

    assert len(discord.messages_in()) == 1


async def test_a_job_whose_interaction_is_over_before_anything_was_shown_is_posted_and_not_cancelled(
    queue: JobQueue, redis_url: str, discord: test_discord.FakeDiscord
) -> None:
    job, interaction = await test_discord.asked(queue, discord, waited_s=1000, placed=False)
    interaction.expire()
    queue.connection.delete(names.mouth_key(job.id))
    queue.connection.zadd(names.OWED, {job.id: 0})

    async with test_discord.delivering(queue, redis_url, discord):
        await discord.wait_for_message(lambda message: "Queued" in message.content)
        end(queue, job, a_picture())
        await until(lambda: queue.state(job.id).delivered)

    with_picture = [message for message in discord.messages_in() if message.attachments]
    assert len(with_picture) == 1


def test_a_door_that_is_too_late_does_not_take_the_message_back(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    queue.connection.delete(names.mouth_key(job.id))
    owed = Owed(queue)
    owed.take_mouth(job.id, "delivery")

    assert not queue.placed(job.id, "1")
    owed.remember_message(job.id, "2")
    owed.leave_mouth(job.id, "delivery")
    assert not queue.placed(job.id, "1")

    assert queue.state(job.id).message_id == "2"


def test_a_door_that_is_late_but_the_first_hands_its_message_over(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    queue.connection.delete(names.mouth_key(job.id))

    assert queue.placed(job.id, "1")

    assert queue.state(job.id).message_id == "1"
