"""Models on Discord, over the wire: looked through page by page, asked for by options, and refused where they do not fit."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.asking.sources import Sources
from bot.browsing.previews import Previews
from bot.commands import Commands
from bot.options import MODELS
from easel.catalog import Base, Catalog, ModelKind
from easel.job_queue.queue import JobQueue
from tests.fakes.discord_door import jobs, open_door, settings_for, until
from tests.fakes.discord_interaction import Interaction
from tests.fakes.discord_messages import Message
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.wardrobe import KEPT_ROLE, card, wardrobe
from tests.fakes.wishes import png, size_of

SEARCH, KIND = (option.name for option in MODELS)
LORAS = [card(f"style-{n:02}", ModelKind.LORA, Base.SDXL, preview="Lora/red.png") for n in range(14)]


def a_catalog() -> Catalog:
    return wardrobe(*LORAS)


def commands_on(discord: FakeDiscord, queue: JobQueue, models: Path) -> Commands:
    catalog = a_catalog()
    return Commands(
        queue,
        lambda: catalog,
        sources=Sources.of(settings_for(discord)),
        warm=lambda: frozenset({"hills"}),
        previews=Previews([models]),
    )


@pytest.fixture
def commands(discord: FakeDiscord, queue: JobQueue, tmp_path: Path) -> Commands:
    (tmp_path / "Lora").mkdir()
    (tmp_path / "Lora/red.png").write_bytes(png(900, 600, color="red"))
    return commands_on(discord, queue, tmp_path)


@pytest.fixture
async def door(discord: FakeDiscord, commands: Commands) -> AsyncIterator[None]:
    discord.roles[discord.bob.id] = [int(KEPT_ROLE)]
    async with open_door(discord, commands):
        yield


async def answer(interaction: Interaction) -> Message:
    return await interaction.wait_for(lambda message: not message.loading)


def labels(message: Message) -> list[str]:
    return [str(button.label) for button in message.buttons]


async def turned(discord: FakeDiscord, message: Message, label: str, begins: str) -> Interaction:
    press = await discord.click(message, label)
    await until(lambda: message.content.startswith(begins))
    return press


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("place", ["general", "elsewhere", "dm"])
async def test_models_are_looked_through_by_who_asks_alone(discord: FakeDiscord, place: str) -> None:
    channel = discord.dm() if place == "dm" else getattr(discord, place)

    message = await answer(await discord.slash("models", {SEARCH: "style --kind lora"}, channel=channel))

    assert message.ephemeral
    assert message.content.startswith("14 LoRAs for \\`style\\`, page 1 of 3\n1. style\\-00\n   LoRA · SDXL")
    assert labels(message)[:7] == ["1", "2", "3", "4", "5", "6", "▶"]
    (picture,) = message.attachments
    assert size_of(picture.data) == (780, 518)

    press = await turned(discord, message, "▶", "14 LoRAs for \\`style\\`, page 2")
    assert press.response_type == 6
    assert not press.follow_ups
    await turned(discord, message, "2", "style\\-07")
    assert "Write it as \\<lora:style\\-07:1\\>" in message.content
    assert [size_of(one.data) for one in message.attachments] == [(640, 427)]
    await turned(discord, message, "◀ Back", "14 LoRAs for \\`style\\`, page 2")
    await turned(discord, message, "All", "14 models for")


async def test_pages_turn_after_a_restart(discord: FakeDiscord, queue: JobQueue, tmp_path: Path) -> None:
    async with open_door(discord, commands_on(discord, queue, tmp_path)):
        message = await answer(await discord.slash("models", {KIND: "checkpoint"}))
        assert message.content.startswith("4 checkpoints\n1. hills\n   checkpoint · SD 1.5 · warm")

    async with open_door(discord, commands_on(discord, queue, tmp_path)):
        await turned(discord, message, "1", "hills\ncheckpoint")


@pytest.mark.usefixtures("door")
async def test_what_is_wrong_is_said(discord: FakeDiscord) -> None:
    message = await answer(await discord.slash("models", {KIND: "dreams"}))
    flag = await answer(await discord.slash("models", {SEARCH: "x --steps 5"}))

    assert "There is no kind of model called" in message.content
    assert (message.ephemeral, labels(message)) == (True, [])
    assert "There is no option" in flag.content


@pytest.mark.usefixtures("door")
async def test_options_put_networks_on(discord: FakeDiscord, queue: JobQueue) -> None:
    filled = {"prompt": "a cat", "lora": "film:0.5, add_detail", "hypernetwork": "gold:0.3", "embedding": "-bad-hands"}

    message = await answer(await discord.slash("imagine", filled | {"vae": "clear"}))

    assert message.content.startswith("Queued.")
    request = jobs(queue)[-1].request
    assert request.prompt == "a cat <lora:film:0.5> <lora:add_detail:1> <hypernet:gold:0.3>"
    assert (request.negative_prompt, request.vae) == ("bad-hands", "clear")
    offered = await discord.autocomplete("imagine", "lora", "film:0.5, det", {"checkpoint": "coast"})
    assert offered.values == ["film:0.5, add_detail"]


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    ("filled", "words"),
    [
        ({"prompt": "a cat <lora:style-03:1>"}, "was made for SDXL, and the checkpoint"),
        ({"prompt": "a cat, xl-glow"}, "The embedding \\`xl\\-glow\\` was made for SDXL"),
        ({"prompt": "a cat", "lora": "flim"}, "Did you mean \\`film\\`"),
        ({"prompt": "a cat", "checkpoint": "mender"}, "only repaints"),
        ({"prompt": "a cat", "checkpoint": "bare"}, "age\\-restricted channels"),
    ],
)
async def test_what_does_not_fit_is_refused_and_nothing_is_queued(
    discord: FakeDiscord, queue: JobQueue, filled: dict[str, str], words: str
) -> None:
    message = await answer(await discord.slash("imagine", filled))

    assert words in message.content
    assert message.ephemeral
    assert jobs(queue) == []


@pytest.mark.usefixtures("door")
async def test_age_restricted_channels_and_roles_open_what_is_kept(discord: FakeDiscord, queue: JobQueue) -> None:
    for channel in (discord.restricted, discord.restricted_thread):
        await answer(await discord.slash("imagine", {"prompt": "a cat", "checkpoint": "bare"}, channel=channel))
    kept = {"prompt": "a cat", "lora": "members"}
    refused = await answer(await discord.slash("imagine", kept))
    await answer(await discord.slash("imagine", kept, user_id=discord.bob.id))
    offered = [
        (await discord.autocomplete("imagine", "lora", "member", user_id=one.id)).values
        for one in (discord.alice, discord.bob)
    ]

    assert [job.request.checkpoint for job in jobs(queue)] == ["bare", "bare", "coast"]
    assert "with a role that you do not have" in refused.content
    assert ["members" in one for one in offered] == [False, True]


@pytest.mark.usefixtures("door")
async def test_a_forged_page_is_not_valid(discord: FakeDiscord) -> None:
    message = await answer(await discord.slash("models", {}))
    (genuine, *_) = [button.custom_id or "" for button in message.buttons]
    state = message.state
    forged = genuine[:-8] + "00000000"
    row = {"type": 1, "id": 1, "components": [{"type": 2, "id": 2, "style": 2, "label": "x", "custom_id": forged}]}
    message.edit(type(state)(content="models", components=(row,), flags=state.flags))

    press = await discord.click(message, "x")

    told = await press.wait_for(lambda one: one is not message and not one.loading)
    assert told.content.startswith("This button is not valid any more.")
