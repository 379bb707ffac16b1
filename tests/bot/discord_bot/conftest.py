"""Fixtures of the Discord door."""

from collections.abc import AsyncIterator

import pytest
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.commands import Commands
from easel.job_queue.queue import JobQueue
from tests.fakes.discord_door import commands_on, open_door
from tests.fakes.discord_server import FakeDiscord


@pytest.fixture(autouse=True)
def _addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put discord.py's addresses back afterwards; nothing reaches the real ones meanwhile."""
    monkeypatch.setattr(Route, "BASE", "http://127.0.0.1:9/api/v10")
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL("ws://127.0.0.1:9"))


@pytest.fixture
async def discord() -> AsyncIterator[FakeDiscord]:
    """A Discord to which nothing may be sent that the real one would not understand, or that would ping somebody."""
    async with FakeDiscord() as discord:
        yield discord
        assert discord.violations == []
        assert discord.own_faults == []
        assert [
            call.path for call in discord.requests if call.says_something and not _silent(call.allowed_mentions)
        ] == []


def _silent(allowed: dict[str, object] | None) -> bool:
    return allowed is not None and allowed["parse"] == [] and not allowed.get("users") and not allowed.get("roles")


@pytest.fixture
def commands(queue: JobQueue, discord: FakeDiscord) -> Commands:
    return commands_on(queue.connection, discord, queue.key)


@pytest.fixture
async def door(discord: FakeDiscord, commands: Commands) -> AsyncIterator[None]:
    """The door, open during the test."""
    async with open_door(discord, commands):
        yield
