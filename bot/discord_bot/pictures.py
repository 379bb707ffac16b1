"""Pictures on Discord: files in a form and under a message, and whose they are."""

from collections.abc import Iterator
from functools import partial

import aiohttp
import discord

from bot.asking.pictures import Attached
from bot.options import Option
from easel.errors import BadValue


def attached(file: discord.Attachment, buttons: tuple[str, ...] = ()) -> Attached:
    return Attached(partial(_read, file), file.size, buttons)


def picture_field(options: tuple[Option, ...]) -> str:
    """Return the name of the field that takes the picture of a message."""
    return next(option.name for option in options if option.kind == "picture")


def picture_in(message: discord.Message) -> Attached | None:
    """Return the first picture of a message, None where it has none."""
    # Only pictures and videos have a width; which it is, the file itself will tell.
    file = next((one for one in message.attachments if one.width), None)
    return None if file is None else attached(file, tuple(_buttons(message)))


def _buttons(message: discord.Message) -> Iterator[str]:
    for row in message.components:
        if isinstance(row, discord.ActionRow):
            yield from (part.custom_id for part in row.children if part.custom_id)


async def _read(file: discord.Attachment) -> bytes:
    try:
        return await file.read()
    except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
        raise BadValue("Discord did not hand over that picture. Please send it again.") from error
