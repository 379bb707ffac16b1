"""Several pictures on Telegram, over the wire: asked about first, drawn once, each in a message of its own."""

import pytest

from bot.commands import Commands
from easel.job_queue.queue import JobQueue
from tests.fakes.telegram_door import ask, jobs, open_door
from tests.fakes.telegram_messages import Message
from tests.fakes.telegram_queries import Query
from tests.fakes.telegram_server import FakeTelegram

TEXT = "/imagine a {red, green} {cat, dog} --steps 3"
DRAW, CANCEL = "Draw 4 pictures", "Cancel"


async def popped_up(telegram: FakeTelegram, query: Query) -> str:
    await telegram.wait_for(lambda: query.answered)
    return query.answer_text


def placeholders(telegram: FakeTelegram, question: Message) -> list[Message]:
    return [one for one in question.chat.from_bot if one is not question]


@pytest.mark.usefixtures("door")
async def test_how_many_there_are_is_asked_first(telegram: FakeTelegram, queue: JobQueue) -> None:
    question = await ask(telegram, TEXT)

    assert question.text == "Your words make 4 different pictures."
    assert question.labels == [DRAW, CANCEL]
    assert jobs(queue) == []


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("where", ["private", "forum"])
async def test_a_yes_draws_each_in_a_message_of_its_own(telegram: FakeTelegram, queue: JobQueue, where: str) -> None:
    thread = {"thread": 77} if where == "forum" else {}
    question = await ask(telegram, TEXT, chat=getattr(telegram, where), **thread)

    query = await telegram.click(question, DRAW)
    await telegram.wait_for(lambda: len(placeholders(telegram, question)) == 4)

    assert await popped_up(telegram, query) == ""
    prompts = ["a red cat", "a red dog", "a green cat", "a green dog"]
    assert [job.request.prompt for job in jobs(queue)] == prompts
    assert {job.asker.id for job in jobs(queue)} == {str(telegram.alice.id)}
    shown = [str(one.message_id) for one in placeholders(telegram, question)]
    await telegram.wait_for(lambda: [queue.state(job.id).message_id for job in jobs(queue)] == shown)
    assert {one.reply_to for one in placeholders(telegram, question)} == {question.reply_to}
    assert {one.thread for one in placeholders(telegram, question)} == {thread.get("thread")}
    assert (question.text, question.labels) == ("4 pictures are on their way.", [])


async def test_pressing_twice_or_after_a_restart_draws_once(
    telegram: FakeTelegram, commands: Commands, queue: JobQueue
) -> None:
    async with open_door(telegram, commands):
        question = await ask(telegram, TEXT)
        data = question.keyboard[0][0]["callback_data"]
    async with open_door(telegram, commands):
        queries = [await telegram.press(question, data) for _ in range(2)]
        await telegram.wait_for(lambda: len(placeholders(telegram, question)) == 4)
        for query in queries:
            await popped_up(telegram, query)

    assert len(jobs(queue)) == 4
    assert len(placeholders(telegram, question)) == 4


@pytest.mark.usefixtures("door")
async def test_a_no_draws_nothing(telegram: FakeTelegram, queue: JobQueue) -> None:
    question = await ask(telegram, TEXT)
    draw = question.keyboard[0][0]["callback_data"]

    await telegram.click(question, CANCEL)
    await telegram.wait_for(lambda: question.text == "Cancelled.")
    query = await telegram.press(question, draw)

    assert await popped_up(telegram, query) == "I no longer remember what this was about. Please ask again."
    assert question.labels == []
    assert jobs(queue) == []


async def test_nobody_else_answers_the_question(telegram: FakeTelegram, commands: Commands, queue: JobQueue) -> None:
    async with open_door(telegram, commands):
        question = await ask(telegram, TEXT, chat=telegram.supergroup)
        queries = [await telegram.click(question, label, telegram.bob) for label in (DRAW, CANCEL)]
        texts = [await popped_up(telegram, query) for query in queries]

    assert texts == ["Only the person who asked for these pictures can answer this."] * 2
    assert question.labels == [DRAW, CANCEL]
    assert jobs(queue) == []


async def test_a_question_of_another_chat_is_not_valid(
    telegram: FakeTelegram, commands: Commands, queue: JobQueue
) -> None:
    async with open_door(telegram, commands):
        question = await ask(telegram, TEXT)
        elsewhere = await ask(telegram, TEXT, chat=telegram.supergroup)
        query = await telegram.press(elsewhere, question.keyboard[0][0]["callback_data"])
        text = await popped_up(telegram, query)

    assert text == "This button is not valid any more. Please ask for the picture again."
    assert jobs(queue) == []


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("text", ["/imagine " + "{a,b}" * 8, "/imagine {1,2,3,4,5,6,7,8,9,10,11} cats"])
async def test_too_many_are_refused(telegram: FakeTelegram, queue: JobQueue, text: str) -> None:
    answer = await ask(telegram, text)

    assert "at most 10 are made at once" in str(answer.text)
    assert answer.labels == []
    assert jobs(queue) == []


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("answers", [1, 3])
async def test_a_queue_that_goes_away_is_told(
    telegram: FakeTelegram, queue: JobQueue, commands: Commands, answers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from easel.errors import QueueDown

    question = await ask(telegram, TEXT)
    put, calls = commands.queue.put, []

    def fails_later(job: object) -> bool:
        calls.append(job)
        if len(calls) > answers:
            raise QueueDown
        return put(job)  # type: ignore[arg-type]

    monkeypatch.setattr(commands.queue, "put", fails_later)
    await telegram.click(question, DRAW)

    await telegram.wait_for(
        lambda: any("queue can not be reached" in str(one.text) for one in placeholders(telegram, question))
    )
    assert len(jobs(queue)) == answers
