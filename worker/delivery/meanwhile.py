"""What a message shows until its picture is there: the place in line, the progress, and what is about to be."""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from easel import words
from easel.errors import PictureRefused, Undeliverable
from easel.job_queue.owed import Owed
from easel.job_queue.queue import JobState, Status
from easel.jobs import Address, DiscordAddress, TelegramAddress
from worker.delivery.message import Message

log = logging.getLogger(__name__)

PACE_S = {"discord": 2.5, "telegram": 3.0}
"""Between two edits of progress in one chat: about 5 edits per 5 s and channel, 20 messages per minute and group."""
PREVIEW_S = 4.0
"""Between two edits with a preview: in a group of Telegram that leaves five messages a minute for the pictures."""
PREVIEW_AFTER_S = 8.0
"""Who waits less than this for a picture is shown no other before it."""
PREVIEW_BEFORE_S = 3.0
"""So soon before the end a preview would only be in its way."""
MOST_REMEMBERED = 10_000


@dataclass(slots=True)
class _Shown:
    """What a job's message says as far as we know."""

    text: str = ""
    preview: bytes = b""
    """Digest of the picture in it; empty while there is none."""
    began: float | None = None
    """When its first step was seen."""
    refused: bool = False
    """The network wants no preview there."""


class Meanwhile:
    """Shows what is not the end; all of it may be dropped, and the next look makes up for it."""

    def __init__(
        self, owed: Owed, write: Callable[[JobState, Message], Awaitable[str]], *, previews: bool = True
    ) -> None:
        self._owed = owed
        self._write = write
        self._previews = previews
        self._shown: OrderedDict[str, _Shown] = OrderedDict()
        self._chat_free_at: OrderedDict[str, float] = OrderedDict()

    def forget(self, job_id: str) -> None:
        self._shown.pop(job_id, None)

    async def show(self, state: JobState) -> float:
        """Bring the message up to date if the chat is free for it; return the seconds until the next look."""
        shown = self._shown.setdefault(state.job.id, _Shown())
        preview, pace = b"", PACE_S[state.job.reply_to.kind]
        if state.status is Status.QUEUED:
            text = words.queued(state.place, await asyncio.to_thread(self._owed.queue.workers))
            again = min(30.0, pace + state.place * 0.5)
        else:
            text, again = words.drawing(state.progress), pace
            preview = await self._preview(state, shown)
            if shown.preview and not preview:
                # Words alone would take the picture away again.
                return again
        if shown.text == text and not preview:
            return again
        chat = chat_of(state.job.reply_to)
        if state.message_id and self._chat_free_at.get(chat, 0.0) > time.monotonic():
            return pace / 2
        self._chat_free_at[chat] = time.monotonic() + (max(pace, PREVIEW_S) if preview else pace)
        await self._say(state, shown, text, preview)
        for bounded in (self._shown, self._chat_free_at):
            trim(bounded)
        return again

    async def _say(self, state: JobState, shown: _Shown, text: str, preview: bytes) -> None:
        try:
            await self._write(state, Message(text=text, preview=preview))
        except (Undeliverable, PictureRefused) as error:
            if not preview:
                raise
            log.info("no preview is shown: %s", error, extra={"job": state.job.id})
            shown.refused, preview = True, b""
            await self._write(state, Message(text=text))
        shown.text, shown.preview = text, _digest(preview)

    async def _preview(self, state: JobState, shown: _Shown) -> bytes:
        """Return a preview that was not shown yet; empty where there is none, or it would come too soon or too late."""
        progress, now = state.progress, time.monotonic()
        if not self._previews or shown.refused or not state.message_id or progress is None:
            return b""
        if shown.began is None:
            shown.began = now
        lasted_s = now - shown.began
        left_s = lasted_s * (progress.total - progress.step) / progress.step if progress.step else 0.0
        if lasted_s < PREVIEW_AFTER_S or left_s < PREVIEW_BEFORE_S:
            return b""
        preview = await asyncio.to_thread(self._owed.preview, state.job.id)
        return b"" if _digest(preview) == shown.preview else preview


def _digest(preview: bytes) -> bytes:
    return hashlib.sha256(preview).digest()[:8] if preview else b""


def chat_of(address: Address) -> str:
    """Name the chat whose rate limit an edit draws on."""
    match address:
        case DiscordAddress():
            return f"discord:{address.channel_id}"
        case TelegramAddress():
            return f"telegram:{address.chat_id}"
        case _:
            return "folder"


def trim(bounded: OrderedDict[str, Any]) -> None:
    """Drop the oldest entries of what could grow for ever."""
    while len(bounded) > MOST_REMEMBERED:
        bounded.popitem(last=False)
