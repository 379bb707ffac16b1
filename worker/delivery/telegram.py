"""Writes a job's message on Telegram: the text placeholder is edited until it is the picture."""

import asyncio
import json
import logging
from typing import Any

from easel import words
from easel.errors import PictureRefused, TryLater, Undeliverable
from easel.job_queue.queue import JobState
from easel.jobs import TelegramAddress
from easel.pictures import grid
from worker.delivery.api import Answer, Api, Upload
from worker.delivery.message import Message

log = logging.getLogger(__name__)

API = "https://api.telegram.org/bot"
TEXT, CAPTION, PROMPT = 4096, 1024, 600
_REFUSED = (400, 413)
_NO_WORDS = "there is no text in the message to edit"
_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid")


class TelegramWriter:
    """Edits the placeholder; sends a new message only when it is gone. Text goes out plain, so no prompt breaks it."""

    words_first = True

    def __init__(self, api: Api, *, token: str, base: str = API) -> None:
        self._api = api
        self._base = f"{base}{token}" if "{token}" not in base else base.replace("{token}", token)

    async def write(self, state: JobState, message: Message) -> str:
        if state.message_id:
            answer = await self._edit(state, message)
            if answer.ok or "message is not modified" in _why(answer):
                return state.message_id
            if not any(text in _why(answer).lower() for text in _GONE):
                if message.pictures and answer.status in _REFUSED:
                    log.warning("a picture was refused: %s", _why(answer), extra={"job": state.job.id})
                    raise PictureRefused("Telegram")
                raise Undeliverable(f"Telegram refused an edit ({_why(answer)})")
        answer = await self._send(state, message)
        if not answer.ok:
            raise Undeliverable(f"Telegram refused the message ({_why(answer)})")
        return str(answer.body["result"]["message_id"])

    async def _edit(self, state: JobState, message: Message) -> Answer:
        address = _address(state)
        form = {"chat_id": str(address.chat_id), "message_id": state.message_id, **_keyboard(message)}
        if not message.pictures and not message.preview:
            answer = await self._call("editMessageText", form | {"text": _text(message, TEXT)})
            if _NO_WORDS not in _why(answer):
                return answer
            # A preview made a photo of it, and that it stays.
            return await self._call("editMessageCaption", form | {"caption": _text(message, CAPTION)})
        media = {"type": "photo", "media": "attach://photo", "caption": _text(message, CAPTION)}
        return await self._call("editMessageMedia", form | {"media": json.dumps(media)}, [await _photo(message)])

    async def _send(self, state: JobState, message: Message) -> Answer:
        address = _address(state)
        form = {"chat_id": str(address.chat_id), **_keyboard(message)}
        if address.thread_id is not None:
            form["message_thread_id"] = str(address.thread_id)
        if address.reply_to is not None:
            reply = {"message_id": address.reply_to, "allow_sending_without_reply": True}
            form["reply_parameters"] = json.dumps(reply)
        return await self._call("sendMessage", form | {"text": _text(message, TEXT)})

    async def _call(self, name: str, form: dict[str, str], uploads: list[Upload] | None = None) -> Answer:
        answer = await self._api.call("POST", f"{self._base}/{name}", form=form, uploads=uploads or [])
        if answer.status == 404:
            # The answer to every method where the token, or the address, is no bot's.
            raise TryLater("Telegram knows no such bot", seconds=60)
        return answer

    async def call_asker(self, state: JobState, message_id: str) -> None:
        address = _address(state)
        # In a private chat the picture itself stands at the end; a group has moved on.
        if address.chat_id > 0 or address.reply_to is None:
            return
        form = {"chat_id": str(address.chat_id), "text": "Your picture is ready."}
        form["reply_parameters"] = json.dumps({"message_id": address.reply_to, "allow_sending_without_reply": True})
        if address.thread_id is not None:
            form["message_thread_id"] = str(address.thread_id)
        await self._call("sendMessage", form)


def _address(state: JobState) -> TelegramAddress:
    assert isinstance(state.job.reply_to, TelegramAddress)
    return state.job.reply_to


def _text(message: Message, limit: int) -> str:
    lines = [line for line in (words.cut(message.prompt, PROMPT), message.text) if line]
    return words.cut("\n".join(lines), limit)


def _keyboard(message: Message) -> dict[str, str]:
    if not message.buttons:
        return {}
    keyboard: list[list[dict[str, Any]]] = [
        [{"text": label, "callback_data": data} for label, data in row] for row in message.buttons
    ]
    return {"reply_markup": json.dumps({"inline_keyboard": keyboard})}


async def _photo(message: Message) -> Upload:
    """Several pictures become one grid: an album can neither be edited into nor carry buttons."""
    if message.preview:
        return Upload("photo", "preview.jpg", message.preview, "image/jpeg")
    one = len(message.pictures) == 1
    data = message.pictures[0] if one else await asyncio.to_thread(grid, message.pictures)
    return Upload("photo", "picture.png", data)


def _why(answer: Answer) -> str:
    return f"{answer.status}: {answer.body.get('description', '')}"
