"""The buttons under a picture on Telegram, over the wire: who may press them, and what a press may not do."""

import asyncio

import pytest

from bot.commands import Commands, job_id_for
from easel.buttons import LABELS, Button, Verb, button_id
from easel.job_queue import names
from easel.job_queue.queue import JobQueue
from easel.jobs import TelegramAddress
from tests.fakes.telegram_client import place
from tests.fakes.telegram_door import OWNER, a_picture, answer_to, ask, jobs, open_door
from tests.fakes.telegram_queries import Query
from tests.fakes.telegram_server import FakeTelegram

AGAIN, DELETE = LABELS["again"], LABELS["delete"]
NOT_VALID = "This button is not valid any more. Please ask for the picture again."
NOT_YOURS = "Only the person who asked for this picture, or a moderator, can delete it."


async def answered(telegram: FakeTelegram, query: Query) -> str:
    """Return what popped up; empty when nothing did."""
    await telegram.wait_for(lambda: query.answered)
    assert query.answers[0].get("show_alert", False) is bool(query.answer_text)
    return query.answer_text


@pytest.mark.usefixtures("door")
async def test_anybody_may_have_it_drawn_again_as_their_own(telegram: FakeTelegram, queue: JobQueue) -> None:
    first, picture = await a_picture(telegram, queue, telegram.forum, thread=77)

    query = await telegram.click(picture, AGAIN, telegram.bob)
    placeholder = await answer_to(telegram, picture)

    assert await answered(telegram, query) == ""
    again = jobs(queue)[-1]
    assert again.id == job_id_for("telegram", "cb", query.id)
    assert again.asker.id == str(telegram.bob.id)
    assert again.reply_to == TelegramAddress(chat_id=telegram.forum.id, thread_id=77, reply_to=picture.message_id)
    assert again.request == first.request.changed(seed=again.request.seed)
    assert again.request.seed != first.request.seed
    assert (placeholder.thread, placeholder.text) == (77, "Queued. No worker is running yet; the picture is drawn as soon as one is.")  # fmt: skip
    assert await telegram.wait_for(lambda: queue.state(again.id).message_id) == str(placeholder.message_id)


async def test_the_same_press_twice_is_one_job(telegram: FakeTelegram, commands: Commands, queue: JobQueue) -> None:
    async with open_door(telegram, commands):
        _, picture = await a_picture(telegram, queue, telegram.private)
        query = await telegram.click(picture, AGAIN)
        await answer_to(telegram, picture)
        await telegram.resend(query)

    assert len(jobs(queue)) == 2
    assert len(telegram.calls("sendMessage")) == 2


@pytest.mark.usefixtures("door")
async def test_again_under_a_message_that_is_gone_still_draws(telegram: FakeTelegram, queue: JobQueue) -> None:
    first, picture = await a_picture(telegram, queue, telegram.private)
    picture.deleted = True

    await telegram.press(picture, button_id(Button("again", first.id), queue.key))

    placeholder = await telegram.wait_for(lambda: next(iter(telegram.private.from_bot), None))
    assert placeholder.reply_to is None
    assert len(jobs(queue)) == 2


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("who", ["asker", "owner of the bot", "administrator"])
async def test_those_who_may_delete_a_picture(telegram: FakeTelegram, queue: JobQueue, who: str) -> None:
    person = {"asker": telegram.alice, "owner of the bot": OWNER, "administrator": telegram.bob}[who]
    telegram.supergroup.members |= {
        telegram.alice.id: "member",
        telegram.bob.id: "administrator" if who == "administrator" else "member",
    }
    _, picture = await a_picture(telegram, queue, telegram.supergroup)

    query = await telegram.click(picture, DELETE, person)

    await telegram.wait_for(lambda: picture.deleted)
    assert query.answer_text == ""
    assert len(query.answers) == 1


async def test_others_may_not_delete_a_picture(telegram: FakeTelegram, commands: Commands, queue: JobQueue) -> None:
    async with open_door(telegram, commands):
        _, picture = await a_picture(telegram, queue, telegram.supergroup)
        query = await telegram.click(picture, DELETE, telegram.bob)

    assert await answered(telegram, query) == NOT_YOURS
    assert not picture.deleted
    assert len(query.answers) == 1
    assert len(jobs(queue)) == 1


async def test_rights_are_asked_for_at_every_press(telegram: FakeTelegram, commands: Commands, queue: JobQueue) -> None:
    async with open_door(telegram, commands):
        _, picture = await a_picture(telegram, queue, telegram.supergroup)
        telegram.supergroup.members[telegram.bob.id] = "administrator"
        telegram.fail_next("getChatMember", 400)
        unknown = await answered(telegram, await telegram.click(picture, DELETE, telegram.bob))
        telegram.supergroup.members[telegram.bob.id] = "member"
        dismissed = await answered(telegram, await telegram.click(picture, DELETE, telegram.bob))

    assert (unknown, dismissed) == (NOT_YOURS, NOT_YOURS)
    assert not picture.deleted
    assert len(telegram.calls("getChatMember")) == 2


async def test_telegram_hiding_the_rights_is_not_waited_for(
    telegram: FakeTelegram, commands: Commands, queue: JobQueue
) -> None:
    telegram.slow_next("getChatMember", 30)

    async with open_door(telegram, commands):
        _, picture = await a_picture(telegram, queue, telegram.supergroup)
        query = await telegram.click(picture, DELETE, telegram.bob)
        await telegram.wait_for(lambda: query.answered, timeout=20)

    assert query.answer_text == NOT_YOURS


@pytest.mark.usefixtures("door")
async def test_an_anonymous_administrators_picture_is_theirs_to_delete(telegram: FakeTelegram, queue: JobQueue) -> None:
    said = await telegram.send_as_anonymous_admin("/imagine a cat")
    message = await answer_to(telegram, said)
    (job,) = jobs(queue)
    await telegram.wait_for(lambda: queue.state(job.id).message_id)

    await telegram.press(message, button_id(Button("delete", job.id), queue.key), telegram.alice)

    await telegram.wait_for(lambda: message.deleted)


async def test_presses_that_were_made_up_do_nothing(
    telegram: FakeTelegram, commands: Commands, queue: JobQueue
) -> None:
    async with open_door(telegram, commands):
        first, picture = await a_picture(telegram, queue, telegram.supergroup)
        second, other = await a_picture(telegram, queue, telegram.supergroup)
        sneaked = button_id(Button("delete", first.id), queue.key)
        foreign = await place(telegram)
        elsewhere = telegram.private.messages[-1]
        presses = [
            await telegram.press(picture, sneaked[:-1] + ("0" if sneaked[-1] != "0" else "1")),
            await telegram.press(picture, f"v1:delete:{first.id}:0:00000000"),
            await telegram.press(picture, "v1:explode:1234:0:00000000"),
            await telegram.press(picture, "💣"),
            await telegram.press(other, sneaked),
            await telegram.press(elsewhere, sneaked),
            await telegram.press(elsewhere, button_id(Button("again", second.id), queue.key)),
        ]
        texts = [await answered(telegram, query) for query in presses]

    assert foreign["message_id"] == elsewhere.message_id
    assert texts == [NOT_VALID] * len(presses)
    assert [job.id for job in jobs(queue)] == [first.id, second.id]
    assert not [one for one in (picture, other, elsewhere) if one.deleted]


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("label", [AGAIN, DELETE])
async def test_a_forgotten_job_is_said_to_be_forgotten(telegram: FakeTelegram, queue: JobQueue, label: str) -> None:
    job, picture = await a_picture(telegram, queue, telegram.private)
    queue.connection.delete(names.record_key(job.id))

    query = await telegram.click(picture, label)

    assert await answered(telegram, query) == "I no longer remember this picture. Please ask for it again."


@pytest.mark.usefixtures("door")
async def test_a_message_too_old_to_delete_is_said_to_be(telegram: FakeTelegram, queue: JobQueue) -> None:
    _, picture = await a_picture(telegram, queue, telegram.supergroup)
    picture.date -= 3 * 24 * 3600

    await telegram.click(picture, DELETE)

    said = await answer_to(telegram, picture)
    assert said.text == "Telegram does not let me delete this message any more. Please delete it yourself."


@pytest.mark.usefixtures("door")
async def test_deleting_is_tried_again_by_whoever_pressed(telegram: FakeTelegram, queue: JobQueue) -> None:
    _, picture = await a_picture(telegram, queue, telegram.private)
    telegram.fail_next("deleteMessage", 502, html=True)

    await telegram.click(picture, DELETE)
    said = await answer_to(telegram, picture)
    await telegram.click(picture, DELETE)

    await telegram.wait_for(lambda: picture.deleted)
    assert said.text == "Telegram did not answer when I deleted this message. Please press Delete again."


async def test_a_press_answered_too_late_is_carried_out_all_the_same(
    telegram: FakeTelegram, commands: Commands, queue: JobQueue
) -> None:
    async with open_door(telegram, commands):
        _, picture = await a_picture(telegram, queue, telegram.private)
        telegram.queries.life_s = 0
        query = await telegram.click(picture, AGAIN)
        await answer_to(telegram, picture)

    assert not query.answered
    assert len(jobs(queue)) == 2


async def test_the_button_of_a_checkpoint_that_is_gone_names_the_nearest(
    telegram: FakeTelegram, commands: Commands, queue: JobQueue
) -> None:
    async with open_door(telegram, commands):
        job, picture = await a_picture(telegram, queue, telegram.private)
        gone = job.changed(id="gone-0001", request=job.request.changed(checkpoint="easel-demoo").model_dump())
        await asyncio.to_thread(queue.put, gone)
        query = await telegram.press(picture, button_id(Button("again", gone.id), queue.key))

    assert await answered(telegram, query) == "There is no checkpoint called `easel-demoo`. Did you mean `easel-demo`?"


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("verb", ["vary", "upscale"])
async def test_other_buttons_draw_anew_in_a_new_message(telegram: FakeTelegram, queue: JobQueue, verb: Verb) -> None:
    _, picture = await a_picture(telegram, queue, telegram.private)

    query = await telegram.click(picture, LABELS[verb])
    placeholder = await answer_to(telegram, picture)

    assert await answered(telegram, query) == ""
    new = jobs(queue)[-1]
    assert new.request.seed == 5
    assert bool(new.request.variation_strength) is (verb == "vary")
    assert (new.request.hires_fix is not None) is (verb == "upscale")
    assert str(placeholder.text).startswith("Queued")


@pytest.mark.usefixtures("door")
async def test_a_button_of_one_of_several_pictures_means_that_one(telegram: FakeTelegram, queue: JobQueue) -> None:
    message = await ask(telegram, "/imagine a red apple --seed 5 --count 4")
    (job,) = jobs(queue)

    await telegram.press(message, button_id(Button("upscale", job.id, 2), queue.key))
    await telegram.wait_for(lambda: len(jobs(queue)) == 2)

    assert (jobs(queue)[-1].request.seed, jobs(queue)[-1].request.batch_size) == (7, 1)


async def test_what_can_not_be_drawn_anew_pops_up(telegram: FakeTelegram, commands: Commands, queue: JobQueue) -> None:
    async with open_door(telegram, commands):
        message = await ask(telegram, "/imagine a red apple --size 2048x2048 --steps 5")
        (job,) = jobs(queue)
        query = await telegram.press(message, button_id(Button("upscale", job.id), queue.key))
        text = await answered(telegram, query)

    assert text.startswith("This picture is as large as I can draw it")
    assert len(jobs(queue)) == 1
