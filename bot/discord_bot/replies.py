"""Answers on Discord: the acknowledgement, sentences for one person alone, and the placeholder."""

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

import aiohttp
import discord

from bot.commands import Placed, Question, job_id_for
from bot.discord_bot.addresses import Interaction, address_of, asker_of
from easel import words
from easel.errors import QueueDown, RequestError
from easel.job_queue.queue import JobQueue

log = logging.getLogger(__name__)

T = TypeVar("T")
Buttons: TypeAlias = Sequence[tuple[str, str]]
"""(label, id)."""

NOBODY = discord.AllowedMentions.none()
CONTENT = 2000
PLACEHOLDER_S = 8
"""Delivery takes the message over after 10; two of us must never write it."""
PAUSE_S = 0.5
CUT_LINES = (aiohttp.ClientError, OSError)
TROUBLE = (discord.HTTPException, *CUT_LINES)
PAUSES_S = (0.1, 0.4, 1.0)
"""Between tries on a line that was cut: together below the 3 s in which Discord wants an acknowledgement."""
ALREADY_ACKNOWLEDGED = 40060
_THINKING = "thinking"
"""In an interaction's extras once it is acknowledged: whether "thinking…" stands in a message of ours."""


def job_of(interaction: Interaction) -> dict[str, str]:
    """Return what names the job in a line of the log."""
    return {"job": job_id_for("discord", interaction.id)}


def literal(text: str) -> str:
    """Return `text` as it is shown with nothing in it read as markup."""
    return words.cut(words.for_discord(text), CONTENT)


async def acknowledge(interaction: Interaction, *, thinking: bool = True, private: bool = False) -> bool:
    """Promise a new message, or with `thinking` off merely take a press; False when nobody waits any more."""
    try:
        await _over_cut_lines(partial(interaction.response.defer, thinking=thinking, ephemeral=private))
    except TROUBLE as error:
        # Our first try arrived and only its answer was lost, or another process of this bot was faster:
        # then its job has the same id and is queued once.
        if getattr(error, "code", 0) != ALREADY_ACKNOWLEDGED:
            log.warning("an interaction is lost: %s", _why(error), extra=job_of(interaction))
            return False
    interaction.extras[_THINKING] = thinking
    return True


async def enqueue(interaction: Interaction, queue: JobQueue, ask: Callable[..., Placed]) -> None:
    """Call `ask` with who asks, in a thread, and fill the promised message with what comes of it."""
    placed = await _asked(interaction, ask)
    if placed is not None:
        await _place(interaction, queue, placed)
        await _note(interaction, placed.notes)


async def ask_first(interaction: Interaction, ask: Callable[..., Question]) -> None:
    """Call `ask` with who asks, in a thread, and fill the promised message with the question that comes of it."""
    question = await _asked(interaction, ask)
    if question is not None:
        await fill(interaction, question.text, question.buttons)
        await _note(interaction, question.notes)


async def _asked(interaction: Interaction, ask: Callable[..., T]) -> T | None:
    """Return what comes of it; None when that is an error, which is told."""
    job_id = job_id_for("discord", interaction.id)
    try:
        return await asyncio.to_thread(
            ask, asker=asker_of(interaction), reply_to=address_of(interaction), job_id=job_id
        )
    except QueueDown as error:
        await fill(interaction, str(error))
    except RequestError as error:
        await tell(interaction, str(error))
    return None


async def _note(interaction: Interaction, notes: Sequence[str]) -> None:
    if notes:
        interaction.extras[_THINKING] = False
        await tell(interaction, "\n".join(notes))


async def tell(interaction: Interaction, text: str) -> None:
    """Say it to the one who asked, whatever was answered before."""
    await send(interaction, literal(text))


async def send(interaction: Interaction, markup: str) -> None:
    """Show it to the one who asked; what fails is logged."""
    post: Callable[..., Awaitable[object]] = interaction.response.send_message
    try:
        if interaction.response.is_done() or _THINKING in interaction.extras:
            post = interaction.followup.send
            if interaction.extras.get(_THINKING):
                # It would be filled by what follows, for everybody to read.
                await interaction.delete_original_response()
        await _over_cut_lines(partial(post, words.cut(markup, CONTENT), ephemeral=True, allowed_mentions=NOBODY))
    except TROUBLE as error:
        log.warning("somebody could not be told: %s", _why(error), extra=job_of(interaction))


async def remove(interaction: Interaction) -> None:
    """Delete the message whose button was pressed."""
    try:
        await interaction.delete_original_response()
    except discord.NotFound:
        return
    except TROUBLE as error:
        log.warning("a message could not be deleted: %s", _why(error), extra=job_of(interaction))
        await tell(interaction, "Discord did not let me delete this message. Please press Delete again.")


async def fill(interaction: Interaction, text: str, buttons: Buttons = ()) -> int:
    """Write into the promised message, or the pressed one; return its id, 0 when Discord would not have it."""
    return await _fill(interaction, partial(dict, content=literal(text), view=_view([buttons])))


async def show(interaction: Interaction, text: str, rows: Sequence[Buttons], picture: tuple[str, bytes]) -> int:
    """Write as `fill` does, with rows of buttons and a picture (name, bytes), which take the place of those before."""

    def parts() -> dict[str, Any]:
        name, data = picture
        return {"content": literal(text), "view": _view(rows), "attachments": [discord.File(io.BytesIO(data), name)]}

    return await _fill(interaction, parts)


async def _fill(interaction: Interaction, parts: Callable[[], dict[str, Any]]) -> int:
    async def edit() -> discord.InteractionMessage:
        # A file can be sent once; the next try takes another one.
        return await interaction.edit_original_response(**parts(), allowed_mentions=NOBODY)

    try:
        return (await _over_cut_lines(edit)).id
    except TROUBLE as error:
        log.warning("a message could not be written: %s", _why(error), extra=job_of(interaction))
        return 0


def _view(rows: Sequence[Buttons]) -> discord.ui.View | None:
    if not any(rows):
        return None
    view = discord.ui.View()
    for n, row in enumerate(rows):
        for label, custom_id in row:
            view.add_item(discord.ui.Button(label=label, custom_id=custom_id, row=n))
    # A view that has stopped is not remembered: presses come straight from the gateway.
    view.stop()
    return view


async def place_beside(interaction: Interaction, queue: JobQueue, placed: Placed) -> None:
    """Write the placeholder into a new message for everybody, once, and hand it to delivery."""
    if not placed.fresh:
        return
    post = partial(interaction.followup.send, literal(placed.text), wait=True, ephemeral=False, allowed_mentions=NOBODY)
    try:
        async with asyncio.timeout(PLACEHOLDER_S):
            message = await post()
            if not await _hand_over(queue, placed.job.id, str(message.id)):
                await message.delete()
    except (*TROUBLE, TimeoutError) as error:
        log.warning("the placeholder is left to delivery: %s", _why(error), extra={"job": placed.job.id})


async def _place(interaction: Interaction, queue: JobQueue, placed: Placed) -> None:
    """Write the placeholder once and hand the message to delivery; what fails here, delivery makes up for."""
    # From here on the message is not ours to take back.
    interaction.extras[_THINKING] = False
    if not placed.fresh:
        return
    try:
        async with asyncio.timeout(PLACEHOLDER_S):
            if message_id := await fill(interaction, placed.text):
                await _hand_over(queue, placed.job.id, str(message_id))
    except TimeoutError:
        log.warning("the placeholder is left to delivery: out of time", extra={"job": placed.job.id})


async def _hand_over(queue: JobQueue, job_id: str, message_id: str) -> bool:
    """Give the message to delivery; False when that was too late, and delivery has taken one of its own."""
    while True:
        try:
            return await asyncio.to_thread(queue.placed, job_id, message_id)
        except QueueDown:
            await asyncio.sleep(PAUSE_S)


async def _over_cut_lines(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call that does no harm when it is done twice, while the connection is cut under it."""
    for pause in PAUSES_S:
        try:
            return await call()
        except CUT_LINES:
            await asyncio.sleep(pause)
    return await call()


def _why(error: Exception) -> str:
    """Return what Discord said; the text of other errors may hold an address, and the address a token."""
    return str(error) if isinstance(error, discord.HTTPException) else type(error).__name__
