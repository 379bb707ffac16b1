"""`/imagine` on Telegram, over the wire: where it is asked, how, and by whom."""

import random

import pytest

from bot.commands import Commands, job_id_for
from easel.job_queue.queue import JobQueue
from easel.jobs import TelegramAddress
from tests.fakes.telegram_client import png
from tests.fakes.telegram_door import answer_to, ask, jobs, open_door
from tests.fakes.telegram_messages import User
from tests.fakes.telegram_server import FakeTelegram
from tests.fakes.telegram_world import ANONYMOUS_ADMIN


async def placed(telegram: FakeTelegram, queue: JobQueue, job_id: str) -> str:
    return await telegram.wait_for(lambda: queue.state(job_id).message_id)


@pytest.mark.usefixtures("door")
async def test_a_private_command_becomes_a_job_and_a_placeholder(telegram: FakeTelegram, queue: JobQueue) -> None:
    said = await telegram.send("/imagine a red apple --steps 7")
    placeholder = await answer_to(telegram, said)

    (job,) = jobs(queue)
    assert await placed(telegram, queue, job.id) == str(placeholder.message_id)
    assert job.id == job_id_for("telegram", telegram.private.id, said.message_id)
    assert (job.request.prompt, job.request.steps, job.request.checkpoint) == ("a red apple", 7, "easel-demo")
    assert (job.asker.key, job.asker.name) == (f"telegram:{telegram.alice.id}", "Alice")
    assert job.reply_to == TelegramAddress(chat_id=telegram.private.id, reply_to=said.message_id)
    assert placeholder.text == "Queued. No worker is running yet; the picture is drawn as soon as one is."
    assert placeholder.request["link_preview_options"] == {"is_disabled": True}
    assert "parse_mode" not in placeholder.request


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("where", ["group", "supergroup"])
@pytest.mark.parametrize("command", ["/imagine", "/imagine@easel_test_bot", "/Imagine@Easel_Test_Bot"])
async def test_a_group_asks_with_or_without_the_bots_name(
    telegram: FakeTelegram, queue: JobQueue, where: str, command: str
) -> None:
    chat = getattr(telegram, where)
    placeholder = await ask(telegram, f"{command}\na red apple", chat=chat, user=telegram.bob)

    (job,) = jobs(queue)
    assert (job.request.prompt, job.asker.id) == ("a red apple", str(telegram.bob.id))
    assert isinstance(job.reply_to, TelegramAddress)
    assert (job.reply_to.chat_id, job.reply_to.thread_id) == (chat.id, None)
    assert placeholder.chat is chat


@pytest.mark.usefixtures("door")
async def test_a_topic_is_answered_in_the_topic(telegram: FakeTelegram, queue: JobQueue) -> None:
    placeholder = await ask(telegram, "/imagine a cat", chat=telegram.forum, thread=77)
    general = await ask(telegram, "/imagine a dog", chat=telegram.forum)

    assert (placeholder.thread, general.thread) == (77, None)
    assert {job.reply_to.thread_id for job in jobs(queue) if isinstance(job.reply_to, TelegramAddress)} == {77, None}


@pytest.mark.usefixtures("door")
async def test_a_reply_chain_outside_forums_is_no_topic(telegram: FakeTelegram, queue: JobQueue) -> None:
    first = await ask(telegram, "/imagine a cat", chat=telegram.supergroup)
    said = await telegram.send("/imagine a dog", chat=telegram.supergroup, reply_to=first)
    await answer_to(telegram, said)

    assert said.as_json()["message_thread_id"]
    assert [job.reply_to.thread_id for job in jobs(queue) if isinstance(job.reply_to, TelegramAddress)] == [None, None]


@pytest.mark.usefixtures("door")
async def test_the_second_line_and_dashes_of_phones_are_understood(telegram: FakeTelegram, queue: JobQueue) -> None:
    await ask(telegram, "/imagine a red apple\nblurry, ugly —cfg 3,5 –seed −1 —size 512x768")

    (job,) = jobs(queue)
    asked = job.request
    assert (asked.prompt, asked.negative_prompt) == ("a red apple", "blurry, ugly")
    assert (asked.cfg_scale, asked.width, asked.height) == (3.5, 512, 768)


@pytest.mark.usefixtures("door")
async def test_an_anonymous_administrator_is_the_chat(telegram: FakeTelegram, queue: JobQueue) -> None:
    await answer_to(telegram, await telegram.send_as_anonymous_admin("/imagine a cat"))
    await answer_to(telegram, await telegram.send_as_chat("/imagine a dog", telegram.supergroup, telegram.channel))

    askers = [job.asker.key for job in jobs(queue)]
    assert askers == [f"telegram:{telegram.supergroup.id}", f"telegram:{telegram.channel.id}"]
    assert str(ANONYMOUS_ADMIN) not in "".join(askers)


@pytest.mark.usefixtures("door")
async def test_an_asker_is_an_id_whatever_the_name_says(telegram: FakeTelegram, queue: JobQueue) -> None:
    await ask(telegram, "/imagine a cat", user=telegram.bob, chat=telegram.supergroup)

    (job,) = jobs(queue)
    assert (job.asker.id, job.asker.name) == (str(telegram.bob.id), "Bob <&>")


async def test_what_is_not_asked_of_us_is_left_alone(
    telegram: FakeTelegram, commands: Commands, queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    telegram.settings.privacy = False
    another_bot = telegram.world.meet(User(7_777_777_777, "Echo", "echo_bot", is_bot=True))
    # What was sent while the bot was away comes unfiltered, whatever updates it asks for later.
    await telegram.send("/imagine@other_bot a cat", chat=telegram.supergroup)
    await telegram.send("a cat, please", chat=telegram.supergroup)
    await telegram.send("see /imagine a cat")
    await telegram.forward("/imagine a cat")
    await telegram.post("/imagine a cat")
    await telegram.send("/imagine a cat", chat=telegram.supergroup, user=another_bot)
    await telegram.send("/imagine@other_bot a cat", photo=png())
    await telegram.send("see /imagine a cat", photo=png())
    await telegram.send("a cat", photo=png())
    await telegram.edit(await telegram.send("a cat"), "/imagine a cat")

    async with open_door(telegram, commands):
        await telegram.wait_for(lambda: not telegram.mailbox.pending)

    assert jobs(queue) == []
    assert not telegram.calls("sendMessage")
    assert caplog.records == []


async def test_the_same_update_twice_is_one_job_and_one_answer(
    telegram: FakeTelegram, commands: Commands, queue: JobQueue
) -> None:
    async with open_door(telegram, commands):
        said = await telegram.send("/imagine a cat")
        await answer_to(telegram, said)
        await telegram.resend(said)
    await telegram.resend(said)
    async with open_door(telegram, commands):
        await telegram.resend(said)

    assert len(jobs(queue)) == 1
    assert len(telegram.calls("sendMessage")) == 1


async def test_an_update_whose_fetch_was_lost_is_not(
    telegram: FakeTelegram, commands: Commands, queue: JobQueue
) -> None:
    await telegram.send("/imagine a cat")
    telegram.lose_next("getUpdates")
    telegram.fail_next("getUpdates", 502, html=True)

    async with open_door(telegram, commands):
        await telegram.wait_for(lambda: telegram.private.from_bot)

    assert [job.request.prompt for job in jobs(queue)] == ["a cat"]
    assert len(telegram.calls("sendMessage")) == 1


@pytest.mark.usefixtures("door")
async def test_whoever_deletes_their_command_still_gets_the_answer(telegram: FakeTelegram) -> None:
    said = await telegram.send("/imagine a cat", chat=telegram.supergroup)
    said.deleted = True

    placeholder = await telegram.wait_for(lambda: next(iter(telegram.supergroup.from_bot), None))

    assert placeholder.reply_to is None


@pytest.mark.usefixtures("door")
async def test_a_command_without_a_word_is_answered_with_an_example(telegram: FakeTelegram, queue: JobQueue) -> None:
    answer = await ask(telegram, "/imagine")

    assert answer.text == "Please say what the picture should show, for example `/imagine a red apple`."
    assert jobs(queue) == []


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("flag", ["", " --checkpoint "])
async def test_broken_unicode_does_not_break_the_answer(telegram: FakeTelegram, flag: str) -> None:
    answer = await ask(telegram, f"/imagine a cat{flag}\ud83d \0 \udc08 \U0001f408\u202e\u0301")

    assert answer.text


ALPHABET = "<>&*_[]()~`#+-=|{}.!\\/\"'@:;,$%^ \n\t\u2014\u200d\u202e\u0301\ufe0f\0aZ9ßжक漢🐈👩🏽"


def hostile(seed: int) -> str:
    """Half are drawn, half are echoed in a sentence: nothing in them is anybody's markup."""
    dice = random.Random(seed)
    text = "".join(dice.choices(ALPHABET, k=dice.randint(1, 60)))
    return f"/imagine a{text}" if seed % 2 else f"/imagine a cat --checkpoint a{text}"


@pytest.mark.usefixtures("door")
async def test_a_thousand_hostile_texts_are_each_answered(telegram: FakeTelegram) -> None:
    said = []
    # Of too many at once some would be left to delivery.
    for start in range(0, 1000, 50):
        said += [await telegram.send(hostile(seed)) for seed in range(start, start + 50)]
        spoken = 2 * len(said)
        await telegram.wait_for(lambda spoken=spoken: len(telegram.private.everything) == spoken, timeout=60)

    assert {one.reply_to for one in telegram.private.from_bot} == set(said)
    assert {one.status for one in telegram.calls("sendMessage")} == {200}
    assert not [one for one in telegram.calls("sendMessage") if "parse_mode" in one.fields]
