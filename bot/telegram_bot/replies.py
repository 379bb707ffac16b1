"""Replies on Telegram, always as plain text, so that nothing anybody types can break them; and the placeholder."""

import asyncio
import logging

from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions, Message, ReplyParameters
from telegram.error import BadRequest, NetworkError, TelegramError

from bot.commands import Placed, Question
from easel import words
from easel.errors import QueueDown
from easel.job_queue.queue import JobQueue
from easel.jobs import TelegramAddress

log = logging.getLogger(__name__)

TEXT_LIMIT = 4096
PLACEHOLDER_S = 8
"""Delivery takes the message over after 10; two of us must never write it."""
PAUSE_S = 0.5


async def reply(bot: Bot, address: TelegramAddress, text: str, keyboard: InlineKeyboardMarkup | None = None) -> Message:
    """Send `text`; raises TelegramError."""
    asked = address.reply_to
    return await bot.send_message(
        address.chat_id,
        words.cut(text, TEXT_LIMIT),
        message_thread_id=address.thread_id,
        # Whoever deletes their command at once still gets the answer.
        reply_parameters=None if asked is None else ReplyParameters(asked, allow_sending_without_reply=True),
        link_preview_options=LinkPreviewOptions(is_disabled=True),
        reply_markup=keyboard,
    )


async def ask(bot: Bot, address: TelegramAddress, question: Question) -> None:
    row = [InlineKeyboardButton(label, callback_data=data) for label, data in question.buttons]
    await tell(bot, address, question.text, InlineKeyboardMarkup([row]))


async def tell(bot: Bot, address: TelegramAddress, text: str, keyboard: InlineKeyboardMarkup | None = None) -> None:
    """Send `text` if the chat lets us; a flood is not made worse by trying again."""
    try:
        try:
            await reply(bot, address, text, keyboard)
        except NetworkError as error:
            if isinstance(error, BadRequest):
                raise
            # A sentence said twice does no harm; one that is lost leaves somebody waiting.
            await reply(bot, address, text, keyboard)
    except TelegramError as error:
        log.warning("a reply could not be sent: %s", error)


async def place(bot: Bot, queue: JobQueue, placed: Placed) -> None:
    """Write the placeholder once and hand the message to delivery; what fails here, delivery makes up for."""
    address = placed.job.reply_to
    assert isinstance(address, TelegramAddress)
    if not placed.fresh:
        return
    try:
        async with asyncio.timeout(PLACEHOLDER_S):
            message = await reply(bot, address, placed.text)
            if not await _hand_over(queue, placed.job.id, str(message.message_id)):
                await message.delete()
    except (TelegramError, TimeoutError) as error:
        why = str(error) or "out of time"
        log.warning("the placeholder is left to delivery: %s", why, extra={"job": placed.job.id})


async def _hand_over(queue: JobQueue, job_id: str, message_id: str) -> bool:
    """Give the message to delivery; False when that was too late, and delivery has written one of its own."""
    while True:
        try:
            return await asyncio.to_thread(queue.placed, job_id, message_id)
        except QueueDown:
            await asyncio.sleep(PAUSE_S)
