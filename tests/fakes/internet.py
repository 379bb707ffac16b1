"""A make-believe internet: names and public IP addresses that lead to servers on loopback, and a list of who called."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import pytest

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LOOPBACK = {"127.0.0.1", "::1"}


@dataclass
class Server:
    """A raw HTTP server on loopback that counts connections and keeps what it was sent, up to the empty line."""

    port: int = 0
    connections: int = 0
    requests: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def targets(self) -> list[str]:
        return [request.split(" ")[1] for request in self.requests]


class Internet:
    """Stands below Python's sockets: `names` says what is looked up, `hosts` which local port an IP address is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, list[list[str]]] = {}
        """The answers to one look-up after another; the last one stays."""
        self.hosts: dict[tuple[str, int], int] = {}
        self.tried: list[tuple[str, int]] = []
        """Every address that anything in this process connected to."""
        self.disguise = True
        """False: connections show who really answers, as behind a router that sends public addresses home."""
        self._disguised: WeakKeyDictionary[socket.socket, tuple[str, int]] = WeakKeyDictionary()
        self._getaddrinfo = socket.getaddrinfo
        internet = self

        def connect(sock: socket.socket, address: Any) -> None:
            super(socket.socket, sock).connect(internet.way_to(sock, address))

        def getpeername(sock: socket.socket) -> Any:
            return internet._disguised.get(sock) or super(socket.socket, sock).getpeername()

        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)
        monkeypatch.setattr(socket.socket, "connect", connect, raising=False)
        monkeypatch.setattr(socket.socket, "getpeername", getpeername, raising=False)

    def put(self, name: str, server: Server, *, ip: str, port: int = 80) -> None:
        """Let `name` lead to a public `ip`, and that to a local server."""
        self.names.setdefault(name, []).append([ip])
        self.hosts[ip, port] = server.port

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host not in self.names:
            options["flags"] = options.get("flags", 0) | socket.AI_NUMERICHOST
            return self._getaddrinfo(host, port, *args, **options)
        answers = self.names[host]
        ips = answers.pop(0) if len(answers) > 1 else answers[0]
        kinds = [(socket.AF_INET6, (ip, port, 0, 0)) if ":" in ip else (socket.AF_INET, (ip, port)) for ip in ips]
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where) for family, where in kinds]

    def way_to(self, sock: socket.socket, address: Any) -> Any:
        ip, port = address[:2]
        self.tried.append((ip, port))
        if (ip, port) in self.hosts:
            if self.disguise:
                self._disguised[sock] = (ip, port)
            return ("127.0.0.1", self.hosts[ip, port])
        if ip in LOOPBACK:
            return address
        raise ConnectionRefusedError(f"{ip} is not in this internet")


async def serve(answer: bytes | Handler, *, everywhere: bool = False) -> tuple[Server, asyncio.Server]:
    """Start a server that sends `answer` to every request, on 127.0.0.1 or on every address of this machine."""
    server = Server()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            server.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if callable(answer):
                await answer(reader, writer)
            else:
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the caller left, or the test is over
        finally:
            writer.close()

    if everywhere and socket.has_dualstack_ipv6():
        door = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    else:
        door = socket.create_server(("" if everywhere else "127.0.0.1", 0))
    server.port = door.getsockname()[1]
    return server, await asyncio.start_server(handle, sock=door)
