"""The buttons under a picture on Discord: good after any restart, as all that they need stands in their ids."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NoReturn

from bot.asking.redraw import REDRAWN
from bot.commands import Commands, Placed
from bot.discord_bot.addresses import Interaction, address_of, asker_of, moderates, place_of
from bot.discord_bot.browsing import turn
from bot.discord_bot.replies import acknowledge, enqueue, fill, place_beside, remove, tell
from easel.buttons import Button, Verb, read_button
from easel.errors import Expired, QueueDown, RequestError
from easel.job_queue.queue import JobState
from easel.jobs import Address, DiscordAddress, Job


class Buttons:
    """Presses come straight from the gateway: discord.py's views would leave ids of older versions unanswered."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._verbs: Mapping[Verb, Callable[[Interaction, Button], Awaitable[None]]] = {
            **dict.fromkeys(REDRAWN, self._redraw),
            "delete": self._delete,
            "draw": self._draw,
            "cancel": self._cancel,
            "models": partial(turn, commands=commands),
        }

    async def pressed(self, interaction: Interaction) -> None:
        try:
            button = read_button(_id_of(interaction), self._commands.queue.key)
        except Expired as error:
            await tell(interaction, str(error))
            return
        await self._verbs[button.verb](interaction, button)

    async def _redraw(self, interaction: Interaction, button: Button) -> None:
        if await acknowledge(interaction):
            await enqueue(interaction, self._commands.queue, partial(self._redrawn, interaction, button))

    def _redrawn(self, interaction: Interaction, button: Button, **about: Any) -> Placed:
        return self._commands.redraw(button, self._job_here(interaction), place=place_of(interaction), **about)

    async def _draw(self, interaction: Interaction, button: Button) -> None:
        """Draw what the pressed question was about, each picture in a message of its own."""
        if not await acknowledge(interaction, thinking=False):
            return
        try:
            jobs = await asyncio.to_thread(self._planned, interaction, button)
            await fill(interaction, f"{len(jobs)} pictures are on their way.")
            for job in jobs:
                ask = partial(self._commands.draw_planned, job, reply_to=address_of(interaction))
                await place_beside(interaction, self._commands.queue, await asyncio.to_thread(ask))
        except (RequestError, QueueDown) as error:
            await tell(interaction, str(error))

    async def _cancel(self, interaction: Interaction, button: Button) -> None:
        if not await acknowledge(interaction, thinking=False):
            return
        try:
            await asyncio.to_thread(self._planned, interaction, button)
            await asyncio.to_thread(self._commands.give_up, button)
        except (RequestError, QueueDown) as error:
            await tell(interaction, str(error))
        else:
            await fill(interaction, "Cancelled.")

    def _planned(self, interaction: Interaction, button: Button) -> tuple[Job, ...]:
        """Return the jobs a question was about; raises Expired when the button belongs to another channel."""
        jobs = self._commands.planned(button, asker=asker_of(interaction))
        return jobs if _is_here(jobs[0].reply_to, interaction) else _expire()

    async def _delete(self, interaction: Interaction, _: Button) -> None:
        if not await acknowledge(interaction, thinking=False):
            return
        try:
            await asyncio.to_thread(self._give_up, interaction)
        except (RequestError, QueueDown) as error:
            await tell(interaction, str(error))
            return
        await remove(interaction)

    def _give_up(self, interaction: Interaction) -> None:
        state = self._job_here(interaction)
        # Whoever makes up a press could name their own picture under somebody else's.
        if interaction.message is None or state.message_id != str(interaction.message.id):
            _expire()
        self._commands.delete(state, asker=asker_of(interaction), moderator=moderates(interaction))

    def _job_here(self, interaction: Interaction) -> JobState:
        """Return the job behind a press; raises Expired when the button belongs to another channel."""
        _, state = self._commands.press(_id_of(interaction))
        return state if _is_here(state.job.reply_to, interaction) else _expire()


def _id_of(interaction: Interaction) -> str:
    data: Mapping[str, Any] = interaction.data or {}
    return str(data.get("custom_id", ""))


def _is_here(at: Address, interaction: Interaction) -> bool:
    return isinstance(at, DiscordAddress) and at.channel_id == str(interaction.channel_id)


def _expire() -> NoReturn:
    raise Expired("This button is not valid any more. Please ask for the picture again.")
