"""What is done with a message that asks for something on Telegram: read, its picture opened, queued or asked about."""

import asyncio

from telegram import Bot, Message

from bot.asking.wish import Wish
from bot.commands import Commands, job_id_for
from bot.options import IMAGINE, SHOW
from bot.telegram_bot.messages import address_of, after_command, asker_of, place_of, read_form
from bot.telegram_bot.pictures import with_picture
from bot.telegram_bot.replies import ask, place, tell
from easel.errors import QueueDown, RequestError
from easel.jobs import TelegramAddress


async def imagine(message: Message, commands: Commands) -> None:
    """Queue what the message asks for, or ask first where that is several pictures."""
    bot, address = message.get_bot(), address_of(message)
    try:
        form = with_picture(read_form(after_command(message)), message, IMAGINE)
        # Mistakes are told before anything is fetched.
        wish = commands.wish(form, place_of(message.chat))
        await _carry_out(message, commands, await commands.complete(wish, form))
    except (RequestError, QueueDown) as error:
        await tell(bot, address, str(error))


async def _carry_out(message: Message, commands: Commands, wish: Wish) -> None:
    bot, address = message.get_bot(), address_of(message)
    who, job_id = asker_of(message), job_id_for("telegram", message.chat_id, message.message_id)
    if wish.several:
        question = await asyncio.to_thread(commands.ask_first, wish, asker=who, reply_to=address, job_id=job_id)
        await ask(bot, address, question)
        await _note(bot, address, question.notes)
    else:
        placed = await asyncio.to_thread(commands.draw, wish, asker=who, reply_to=address, job_id=job_id)
        await place(bot, commands.queue, placed)
        await _note(bot, address, placed.notes if placed.fresh else ())


async def _note(bot: Bot, address: TelegramAddress, notes: tuple[str, ...]) -> None:
    if notes:
        await tell(bot, address, "\n".join(notes))


async def show(message: Message, commands: Commands) -> None:
    """Reply with what the picture of a message was made from."""
    bot, address = message.get_bot(), address_of(message)
    try:
        opened = await commands.open(with_picture({}, message, SHOW))
        await tell(bot, address, commands.show(opened))
    except (RequestError, QueueDown) as error:
        await tell(bot, address, str(error))
