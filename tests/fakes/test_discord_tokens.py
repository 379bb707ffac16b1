"""The fake Discord's interactions and places, with requests written by hand: who may do what, and for how long."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.fakes.discord_client import RefusedByClient
from tests.fakes.discord_files import Upload
from tests.fakes.discord_interaction import Interaction, NotAcknowledged
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.discord_wire import Wire

COMMAND = {"name": "draw", "description": "draw", "options": [{"type": 3, "name": "prompt", "description": "what"}]}


@pytest_asyncio.fixture
async def discord() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord() as server:
        yield server
    assert server.own_faults == []
    assert server.unused_troubles == []


@pytest_asyncio.fixture
async def wire(discord: FakeDiscord) -> AsyncIterator[Wire]:
    async with aiohttp.ClientSession() as session:
        wire = Wire(discord, session)
        await wire.send("PUT", f"/applications/{discord.application_id}/commands", [COMMAND])
        yield wire


async def test_an_interaction_is_answered_once_and_its_token_dies(discord: FakeDiscord, wire: Wire) -> None:
    interaction = await discord.slash("draw", {"prompt": "x"})

    early = await wire.hook("PATCH", interaction, body={"content": "x"})
    first, second = await wire.acknowledge(interaction), await wire.acknowledge(interaction)
    interaction.expire()
    late = await wire.hook("PATCH", interaction, body={"content": "x"})

    assert (early[0], early[1]["code"]) == (404, 10015)
    assert (first[0], second[0], second[1]["code"]) == (204, 400, 40060)
    assert (late[0], late[1]["code"]) == (401, 50027)


async def test_the_first_follow_up_fills_the_waiting_message(discord: FakeDiscord, wire: Wire) -> None:
    interaction = await discord.slash("draw", {"prompt": "x"})
    await wire.acknowledge(interaction, data={"flags": 64})

    await wire.hook("POST", interaction, "", {"content": "one"})
    _, second = await wire.hook("POST", interaction, "", {"content": "two"})
    edited, _ = await wire.hook("PATCH", interaction, f"/messages/{second['id']}", {"content": "three"})
    deleted, _ = await wire.hook("DELETE", interaction)
    gone = await wire.hook("GET", interaction)

    assert [message.content for message in interaction.messages] == ["one", "three"]
    assert [message.ephemeral for message in interaction.messages] == [True, False]
    assert (edited, deleted, gone[0], gone[1]["code"]) == (200, 204, 404, 10008)


async def test_the_bot_edits_public_answers_but_not_ephemeral_ones(discord: FakeDiscord, wire: Wire) -> None:
    public, private = await discord.slash("draw"), await discord.slash("draw")
    await wire.acknowledge(public, 4, {"content": "x"})
    await wire.acknowledge(private, 4, {"content": "x", "flags": 64})
    path = f"/channels/{discord.general.id}/messages"

    seen = await wire.send("PATCH", f"{path}/{(await public.message).id}", {"content": "y"})
    unseen = await wire.send("PATCH", f"{path}/{(await private.message).id}", {"content": "y"})

    assert seen[0] == 200
    assert (unseen[0], unseen[1]["code"]) == (404, 10008)
    assert [state.via for state in (await public.message).history] == ["interaction", "bot"]


async def test_places_without_access_refuse_the_bot(discord: FakeDiscord, wire: Wire) -> None:
    discord.general.forbidden = True
    interaction = await _installed_by_a_user(discord, wire)

    forbidden = await wire.post({"content": "x"})
    hidden = await wire.send("POST", f"/channels/{discord.elsewhere.id}/messages", {"content": "x"})
    discord.delete_channel(discord.general)
    unknown = await wire.post({"content": "x"})
    by_token = [(await wire.hook("POST", interaction, "", {"content": "x"}))[0] for _ in range(6)]

    assert [(status, answer["code"]) for status, answer in (forbidden, hidden, unknown)] == [
        (403, 50013),
        (403, 50001),
        (404, 10003),
    ]
    assert by_token == [200] * 5 + [400]


async def _installed_by_a_user(discord: FakeDiscord, wire: Wire) -> Interaction:
    with pytest.raises(RefusedByClient, match="installed by a user"):
        await discord.slash("draw", channel=discord.elsewhere)
    command = COMMAND | {"integration_types": [0, 1]}
    await wire.send("POST", f"/applications/{discord.application_id}/commands", command)
    interaction = await discord.slash("draw", channel=discord.elsewhere)
    await wire.acknowledge(interaction, 4, {"content": "x"})
    return interaction


async def test_a_message_context_menu_names_its_message(discord: FakeDiscord, wire: Wire) -> None:
    command = {"name": "Picture info", "type": 3}
    await wire.send("PUT", f"/applications/{discord.application_id}/commands", [command])
    message = await discord.say("look", files=[Upload("a.png", b"A")])

    interaction = await discord.message_command("Picture info", message)

    target = interaction.payload["data"]["resolved"]["messages"][str(message.id)]
    assert target["attachments"][0]["filename"] == "a.png"


async def test_a_callback_that_is_held_up_too_long_comes_too_late(discord: FakeDiscord, wire: Wire) -> None:
    discord.ack_within_s = 0.2
    discord.delay("POST", "/callback$", 0.3)
    interaction = await discord.slash("draw")

    (status, answer), outcome = await asyncio.gather(
        wire.acknowledge(interaction), interaction.acknowledged, return_exceptions=True
    )

    assert (status, answer["code"]) == (404, 10062)
    assert isinstance(outcome, NotAcknowledged)


async def test_a_token_dies_of_old_age(discord: FakeDiscord, wire: Wire) -> None:
    interaction = await discord.slash("draw")
    await wire.acknowledge(interaction)
    discord.token_life_s = 0

    status, answer = await wire.hook("PATCH", interaction, body={"content": "x"})

    assert (status, answer["code"]) == (401, 50027)
    assert interaction.original is not None
    assert interaction.original.loading


async def test_a_message_that_a_moderator_removed_is_unknown(discord: FakeDiscord, wire: Wire) -> None:
    interaction = await discord.slash("draw")
    await wire.acknowledge(interaction, 4, {"content": "x"})
    message = await interaction.message
    await discord.moderate_away(message)

    by_token = await wire.hook("PATCH", interaction, body={"content": "y"})
    by_bot = await wire.send("PATCH", f"/channels/{message.channel_id}/messages/{message.id}", {"content": "y"})

    assert [(status, answer["code"]) for status, answer in (by_token, by_bot)] == [(404, 10008), (404, 10008)]


async def test_a_revoked_token_opens_nothing(discord: FakeDiscord, wire: Wire) -> None:
    old = discord.token
    await discord.revoke_token()
    wire.token = old

    status, answer = await wire.send("GET", "/users/@me")

    assert (status, answer["message"]) == (401, "401: Unauthorized")
    assert discord.requests[-1].credential == "wrong"


async def test_links_to_files_die(discord: FakeDiscord, wire: Wire) -> None:
    discord.shelf.life_s = -1
    message = await discord.say("look", files=[Upload("a.png", b"A")])

    async with wire.session.get(discord.shelf.link(message.attachments[0])) as response:
        assert response.status == 404


async def test_the_newer_components_stand_alone_and_show_files(discord: FakeDiscord, wire: Wire) -> None:
    gallery = {"type": 12, "items": [{"media": {"url": "attachment://a.png"}}]}
    box = {"type": 17, "components": [{"type": 10, "content": "hello"}, gallery]}
    path = f"/channels/{discord.general.id}/messages"

    status, answer = await wire.send("POST", path, {"flags": 1 << 15, "components": [box]}, files={"a.png": b"A"})
    mixed = await wire.send("POST", path, {"flags": 1 << 15, "components": [box], "content": "x"})
    without_flag = await wire.send("POST", path, {"components": [box]})

    assert status == 200
    assert answer["components"][0]["components"][1]["items"][0]["media"]["url"].startswith(discord.url)
    assert discord.messages_in()[0].text == "hello"
    assert [(refused[0], refused[1]["code"]) for refused in (mixed, without_flag)] == [(400, 50035)] * 2


async def test_a_bot_that_does_not_introduce_itself_is_a_violation(discord: FakeDiscord) -> None:
    headers = {"Authorization": f"Bot {discord.token}"}

    async with aiohttp.ClientSession() as session, session.get(f"{discord.api_base}/users/@me", headers=headers) as got:
        assert got.status == 200

    assert discord.violations == ["GET /users/@me: a bot's User-Agent is DiscordBot ($url, $version)"]


async def test_a_menu_sends_what_was_chosen(discord: FakeDiscord, wire: Wire) -> None:
    menu = {"type": 3, "custom_id": "m", "options": [{"label": "A", "value": "a"}, {"label": "B", "value": "b"}]}
    await wire.send(
        "POST", f"/channels/{discord.general.id}/messages", {"components": [{"type": 1, "components": [menu]}]}
    )
    message = discord.messages_in()[0]

    chosen = await discord.select(message, "m", ["b"])
    status, _ = await wire.acknowledge(chosen, 7, {"content": "b it is", "components": []})

    assert chosen.payload["data"]["values"] == ["b"]
    assert (status, await chosen.message, message.content) == (204, message, "b it is")
    with pytest.raises(RefusedByClient, match="no menu"):
        await discord.select(message, "m", ["b"])
