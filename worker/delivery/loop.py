"""Looks at every job that still owes its asker something and makes its message say how things stand."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping

from easel import words
from easel.buttons import LABELS, Button, button_id
from easel.errors import Expired, QueueDown, TryLater, Undeliverable, Untrusted
from easel.job_queue.owed import Owed, events
from easel.job_queue.queue import JobQueue, JobState, Status
from easel.jobs import Address, DiscordAddress, TelegramAddress
from worker.delivery.message import Message, Writer

log = logging.getLogger(__name__)

POLL_S = 0.5
BUSY_MOUTH_S = 0.4
LONG_WAIT_S = 60
"""An edit notifies nobody; who waited longer than this is called once."""
PACE_S = {"discord": 2.5, "telegram": 3.0}
"""Between two edits of progress in one chat: about 5 edits per 5 s and channel, 20 messages per minute and group."""


class Deliverer:
    """The delivery loop of one process; several may run side by side."""

    def __init__(self, queue: JobQueue, writers: Mapping[str, Writer], *, name: str, at_once: int = 16) -> None:
        self.queue = queue
        self.owed = Owed(queue)
        self.writers = writers
        self.name = name
        self._at_once = at_once
        self._written: OrderedDict[str, str] = OrderedDict()
        self._chat_free_at: OrderedDict[str, float] = OrderedDict()
        self._wake = asyncio.Event()

    async def run(self, redis_url: str, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set, then finish what is in hand."""
        async with events(redis_url) as hints, asyncio.TaskGroup() as group:
            listener = group.create_task(self._listen(hints))
            in_hand: set[asyncio.Task[None]] = set()
            while not stop.is_set():
                for job_id in await self._due(self._at_once - len(in_hand)):
                    task = group.create_task(self.look(job_id))
                    in_hand.add(task)
                    task.add_done_callback(in_hand.discard)
                await self._pause(full=len(in_hand) >= self._at_once)
            listener.cancel()

    async def _listen(self, hints: AsyncIterator[dict[str, object]]) -> None:
        async for hint in hints:
            if hint.get("event") == "owed":
                self._wake.set()

    async def _due(self, limit: int) -> list[str]:
        if limit <= 0:
            return []
        try:
            return await asyncio.to_thread(self.owed.take, limit)
        except QueueDown:
            return []

    async def _pause(self, *, full: bool) -> None:
        if full:
            await asyncio.sleep(0.05)
            return
        try:
            await asyncio.wait_for(self._wake.wait(), POLL_S)
        except TimeoutError:
            return
        self._wake.clear()

    # -- one look

    async def look(self, job_id: str) -> None:
        """Bring one message up to date; whatever goes wrong, the job comes up again or is closed with a reason."""
        try:
            if not await asyncio.to_thread(self.owed.take_mouth, job_id, self.name):
                await asyncio.to_thread(self.owed.look_again, job_id, BUSY_MOUTH_S)
                return
            seconds = await self._look(job_id)
            if seconds is not None:
                await asyncio.to_thread(self.owed.leave_mouth, job_id)
                await asyncio.to_thread(self.owed.look_again, job_id, seconds)
        except QueueDown:
            log.warning("Redis is away; the message comes up again", extra={"job": job_id})
        except Exception:  # the delivery loop's boundary: one message must not stop the others
            log.exception("a look at a message failed", extra={"job": job_id})

    async def _look(self, job_id: str) -> float | None:
        """Return after how many seconds to look again; None when nothing is owed any more."""
        try:
            state = await asyncio.to_thread(self.queue.state, job_id)
        except (Expired, Untrusted) as error:
            log.warning("nothing can be delivered: %s", error, extra={"job": job_id})
            await self._settle(job_id)
            return None
        try:
            if not state.delivered and state.status in (Status.QUEUED, Status.RUNNING):
                return await self._meanwhile(state)
            if not state.delivered:
                await self._end(state)
            await self._settle(job_id, state.result.pictures if state.result else ())
        except TryLater as error:
            self._chat_free_at[_chat(state.job.reply_to)] = time.monotonic() + error.seconds
            log.info("delivery waits %.1f s: %s", error.seconds, error, extra={"job": job_id})
            return error.seconds
        except Undeliverable as error:
            log.warning("the chat is closed to us: %s", error, extra={"job": job_id})
            await asyncio.to_thread(self.queue.cancel, job_id)
            await self._settle(job_id)
        return None

    async def _settle(self, job_id: str, pictures: tuple[str, ...] = ()) -> None:
        self._written.pop(job_id, None)
        await asyncio.to_thread(self.owed.settle, job_id, pictures)

    async def _meanwhile(self, state: JobState) -> float:
        """Show place in line or progress, if the chat is free for it."""
        pace = PACE_S[state.job.reply_to.kind]
        if state.status is Status.QUEUED:
            text = words.queued(state.place, await asyncio.to_thread(self.queue.workers))
            again = min(30.0, pace + state.place * 0.5)
        else:
            text, again = words.drawing(state.progress), pace
        chat = _chat(state.job.reply_to)
        if self._written.get(state.job.id) == text:
            return again
        if state.message_id and self._chat_free_at.get(chat, 0.0) > time.monotonic():
            return pace / 2
        self._chat_free_at[chat] = time.monotonic() + pace
        await self._write(state, Message(text=text))
        self._remember(state.job.id, text)
        return again

    def _remember(self, job_id: str, text: str) -> None:
        self._written[job_id] = text
        for bounded in (self._written, self._chat_free_at):
            while len(bounded) > 10_000:
                bounded.popitem(last=False)

    async def _end(self, state: JobState) -> None:
        message_id = await self._write(state, await self._final(state))
        if time.time() - state.job.asked_at > LONG_WAIT_S:
            await self._writer(state).call_asker(state, message_id)

    async def _final(self, state: JobState) -> Message:
        result = state.result
        if result is None:
            return Message(text="This job was lost on the way. Please ask again.")
        buttons = [(LABELS[verb], button_id(Button(verb, state.job.id), self.queue.key)) for verb in LABELS]
        if result.failure is not None:
            return Message(text=result.failure.text, buttons=buttons[-1:])
        try:
            pictures = [await asyncio.to_thread(self.queue.picture, name) for name in result.pictures]
        except Expired as error:
            return Message(text=str(error), buttons=buttons)
        return Message(result.request.prompt, words.finished(result), pictures, buttons)

    async def _write(self, state: JobState, message: Message) -> str:
        message_id = await self._writer(state).write(state, message)
        if message_id and message_id != state.message_id:
            await asyncio.to_thread(self.owed.remember_message, state.job.id, message_id)
        return message_id

    def _writer(self, state: JobState) -> Writer:
        kind = state.job.reply_to.kind
        if kind not in self.writers:
            raise TryLater(f"this process has no token for {kind}", seconds=30)
        return self.writers[kind]


def _chat(address: Address) -> str:
    """Name the chat whose rate limit an edit draws on."""
    match address:
        case DiscordAddress():
            return f"discord:{address.channel_id}"
        case TelegramAddress():
            return f"telegram:{address.chat_id}"
        case _:
            return "folder"
