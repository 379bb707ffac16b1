"""What the bot says about itself on Telegram, over the wire."""

import pytest

from bot.commands import COMMANDS, Commands
from bot.options import IMAGINE
from easel.job_queue.queue import JobQueue
from tests.fakes.telegram_door import ask, jobs, open_door
from tests.fakes.telegram_server import FakeTelegram


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("command", ["/help", "/start", "/start deep-link"])
async def test_help_is_made_from_the_tables(telegram: FakeTelegram, command: str) -> None:
    text = str((await ask(telegram, command)).text)

    for row in COMMANDS:
        assert f"/{row.name}: {row.help}" in text
    for option in IMAGINE[1:]:
        assert f"--{option.name}" in text
        assert option.help in text
    assert "(1 to 150)" in text
    assert "/imagine a red apple on a table --size 512x768" in text


@pytest.mark.usefixtures("door")
async def test_the_examples_of_the_help_work(telegram: FakeTelegram, queue: JobQueue) -> None:
    text = str((await ask(telegram, "/help")).text)
    examples = [line for line in text.splitlines() if line.startswith("/imagine a ")]

    for line in examples:
        await ask(telegram, line)

    assert [(job.request.width, job.request.height) for job in jobs(queue)] == [(512, 512), (512, 768)]


async def test_the_menu_shows_the_table_in_every_scope(telegram: FakeTelegram, commands: Commands) -> None:
    async with open_door(telegram, commands):
        await telegram.wait_for(lambda: len(telegram.settings.commands) == 4)

    shown = [{"command": row.name, "description": row.help} for row in COMMANDS]
    scopes = ("default", "all_private_chats", "all_group_chats", "all_chat_administrators")
    assert telegram.settings.commands == {(scope, ""): shown for scope in scopes}


async def test_without_a_menu_commands_work_all_the_same(
    telegram: FakeTelegram, commands: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    telegram.fail_next("setMyCommands", 400)

    async with open_door(telegram, commands):
        await ask(telegram, "/imagine a cat")

    assert "the menu of commands could not be set" in caplog.text
