"""The models on Discord: pages for the one who asks, turned by buttons in the same message."""

import asyncio
from collections.abc import Callable
from functools import partial

from bot.asking.wish import Form
from bot.browsing.browse import Page
from bot.commands import Commands
from bot.discord_bot.addresses import Interaction, place_of
from bot.discord_bot.replies import acknowledge, show, tell
from easel.buttons import Button
from easel.errors import QueueDown, RequestError

PICTURE = "models.jpg"


async def browse(interaction: Interaction, commands: Commands, form: Form) -> None:
    """Show the first page of what the form asks for."""
    if await acknowledge(interaction, private=True):
        await _show(interaction, commands, partial(commands.browsing.open, form, place_of(interaction)))


async def turn(interaction: Interaction, button: Button, *, commands: Commands) -> None:
    """Put the page that a button leads to into the place of the one above it."""
    if await acknowledge(interaction, thinking=False):
        await _show(interaction, commands, partial(commands.browsing.press, button, place_of(interaction)))


async def _show(interaction: Interaction, commands: Commands, find: Callable[[], Page]) -> None:
    try:
        page = await asyncio.to_thread(find)
    except (RequestError, QueueDown) as error:
        await tell(interaction, str(error))
    else:
        await show(interaction, page.text, page.buttons, (PICTURE, await commands.browsing.picture(page)))
