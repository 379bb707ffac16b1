"""Pictures on Telegram: under a message that asks, or in the one that it replies to."""

import logging
from functools import partial

from telegram import Bot, Document, Message, PhotoSize, Update
from telegram.error import TelegramError
from telegram.ext import filters

from bot.asking.pictures import FETCH_S, Attached
from bot.options import Option
from easel.errors import BadValue

log = logging.getLogger(__name__)


def with_picture(form: dict[str, str], message: Message, options: tuple[Option, ...]) -> dict[str, object]:
    """Return the form with the picture that belongs to `message`, unless words in it name one."""
    name = next(option.name for option in options if option.kind == "picture")
    picture = _picture_in(message, asking=True) or _picture_in(message.reply_to_message, asking=False)
    return dict(form) if picture is None else {name: picture, **form}


def _picture_in(message: Message | None, *, asking: bool) -> Attached | None:
    file = None if message is None else _file_in(message, asking=asking)
    if message is None or file is None:
        return None
    return Attached(partial(_read, message.get_bot(), file.file_id), file.file_size or 0, _buttons(message))


def _file_in(message: Message, *, asking: bool) -> PhotoSize | Document | None:
    """Return a photo as large as it is served, or a document: whatever somebody asks with, else only pictures."""
    if message.photo:
        return message.photo[-1]
    return message.document if asking or filters.Document.IMAGE.check_update(Update(0, message)) else None


def _buttons(message: Message) -> tuple[str, ...]:
    rows = message.reply_markup.inline_keyboard if message.reply_markup else ()
    return tuple(button.callback_data for row in rows for button in row if isinstance(button.callback_data, str))


async def _read(bot: Bot, file_id: str) -> bytes:
    try:
        file = await bot.get_file(file_id)
        return bytes(await file.download_as_bytearray(read_timeout=FETCH_S))
    except TelegramError as error:
        log.warning("a file could not be fetched: %s", error)
        # Not chained: the address of the file holds the token.
        raise BadValue("Telegram did not hand over that picture. Please send it again.") from None
