"""The life of the Discord door: where it connects, as whom, what it registers, and how it ends."""

import asyncio
import logging
from urllib.parse import parse_qs, urlsplit

import discord as library
import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.commands import COMMANDS, Commands
from bot.discord_bot.connection import BETWEEN_INTRODUCTIONS_S, QUICK_ONES, SLOWLY_S, Introductions, configure_discord
from bot.discord_bot.gateway import run
from bot.discord_bot.registration import invite_url
from easel.errors import SettingsError
from easel.job_queue.queue import JobQueue
from easel.settings import load_settings
from tests.fakes.discord_door import jobs, open_door, settings_for, until
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.discord_values import MEMBER, Permission

REFUSED = "Discord refuses DISCORD_TOKEN: copy the token from the Bot page of your application again."


@pytest.mark.usefixtures("door")
async def test_no_intent_is_asked_for_that_somebody_has_to_grant(discord: FakeDiscord) -> None:
    (introduction,) = discord.gateway.identifies

    assert introduction.intents == library.Intents(guilds=True).value == 1


async def test_the_commands_are_registered_once(discord: FakeDiscord, commands: Commands) -> None:
    for _ in range(3):
        async with open_door(discord, commands):
            pass

    assert len(discord.calls("PUT", "/commands$")) == 1
    assert len(discord.calls("GET", "/commands$")) == 3


@pytest.mark.parametrize("change", ["text", "more", "limit", "context"])
async def test_commands_that_differ_are_registered_again(discord: FakeDiscord, commands: Commands, change: str) -> None:
    async with open_door(discord, commands):
        pass
    known = await discord.wait_for_command("imagine")
    match change:
        case "text":
            discord.commands.change(None, known["id"], {"description": "Another"})
        case "more":
            discord.commands.add(None, {"name": "old", "description": "From another life"})
        case "limit":
            known["options"][4]["max_value"] = 151
        case "context":
            known["contexts"] = [0]

    async with open_door(discord, commands):
        pass

    assert len(discord.calls("PUT", "/commands$")) == 2
    names = {command["name"] for command in discord.commands.all(None)}
    assert names == {row.name for row in COMMANDS} | {row.menu for row in COMMANDS if row.menu}


async def test_a_refused_token_ends_it_with_one_sentence_and_one_try(discord: FakeDiscord, commands: Commands) -> None:
    settings = settings_for(discord, DISCORD_TOKEN="not.the.one")

    with pytest.raises(SettingsError) as caught:
        await run(settings, commands)

    assert str(caught.value) == REFUSED
    assert caught.value.__suppress_context__
    assert [call.path for call in discord.requests] == ["/gateway", "/users/@me"]


async def test_a_revoked_token_ends_it_with_one_sentence(discord: FakeDiscord, commands: Commands) -> None:
    door = asyncio.ensure_future(run(settings_for(discord), commands))
    await until(lambda: discord.gateway.ready)
    before = len(discord.requests)

    await discord.revoke_token()

    with pytest.raises(SettingsError, match="DISCORD_TOKEN"):
        await door
    assert len(discord.requests) == before


async def test_without_a_token_there_is_no_door(commands: Commands) -> None:
    with pytest.raises(SettingsError, match="DISCORD_TOKEN is not set"):
        await run(load_settings({}), commands)


async def test_it_waits_for_a_discord_that_is_away(
    discord: FakeDiscord, commands: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    discord.fail_next("GET", "/gateway$", 502)
    discord.cut("GET", "/users/@me$", times=2)
    discord.fail_next("GET", "/commands$", 503)

    async with open_door(discord, commands):
        pass

    told = [record.getMessage() for record in caplog.records if "can not be reached" in record.getMessage()]
    assert [text.partition("; ")[0] for text in told] == [
        "Discord can not be reached (502)",
        "Discord can not be reached (ServerDisconnectedError)",
        "Discord can not be reached (503)",
    ]


async def test_it_waits_for_a_gateway_that_is_away(
    discord: FakeDiscord, commands: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(discord, DISCORD_GATEWAY="ws://127.0.0.1:9")

    door = asyncio.ensure_future(run(settings, commands))

    await until(lambda: caplog.text.count("Discord can not be reached") == 2 or door.done())
    assert not door.done()
    door.cancel()
    await asyncio.gather(door, return_exceptions=True)


async def test_an_address_where_there_is_no_discord_is_a_wrong_setting(
    discord: FakeDiscord, commands: Commands
) -> None:
    settings = settings_for(discord, DISCORD_API_BASE=f"{discord.url}/nothing")

    with pytest.raises(SettingsError, match=r"DISCORD_API_BASE is `http.*/nothing`, but what is there does not answer"):
        await run(settings, commands)
    discord.violations.clear()


async def test_a_gateway_that_is_set_is_not_asked_for(discord: FakeDiscord, commands: Commands) -> None:
    async with open_door(discord, commands, settings_for(discord, DISCORD_GATEWAY=discord.gateway_url)):
        pass

    assert not discord.calls("GET", "/gateway$")


async def test_the_real_discord_is_where_nothing_else_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    before = DiscordWebSocket.DEFAULT_GATEWAY

    await configure_discord(load_settings({"DISCORD_TOKEN": "x"}))

    assert Route.BASE == "https://discord.com/api/v10"
    assert before == DiscordWebSocket.DEFAULT_GATEWAY


async def test_a_command_during_a_cut_connection_is_not_missed(
    discord: FakeDiscord, commands: Commands, queue: JobQueue
) -> None:
    async with open_door(discord, commands):
        await discord.drop_gateway()
        interaction = await discord.slash("imagine", {"prompt": "a cat"})
        await interaction.message

    assert discord.gateway.resumes == ["accepted"]
    assert len(jobs(queue)) == 1


async def test_a_refused_resume_is_followed_by_one_introduction_after_five_seconds(
    discord: FakeDiscord, commands: Commands
) -> None:
    discord.refuse_resume = True

    async with open_door(discord, commands):
        await discord.drop_gateway()
        await until(lambda: len(discord.gateway.identifies) == 2)
        interaction = await discord.slash("imagine", {"prompt": "a cat"})
        await interaction.message

    first, second = discord.gateway.identifies
    assert second.at - first.at >= 5
    assert len(discord.calls("PUT", "/commands$")) == 1


def test_introductions_stay_below_a_thousand_a_day() -> None:
    introductions = Introductions()
    now, made = 0.0, 0

    pauses = []
    while now < 3 * 24 * 3600:
        pauses.append(introductions.pause(now))
        now += pauses[-1]
        made += 1

    assert made < 3 * 1000
    assert pauses[:QUICK_ONES] == [BETWEEN_INTRODUCTIONS_S] * QUICK_ONES
    assert pauses[QUICK_ONES] == SLOWLY_S


async def test_the_invitation_asks_for_no_more_than_is_needed(
    discord: FakeDiscord, commands: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bot.discord_bot")
    async with open_door(discord, commands):
        pass

    link = invite_url(discord.application_id)
    query = parse_qs(urlsplit(link).query)
    assert link in caplog.text
    assert int(query["permissions"][0]) == MEMBER & ~Permission.USE_APPLICATION_COMMANDS
    assert query["scope"] == ["bot applications.commands"]
    assert query["client_id"] == [str(discord.application_id)]


async def test_a_command_of_another_life_is_answered(discord: FakeDiscord, commands: Commands) -> None:
    async with open_door(discord, commands):
        discord.commands.add(None, {"name": "old", "description": "From another life"})
        interaction = await discord.slash("old")
        message = await interaction.message

    assert (message.content, message.ephemeral) == (
        "This command has changed. Please type it again; if it looks the same, restart Discord first.",
        True,
    )


async def test_no_token_is_logged(discord: FakeDiscord, commands: Commands, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    discord.cut("POST", "/callback$", times=4)
    discord.fail_next("PATCH", "@original$", 403)

    async with open_door(discord, commands):
        lost = await discord.slash("imagine", {"prompt": "a cat"})
        await until(lambda: "an interaction is lost" in caplog.text)
        discord.cut("POST", "/callback$", times=4)
        failed = await discord.slash("help")
        await until(lambda: "somebody could not be told" in caplog.text)

    for secret in (discord.token, lost.token, failed.token):
        assert secret not in caplog.text
