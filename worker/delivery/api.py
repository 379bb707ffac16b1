"""One HTTP call to a chat network, with its answers sorted: done, try later, or never."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from easel.errors import TryLater

TIMEOUT = aiohttp.ClientTimeout(total=45, sock_connect=10)
"""Shorter than the lock on a message, so that a slow call never writes after it was lost."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that goes along with a call."""

    field: str
    filename: str
    data: bytes
    mime: str = "image/png"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Mapping[str, Any]
    """Parsed JSON; empty when the network answered with something else."""

    @property
    def ok(self) -> bool:
        return self.status < 300


class Api:
    """Calls one network's HTTP interface; never raises for a refusal, only when it pays to try later."""

    def __init__(self, session: aiohttp.ClientSession, headers: Mapping[str, str] | None = None) -> None:
        self._session = session
        self._headers = dict(headers or {})

    async def call(
        self,
        method: str,
        url: str,
        fields: Mapping[str, Any] | None = None,
        *,
        form: Mapping[str, str] | None = None,
        uploads: Sequence[Upload] = (),
    ) -> Answer:
        """Send JSON `fields`, or a multipart `form` with `uploads`; raise `TryLater` for 429, 5xx and a dead line."""
        body: Any = None
        if form is not None:
            body = aiohttp.FormData(default_to_multipart=True)
            for name, value in form.items():
                body.add_field(name, value)
            for upload in uploads:
                body.add_field(upload.field, upload.data, filename=upload.filename, content_type=upload.mime)
        try:
            async with self._session.request(
                method, url, json=fields, data=body, headers=self._headers, timeout=TIMEOUT, allow_redirects=False
            ) as response:
                answer = Answer(response.status, _parsed(await response.read()))
                retry_after = response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # The text of the error may hold the URL, and the URL a token.
            raise TryLater(f"the network did not answer ({type(error).__name__})", seconds=3) from None
        if answer.status == 429:
            raise TryLater("the network asks to wait", seconds=_seconds(answer.body, retry_after))
        if answer.status >= 500:
            raise TryLater(f"the network is in trouble ({answer.status})", seconds=3)
        return answer


def _parsed(data: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(data)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _seconds(body: Mapping[str, Any], header: str) -> float:
    """Read the wait from Discord's or Telegram's body, or the header; never below half a second."""
    parameters = body.get("parameters")
    found = body.get("retry_after") or (parameters.get("retry_after") if isinstance(parameters, dict) else None)
    try:
        return max(0.5, float(found if found is not None else header or 5))
    except (TypeError, ValueError):
        return 5.0
