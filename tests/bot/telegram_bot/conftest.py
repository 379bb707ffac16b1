"""Fixtures of the Telegram door."""

from collections.abc import AsyncIterator

import pytest

from bot.commands import Commands
from easel.job_queue.queue import JobQueue
from tests.fakes.telegram_door import OWNER, commands_on, open_door
from tests.fakes.telegram_server import FakeTelegram


@pytest.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    """A Telegram that no test may send anything to that the real one would not understand."""
    async with FakeTelegram() as telegram:
        telegram.world.meet(OWNER)
        yield telegram
        assert telegram.violations == []


@pytest.fixture
def commands(queue: JobQueue, telegram: FakeTelegram) -> Commands:
    return commands_on(queue.connection, telegram, queue.key)


@pytest.fixture
async def door(telegram: FakeTelegram, commands: Commands) -> AsyncIterator[None]:
    """The door, open during the test."""
    async with open_door(telegram, commands):
        yield
