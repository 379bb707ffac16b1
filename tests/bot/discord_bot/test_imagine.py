"""`/imagine` on Discord, over the wire: where it is asked, how, and by whom."""

import re
import time

import pytest

from bot.commands import Commands, job_id_for
from easel.job_queue.queue import JobQueue
from easel.jobs import DiscordAddress
from tests.fakes.discord_door import AT_ONCE_S, jobs, open_door, placed
from tests.fakes.discord_interaction import COMMAND
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.discord_values import MEMBER, Permission

WAITING = "Queued. No worker is running yet; the picture is drawn as soon as one is."


def address(queue: JobQueue) -> DiscordAddress:
    (job,) = jobs(queue)
    assert isinstance(job.reply_to, DiscordAddress)
    return job.reply_to


@pytest.mark.usefixtures("door")
async def test_a_command_becomes_a_job_and_a_placeholder(discord: FakeDiscord, queue: JobQueue) -> None:
    interaction = await discord.slash("imagine", {"prompt": "a red apple", "steps": 7, "cfg": 3.5, "size": "3:2"})

    assert await interaction.acknowledged < AT_ONCE_S
    message = await interaction.message
    (job,) = jobs(queue)
    assert [state.loading for state in message.history] == [True, False]
    assert (message.content, message.ephemeral) == (WAITING, False)
    assert await placed(queue, job) == message.id
    assert job.id == job_id_for("discord", interaction.id)
    assert (job.request.prompt, job.request.steps, job.request.cfg_scale) == ("a red apple", 7, 3.5)
    assert job.request.width > job.request.height
    assert (job.asker.key, job.asker.name) == (f"discord:{discord.alice.id}", "Alice")
    assert time.time() - address(queue).created_at < 5
    assert job.reply_to == DiscordAddress(
        application_id=str(discord.application_id),
        interaction_token=interaction.token,
        created_at=address(queue).created_at,
        channel_id=str(discord.general.id),
        guild_id=str(discord.guild_id),
        bot_in_channel=True,
        file_limit=discord.file_limit_bytes,
    )


@pytest.mark.usefixtures("door")
async def test_the_asker_is_who_asked(discord: FakeDiscord, queue: JobQueue) -> None:
    interaction = await discord.slash("imagine", {"prompt": "a cat"}, user_id=discord.bob.id)
    await interaction.message

    (job,) = jobs(queue)
    assert job.asker.id == str(discord.bob.id)


@pytest.mark.usefixtures("door")
async def test_a_private_conversation_has_no_guild_and_the_bot_in_it(discord: FakeDiscord, queue: JobQueue) -> None:
    conversation = discord.dm(discord.bob.id)

    interaction = await discord.slash("imagine", {"prompt": "a cat"}, channel=conversation)

    await interaction.message
    at = address(queue)
    assert (at.channel_id, at.guild_id, at.bot_in_channel) == (str(conversation.id), None, True)


@pytest.mark.usefixtures("door")
async def test_a_thread_is_answered_in_the_thread(discord: FakeDiscord, queue: JobQueue) -> None:
    discord.bot_permissions = MEMBER & ~Permission.SEND_MESSAGES

    interaction = await discord.slash("imagine", {"prompt": "a cat"}, channel=discord.thread)

    message = await interaction.message
    at = address(queue)
    assert (at.channel_id, at.bot_in_channel) == (str(discord.thread.id), True)
    assert message.channel_id == discord.thread.id


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    ("place", "missing"),
    [
        ("general", Permission.VIEW_CHANNEL),
        ("general", Permission.SEND_MESSAGES),
        ("general", Permission.ATTACH_FILES),
        ("thread", Permission.SEND_MESSAGES_IN_THREADS),
    ],
)
async def test_where_the_bot_may_not_post_only_the_interaction_answers(
    discord: FakeDiscord, queue: JobQueue, place: str, missing: Permission
) -> None:
    discord.bot_permissions = MEMBER & ~missing

    interaction = await discord.slash("imagine", {"prompt": "a cat"}, channel=getattr(discord, place))

    await interaction.message
    assert not address(queue).bot_in_channel


@pytest.mark.usefixtures("door")
async def test_a_guild_without_the_bot_is_answered_by_the_interaction(discord: FakeDiscord, queue: JobQueue) -> None:
    interaction = await discord.slash("imagine", {"prompt": "a cat"}, channel=discord.elsewhere)

    await interaction.message
    at = address(queue)
    assert (at.guild_id, at.bot_in_channel) == (str(discord.other_guild_id), False)


@pytest.mark.usefixtures("door")
async def test_a_conversation_of_two_people_is_answered_by_the_interaction(
    discord: FakeDiscord, queue: JobQueue
) -> None:
    command = await discord.wait_for_command("imagine")
    between = discord.dm(discord.bob.id)
    data = {"id": command["id"], "name": "imagine", "type": 1}
    filled = {"options": [{"name": "prompt", "type": 3, "value": "a cat"}]}
    interaction = discord.desk.open(COMMAND, data | filled, discord.alice, between)
    interaction.payload |= {"context": 2, "authorizing_integration_owners": {"1": str(discord.alice.id)}}

    discord.desk.send(interaction)

    await interaction.message
    at = address(queue)
    assert (at.guild_id, at.bot_in_channel) == (None, False)


@pytest.mark.usefixtures("door")
async def test_flags_at_the_end_of_the_words_count_less_than_fields(discord: FakeDiscord, queue: JobQueue) -> None:
    filled = {"prompt": "a cat --steps 9 --seed 11 —ar 3:2", "seed": 12}

    interaction = await discord.slash("imagine", filled)

    await interaction.message
    (job,) = jobs(queue)
    assert (job.request.prompt, job.request.steps, job.request.seed) == ("a cat", 9, 12)


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    ("filled", "sentence"),
    [
        ({"prompt": "x", "checkpoint": "easel-dmeo"}, r"Did you mean \`easel\-demo\`?"),
        ({"prompt": "x", "sampler": "Eular a"}, r"Did you mean \`Euler a\`"),
        ({"prompt": "x", "size": "9999x9999"}, r"\`size\` must be 64 to 2048 pixels each way, not 9999x9999."),
        ({"prompt": "x --stepz 5"}, r"There is no option \`\-\-stepz\`. Did you mean \`\-\-steps\`?"),
    ],
)
async def test_a_mistake_is_told_to_its_maker_alone_and_queues_nothing(
    discord: FakeDiscord, queue: JobQueue, filled: dict[str, str], sentence: str
) -> None:
    interaction = await discord.slash("imagine", filled)

    message = await interaction.message
    assert sentence in message.content
    assert (message.ephemeral, message.visible_to, interaction.response_type) == (True, discord.alice.id, 4)
    assert len(discord.messages_in()) == 1
    assert jobs(queue) == []


HOSTILE = (
    "@everyone @here <@&1> <@{bob}> <@!{bob}> [x](http://evil.example) ||boo|| # big\n> quote <t:0> </imagine:1> "
    "```\ncode``` `a` \u202e\u200b *b* _c_ ~~d~~"
)


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("field", ["prompt", "negative", "checkpoint", "sampler", "schedule", "size"])
async def test_hostile_words_ping_nobody_and_are_shown_as_they_are(discord: FakeDiscord, field: str) -> None:
    text = HOSTILE.format(bob=discord.bob.id)

    interaction = await discord.slash("imagine", {"prompt": "x"} | {field: text})

    message = await interaction.message
    assert not message.pings
    assert not message.mentions
    unescaped = re.sub(r"\\[^\w\s]", "", message.content)
    assert not set(unescaped) & set("*_~`|<>[]()#\u202e")


@pytest.mark.usefixtures("door")
async def test_broken_unicode_does_not_break_the_answer(discord: FakeDiscord) -> None:
    interaction = await discord.slash("imagine", {"prompt": "x", "checkpoint": "\ud83d \0 \udc08 \U0001f408\u0301"})

    message = await interaction.message
    assert "There is no checkpoint called" in message.content


async def test_a_late_command_is_not_carried_out(
    discord: FakeDiscord, commands: Commands, queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    discord.lateness_s = 4

    async with open_door(discord, commands):
        interaction = await discord.slash("imagine", {"prompt": "a cat"})
        call = await discord.wait_for_call("POST", "/callback$")
        await discord.bell.until(lambda: call.status or None, 3, lambda: "no answer")

    assert call.status == 404
    assert not interaction.messages
    assert jobs(queue) == []
    assert "an interaction is lost: 404 Not Found (error code: 10062)" in caplog.text
