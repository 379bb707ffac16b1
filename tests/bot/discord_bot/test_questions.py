"""Several pictures on Discord, over the wire: asked about first, drawn once, each in a message of its own."""

import pytest

from bot.commands import Commands
from easel.job_queue.queue import JobQueue
from easel.jobs import DiscordAddress
from tests.fakes.discord_door import AT_ONCE_S, jobs, open_door, placed, until
from tests.fakes.discord_interaction import Interaction
from tests.fakes.discord_messages import Message
from tests.fakes.discord_server import FakeDiscord

PROMPT = "a {red, green} {cat, dog} --steps 3"


async def asked(discord: FakeDiscord, **where: object) -> tuple[Interaction, Message]:
    interaction = await discord.slash("imagine", {"prompt": PROMPT}, **where)  # type: ignore[arg-type]
    return interaction, await interaction.message


@pytest.mark.usefixtures("door")
async def test_how_many_there_are_is_asked_in_private(discord: FakeDiscord, queue: JobQueue) -> None:
    interaction, question = await asked(discord)

    assert await interaction.acknowledged < AT_ONCE_S
    assert question.content == "Your words make 4 different pictures."
    assert (question.ephemeral, question.visible_to) == (True, discord.alice.id)
    assert [button.label for button in question.buttons] == ["Draw 4 pictures", "Cancel"]
    assert jobs(queue) == []


@pytest.mark.usefixtures("door")
async def test_a_yes_draws_each_in_a_message_of_its_own(discord: FakeDiscord, queue: JobQueue) -> None:
    _, question = await asked(discord)

    press = await discord.click(question, "Draw 4 pictures")

    assert await press.acknowledged < AT_ONCE_S
    await until(lambda: len(jobs(queue)) == 4)
    prompts = ["a red cat", "a red dog", "a green cat", "a green dog"]
    assert [job.request.prompt for job in jobs(queue)] == prompts
    assert {job.request.steps for job in jobs(queue)} == {3}
    assert {job.asker.id for job in jobs(queue)} == {str(discord.alice.id)}
    shown = [await placed(queue, job) for job in jobs(queue)]
    assert len(set(shown)) == 4
    assert {(m.ephemeral, m.content[:7]) for m in press.follow_ups} == {(False, "Queued.")}
    assert sorted(m.id for m in press.follow_ups) == sorted(shown)
    assert (question.content, question.buttons) == ("4 pictures are on their way.", [])
    assert {job.reply_to.interaction_token for job in jobs(queue) if isinstance(job.reply_to, DiscordAddress)} == {press.token}  # fmt: skip


async def test_pressing_twice_or_after_a_restart_draws_once(
    discord: FakeDiscord, commands: Commands, queue: JobQueue
) -> None:
    async with open_door(discord, commands):
        _, question = await asked(discord)
    async with open_door(discord, commands):
        presses = [await discord.click(question, "Draw 4 pictures") for _ in range(2)]
        await until(lambda: len(jobs(queue)) == 4)
        for job in jobs(queue):
            await placed(queue, job)

    assert len(jobs(queue)) == 4
    assert sum(len(press.follow_ups) for press in presses) == 4


@pytest.mark.usefixtures("door")
async def test_a_no_draws_nothing(discord: FakeDiscord, queue: JobQueue) -> None:
    _, question = await asked(discord)
    draw = question.buttons[0].custom_id or ""

    await discord.click(question, "Cancel")
    await until(lambda: question.content == "Cancelled.")
    question.edit(question.history[1])
    press = await discord.click(question, draw)

    said = await press.wait_for(lambda one: one is not question)
    assert said.content == "I no longer remember what this was about. Please ask again."
    assert said.ephemeral
    assert jobs(queue) == []


@pytest.mark.usefixtures("door")
async def test_where_the_bot_is_no_member_several_can_not_be_drawn(discord: FakeDiscord, queue: JobQueue) -> None:
    _, said = await asked(discord, channel=discord.elsewhere)

    assert said.content.replace("\\", "").startswith("Here I can only draw one picture at a time")
    assert said.ephemeral
    assert jobs(queue) == []


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("prompt", ["{a,b}" * 8, "{1,2,3,4,5,6,7,8,9,10,11} cats"])
async def test_too_many_are_refused(discord: FakeDiscord, queue: JobQueue, prompt: str) -> None:
    interaction = await discord.slash("imagine", {"prompt": prompt})

    message = await interaction.message
    assert "at most 10 are made at once" in message.content
    assert (message.ephemeral, jobs(queue)) == (True, [])


@pytest.mark.usefixtures("door")
async def test_a_placeholder_that_fails_leaves_the_others(
    discord: FakeDiscord, queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    _, question = await asked(discord)
    discord.fail_next("POST", "/webhooks/", 403, json={"message": "Missing Access", "code": 50001})

    press = await discord.click(question, "Draw 4 pictures")

    await until(lambda: len(press.follow_ups) == 3)
    assert len(jobs(queue)) == 4
    assert "the placeholder is left to delivery: 403" in caplog.text
