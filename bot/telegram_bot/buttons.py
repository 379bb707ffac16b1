"""The buttons under a picture on Telegram: each press is checked, answered once, and then acted upon."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from telegram import Bot, CallbackQuery, ChatMemberAdministrator, ChatMemberOwner, Update
from telegram.error import BadRequest, Forbidden, TelegramError
from telegram.ext import ContextTypes

from bot.asking.redraw import REDRAWN
from bot.commands import Commands, job_id_for
from bot.telegram_bot.browsing import turn
from bot.telegram_bot.messages import asker, place_of
from bot.telegram_bot.replies import place, tell
from easel import words
from easel.buttons import Button, Verb, read_button
from easel.errors import Expired, NotYours, QueueDown, RequestError
from easel.job_queue.queue import JobState
from easel.jobs import Address, Job, TelegramAddress

log = logging.getLogger(__name__)

ALERT_LIMIT = 200
RIGHTS_S = 1.5
"""The person waits for the answer while we ask Telegram who they are."""

Act = Callable[[], Awaitable[None]]


def press_id(query: CallbackQuery) -> str:
    """Return the id of the job that a press asks for: the same press never queues two."""
    return job_id_for("telegram", "cb", query.id)


class Buttons:
    """Every verb first checks and raises `RequestError` or `QueueDown`, then says what is left to do."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._verbs: Mapping[Verb, Callable[[CallbackQuery, Button], Awaitable[Act]]] = {
            **dict.fromkeys(REDRAWN, self._redraw),
            "delete": self._delete,
            "draw": self._draw,
            "cancel": self._cancel,
            "models": partial(turn, self._commands),
        }

    async def pressed(self, update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        query = update.callback_query
        assert query is not None
        try:
            button = read_button(query.data or "", self._commands.queue.key)
            act = await self._verbs[button.verb](query, button)
        except (RequestError, QueueDown) as error:
            await answer(query, str(error))
            return
        await answer(query)
        await act()

    async def _job_behind(self, query: CallbackQuery) -> tuple[JobState, TelegramAddress]:
        _, state = await asyncio.to_thread(self._commands.press, query.data or "")
        return state, _pressed_at(query, state.job.reply_to)

    async def _redraw(self, query: CallbackQuery, button: Button) -> Act:
        state, at = await self._job_behind(query)
        who, job_id = asker(query.from_user), press_id(query)
        assert query.message is not None
        where = place_of(query.message.chat)
        placed = await asyncio.to_thread(
            self._commands.redraw, button, state, asker=who, reply_to=at, job_id=job_id, place=where
        )
        return partial(place, query.get_bot(), self._commands.queue, placed)

    async def _draw(self, query: CallbackQuery, button: Button) -> Act:
        jobs, at = await self._planned(query, button)

        return partial(self._draw_all, query.get_bot(), jobs, at)

    async def _draw_all(self, bot: Bot, jobs: tuple[Job, ...], at: TelegramAddress) -> None:
        await _rewrite(bot, at, f"{len(jobs)} pictures are on their way.")
        try:
            for job in jobs:
                placed = await asyncio.to_thread(self._commands.draw_planned, job, reply_to=job.reply_to)
                await place(bot, self._commands.queue, placed)
        except QueueDown as error:
            await tell(bot, at, str(error))

    async def _cancel(self, query: CallbackQuery, button: Button) -> Act:
        _, at = await self._planned(query, button)
        await asyncio.to_thread(self._commands.give_up, button)
        return partial(_rewrite, query.get_bot(), at, "Cancelled.")

    async def _planned(self, query: CallbackQuery, button: Button) -> tuple[tuple[Job, ...], TelegramAddress]:
        jobs = await asyncio.to_thread(self._commands.planned, button, asker=asker(query.from_user))
        return jobs, _pressed_at(query, jobs[0].reply_to)

    async def _delete(self, query: CallbackQuery, _: Button) -> Act:
        state, at = await self._job_behind(query)
        # Whoever makes up a press could name their own picture under somebody else's.
        if state.message_id != str(at.reply_to):
            raise _expired()
        who = asker(query.from_user)
        try:
            await asyncio.to_thread(self._commands.delete, state, asker=who, moderator=False)
        except NotYours:
            if not await _moderates(query.get_bot(), at.chat_id, query.from_user.id):
                raise
            await asyncio.to_thread(self._commands.delete, state, asker=who, moderator=True)
        return partial(_remove, query.get_bot(), at)


async def answer(query: CallbackQuery, alert: str = "") -> None:
    """Answer a press, at best within seconds; without an alert the button merely stops spinning."""
    try:
        await query.answer(words.cut(alert, ALERT_LIMIT) or None, show_alert=bool(alert))
    except TelegramError as error:
        log.warning("a press could not be answered: %s", error, extra={"job": press_id(query)})


def _pressed_at(query: CallbackQuery, at: Address) -> TelegramAddress:
    """Return the place of the pressed message; raises Expired when the button belongs to another chat."""
    if query.message is None or not isinstance(at, TelegramAddress) or at.chat_id != query.message.chat.id:
        raise _expired()
    return at.changed(reply_to=query.message.message_id)


def _expired() -> Expired:
    return Expired("This button is not valid any more. Please ask for the picture again.")


async def _moderates(bot: Bot, chat_id: int, user_id: int) -> bool:
    """Ask Telegram whether they may delete others' messages there, now; False when it does not say."""
    try:
        async with asyncio.timeout(RIGHTS_S):
            member = await bot.get_chat_member(chat_id, user_id)
    except (TelegramError, TimeoutError) as error:
        log.warning("the rights of a person in a chat are unknown: %s", str(error) or "out of time")
        return False
    if isinstance(member, ChatMemberAdministrator):
        return bool(member.can_delete_messages)
    return isinstance(member, ChatMemberOwner)


async def _rewrite(bot: Bot, at: TelegramAddress, text: str) -> None:
    """Put `text` into a message of ours, in the place of its buttons too."""
    assert at.reply_to is not None
    try:
        await bot.edit_message_text(text, at.chat_id, at.reply_to)
    except TelegramError as error:
        log.warning("a message could not be changed: %s", error)


async def _remove(bot: Bot, at: TelegramAddress) -> None:
    assert at.reply_to is not None
    try:
        await bot.delete_message(at.chat_id, at.reply_to)
    except (BadRequest, Forbidden) as error:
        if "not found" not in str(error).lower():
            await tell(bot, at, "Telegram does not let me delete this message any more. Please delete it yourself.")
    except TelegramError as error:
        log.warning("a message could not be deleted: %s", error)
        await tell(bot, at, "Telegram did not answer when I deleted this message. Please press Delete again.")
