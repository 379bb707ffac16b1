"""What is done with a filled form on Discord: checked, acknowledged, its pictures opened, and queued or asked about."""

import asyncio
from functools import partial

from bot.asking.wish import Form, Wish
from bot.commands import Commands
from bot.discord_bot.addresses import Interaction, address_of, place_of
from bot.discord_bot.replies import acknowledge, ask_first, enqueue, fill, tell
from easel.errors import QueueDown, RequestError

ALONE = "Here I can only draw one picture at a time: please write one word instead of each `{a, b}`."


async def imagine(interaction: Interaction, commands: Commands, form: Form) -> None:
    """Queue what the form asks for, or ask first where that is several pictures."""
    try:
        # From memory, within milliseconds: a mistake is then shown to its maker alone.
        wish = commands.wish(form, place_of(interaction))
    except RequestError as error:
        await tell(interaction, str(error))
        return
    if wish.several and not address_of(interaction).bot_in_channel:
        # Only one message can be written there with what Discord gave us.
        await tell(interaction, ALONE)
    elif await acknowledge(interaction, private=wish.several):
        await _carry_out(interaction, commands, form, wish)


async def _carry_out(interaction: Interaction, commands: Commands, form: Form, wish: Wish) -> None:
    try:
        wish = await commands.complete(wish, form)
    except QueueDown as error:
        await fill(interaction, str(error))
    except RequestError as error:
        await tell(interaction, str(error))
    else:
        if wish.several:
            await ask_first(interaction, partial(commands.ask_first, wish))
        else:
            await enqueue(interaction, commands.queue, partial(commands.draw, wish))


async def show(interaction: Interaction, commands: Commands, form: Form) -> None:
    """Show what the picture of the form was made from, to the one who asks."""
    if not await acknowledge(interaction, private=True):
        return
    try:
        opened = await commands.open(form)
        text = await asyncio.to_thread(commands.show, opened)
    except (RequestError, QueueDown) as error:
        await tell(interaction, str(error))
    else:
        await fill(interaction, text)
