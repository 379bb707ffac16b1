"""The fake Discord's gateway: sessions that survive a cut connection, as the real one keeps them."""

import asyncio
import json
import secrets
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from aiohttp import WSMsgType, web

from tests.fakes.discord_values import Json
from tests.fakes.discord_world import World

_PRIVILEGED = (1 << 1) | (1 << 8) | (1 << 15)
_MESSAGE_CONTENT = 1 << 15


@dataclass(frozen=True, slots=True)
class Identify:
    """How a client introduced itself; `credential` says whether its token was the right one."""

    credential: str
    intents: int
    properties: Json
    compression: str
    at: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class Session:
    id: str
    intents: int
    line: "Line | None"
    events: list[Json] = field(default_factory=list)


class Line:
    """One websocket, compressed as its client asked."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self.compression = request.query.get("compress", "")
        self._request = request
        self._squeeze = _squeezer(self.compression)
        self._lock = asyncio.Lock()

    async def send(self, op: int, data: Any, event: Json | None = None) -> None:
        text = json.dumps({"op": op, "d": data, "s": None, "t": None} | (event or {}))
        async with self._lock:  # the stream's pieces must leave in the order they were squeezed
            if self.socket.closed:
                return
            if self._squeeze is None:
                await self.socket.send_str(text)
            else:
                await self.socket.send_bytes(self._squeeze(text.encode()))

    def cut(self) -> None:
        """End the connection without a word, as a broken network does."""
        if self._request.transport is not None:
            self._request.transport.abort()


class Gateway:
    """Everything sent is kept per session, so that a client that resumes misses nothing."""

    def __init__(self, world: World) -> None:
        self.identifies: list[Identify] = []
        self.resumes: list[str] = []
        """`accepted` or `refused`, in order."""
        self.heartbeats: list[float] = []
        self.url = ""
        self._world = world
        self._sessions: list[Session] = []
        self._lines: list[Line] = []
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether a client is connected and has introduced itself."""
        return any(session.line is not None for session in self._sessions)

    def emit(self, event: str, data: Json, intent: int = 0) -> None:
        """Dispatch to every connected session that asked for it; without one, the last session keeps it for a resume."""
        heirs = [session for session in self._sessions if session.line is not None] or self._sessions[-1:]
        for session in heirs:
            if not intent or session.intents & intent:
                self._dispatch(session, event, _veiled(data, session.intents, self._world.bot.id))

    async def drop(self, code: int | None = None) -> None:
        """Cut every connection: without a word, or closed with a code such as 4000."""
        for session in self._sessions:
            session.line = None
        for line in list(self._lines):
            if code is None:
                line.cut()
            else:
                await line.socket.close(code=code)

    async def ask_to_reconnect(self) -> None:
        for line in list(self._lines):
            await line.send(7, None)

    async def close(self) -> None:
        for task in list(self._sending):
            task.cancel()
        for line in list(self._lines):
            await line.socket.close(code=1001)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        line = Line(socket, request)
        self._lines.append(line)
        try:
            await line.send(10, {"heartbeat_interval": int(self._world.heartbeat_interval_s * 1000)})
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._hear(line, json.loads(message.data))
        finally:
            self._lines.remove(line)
            for session in self._sessions:
                if session.line is line:
                    session.line = None
            self._world.bell.ring()
        return socket

    async def _hear(self, line: Line, message: Json) -> None:
        op, data = message["op"], message.get("d") or {}
        if op == 1:
            self.heartbeats.append(time.monotonic())
            await line.send(11, None)
        elif op == 2:
            await self._identify(line, data)
        elif op == 6:
            await self._resume(line, data)

    async def _identify(self, line: Line, data: Json) -> None:
        right = data.get("token") == self._world.token
        intents = int(data.get("intents") or 0)
        introduction = Identify("right" if right else "wrong", intents, data.get("properties") or {}, line.compression)
        self.identifies.append(introduction)
        if not right:
            await line.socket.close(code=4004, message=b"Authentication failed.")
            return
        if intents & _PRIVILEGED & ~self._world.privileged_intents:
            await line.socket.close(code=4014, message=b"Disallowed intent(s).")
            return
        session = Session(secrets.token_hex(16), intents, line)
        self._sessions.append(session)
        self._dispatch(session, "READY", self._ready(session))
        self._dispatch(session, "GUILD_CREATE", self._world.guild_payload())
        self._world.bell.ring()

    async def _resume(self, line: Line, data: Json) -> None:
        found = [session for session in self._sessions if session.id == data.get("session_id")]
        if data.get("token") != self._world.token:
            await line.socket.close(code=4004, message=b"Authentication failed.")
        elif not found or self._world.refuse_resume:
            self.resumes.append("refused")
            await line.send(9, False)
        else:
            self.resumes.append("accepted")
            session = found[0]
            session.line = line
            for event in session.events[int(data.get("seq") or 0) :]:
                self._send(line, event)
            self._dispatch(session, "RESUMED", {})
        self._world.bell.ring()

    def _dispatch(self, session: Session, event: str, data: Json) -> None:
        frame: Json = {"s": len(session.events) + 1, "t": event, "d": data}
        session.events.append(frame)
        if session.line is not None:
            self._send(session.line, frame)

    def _send(self, line: Line, event: Json) -> None:
        task = asyncio.get_running_loop().create_task(_quietly(line, event))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def _ready(self, session: Session) -> Json:
        world = self._world
        return {
            "v": 10,
            "user": world.bot.payload() | {"verified": True, "mfa_enabled": False, "email": None},
            "guilds": [{"id": str(world.guild_id), "unavailable": True}],
            "session_id": session.id,
            "session_type": "normal",
            "resume_gateway_url": self.url,
            "application": {"id": str(world.application_id), "flags": 0},
            "private_channels": [],
            "relationships": [],
            "user_settings": {},
        }


async def _quietly(line: Line, event: Json) -> None:
    try:
        await line.send(0, None, event)
    except ConnectionError:
        return  # the session keeps the event for a resume


def _veiled(data: Json, intents: int, bot_id: int) -> Json:
    """A guild message without its text, as those see it who lack the message content intent and are not addressed."""
    author = data.get("author")
    if author is None or "guild_id" not in data or intents & _MESSAGE_CONTENT:
        return data
    if author["id"] == str(bot_id) or f"<@{bot_id}>" in data["content"]:
        return data
    return data | {"content": "", "embeds": [], "components": [], "attachments": []}


def _squeezer(name: str) -> Callable[[bytes], bytes] | None:
    """One stream for the whole connection, flushed after every message; None where the client wants plain text."""
    if name == "zlib-stream":
        stream = zlib.compressobj()
        return lambda data: stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)
    if name == "zstd-stream":
        zstd = import_module("zstandard")
        flow = zstd.ZstdCompressor().compressobj()
        return lambda data: flow.compress(data) + flow.flush(zstd.COMPRESSOBJ_FLUSH_BLOCK)
    return None
