"""Requests to the fake Discord: read from the wire, kept for tests to look at, or spoiled on purpose."""

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

from tests.fakes.discord_files import Upload
from tests.fakes.discord_values import Json, rate_limited

_FILE = re.compile(r"files\[(\d+)\]")
_KEPT_OUT = "authorization"


@dataclass(slots=True)
class Call:
    """One request as it arrived, and the status of its answer (0: the connection was cut). No credential is kept."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    credential: str
    """`right`, `wrong` or `none`: the bot token in the Authorization header."""
    json: Any = None
    files: dict[int, Upload] = field(default_factory=dict)
    at: float = field(default_factory=time.monotonic)
    template: str = ""
    params: dict[str, str] = field(default_factory=dict)
    status: int = 0
    size_bytes: int = 0
    remarks: list[str] = field(default_factory=list)
    """What Discord would swallow or stumble over in the way the request was written."""

    @property
    def file_names(self) -> list[str]:
        return [upload.filename for _, upload in sorted(self.files.items())]

    @property
    def allowed_mentions(self) -> Json | None:
        """What the request said about mentions; None where it said nothing, which lets all of them through."""
        body = self.json.get("data") or self.json if isinstance(self.json, dict) else {}
        said = body.get("allowed_mentions") if isinstance(body, dict) else None
        return said if isinstance(said, dict) else None

    @property
    def says_something(self) -> bool:
        """Whether it carries text that people will read."""
        body = self.json.get("data") or self.json if isinstance(self.json, dict) else {}
        return isinstance(body, dict) and any(body.get(name) for name in ("content", "embeds", "components"))


async def read_call(request: web.Request, path: str, token: str) -> Call:
    """Read a request; a body that is no JSON is left as None and remarked upon."""
    given = request.headers.get("Authorization")
    call = Call(
        method=request.method,
        path=path,
        query=dict(request.query),
        headers={name: value for name, value in request.headers.items() if name.lower() != _KEPT_OUT},
        credential="none" if given is None else "right" if given == f"Bot {token}" else "wrong",
    )
    if given is not None and not request.headers.get("User-Agent", "").startswith("DiscordBot ("):
        call.remarks.append("a bot's User-Agent is DiscordBot ($url, $version)")
    if request.content_type == "multipart/form-data":
        await _read_form(request, call)
    elif text := await request.read():
        call.size_bytes = len(text)
        if request.content_type != "application/json":
            call.remarks.append(f"the body is sent as {request.content_type}, not as application/json")
        call.json = _parsed(text, call)
    return call


async def _read_form(request: web.Request, call: Call) -> None:
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        data = bytes(await part.read(decode=True))
        call.size_bytes += len(data)
        if part.name == "payload_json":
            call.json = _parsed(data, call)
        elif match := _FILE.fullmatch(part.name or ""):
            kind = part.headers.get("Content-Type", "")
            generic = kind in {"", "application/octet-stream"}
            call.files[int(match[1])] = Upload(part.filename or "file", data, "" if generic else kind)
        else:
            call.remarks.append(f"the form part {part.name!r} is neither payload_json nor files[n]")


def _parsed(text: bytes, call: Call) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        call.remarks.append("the body is not valid JSON")
        return None


@dataclass(slots=True)
class Trouble:
    """Something that is to go wrong with the next requests that fit."""

    method: str
    pattern: re.Pattern[str]
    times: int
    status: int | None = None
    """What is answered instead; None cuts the connection, or changes nothing where there is only a delay."""
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    work_first: bool = False
    delay_s: float = 0.0
    only_delay: bool = False

    def fits(self, call: Call) -> bool:
        return self.method in {"*", call.method} and self.pattern.search(call.path) is not None


class Troubles:
    """What tests have ordered to go wrong; the oldest order that fits is served first."""

    def __init__(self) -> None:
        self._orders: list[Trouble] = []

    @property
    def left(self) -> list[Trouble]:
        return list(self._orders)

    def order(self, trouble: Trouble) -> None:
        self._orders.append(trouble)

    def take(self, call: Call) -> Trouble | None:
        for trouble in self._orders:
            if trouble.fits(call):
                trouble.times -= 1
                if trouble.times == 0:
                    self._orders.remove(trouble)
                return trouble
        return None


def failure(status: int, body: Any, headers: dict[str, str] | None) -> tuple[Any, dict[str, str]]:
    """Body and headers of an ordered failure; what the test left open looks as Discord's own does."""
    if status == 429:
        retry_after_s = float(body.get("retry_after", 0.5)) if isinstance(body, dict) else 0.5
        everywhere = isinstance(body, dict) and bool(body.get("global"))
        usual = rate_limited(retry_after_s, everywhere=everywhere)
        written: Json = usual.body if body is None else body
        return written, {**usual.headers, "X-RateLimit-Remaining": "0", **(headers or {})}
    if body is None and status >= 500:
        # the load balancer answers 502 to 504 with a page, not with JSON
        body = {"message": "500: Internal Server Error", "code": 0} if status == 500 else f"<html>{status}</html>"
    return ({"message": f"{status}: ordered by a test", "code": 0} if body is None else body), headers or {}
