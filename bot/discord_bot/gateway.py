"""The Discord door itself: which handler gets what, and its life from the login to the last answer."""

import asyncio
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import discord
from discord import app_commands

from bot.commands import COMMANDS, Commands
from bot.discord_bot.about import help_text
from bot.discord_bot.addresses import Interaction
from bot.discord_bot.asking import imagine, show
from bot.discord_bot.browsing import browse
from bot.discord_bot.buttons import Buttons
from bot.discord_bot.connection import Introductions, configure_discord, insist
from bot.discord_bot.forms import Filled, Handler, menu_command, read_form, slash_command
from bot.discord_bot.registration import invite_url, publish
from bot.discord_bot.replies import NOBODY, job_of, send, tell
from bot.options import IMAGINE, MODELS, SHOW
from easel.errors import RequestError, SettingsError
from easel.settings import Settings

log = logging.getLogger(__name__)

FINISH_S = 10
"""What is in hand at the end is finished within this time."""
SORRY = "Something went wrong on my side. Please try again."
CHANGED = "This command has changed. Please type it again; if it looks the same, restart Discord first."
INTENTS = discord.Intents(guilds=True)
"""Commands and buttons come without any; none of these has to be granted."""


async def apologise(interaction: Interaction, error: BaseException | None) -> None:
    """Log what nobody expected, and let nobody wait for an answer."""
    if isinstance(error, app_commands.CommandNotFound | app_commands.CommandSignatureMismatch):
        log.warning("an app knows other commands than we do: %s", error, extra=job_of(interaction))
        text = CHANGED
    else:
        log.error("an interaction failed", exc_info=error, extra=job_of(interaction))
        text = SORRY
    if interaction.type is not discord.InteractionType.autocomplete:
        await tell(interaction, text)


class _Tree(app_commands.CommandTree["Door"]):
    async def on_error(self, interaction: discord.Interaction["Door"], error: app_commands.AppCommandError, /) -> None:
        await apologise(interaction, error)


class Door(discord.Client):
    """What each command does here; the rest is in `bot/commands.py`."""

    def __init__(self, commands: Commands) -> None:
        super().__init__(
            intents=INTENTS,
            allowed_mentions=NOBODY,
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
        )
        self._commands = commands
        self._buttons = Buttons(commands)
        self._introductions = Introductions()
        self._in_hand: set[asyncio.Task[Any]] = set()
        self.tree = _Tree(
            self,
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=True),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=True),
        )
        handlers: Mapping[str, Handler] = {
            "imagine": self._imagine,
            "show": self._show,
            "models": self._models,
            "help": self._help,
        }
        for command in COMMANDS:
            handler = handlers[command.name]
            self.tree.add_command(slash_command(command, handler, commands.suggest))
            if command.menu:
                self.tree.add_command(menu_command(command, handler))

    async def _imagine(self, interaction: Interaction, filled: Filled) -> None:
        with self._held():
            try:
                form = read_form(IMAGINE, filled)
            except RequestError as error:
                await tell(interaction, str(error))
            else:
                await imagine(interaction, self._commands, form)

    async def _show(self, interaction: Interaction, filled: Filled) -> None:
        with self._held():
            await show(interaction, self._commands, read_form(SHOW, filled))

    async def _models(self, interaction: Interaction, filled: Filled) -> None:
        with self._held():
            try:
                form = read_form(MODELS, filled)
            except RequestError as error:
                await tell(interaction, str(error))
            else:
                await browse(interaction, self._commands, form)

    async def _help(self, interaction: Interaction, _: Filled) -> None:
        await send(interaction, help_text())

    async def on_interaction(self, interaction: Interaction) -> None:
        if interaction.type is discord.InteractionType.component:
            with self._held():
                await self._buttons.pressed(interaction)

    async def on_error(self, event_method: str, /, *args: Any, **_: Any) -> None:
        error = sys.exception()
        if args and isinstance(args[0], discord.Interaction):
            await apologise(args[0], error)
        else:
            log.error("handling %s failed", event_method, exc_info=error)

    async def setup_hook(self) -> None:
        assert self.application_id is not None
        log.info("to invite the bot: %s", invite_url(self.application_id))
        await publish(self.tree)

    async def before_identify_hook(self, _shard_id: int | None, *, initial: bool = False) -> None:
        await self._introductions.wait(first=initial)

    @contextmanager
    def _held(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._in_hand.add(task)
        try:
            yield
        finally:
            self._in_hand.discard(task)

    async def finish(self) -> None:
        """Wait for the answers in hand, then hang up."""
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=FINISH_S)
        await self.close()


async def _serve(token: str, commands: Commands) -> None:
    door = Door(commands)
    try:
        await door.login(token)
        try:
            await door.connect()
        except AttributeError:
            # discord.py 2.7 trips over the websocket it does not have yet when its very first connection fails.
            if door.ws:
                raise
            raise ConnectionError from None
    finally:
        await door.finish()


async def run(settings: Settings, commands: Commands) -> None:
    """Serve Discord until cancelled, then finish what is in hand; raises SettingsError when the token is refused."""
    if settings.discord_token is None:
        raise SettingsError("DISCORD_TOKEN is not set.")
    await insist(partial(configure_discord, settings))
    await insist(partial(_serve, settings.discord_token.get_secret_value(), commands))
