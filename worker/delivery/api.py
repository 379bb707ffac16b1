"""One HTTP call to a chat network, with its answers sorted: done, try later, or never."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from easel.errors import TryLater

log = logging.getLogger(__name__)

REFUSED_S = 60
STRANGE_S = 30
WEBHOOK_OVER = 50027
"""Discord answers 401 with this code where only an interaction is over."""
TIMEOUT = aiohttp.ClientTimeout(total=45, sock_connect=10)
"""A call that takes longer is tried anew."""


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
        self._refused_until = 0.0

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
        if (left_s := self._refused_until - time.monotonic()) > 0:
            raise TryLater("the network refuses our token", seconds=left_s)
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
        if answer.status == 401 and answer.body.get("code") != WEBHOOK_OVER:
            # What is owed stays owed until the token is mended; asking on would get our address banned.
            self._refused_until = time.monotonic() + REFUSED_S
            log.error("the network refuses our token: correct it and start delivery again")
            raise TryLater("the network refuses our token", seconds=REFUSED_S)
        if answer.ok and not answer.body:
            raise TryLater("something else answered in the network's place", seconds=STRANGE_S)
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
