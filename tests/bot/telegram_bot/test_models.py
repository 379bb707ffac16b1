"""Models on Telegram, over the wire: looked through page by page, asked for by flags, and refused where they do not fit."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.asking.sources import Sources
from bot.browsing.previews import Previews
from bot.commands import Commands
from easel.catalog import Base, Catalog, ModelKind
from easel.job_queue.queue import JobQueue
from tests.fakes.telegram_door import ask, jobs, open_door, settings_for
from tests.fakes.telegram_messages import Message
from tests.fakes.telegram_server import FakeTelegram
from tests.fakes.wardrobe import card, wardrobe
from tests.fakes.wishes import png, size_of

LORAS = [card(f"style-{n:02}", ModelKind.LORA, Base.SDXL, preview="Lora/red.png") for n in range(14)]


def commands_on(telegram: FakeTelegram, queue: JobQueue, models: Path) -> Commands:
    catalog: Catalog = wardrobe(*LORAS)
    settings = settings_for(telegram, EASEL_NSFW_CHATS=f"telegram:{telegram.supergroup.id}")
    return Commands(
        queue,
        lambda: catalog,
        sources=Sources.of(settings),
        warm=lambda: frozenset({"hills"}),
        previews=Previews([models]),
    )


@pytest.fixture
def commands(telegram: FakeTelegram, queue: JobQueue, tmp_path: Path) -> Commands:
    (tmp_path / "Lora").mkdir()
    (tmp_path / "Lora/red.png").write_bytes(png(900, 600, color="red"))
    return commands_on(telegram, queue, tmp_path)


@pytest.fixture
async def door(telegram: FakeTelegram, commands: Commands) -> AsyncIterator[None]:
    async with open_door(telegram, commands):
        yield


async def turned(telegram: FakeTelegram, message: Message, label: str, begins: str) -> None:
    query = await telegram.click(message, label)
    await telegram.wait_for(lambda: str(message.caption).startswith(begins))
    await telegram.wait_for(lambda: query.answered)


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("where", ["private", "forum"])
async def test_models_are_looked_through_in_one_message(telegram: FakeTelegram, where: str) -> None:
    thread = {"thread": 77} if where == "forum" else {}
    message = await ask(telegram, "/models style --kind lora", chat=getattr(telegram, where), **thread)

    assert str(message.caption).startswith("14 LoRAs for `style`, page 1 of 3\n1. style-00\n   LoRA · SDXL")
    assert message.labels[:7] == ["1", "2", "3", "4", "5", "6", "▶"]
    assert message.thread == thread.get("thread")
    assert message.photo is not None
    assert size_of(message.photo) == (780, 518)

    await turned(telegram, message, "▶", "14 LoRAs for `style`, page 2")
    await turned(telegram, message, "2", "style-07")
    assert "Write it as <lora:style-07:1>" in str(message.caption)
    assert message.labels == ["◀ Back"]
    assert size_of(message.photo) == (640, 427)
    await turned(telegram, message, "◀ Back", "14 LoRAs for `style`, page 2")
    await turned(telegram, message, "All", "14 models for")


async def test_pages_turn_after_a_restart(telegram: FakeTelegram, queue: JobQueue, tmp_path: Path) -> None:
    async with open_door(telegram, commands_on(telegram, queue, tmp_path)):
        message = await ask(telegram, "/models --kind checkpoints")
        assert str(message.caption).startswith("4 checkpoints\n1. hills\n   checkpoint · SD 1.5 · warm")

    async with open_door(telegram, commands_on(telegram, queue, tmp_path)):
        await turned(telegram, message, "1", "hills\ncheckpoint")


@pytest.mark.usefixtures("door")
async def test_a_page_pressed_twice_or_forged_does_no_harm(telegram: FakeTelegram) -> None:
    message = await ask(telegram, "/models style")
    turn = next(button["callback_data"] for row in message.keyboard for button in row if button["text"] == "▶")

    await turned(telegram, message, "▶", "14 models for `style`, page 2")
    again = await telegram.press(message, turn)
    forged = await telegram.press(message, turn[:-8] + "00000000")
    await telegram.wait_for(lambda: again.answered and forged.answered)

    assert again.answer_text == ""
    assert forged.answer_text.startswith("This button is not valid any more.")
    assert str(message.caption).startswith("14 models for `style`, page 2")


@pytest.mark.usefixtures("door")
async def test_what_is_wrong_is_said(telegram: FakeTelegram) -> None:
    assert "no kind of model called `dreams`" in str((await ask(telegram, "/models --kind dreams")).text)
    assert "no option `--steps`" in str((await ask(telegram, "/models x --steps 5")).text)


@pytest.mark.usefixtures("door")
async def test_where_photos_may_not_be_sent_words_are(telegram: FakeTelegram) -> None:
    telegram.group.forbidden = {"photo"}

    message = await ask(telegram, "/models film", chat=telegram.group)

    assert str(message.text).startswith("film\nLoRA · SD 1.5")


@pytest.mark.usefixtures("door")
async def test_flags_put_networks_on(telegram: FakeTelegram, queue: JobQueue) -> None:
    words = (
        "/imagine a cat --lora film:0.5 --lora add_detail --hypernetwork gold:0.3 --embedding -bad-hands --vae clear"
    )

    answer = await ask(telegram, words)

    assert str(answer.text).startswith("Queued.")
    request = jobs(queue)[-1].request
    assert request.prompt == "a cat <lora:film:0.5> <lora:add_detail:1> <hypernet:gold:0.3>"
    assert (request.negative_prompt, request.vae) == ("bad-hands", "clear")


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a cat <lora:style-03:1>", "The LoRA `style-03` was made for SDXL, and the checkpoint `coast` is SD 1.5."),
        ("a cat, xl-glow", "The embedding `xl-glow` was made for SDXL"),
        ("a cat --lora flim", "Did you mean `film`"),
        ("a cat --checkpoint mender", "`mender` only repaints"),
        ("a cat --checkpoint bare", "`bare` is for age-restricted channels, and for chats that the owner lists"),
    ],
)
async def test_what_does_not_fit_is_refused_and_nothing_is_queued(
    telegram: FakeTelegram, queue: JobQueue, text: str, words: str
) -> None:
    answer = await ask(telegram, f"/imagine {text}")

    assert words in str(answer.text)
    assert jobs(queue) == []


@pytest.mark.usefixtures("door")
async def test_a_chat_of_the_settings_is_for_everything(telegram: FakeTelegram, queue: JobQueue) -> None:
    await ask(telegram, "/imagine a cat --checkpoint bare", chat=telegram.supergroup)

    assert [job.request.checkpoint for job in jobs(queue)] == ["bare"]
