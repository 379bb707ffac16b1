"""The updates that wait for the bot: fetched by one long poll at a time, or posted to its webhook."""

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.fakes.telegram_fields import Call
from tests.fakes.telegram_messages import Json
from tests.fakes.telegram_world import ApiError, bad

LEFT_OUT_UNLESS_ASKED = {"chat_member", "message_reaction", "message_reaction_count"}
CONFLICT = "terminated by other getUpdates request; make sure that only one bot instance is running"
WEBHOOK_WAIT_S = 5
FIRST_RETRY_S = 0.05


@dataclass(slots=True)
class Pending:
    update: Json
    handed_out: bool = False


@dataclass(slots=True)
class Seat:
    """The one place from which updates are fetched."""

    woken: asyncio.Event = field(default_factory=asyncio.Event)
    taken_over: bool = False


class Mailbox:
    def __init__(self) -> None:
        self.updates: list[Json] = []
        """Every update ever made, oldest first."""
        self.pending: list[Pending] = []
        self.webhook: Json = {"url": ""}
        self.allowed: list[str] = []
        """Empty means all but the kinds that must be asked for."""
        self._next_id = 100_000_000 + secrets.randbelow(800_000_000)
        self._seat: Seat | None = None
        self._news = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    def table(self) -> dict[str, Callable[[Call], Any]]:
        return {
            "getUpdates": self.get_updates,
            "setWebhook": self.set_webhook,
            "deleteWebhook": self.delete_webhook,
            "getWebhookInfo": lambda _: self.webhook | {"has_custom_certificate": False, "pending_update_count": len(self.pending)},
        }  # fmt: skip

    def put(self, kind: str, content: Json) -> int | None:
        """The update's id, or None when the bot did not ask for this kind."""
        if kind not in self.allowed and (self.allowed or kind in LEFT_OUT_UNLESS_ASKED):
            return None
        update_id = self._next_id
        self._next_id += 1
        self.updates.append({"update_id": update_id, kind: content})
        self._hand_in(self.updates[-1])
        return update_id

    def repeat(self, update_id: int) -> None:
        """Deliver an update once more under the same id, whatever has been confirmed since."""
        self._hand_in(next(one for one in self.updates if one["update_id"] == update_id))

    def _hand_in(self, update: Json) -> None:
        self.pending.append(Pending(update))
        self._news.set()
        if self._seat:
            self._seat.woken.set()

    async def get_updates(self, call: Call) -> list[Json]:
        """Wait up to `timeout` seconds; a second poll ends the first one with 409, as the real API does."""
        if self.webhook["url"]:
            raise ApiError(
                409,
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
            )
        if "allowed_updates" in call.fields:
            self.allowed = call.get("allowed_updates") or []
        self._confirm(call.integer("offset") or 0)
        seat = self._take_seat()
        try:
            if not self.pending:
                async with asyncio.timeout(min(call.integer("timeout") or 0, 50)):
                    await seat.woken.wait()
        except TimeoutError:
            pass
        finally:
            if self._seat is seat:
                self._seat = None
        if seat.taken_over:
            raise ApiError(409, f"Conflict: {CONFLICT}")
        return self._batch(min(max(call.integer("limit") or 100, 1), 100))

    def _take_seat(self) -> Seat:
        if self._seat:
            self._seat.taken_over = True
            self._seat.woken.set()
        self._seat = Seat()
        return self._seat

    def _confirm(self, offset: int) -> None:
        if offset < 0:
            self.pending = self.pending[offset:]
        elif offset:
            self.pending = [one for one in self.pending if one.update["update_id"] >= offset or not one.handed_out]

    def _batch(self, limit: int) -> list[Json]:
        batch = self.pending[:limit]
        for one in batch:
            one.handed_out = True
        return [one.update for one in batch]

    async def set_webhook(self, call: Call) -> bool:
        url, secret = call.text("url"), call.text("secret_token")
        if url and not url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise bad("bad webhook: An HTTPS URL must be provided for webhook")
        if secret and not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", secret):
            raise bad("secret token contains unallowed characters")
        await self.delete_webhook(call)
        if "allowed_updates" in call.fields:
            self.allowed = call.get("allowed_updates") or []
        if url:
            self.webhook = {"url": url, "max_connections": call.integer("max_connections") or 40}
            self._pump = asyncio.create_task(self._post_updates(url, secret))
        return True

    async def delete_webhook(self, call: Call) -> bool:
        if call.get("drop_pending_updates"):
            self.pending.clear()
        await self._stop_pump()
        self.webhook = {"url": ""}
        return True

    async def _post_updates(self, url: str, secret: str) -> None:
        headers = {"X-Telegram-Bot-Api-Secret-Token": secret} if secret else {}
        wait_s = FIRST_RETRY_S
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(WEBHOOK_WAIT_S), headers=headers) as session:
            while True:
                while self.pending:
                    if await self._posted(session, url, self.pending[0].update):
                        self.pending.pop(0)
                        wait_s = FIRST_RETRY_S
                    else:
                        await asyncio.sleep(wait_s)
                        wait_s = min(2 * wait_s, 1.0)
                self._news.clear()
                await self._news.wait()

    async def _posted(self, session: aiohttp.ClientSession, url: str, update: Json) -> bool:
        try:
            async with session.post(url, json=update) as answer:
                if answer.ok:
                    return True
                problem = f"Wrong response from the webhook: {answer.status} {answer.reason}"
        except (aiohttp.ClientError, TimeoutError) as error:
            problem = f"Connection failed: {type(error).__name__}"
        self.webhook |= {"last_error_date": int(time.time()), "last_error_message": problem}
        return False

    async def _stop_pump(self) -> None:
        if self._pump:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
            self._pump = None

    async def close(self) -> None:
        await self._stop_pump()
        if self._seat:
            self._seat.woken.set()
