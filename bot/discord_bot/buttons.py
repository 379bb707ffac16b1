"""The buttons under a picture on Discord: good after any restart, as all that they need stands in their ids."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from bot.commands import Commands, Placed
from bot.discord_bot.addresses import Interaction, asker_of, moderates
from bot.discord_bot.replies import acknowledge, enqueue, remove, tell
from easel.buttons import Verb, read_button
from easel.errors import Expired, QueueDown, RequestError
from easel.job_queue.queue import JobState
from easel.jobs import DiscordAddress


class Buttons:
    """Presses come straight from the gateway: discord.py's views would leave ids of older versions unanswered."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._verbs: Mapping[Verb, Callable[[Interaction], Awaitable[None]]] = {
            "again": self._again,
            "delete": self._delete,
        }

    async def pressed(self, interaction: Interaction) -> None:
        try:
            button = read_button(_id_of(interaction), self._commands.queue.key)
        except Expired as error:
            await tell(interaction, str(error))
            return
        await self._verbs[button.verb](interaction)

    async def _again(self, interaction: Interaction) -> None:
        if await acknowledge(interaction):
            await enqueue(interaction, self._commands.queue, partial(self._redraw, interaction))

    def _redraw(self, interaction: Interaction, **about: Any) -> Placed:
        return self._commands.again(self._job_here(interaction), **about)

    async def _delete(self, interaction: Interaction) -> None:
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
            raise _expired()
        self._commands.delete(state, asker=asker_of(interaction), moderator=moderates(interaction))

    def _job_here(self, interaction: Interaction) -> JobState:
        """Return the job behind a press; raises Expired when the button belongs to another channel."""
        _, state = self._commands.press(_id_of(interaction))
        at = state.job.reply_to
        if not isinstance(at, DiscordAddress) or at.channel_id != str(interaction.channel_id):
            raise _expired()
        return state


def _id_of(interaction: Interaction) -> str:
    data: Mapping[str, Any] = interaction.data or {}
    return str(data.get("custom_id", ""))


def _expired() -> Expired:
    return Expired("This button is not valid any more. Please ask for the picture again.")
