"""The models on Telegram: pages under a picture, turned by buttons in the same message."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from telegram import (
    Bot,
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    Message,
    ReplyParameters,
)
from telegram.error import BadRequest, TelegramError

from bot.asking.told import read_words
from bot.browsing.browse import Page
from bot.commands import Commands
from bot.options import MODELS
from bot.telegram_bot.messages import address_of, after_command, place_of
from bot.telegram_bot.replies import tell
from easel.buttons import Button
from easel.errors import Expired, QueueDown, RequestError
from easel.jobs import TelegramAddress

log = logging.getLogger(__name__)


async def browse(message: Message, commands: Commands) -> None:
    """Reply with the first page of what a message asks for."""
    bot, address = message.get_bot(), address_of(message)
    try:
        form = read_words(after_command(message), MODELS)
        page = await asyncio.to_thread(commands.browsing.open, form, place_of(message.chat))
    except (RequestError, QueueDown) as error:
        await tell(bot, address, str(error))
        return
    await _send(bot, address, page, await commands.browsing.picture(page))


async def turn(commands: Commands, query: CallbackQuery, button: Button) -> Callable[[], Awaitable[None]]:
    """Find the page that a button leads to; return what puts it into the place of the one above it."""
    if query.message is None:
        raise Expired("This button is not valid any more. Please send the command again.")
    where = query.message.chat
    page = await asyncio.to_thread(commands.browsing.press, button, place_of(where))
    return partial(_replace, query.get_bot(), (where.id, query.message.message_id), page, commands)


async def _send(bot: Bot, address: TelegramAddress, page: Page, picture: bytes) -> None:
    asked = address.reply_to
    try:
        await bot.send_photo(
            address.chat_id,
            picture,
            caption=page.text,
            message_thread_id=address.thread_id,
            reply_parameters=None if asked is None else ReplyParameters(asked, allow_sending_without_reply=True),
            reply_markup=_keyboard(page.buttons),
        )
    except BadRequest as error:
        # Some groups take words but no photos.
        log.warning("a page of models could not be sent: %s", error)
        await tell(bot, address, page.text)
    except TelegramError as error:
        log.warning("a page of models could not be sent: %s", error)


async def _replace(bot: Bot, at: tuple[int, int], page: Page, commands: Commands) -> None:
    chat_id, message_id = at
    media = InputMediaPhoto(await commands.browsing.picture(page), caption=page.text)
    try:
        await bot.edit_message_media(media, chat_id, message_id, reply_markup=_keyboard(page.buttons))
    except TelegramError as error:
        # What is shown already, or was deleted, needs no other page.
        if not isinstance(error, BadRequest) or "not modified" not in str(error):
            log.warning("a page of models could not be turned: %s", error)


def _keyboard(rows: Sequence[Sequence[tuple[str, str]]]) -> InlineKeyboardMarkup | None:
    if not rows:
        return None
    return InlineKeyboardMarkup(
        [[InlineKeyboardButton(label, callback_data=data) for label, data in row] for row in rows]
    )
