"""Trouble on order for the fake Telegram: refusals, floods, slow answers, answers that never arrive."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fakes.telegram_fields import Call
from tests.fakes.telegram_messages import Json
from tests.fakes.telegram_world import ApiError

WORDS = {
    400: "Bad Request",
    403: "Forbidden: bot was kicked from the supergroup chat",
    404: "Not Found",
    409: "Conflict",
    413: "Request Entity Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


@dataclass(slots=True)
class Fault:
    error: ApiError | None = None
    loss: str = ""
    """`before` or `after` the work: where the connection is cut."""
    delay_s: float = 0.0
    times: int = 1
    when: Callable[[Json], bool] | None = None
    html: bool = False
    """The answer is a proxy's page, not JSON."""


@dataclass(slots=True)
class _Limit:
    messages: int
    seconds: float
    sent: deque[float] = field(default_factory=deque)

    def wait(self) -> float:
        """Seconds until there is room for one more; 0 counts this one in."""
        now = time.monotonic()
        while self.sent and now - self.sent[0] >= self.seconds:
            self.sent.popleft()
        if len(self.sent) >= self.messages:
            return self.sent[0] + self.seconds - now
        self.sent.append(now)
        return 0.0


def too_many(seconds: float) -> ApiError:
    wait = max(1, math.ceil(seconds))
    return ApiError(429, f"Too Many Requests: retry after {wait}", {"retry_after": wait})


class Faults:
    def __init__(self) -> None:
        self._faults: dict[str, list[Fault]] = {}
        self._limits: dict[int, _Limit] = {}
        self._floods: dict[int, float] = {}
        self._closed_until: dict[int, float] = {}

    def add(self, method: str, fault: Fault) -> None:
        self._faults.setdefault(method, []).append(fault)

    def limit(self, chat_id: int, messages: int, seconds: float) -> None:
        self._limits[chat_id] = _Limit(messages, seconds)

    def flood(self, chat_id: int, seconds: float) -> None:
        self._closed_until.pop(chat_id, None)
        self._floods[chat_id] = seconds

    def take(self, call: Call) -> Fault | None:
        """The trouble in store for this call, counted off; `*` is for every method but getUpdates."""
        names = [call.method] if call.method == "getUpdates" else [call.method, "*"]
        for name in names:
            for fault in self._faults.get(name, []):
                if fault.times > 0 and (fault.when is None or fault.when(call.fields)):
                    fault.times -= 1
                    return fault
        return None

    def check_flood(self, call: Call) -> None:
        """Raises 429 with the seconds left; sending and editing count alike, as in the real API."""
        chat_id = call.get("chat_id")
        if not call.method.startswith(("send", "edit")) or call.method == "sendChatAction":
            return
        now = time.monotonic()
        if chat_id in self._floods:
            self._closed_until[chat_id] = now + self._floods.pop(chat_id)
        left = self._closed_until.get(chat_id, now) - now
        if left <= 0 and chat_id in self._limits:
            left = self._limits[chat_id].wait()
        if left > 0:
            raise too_many(left)


def refusal(status: int, description: str, parameters: Json | None) -> ApiError:
    """An error as the real API words it, when the test gives no words of its own."""
    if status == 429:
        error = too_many((parameters or {}).get("retry_after", 1))
        return ApiError(429, description or error.description, parameters or error.parameters)
    return ApiError(status, description or WORDS.get(status, "Bad Request"), parameters)
