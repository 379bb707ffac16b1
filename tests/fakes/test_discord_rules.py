"""The fake Discord's rules, with requests written by hand as a delivery process writes them."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.fakes.discord_messages import LOADING
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.discord_spec import discord_spec
from tests.fakes.discord_wire import Wire

COMMAND = {"name": "draw", "description": "draw", "options": [{"type": 3, "name": "prompt", "description": "what"}]}
needs_spec = pytest.mark.skipif(discord_spec() is None, reason="Discord's description is not at hand")


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


async def test_a_multipart_edit_turns_the_waiting_message_into_a_picture(discord: FakeDiscord, wire: Wire) -> None:
    interaction = await discord.slash("draw", {"prompt": "x"})
    await wire.acknowledge(interaction)
    embed = {"title": "x", "image": {"url": "attachment://b.png"}}
    body = {"content": "done", "embeds": [embed], "attachments": [{"id": 0}, {"id": 1, "description": "alt"}]}

    status, answer = await wire.hook("PATCH", interaction, body=body, files={"a.png": b"A", "b.png": b"B"})

    message = await interaction.message
    assert status == 200
    assert [attachment["filename"] for attachment in answer["attachments"]] == ["a.png"]  # b.png is in the embed
    assert [(a.data, a.description) for a in message.attachments] == [(b"A", None), (b"B", "alt")]
    assert [state.flags & LOADING for state in message.history] == [LOADING, 0]
    assert discord.calls("PATCH", "@original")[0].file_names == ["a.png", "b.png"]
    assert discord.violations == []
    async with wire.session.get(answer["embeds"][0]["image"]["url"]) as response:
        assert (await response.read(), response.content_type) == (b"B", "image/png")
    async with wire.session.get(answer["attachments"][0]["url"].replace("hm=", "hm=0")) as response:
        assert response.status == 404


async def test_an_edit_keeps_the_files_it_names_and_drops_the_rest(discord: FakeDiscord, wire: Wire) -> None:
    _, posted = await wire.post({"attachments": [{"id": 0}, {"id": 1}]}, files={"a.png": b"A", "b.png": b"B"})
    message = discord.messages_in(discord.general)[0]
    path = f"/channels/{discord.general.id}/messages/{message.id}"

    await wire.send("PATCH", path, {"content": "text alone changes no files"})
    kept = [attachment.data for attachment in message.attachments]
    await wire.send("PATCH", path, {"attachments": [{"id": posted["attachments"][1]["id"]}]})
    named = [attachment.data for attachment in message.attachments]
    await wire.send("PATCH", path, {}, files={"c.png": b"C"})
    replaced = [attachment.data for attachment in message.attachments]

    assert (kept, named, replaced) == ([b"A", b"B"], [b"B"], [b"C"])
    assert discord.violations == []


async def test_a_file_that_attachments_does_not_name_is_a_violation(discord: FakeDiscord, wire: Wire) -> None:
    await wire.post({"attachments": [{"id": 0}]}, files={"a.png": b"A", "b.png": b"B"})
    await wire.post({"content": "x", "embeds": [{"title": "x", "image": {"url": "attachment://a b.png"}}]})

    assert "files[1] is not named" in discord.violations[0]
    assert "names no file" in discord.violations[1]


async def test_the_same_nonce_posts_once(discord: FakeDiscord, wire: Wire) -> None:
    discord.lose_reply("POST", "/messages$")
    body = {"content": "x", "nonce": "job-1", "enforce_nonce": True}

    with pytest.raises(aiohttp.ClientConnectionError):
        await wire.post(body)
    status, answer = await wire.post(body)

    assert status == 200
    assert [str(message.id) for message in discord.messages_in()] == [answer["id"]]
    assert [call.status for call in discord.calls("POST", "/messages$")] == [0, 200]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"content": "x" * 2001}, "content"),
        ({"embeds": [{"description": "x" * 4097}]}, "embeds"),
        ({"embeds": [{"description": "x" * 4000}, {"description": "x" * 2001}]}, "embeds"),
        ({"embeds": [{"title": "x"}] * 11}, "embeds"),
        ({"embeds": [{"image": {"url": "ftp://x/y.png"}}]}, "embeds"),
        ({"components": [{"type": 1, "components": [{"type": 2, "style": 1, "label": "x"}]}]}, "components"),
        (
            {
                "components": [
                    {"type": 1, "components": [{"type": 2, "style": 1, "label": "x", "custom_id": "y" * 101}]}
                ]
            },
            "components",
        ),
        (
            {"components": [{"type": 1, "components": [{"type": 2, "style": 1, "label": "x", "custom_id": "y"}] * 2}]},
            "components",
        ),
        ({"content": "x", "nonce": "n" * 26}, "nonce"),
        ({"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}, "allowed_mentions"),
    ],
)
async def test_a_message_beyond_the_limits_is_refused(
    discord: FakeDiscord, wire: Wire, body: dict[str, Any], where: str
) -> None:
    status, answer = await wire.post(body)

    assert (status, answer["code"]) == (400, 50035)
    assert where in answer["errors"]
    assert discord.violations
    assert not discord.messages_in()


async def test_files_that_are_too_big_or_too_many_are_refused(discord: FakeDiscord, wire: Wire) -> None:
    discord.file_limit_bytes = 10

    big = await wire.post({}, files={"a.png": b"x" * 11})
    many = await wire.post({}, files={f"{number}.png": b"x" for number in range(11)})
    empty = await wire.post({"content": " "})

    assert (big[0], big[1]["code"]) == (413, 40005)
    assert (many[0], many[1]["code"]) == (400, 50035)
    assert (empty[0], empty[1]["code"]) == (400, 50006)


@needs_spec
@pytest.mark.parametrize(
    ("body", "violation"),
    [
        ({"content": 5}, "content: 5 is not of type"),
        ({"content": "x", "embed": {"title": "x"}}, "the field embed is not known"),
        ({"content": "x", "embeds": [{"title": "x", "colour": 1}]}, "the field embeds.0.colour is not known"),
        ({"content": "x", "components": [{"type": 1, "components": [{"type": 2, "style": 9}]}]}, "components"),
    ],
)
async def test_a_request_that_is_not_as_described_is_a_violation(
    discord: FakeDiscord, wire: Wire, body: dict[str, Any], violation: str
) -> None:
    await wire.post(body)

    assert violation in discord.violations[0]


@needs_spec
async def test_an_unknown_query_is_refused(discord: FakeDiscord, wire: Wire) -> None:
    status, _ = await wire.send("GET", f"/channels/{discord.general.id}/messages?limit=101&sort=up")

    assert status == 400
    assert len(discord.violations) == 2


async def test_ordered_troubles_come_in_order_and_end(discord: FakeDiscord, wire: Wire) -> None:
    discord.fail_next("POST", "/messages$", 429, json={"retry_after": 0.1})
    discord.fail_next("*", "/messages$", 502)
    discord.lose_reply("POST", "/messages$", status=500)

    answers = [await wire.post({"content": str(number)}) for number in range(4)]

    assert [status for status, _ in answers] == [429, 502, 500, 200]
    assert answers[1][1].startswith("<html>")
    assert [message.content for message in discord.messages_in()] == ["2", "3"]


async def test_rates_are_enforced_where_a_test_asks_for_it(discord: FakeDiscord, wire: Wire) -> None:
    free = [(await wire.post({"content": "x"}))[0] for _ in range(6)]
    discord.enforce_rates = True

    strict = [await wire.post({"content": "x"}) for _ in range(6)]

    assert free == [200] * 6
    assert [status for status, _ in strict] == [200] * 5 + [429]
    assert 4 < strict[-1][1]["retry_after"] <= 5


async def test_mentions_ping_unless_the_request_forbids_it(discord: FakeDiscord, wire: Wire) -> None:
    text = f"@everyone {discord.bob.mention} <@&5>"

    await wire.post({"content": text})
    await wire.post({"content": text, "allowed_mentions": {"parse": []}})
    await wire.post({"content": text, "allowed_mentions": {"parse": [], "users": [str(discord.bob.id)]}})

    everybody, nobody, bob = (message.pings for message in discord.messages_in())
    assert everybody == {"everyone", "role:5", str(discord.bob.id)}
    assert not nobody
    assert bob == {str(discord.bob.id)}
    assert [call.allowed_mentions for call in discord.calls("POST", "/messages$")][:2] == [None, {"parse": []}]


async def test_a_command_that_discord_would_not_take_is_refused(discord: FakeDiscord, wire: Wire) -> None:
    option = {"type": 3, "name": "prompt", "description": "what"}
    bad = [
        COMMAND | {"name": "Draw"},
        COMMAND | {"description": ""},
        COMMAND | {"options": [option, {**option, "name": "two", "required": True}]},
        COMMAND | {"options": [{**option, "name": f"o{number}"} for number in range(26)]},
        COMMAND | {"options": [{**option, "autocomplete": True, "choices": [{"name": "a", "value": "a"}]}]},
    ]

    answers = [await wire.send("PUT", f"/applications/{discord.application_id}/commands", [body]) for body in bad]

    assert {(status, answer["code"]) for status, answer in answers} == {(400, 50035)}
    assert [command["name"] for command in discord.commands.all(None)] == ["draw"]


async def test_credentials_are_never_kept(discord: FakeDiscord, wire: Wire) -> None:
    await wire.post({"content": "x"})

    assert discord.requests[-1].credential == "right"
    assert "Authorization" not in discord.requests[-1].headers
    assert discord.token not in repr(discord.requests)
