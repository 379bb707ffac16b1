"""Rate limits of the fake Discord: headers always, refusals only where a test asks for them."""

import hashlib
import time
from collections import deque
from dataclasses import dataclass, field

from tests.fakes.discord_values import rate_limited

# (requests, seconds) as measured on the real service, which does not promise them
_BUCKETS = {
    "POST /channels/{channel_id}/messages": (5, 5.0),
    "PATCH /channels/{channel_id}/messages/{message_id}": (5, 5.0),
    "DELETE /channels/{channel_id}/messages/{message_id}": (5, 1.0),
}
_WEBHOOK = (5, 2.0)
_OTHER = (10, 1.0)
_GLOBAL = (50, 1.0)
_MAJOR = ("channel_id", "guild_id", "webhook_id", "webhook_token")


@dataclass(slots=True)
class _Window:
    most: int
    span_s: float
    spent: deque[float] = field(default_factory=deque)

    def spend(self, now: float) -> float:
        """Count one request; return how long to wait instead, 0 where there is room."""
        while self.spent and self.spent[0] <= now - self.span_s:
            self.spent.popleft()
        if len(self.spent) >= self.most:
            return self.spent[0] + self.span_s - now
        self.spent.append(now)
        return 0.0


class Rates:
    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}
        self._everything = _Window(*_GLOBAL)

    def spend(self, method: str, template: str, params: dict[str, str], *, enforced: bool) -> dict[str, str]:
        """Return the headers of this request's bucket; an enforced bucket that is empty raises 429."""
        webhook = template.startswith(("/webhooks/", "/interactions/"))
        name = f"{method} {template}"
        most, span_s = _WEBHOOK if webhook else _BUCKETS.get(name, _OTHER)
        key = " ".join([name, *(params[major] for major in _MAJOR if major in params)])
        window = self._windows.setdefault(key, _Window(most, span_s))
        now = time.monotonic()
        if not enforced:
            return _headers(name, most, most - 1, 0.25)
        if not template.startswith("/interactions/") and (wait_s := self._everything.spend(now)):
            raise rate_limited(wait_s, everywhere=True)
        if wait_s := window.spend(now):
            refusal = rate_limited(wait_s)
            refusal.headers |= _headers(name, most, 0, wait_s)
            raise refusal
        left_s = window.spent[0] + span_s - now
        return _headers(name, most, most - len(window.spent), left_s)


def _headers(name: str, most: int, left: int, reset_s: float) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(most),
        "X-RateLimit-Remaining": str(left),
        "X-RateLimit-Reset": f"{time.time() + reset_s:.3f}",
        "X-RateLimit-Reset-After": f"{reset_s:.3f}",
        "X-RateLimit-Bucket": hashlib.sha256(name.encode()).hexdigest()[:32],
    }
