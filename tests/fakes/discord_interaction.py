"""One act of a person on the fake Discord, and all that came back for it."""

import asyncio
import base64
import secrets
import time
from collections.abc import Awaitable, Callable

from tests.fakes.discord_messages import Message
from tests.fakes.discord_values import Channel, Json, User
from tests.fakes.discord_world import World

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5


class NotAcknowledged(Exception):
    """What a person sees after three seconds: the application did not respond."""


class Interaction:
    """One act of a person, and all that came back for it."""

    def __init__(self, world: World, kind: int, user: User, channel: Channel) -> None:
        self.id = world.ids.new(age_s=world.lateness_s)
        secret = f"interaction:{self.id}:{secrets.token_hex(48)}"
        self.token = base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")
        self.kind, self.user, self.channel = kind, user, channel
        self.payload: Json = {}
        self.source: Message | None = None
        """The message whose button was pressed."""
        self.opened_by: Interaction | None = None
        """The interaction whose answer was the form that is submitted here."""
        self.option_type = 3
        self.response_type: int | None = None
        self.original: Message | None = None
        self.follow_ups: list[Message] = []
        self.choices: list[Json] = []
        self.form: Json | None = None
        self.sent_at = time.monotonic()
        self._age_s = world.lateness_s
        self._bell = world.bell
        self._expired = False
        loop = asyncio.get_running_loop()
        self.acknowledged: asyncio.Future[float] = loop.create_future()
        """Seconds from sending until the callback; raises NotAcknowledged when none comes in time."""
        self.acknowledged.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._alarm = loop.call_later(max(0.0, world.ack_within_s - world.lateness_s), self._give_up)

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.sent_at + self._age_s

    @property
    def expired(self) -> bool:
        return self._expired

    def expire(self) -> None:
        """Let the token die now."""
        self._expired = True

    @property
    def messages(self) -> list[Message]:
        return [*([self.original] if self.original else []), *self.follow_ups]

    @property
    def message(self) -> Awaitable[Message]:
        """The response, once it says more than that the bot is thinking; fails after ten seconds."""
        return self.wait_for(lambda message: message is self.original and not message.loading)

    async def wait_for(self, wanted: Callable[[Message], bool], timeout_s: float = 10.0) -> Message:
        """Return the first of the response and its follow-ups that is as wanted; TimeoutError says what stood there."""

        def look() -> Message | None:
            return next((message for message in self.messages if not message.deleted and wanted(message)), None)

        return await self._bell.until(look, timeout_s, self._seen)

    async def wait_for_form(self, timeout_s: float = 3.0) -> Json:
        """Return the modal that was shown."""
        return await self._bell.until(lambda: self.form, timeout_s, self._seen)

    def acknowledge(self, response_type: int) -> None:
        self.response_type = response_type
        self._alarm.cancel()
        if not self.acknowledged.done():
            self.acknowledged.set_result(time.monotonic() - self.sent_at)
        self._bell.ring()

    def close(self) -> None:
        self._alarm.cancel()
        self.acknowledged.cancel()

    def _give_up(self) -> None:
        if not self.acknowledged.done():
            self.acknowledged.set_exception(NotAcknowledged("the application did not respond"))

    def _seen(self) -> str:
        states = [f"{'thinking' if message.loading else message.text!r}" for message in self.messages]
        return f"response type {self.response_type}, messages {states}"
