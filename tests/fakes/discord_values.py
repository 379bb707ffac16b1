"""The people, places and refusals of the fake Discord, and the ids and the bell they share."""

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntFlag
from typing import Any, TypeAlias, TypeVar

Json: TypeAlias = dict[str, Any]
Found = TypeVar("Found")

_EPOCH_MS = 1_420_070_400_000


class Permission(IntFlag):
    ADMINISTRATOR = 1 << 3
    MANAGE_GUILD = 1 << 5
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    USE_APPLICATION_COMMANDS = 1 << 31
    SEND_MESSAGES_IN_THREADS = 1 << 38


MEMBER = (
    Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.SEND_MESSAGES_IN_THREADS
)
EVERYTHING = MEMBER | Permission.ADMINISTRATOR | Permission.MANAGE_GUILD | Permission.MANAGE_MESSAGES


class Refusal(Exception):
    """Discord says no: an HTTP status, its own error code, and for a bad form where it is bad."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(f"{status} {code} {message} {errors or ''}".strip())
        self.status = status
        self.code = code
        self.body: Json = {"message": message, "code": code} | ({"errors": errors} if errors else {})
        self.headers: dict[str, str] = {}


def bad_form(where: str, code: str, text: str) -> Refusal:
    """400/50035; `where` is a dotted path such as `embeds.0.title`, empty for the form as a whole."""
    errors: Json = {"_errors": [{"code": code, "message": text}]}
    for part in reversed(where.split(".") if where else []):
        errors = {part: errors}
    return Refusal(400, 50035, "Invalid Form Body", errors)


def rate_limited(retry_after_s: float, *, everywhere: bool = False) -> Refusal:
    refusal = Refusal(429, 0, "You are being rate limited.")
    refusal.body = {"message": "You are being rate limited.", "retry_after": retry_after_s, "global": everywhere}
    refusal.headers = {
        "Retry-After": str(max(1, round(retry_after_s))),
        "X-RateLimit-Scope": "global" if everywhere else "user",
    }
    if everywhere:
        refusal.headers["X-RateLimit-Global"] = "true"
    return refusal


class Snowflakes:
    """Ids that carry the time they were made, as Discord's do; no two are equal."""

    def __init__(self) -> None:
        self._count = itertools.count()

    def new(self, *, age_s: float = 0.0) -> int:
        milliseconds = int((time.time() - age_s) * 1000) - _EPOCH_MS
        return (milliseconds << 22) | (next(self._count) & 0x3FFFFF)


class Bell:
    """Rung at every change, so that tests wait for what they want to see instead of sleeping."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def until(self, look: Callable[[], Found | None], timeout_s: float, seen: Callable[[], str]) -> Found:
        """Return what `look` finds; after `timeout_s` raise TimeoutError with what `seen` says was there instead."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while (found := look()) is None:
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.add(future)
            await asyncio.wait([future], timeout=max(0.0, deadline - loop.time()))
            self._waiting.discard(future)
            if not future.done() and (found := look()) is None:
                raise TimeoutError(f"not seen within {timeout_s} s; there was {seen()}")
        return found


def iso(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat()


@dataclass(frozen=True, slots=True)
class User:
    id: int
    name: str
    bot: bool = False

    @property
    def mention(self) -> str:
        return f"<@{self.id}>"

    def payload(self) -> Json:
        return {
            "id": str(self.id),
            "username": self.name,
            "global_name": None if self.bot else self.name.title(),
            "discriminator": "0000" if self.bot else "0",
            "avatar": None,
            "public_flags": 0,
            "flags": 0,
            "primary_guild": None,
            "bot": self.bot,
        }


TEXT, DM, THREAD = 0, 1, 11


@dataclass(slots=True)
class Channel:
    """A text channel, a thread, or (without a guild) a conversation with one person."""

    id: int
    name: str
    type: int = TEXT
    guild_id: int | None = None
    nsfw: bool = False
    parent_id: int | None = None
    recipient: User | None = None
    forbidden: bool = False
    """The bot sees the channel but may not post there: 403, 50013."""
    hidden: bool = False
    """The bot has no access: 403, 50001."""

    def payload(self) -> Json:
        common: Json = {"id": str(self.id), "type": self.type, "flags": 0, "last_message_id": None}
        if self.type == DM:
            return common | {"recipients": [self.recipient.payload()] if self.recipient else []}
        common |= {"guild_id": str(self.guild_id), "name": self.name, "rate_limit_per_user": 0}
        common["parent_id"] = None if self.parent_id is None else str(self.parent_id)
        if self.type == THREAD:
            born = iso(time.time())
            settings = {"archived": False, "archive_timestamp": born, "auto_archive_duration": 1440, "locked": False}
            counts = {"message_count": 0, "member_count": 1, "total_message_sent": 0}
            return common | counts | {"owner_id": str(self.parent_id), "thread_metadata": settings}
        return common | {"position": 0, "permission_overwrites": [], "nsfw": self.nsfw, "topic": None}
