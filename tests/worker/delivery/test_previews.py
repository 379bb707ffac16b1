"""Previews: shown while a picture is drawn, never in the way of the picture."""

import io

import pytest
from PIL import Image

from easel.errors import Undeliverable
from easel.job_queue import names
from easel.job_queue.owed import Owed
from easel.job_queue.queue import JobQueue, JobState
from easel.jobs import Job, TelegramAddress
from tests.easel.job_queue.test_queue import worker
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.jobs import a_job
from tests.fakes.results import a_picture, end, is_running
from tests.fakes.telegram_server import FakeTelegram
from tests.worker.delivery import test_discord, test_telegram
from worker.delivery import meanwhile
from worker.delivery.loop import Deliverer
from worker.delivery.message import Message

telegram = test_telegram.telegram
discord = test_discord.discord


def a_preview(color: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), color).save(out, "JPEG")
    return out.getvalue()


def takes_shape(queue: JobQueue, job: Job, step: int, preview: bytes) -> None:
    is_running(queue, job, step, 100)
    queue.connection.set(names.preview_key(job.id), preview)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show previews from the first step to the last, as fast as the fakes take them."""
    monkeypatch.setattr(meanwhile, "PREVIEW_AFTER_S", 0.0)
    monkeypatch.setattr(meanwhile, "PREVIEW_BEFORE_S", 0.0)
    monkeypatch.setattr(meanwhile, "PREVIEW_S", 0.5)
    monkeypatch.setattr(meanwhile, "PACE_S", {"discord": 0.5, "telegram": 0.5})


@pytest.mark.usefixtures("at_once")
async def test_a_telegram_message_takes_shape_and_becomes_the_picture(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram
) -> None:
    job, message = await test_telegram.asked(queue, telegram)
    takes_shape(queue, job, 1, a_preview("red"))

    async with test_telegram.delivering(queue, redis_url, telegram):
        await telegram.wait_for(lambda: message.photo == a_preview("red"))
        assert "step 1 of 100" in message.words
        takes_shape(queue, job, 50, a_preview("blue"))
        await telegram.wait_for(lambda: message.photo == a_preview("blue"))
        end(queue, job, a_picture())
        await telegram.wait_for(lambda: message.photo == a_picture())

    assert message.labels
    assert len(telegram.private.from_bot) == 1


@pytest.mark.usefixtures("at_once")
async def test_a_failure_is_told_below_the_last_preview_on_telegram(
    queue: JobQueue, redis_url: str, telegram: FakeTelegram
) -> None:
    job, message = await test_telegram.asked(queue, telegram)
    takes_shape(queue, job, 1, a_preview("red"))

    async with test_telegram.delivering(queue, redis_url, telegram):
        await telegram.wait_for(lambda: message.photo)
        end(queue, job, failure="Too large for this card.")
        await telegram.wait_for(lambda: "Too large" in message.words)

    assert queue.state(job.id).delivered


@pytest.mark.usefixtures("at_once")
async def test_a_discord_message_takes_shape_and_becomes_the_picture(
    queue: JobQueue, redis_url: str, discord: FakeDiscord
) -> None:
    job, interaction = await test_discord.asked(queue, discord)
    takes_shape(queue, job, 1, a_preview("red"))

    async with test_discord.delivering(queue, redis_url, discord):
        message = await interaction.wait_for(lambda message: bool(message.attachments))
        assert [one.filename for one in message.attachments] == ["preview.jpg"]
        assert "step 1 of 100" in message.content
        end(queue, job, a_picture())
        await interaction.wait_for(lambda message: message.attachments[0].filename == "picture-1.png")

    assert len(message.attachments) == 1
    assert message.buttons


class Pencil:
    """Writes down what it is told to write, as a network that refuses previews if so told."""

    words_first = False

    def __init__(self, *, refuses: bool = False) -> None:
        self.written: list[Message] = []
        self._refuses = refuses

    async def write(self, state: JobState, message: Message) -> str:
        if message.preview and self._refuses:
            raise Undeliverable("no pictures here")
        self.written.append(message)
        return state.message_id

    async def call_asker(self, state: JobState, message_id: str) -> None:
        raise AssertionError(f"{state.job.id} was not over")


async def shown(queue: JobQueue, preview: bytes, *, refuses: bool = False, previews: bool = True) -> list[Message]:
    """Return what is written about a job at its first step."""
    job = a_job(reply_to=TelegramAddress(chat_id=1))
    queue.put(job)
    queue.placed(job.id, "42")
    takes_shape(queue, job, 1, preview)
    pencil = Pencil(refuses=refuses)
    await Deliverer(queue, {"telegram": pencil}, name="d", previews=previews).look(job.id)
    assert not queue.state(job.id).stopping
    return pencil.written


@pytest.mark.usefixtures("at_once")
async def test_a_network_that_refuses_a_preview_is_told_the_progress(queue: JobQueue) -> None:
    (message,) = await shown(queue, a_preview("red"), refuses=True)

    assert "step 1 of 100" in message.text


@pytest.mark.usefixtures("at_once")
async def test_whoever_runs_it_can_do_without_previews(queue: JobQueue) -> None:
    assert [bool(one.preview) for one in await shown(queue, a_preview("red"))] == [True]
    assert [bool(one.preview) for one in await shown(queue, a_preview("red"), previews=False)] == [False]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("rubbish", [b"<html>", b"\xff\xd8\xff" + b"x" * 70_000, b""], ids=["page", "huge", "nothing"])
async def test_what_is_no_preview_is_not_shown(queue: JobQueue, rubbish: bytes) -> None:
    assert [bool(one.preview) for one in await shown(queue, rubbish)] == [False]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("limit", ["PREVIEW_AFTER_S", "PREVIEW_BEFORE_S"])
async def test_a_short_wait_is_not_made_longer_by_previews(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(meanwhile, limit, 60.0)

    assert [bool(one.preview) for one in await shown(queue, a_preview("red"))] == [False]


def test_a_worker_lays_its_newest_preview_beside_the_progress(redis_url: str, queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    lease = worker(queue)
    lease.claim(room=1)

    lease.progress(job.id, 1, 4, a_preview("red"))
    lease.progress(job.id, 2, 4)

    assert Owed(queue).preview(job.id) == a_preview("red")
    assert 0 < queue.connection.ttl(names.preview_key(job.id)) <= 30
    lease.close()
