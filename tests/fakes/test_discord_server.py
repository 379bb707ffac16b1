"""The fake Discord with a real discord.py client on its wire."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import discord as library
import pytest
import pytest_asyncio

from tests.fakes.discord_client import RefusedByClient
from tests.fakes.discord_files import Upload
from tests.fakes.discord_interaction import NotAcknowledged
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.discord_tiny_bot import MODELS, TinyBot, tiny_bot


@pytest_asyncio.fixture
async def discord() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord() as server:
        yield server


@pytest_asyncio.fixture
async def bot(discord: FakeDiscord) -> AsyncIterator[TinyBot]:
    async with tiny_bot(discord) as running:
        yield running
    assert discord.violations == []
    assert discord.own_faults == []


async def test_a_client_logs_in_and_sees_the_guild(discord: FakeDiscord, bot: TinyBot) -> None:
    guild = bot.guilds[0]

    assert bot.application_id == discord.application_id
    assert [channel.name for channel in guild.text_channels] == ["general", "restricted"]
    assert guild.me.id == discord.bot.id
    assert [thread.name for thread in guild.threads] == ["a-thread", "a-restricted-thread"]
    assert [identify.credential for identify in discord.gateway.identifies] == ["right"]
    assert discord.gateway.identifies[0].intents == library.Intents.default().value
    assert discord.gateway.heartbeats


async def test_a_command_is_deferred_then_edited_into_a_picture(discord: FakeDiscord, bot: TinyBot) -> None:
    interaction = await discord.slash("imagine", {"prompt": "a cat", "count": 2})

    assert await interaction.acknowledged < 3
    message = await interaction.wait_for(lambda message: bool(message.attachments))
    assert message is await interaction.message
    assert [state.loading for state in message.history] == [True, False, False]
    assert [state.content for state in message.history[1:]] == ["queued", "a cat dreamshaper 2 0 nsfw=False"]
    assert [(a.filename, a.title, a.data) for a in message.attachments] == [("a_cat.png", "a cat", b"picture")]
    assert [button.custom_id for button in message.buttons] == ["v1:again:j1"]


async def test_a_file_given_as_an_option_can_be_read(discord: FakeDiscord, bot: TinyBot) -> None:
    interaction = await discord.slash("imagine", {"prompt": "x", "image": Upload("in.png", b"12345")})

    message = await interaction.wait_for(lambda message: bool(message.attachments))

    assert message.content == "x dreamshaper 1 5 nsfw=False"


@pytest.mark.parametrize(("place", "nsfw"), [("restricted", True), ("restricted_thread", True), ("thread", False)])
async def test_the_client_knows_whether_a_channel_is_age_restricted(
    discord: FakeDiscord, bot: TinyBot, place: str, nsfw: bool
) -> None:
    interaction = await discord.slash("imagine", {"prompt": "x"}, channel=getattr(discord, place))

    message = await interaction.wait_for(lambda message: bool(message.attachments))

    assert message.content.endswith(f"nsfw={nsfw}")


async def test_a_command_works_in_a_private_conversation(discord: FakeDiscord, bot: TinyBot) -> None:
    conversation = discord.dm(discord.bob.id)

    interaction = await discord.slash("imagine", {"prompt": "x"}, channel=conversation)

    message = await interaction.wait_for(lambda message: bool(message.attachments))
    assert (message.channel_id, interaction.user) == (conversation.id, discord.bob)


async def test_a_button_answers_the_one_who_pressed_it(discord: FakeDiscord, bot: TinyBot) -> None:
    interaction = await discord.slash("imagine", {"prompt": "x"})
    message = await interaction.wait_for(lambda message: bool(message.buttons))

    pressed = await discord.click(message, "Again", user_id=discord.bob.id)

    answer = await pressed.message
    assert (answer.content, answer.ephemeral, answer.visible_to) == ("again j1", True, discord.bob.id)
    with pytest.raises(RefusedByClient, match=r"'Stop'; there are \['Again'\]"):
        await discord.click(message, "Stop")


async def test_a_button_outlives_the_client_that_made_it(discord: FakeDiscord, bot: TinyBot) -> None:
    interaction = await discord.slash("imagine", {"prompt": "x"})
    message = await interaction.wait_for(lambda message: bool(message.buttons))
    await bot.close()

    async with tiny_bot(discord):
        pressed = await discord.click(message, "v1:again:j1")
        answer = await pressed.message

    assert answer.content == "again j1"


async def test_a_form_is_shown_filled_in_and_sent(discord: FakeDiscord, bot: TinyBot) -> None:
    interaction = await discord.slash("edit")
    form = await interaction.wait_for_form()

    kept = await discord.modal_submit(interaction, {})
    changed = await discord.modal_submit(interaction, {"Prompt": "a dog"})

    assert form["title"] == "Edit"
    assert (await kept.message).content == "edited: a cat"
    assert (await changed.message).content == "edited: a dog"
    with pytest.raises(RefusedByClient, match="1 to 100 characters"):
        await discord.modal_submit(interaction, {"Prompt": "x" * 101})


async def test_autocomplete_offers_what_fits_and_says_how_long_it_took(discord: FakeDiscord, bot: TinyBot) -> None:
    suggestions = await discord.autocomplete("imagine", "model", "real", {"prompt": "a cat"})

    assert suggestions.values == [MODELS[1]]
    assert 0 < suggestions.elapsed_s < 3


async def test_the_app_sends_nothing_that_the_form_does_not_allow(discord: FakeDiscord, bot: TinyBot) -> None:
    refused: dict[str, tuple[str, dict[str, Any]]] = {
        "no command /paint": ("paint", {}),
        "must be filled in": ("imagine", {"count": 1}),
        "takes 1 to 4": ("imagine", {"prompt": "x", "count": 5}),
        "takes a number": ("imagine", {"prompt": "x", "count": "2"}),
        "takes 1 to 1000 characters": ("imagine", {"prompt": " "}),
        "has no option": ("imagine", {"prompt": "x", "colour": "red"}),
        "takes a file": ("imagine", {"prompt": "x", "image": "in.png"}),
        "age-restricted": ("secret", {}),
    }

    for reason, (name, options) in refused.items():
        with pytest.raises(RefusedByClient, match=reason):
            await discord.slash(name, options)
    with pytest.raises(RefusedByClient, match="alice may not use"):
        await discord.slash("secret", channel=discord.restricted)


async def test_an_ephemeral_answer_is_seen_by_one_person(discord: FakeDiscord, bot: TinyBot) -> None:
    interaction = await discord.slash("secret", user_id=discord.owner.id, channel=discord.restricted)

    message = await interaction.message

    assert (message.content, message.visible_to) == ("told", discord.owner.id)


async def test_what_happens_while_the_gateway_is_down_is_told_after_a_resume(
    discord: FakeDiscord, bot: TinyBot
) -> None:
    await discord.drop_gateway()

    interaction = await discord.slash("imagine", {"prompt": "x"})

    await interaction.wait_for(lambda message: bool(message.attachments))
    assert discord.gateway.resumes == ["accepted"]
    assert len(discord.gateway.identifies) == 1


async def test_a_client_that_may_not_resume_introduces_itself_again(discord: FakeDiscord, bot: TinyBot) -> None:
    discord.refuse_resume = True

    await discord.drop_gateway()

    await discord.bell.until(
        lambda: (len(discord.gateway.identifies) == 2 and discord.gateway.ready) or None, 10, lambda: "one identify"
    )
    interaction = await discord.slash("imagine", {"prompt": "x"})
    await interaction.wait_for(lambda message: bool(message.attachments))
    assert discord.gateway.resumes == ["refused"]


async def test_a_client_that_is_told_to_reconnect_resumes(discord: FakeDiscord, bot: TinyBot) -> None:
    await discord.gateway.ask_to_reconnect()

    await discord.bell.until(lambda: discord.gateway.resumes or None, 10, lambda: "no resume")

    assert discord.gateway.resumes == ["accepted"]


async def test_a_wrong_token_is_refused_at_the_door(discord: FakeDiscord) -> None:
    right = discord.token
    discord.token = "another"
    wrong = FakeDiscord()
    wrong.url, wrong.token = discord.url, right

    with pytest.raises(library.LoginFailure):
        async with tiny_bot(wrong):
            pass

    assert [(call.path, call.credential, call.status) for call in discord.requests] == [("/users/@me", "wrong", 401)]
    assert right not in str(discord.requests)


async def test_an_interaction_that_came_late_cannot_be_acknowledged(
    discord: FakeDiscord, bot: TinyBot, caplog: pytest.LogCaptureFixture
) -> None:
    discord.lateness_s = 4

    interaction = await discord.slash("imagine", {"prompt": "x"})

    with pytest.raises(NotAcknowledged):
        await interaction.acknowledged
    call = await discord.wait_for_call("POST", "/callback$")
    await discord.bell.until(lambda: call.status or None, 3, lambda: "no answer")
    assert call.status == 404
    assert not interaction.messages


async def test_messages_reach_the_client_over_the_gateway(discord: FakeDiscord, bot: TinyBot) -> None:
    heard: asyncio.Future[library.Message] = asyncio.get_running_loop().create_future()
    bot.event(_hears(heard))

    await discord.say("hello", files=[Upload("a.txt", b"text")])

    message = await asyncio.wait_for(heard, 5)
    assert message.author.name == "alice"
    assert message.content == ""  # the message content intent is not granted


def _hears(heard: asyncio.Future[library.Message]):  # type: ignore[no-untyped-def]
    async def on_message(message: library.Message) -> None:
        heard.set_result(message)

    return on_message
