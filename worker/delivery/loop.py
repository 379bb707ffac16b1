"""Looks at every job that still owes its asker something and makes its message say how things stand."""

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from redis.exceptions import RedisError

from easel import words
from easel.buttons import Button, button_id, rows
from easel.errors import Expired, PictureRefused, QueueDown, TryLater, Undeliverable, Untrusted
from easel.job_queue.owed import MOUTH_S, Owed, events
from easel.job_queue.queue import JobQueue, JobState, Status
from worker.delivery.meanwhile import Meanwhile, chat_of, trim
from worker.delivery.message import Message, Writer

log = logging.getLogger(__name__)

POLL_S = 0.5
TROUBLE_S = 2.0
BUSY_MOUTH_S = 0.4
UNREADABLE_S = 600
"""After this time an envelope that we can not read is tried again: one of us may be about to be updated."""
LONG_WAIT_S = 60
"""An edit notifies nobody; who waited longer than this is called once."""


class Deliverer:
    """The delivery loop of one process; several may run side by side."""

    def __init__(
        self,
        queue: JobQueue,
        writers: Mapping[str, Writer],
        *,
        name: str,
        at_once: int = 16,
        previews: bool = True,
    ) -> None:
        self.queue = queue
        self.owed = Owed(queue)
        self.writers = writers
        # A container has the same name and process id after a restart; who holds a message must be one of a kind.
        self.name = f"{name}-{secrets.token_hex(3)}"
        self._at_once = at_once
        self._holding: set[str] = set()
        self._meanwhile = Meanwhile(self.owed, self._write, previews=previews)
        self._chat_shut_until: OrderedDict[str, float] = OrderedDict()
        self._wake = asyncio.Event()

    async def run(self, redis_url: str, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set, then finish what is in hand and what is due by then."""
        async with events(redis_url) as hints, asyncio.TaskGroup() as group:
            helpers = [group.create_task(self._listen(hints)), group.create_task(self._keep_mouths())]
            in_hand: set[asyncio.Task[None]] = set()
            while not stop.is_set():
                for job_id in await self._due(self._at_once - len(in_hand)):
                    task = group.create_task(self.look(job_id))
                    in_hand.add(task)
                    task.add_done_callback(in_hand.discard)
                await self._pause(full=len(in_hand) >= self._at_once)
            await asyncio.gather(*in_hand)
            # A worker that ends before us has left its last pictures.
            while due := await self._due(self._at_once):
                await asyncio.gather(*map(self.look, due))
            for helper in helpers:
                helper.cancel()

    async def _listen(self, hints: AsyncIterator[dict[str, object]]) -> None:
        async for hint in hints:
            if hint.get("event") == "owed":
                self._wake.set()

    async def _keep_mouths(self) -> None:
        """Hold on to the messages in hand: an upload may take longer than the lock on its message."""
        while True:
            await asyncio.sleep(MOUTH_S / 4)
            for job_id in list(self._holding):
                try:
                    await asyncio.to_thread(self.owed.keep_mouth, job_id, self.name)
                except RedisError as error:
                    log.warning("could not hold on to a message: %s", error, extra={"job": job_id})

    async def _due(self, limit: int) -> list[str]:
        if limit <= 0:
            return []
        try:
            return await asyncio.to_thread(self.owed.take, limit)
        except RedisError as error:
            log.warning("could not look for what is owed: %s", error)
            await asyncio.sleep(TROUBLE_S)
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
            if job_id in self._holding or not await asyncio.to_thread(self.owed.take_mouth, job_id, self.name):
                await asyncio.to_thread(self.owed.look_again, job_id, BUSY_MOUTH_S)
            else:
                await self._look_alone(job_id)
        except QueueDown:
            log.warning("Redis is away; the message comes up again", extra={"job": job_id})
        except Exception:  # the delivery loop's boundary: one message must not stop the others
            log.exception("a look at a message failed", extra={"job": job_id})

    async def _look_alone(self, job_id: str) -> None:
        self._holding.add(job_id)
        try:
            await self._look(job_id)
        finally:
            self._holding.discard(job_id)
        if not await asyncio.to_thread(self.owed.leave_mouth, job_id, self.name):
            # We slept, and somebody else had the message meanwhile: what we wrote late must not be the last word.
            self._meanwhile.forget(job_id)
            await asyncio.to_thread(self.owed.owe_again, job_id)

    async def _look(self, job_id: str) -> None:
        try:
            state = await asyncio.to_thread(self.queue.state, job_id)
        except Expired:
            log.warning("nobody knows any more to whom this was owed", extra={"job": job_id})
            await asyncio.to_thread(self.owed.forget, job_id)
            return
        except Untrusted as error:
            log.warning("nothing can be delivered: %s", error, extra={"job": job_id})
            await asyncio.to_thread(self.owed.look_again, job_id, UNREADABLE_S, not_before=True)
            return
        try:
            if not state.delivered and state.status in (Status.QUEUED, Status.RUNNING):
                await asyncio.to_thread(self.owed.look_again, job_id, await self._meanwhile.show(state))
                return
            if not state.delivered:
                await self._end(state)
            await self._settle(job_id, state.result.pictures if state.result else ())
        except TryLater as error:
            self._chat_shut_until[chat_of(state.job.reply_to)] = time.monotonic() + error.seconds
            trim(self._chat_shut_until)
            log.info("delivery waits %.1f s: %s", error.seconds, error, extra={"job": job_id})
            await asyncio.to_thread(self.owed.look_again, job_id, error.seconds, not_before=True)
        except Undeliverable as error:
            log.warning("the chat is closed to us: %s", error, extra={"job": job_id})
            await asyncio.to_thread(self.queue.cancel, job_id)
            await self._settle(job_id)

    async def _settle(self, job_id: str, pictures: tuple[str, ...] = ()) -> None:
        self._meanwhile.forget(job_id)
        await asyncio.to_thread(self.owed.settle, job_id, pictures)

    async def _end(self, state: JobState) -> None:
        final = await self._final(state)
        try:
            message_id = await self._write(state, final)
        except PictureRefused as error:
            message_id = await self._write(state, replace(final, pictures=(), text=f"{error}\n{final.text}"))
        if time.time() - state.job.asked_at > LONG_WAIT_S and await asyncio.to_thread(self.owed.may_call, state.job.id):
            try:
                await self._writer(state).call_asker(state, message_id)
            except TryLater as error:
                # The picture is there; a call that was perhaps heard is not repeated.
                log.info("the asker was not called: %s", error, extra={"job": state.job.id})

    async def _final(self, state: JobState) -> Message:
        result = state.result
        if result is None:
            return Message(text="This job was lost on the way. Please ask again.")
        buttons = [
            [(label, button_id(Button(verb, state.job.id, n), self.queue.key)) for label, verb, n in row]
            for row in rows(len(result.pictures))
        ]
        if result.failure is not None:
            return Message(text=result.failure.text, buttons=[buttons[-1][-1:]])
        try:
            pictures = [await asyncio.to_thread(self.queue.picture, name) for name in result.pictures]
        except Expired as error:
            return Message(text=str(error), buttons=buttons)
        return Message(result.request.prompt, words.finished(result), pictures, buttons)

    async def _write(self, state: JobState, message: Message) -> str:
        shut_s = self._chat_shut_until.get(chat_of(state.job.reply_to), 0.0) - time.monotonic()
        if shut_s > 0:
            raise TryLater("the network asked to leave this chat alone", seconds=shut_s)
        writer = self._writer(state)
        message_id = await writer.write(state, message)
        if message_id and message_id != state.message_id:
            await asyncio.to_thread(self.owed.remember_message, state.job.id, message_id)
            if writer.words_first and message.pictures:
                message_id = await writer.write(replace(state, message_id=message_id), message)
        return message_id

    def _writer(self, state: JobState) -> Writer:
        kind = state.job.reply_to.kind
        if kind not in self.writers:
            raise TryLater(f"this process has no token for {kind}", seconds=30)
        return self.writers[kind]
