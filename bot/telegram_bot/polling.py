"""Calls to Telegram that outlast its troubles, and the long poll built on them.

The client's own poll would end without a word when the token is revoked, and can not wait for Telegram at the start.
"""

import datetime
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from telegram.error import InvalidToken, RetryAfter, TelegramError
from telegram.ext import Application

from bot.patience import Trouble, keep_asking
from easel.errors import SettingsError

log = logging.getLogger(__name__)

T = TypeVar("T")
App = Application[Any, Any, Any, Any, Any, Any]

KINDS = ("message", "callback_query")
"""The updates that are asked for; edits and channel posts are none of our business."""
POLL_S = 30


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat `call` until Telegram answers; raises SettingsError when it refuses the token."""
    return await keep_asking(call, "Telegram", (TelegramError,), _sort)


def _sort(error: Exception) -> Trouble:
    if isinstance(error, InvalidToken):
        # Not chained: the original says the token.
        raise SettingsError("Telegram refuses TELEGRAM_TOKEN: copy the token from @BotFather again.") from None
    return Trouble(f"can not be reached ({error})", _seconds(error) if isinstance(error, RetryAfter) else None)


def _seconds(error: RetryAfter) -> float:
    wait = error.retry_after
    return wait.total_seconds() if isinstance(wait, datetime.timedelta) else wait


async def poll(app: App) -> None:
    """Hand updates to the application until cancelled; raises SettingsError when the token is revoked."""
    offset = 0
    try:
        while True:
            fetch = partial(app.bot.get_updates, offset=offset, timeout=POLL_S, allowed_updates=KINDS)
            for update in await insist(fetch):
                await app.update_queue.put(update)
                offset = update.update_id + 1
    finally:
        await _confirm(app, offset)


async def _confirm(app: App, offset: int) -> None:
    """Tell Telegram what was fetched, or the next start would fetch it again."""
    if not offset:
        return
    try:
        await app.bot.get_updates(offset=offset, timeout=0, allowed_updates=KINDS)
    except TelegramError as error:
        log.warning("the last updates will be fetched again: %s", error)
