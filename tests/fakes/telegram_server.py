"""A Telegram Bot API server on loopback, strict as the real one, with people who act in it and trouble on order."""

import asyncio
import inspect
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from aiohttp import web

from tests.fakes.telegram_editing import Editing
from tests.fakes.telegram_faults import Fault, Faults, refusal
from tests.fakes.telegram_fields import REQUEST_LIMIT, Call, read_call
from tests.fakes.telegram_messages import Chat, Json, User
from tests.fakes.telegram_people import People
from tests.fakes.telegram_sending import Sending
from tests.fakes.telegram_spec import load_spec
from tests.fakes.telegram_world import ApiError

T = TypeVar("T")
Handler = Callable[[Call], Any]


@dataclass(slots=True)
class Request:
    """One request as it came in; the token is never part of it."""

    method: str
    fields: Json
    files: dict[str, str]
    """Names of the uploaded files by the field they came in."""
    at: float = field(default_factory=time.monotonic)
    status: int | None = None
    """None until it is answered; 0 when the connection was cut."""


class FakeTelegram(People):
    """Use with `async with`; give `api_base` and `file_base` to the product as TELEGRAM_API_BASE and TELEGRAM_FILE_BASE."""

    def __init__(self, username: str = "easel_test_bot") -> None:
        bot_id = 7_000_000_000 + secrets.randbelow(900_000_000)
        super().__init__(User(bot_id, "Easel", username, is_bot=True))
        self.username = username
        self.token = f"{bot_id}:AA{secrets.token_urlsafe(33)[:33]}"
        self.requests: list[Request] = []
        self.violations: list[str] = []
        """What no client of the real API should send: unknown methods and fields, missing or misshapen ones."""
        self.port = 0
        self._spec = load_spec()
        self._faults = Faults()
        self._changed = asyncio.Event()
        self._methods = self._table()
        self._runner: web.AppRunner | None = None

    @property
    def api_base(self) -> str:
        return f"http://127.0.0.1:{self.port}/bot"

    @property
    def file_base(self) -> str:
        return f"http://127.0.0.1:{self.port}/file/bot"

    @property
    def checks_requests(self) -> bool:
        """False when the Bot API's description is not at hand."""
        return self._spec is not None

    def url(self, method: str) -> str:
        """Where a raw request goes."""
        return f"{self.api_base}{self.token}/{method}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=REQUEST_LIMIT + (1 << 20))
        app.router.add_route("*", "/bot{token}/{method}", self._serve)
        app.router.add_get("/file/bot{token}/{path:.+}", self._serve_file)
        # A client that goes away leaves its long poll at once, and takes no update with it.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.mailbox.close()
        if self._runner:
            await self._runner.cleanup()

    def fail_next(
        self,
        method: str,
        status: int = 429,
        description: str = "",
        *,
        parameters: Json | None = None,
        times: int = 1,
        when: Callable[[Json], bool] | None = None,
        html: bool = False,
    ) -> None:
        """Refuse the next `times` calls of `method` (`*`: any but getUpdates; `file`: downloads) without doing them.

        `parameters` are such as `{"retry_after": 3}` or `{"migrate_to_chat_id": -100…}`; `when` looks at the call's
        fields; `html` answers with a proxy's page.
        """
        fault = Fault(refusal(status, description, parameters), times=times, when=when, html=html)
        self._faults.add(method, fault)

    def lose_next(
        self, method: str, *, worked: bool = True, times: int = 1, when: Callable[[Json], bool] | None = None
    ) -> None:
        """Cut the connection instead of answering: after the work was done, or (`worked=False`) before it."""
        self._faults.add(method, Fault(loss="after" if worked else "before", times=times, when=when))

    def slow_next(self, method: str, seconds: float, *, times: int = 1) -> None:
        """Do the work at once and answer `seconds` later."""
        self._faults.add(method, Fault(delay_s=seconds, times=times))

    def flood(self, chat: Chat, seconds: float) -> None:
        """Refuse sends and edits in the chat for so long from the first of them, with the seconds left as retry_after."""
        self._faults.flood(chat.id, seconds)

    def limit(self, chat: Chat, messages: int, seconds: float) -> None:
        """Allow so many messages and edits in any span of so many seconds; 429 beyond."""
        self._faults.limit(chat.id, messages, seconds)

    def calls(self, method: str) -> list[Request]:
        return [one for one in self.requests if one.method == method]

    async def wait_for(self, condition: Callable[[], T | None], timeout: float = 5.0) -> T:
        """The first truthy value of `condition`; after `timeout` seconds an AssertionError tells what was asked last."""
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            left = deadline - time.monotonic()
            if left <= 0:
                last = [f"{one.method} {one.status}" for one in self.requests[-8:]]
                raise AssertionError(f"not within {timeout} s; last requests: {last}; violations: {self.violations}")
            self._changed.clear()
            try:
                # The condition may look at things outside this server, so it is asked again now and then.
                await asyncio.wait_for(self._changed.wait(), min(left, 0.05))
            except TimeoutError:
                continue
        return value

    def _table(self) -> dict[str, Handler]:
        rooms = (
            self.mailbox,
            self.settings,
            self.queries,
            Sending(self.world, self.files),
            Editing(self.world, self.files),
        )
        return {name: handler for room in rooms for name, handler in room.table().items()}

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        # Methods are named in any case, as in the real API.
        asked = request.match_info["method"]
        method = next((one for one in self._methods if one.lower() == asked.lower()), asked)
        record = Request(method, {}, {})
        self.requests.append(record)
        fault: Fault | None = None
        try:
            if not secrets.compare_digest(request.match_info["token"].encode(), self.token.encode()):
                raise ApiError(401, "Unauthorized")
            call = await read_call(method, request)
            record.fields = call.fields
            record.files = {name: one.name for name, one in call.uploads.items()}
            self._check(call)
            fault = self._faults.take(call)
            answer = await self._carry_out(call, fault)
        except ApiError as error:
            answer = _refused(error, html=bool(fault and fault.html))
        if fault and fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        record.status = 0 if fault and fault.loss else answer.status
        if fault and fault.loss and request.transport:
            request.transport.abort()
        self._changed.set()
        return answer

    async def _carry_out(self, call: Call, fault: Fault | None) -> web.Response:
        if fault and fault.error:
            raise fault.error
        if fault and fault.loss == "before":
            return web.Response()
        self._faults.check_flood(call)
        result = self._methods[call.method](call)
        if inspect.isawaitable(result):
            result = await result
        return _json(200, {"ok": True, "result": result})

    def _check(self, call: Call) -> None:
        spec = self._spec
        if call.method not in self._methods:
            real = spec is not None and spec.knows(call.method)
            self.violations.append(f"{call.method}: {'not served here' if real else 'there is no such method'}")
            raise ApiError(404, "Not Found: method not found")
        problems = spec.problems(call) if spec else []
        if problems:
            self.violations += [f"{call.method}: {one}" for one in problems]
            raise ApiError(400, f"Bad Request: {'; '.join(problems)}")

    async def _serve_file(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        record = Request("file", {"file_path": path}, {})
        self.requests.append(record)
        fault = self._faults.take(Call("file", record.fields, {}))
        content = self.files.download(path)
        if not secrets.compare_digest(request.match_info["token"].encode(), self.token.encode()):
            answer = _refused(ApiError(401, "Unauthorized"))
        elif fault and fault.error:
            answer = _refused(fault.error)
        elif content is None:
            answer = _refused(ApiError(404, "Not Found"))
        else:
            answer = web.Response(body=content, content_type="application/octet-stream")
        record.status = answer.status
        self._changed.set()
        return answer


def _json(status: int, body: Json, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=json.dumps(body), content_type="application/json", headers=headers)


def _refused(error: ApiError, *, html: bool = False) -> web.Response:
    if html:
        page = f"<html><body><center><h1>{error.code} {error.description}</h1></center></body></html>"
        return web.Response(status=error.code, text=page, content_type="text/html")
    body: Json = {"ok": False, "error_code": error.code, "description": error.description}
    if error.parameters:
        body["parameters"] = error.parameters
    wait = (error.parameters or {}).get("retry_after")
    return _json(error.code, body, {"Retry-After": str(wait)} if wait else None)
