"""Fetching from addresses that people give, so that nothing behind our own walls can be reached through us."""

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from easel.errors import BadValue
from easel.web_address import PORTS, WebAddress, is_public, web_address

LOOKUPS = 8
"""Names that are looked up at once; a look-up can hang longer than anybody waits for it."""

REDIRECTS = {301, 302, 303, 307, 308}

STALLED = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
"""For the pauses; the whole is for callers to bound."""

HEADERS = {"User-Agent": "Easel", "Accept": "*/*", "Accept-Encoding": "identity"}
"""All that is said about us. Nothing may come packed: what unpacks to gigabytes fits under any cap."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one address may cost."""

    max_bytes: int = 20 * 2**20
    seconds: float = 15
    """From the first look-up to the last byte, redirects included."""
    redirects: int = 5


PICTURE = Limits()


async def fetch(url: str, *, limits: Limits = PICTURE, allow_private_hosts: frozenset[str] = frozenset()) -> bytes:
    """Return what lies at an address; raises BadValue with one sentence where it can not be had within the limits.

    `allow_private_hosts` names hosts (`nas.lan`, `10.0.0.5`, `nas.lan:8080`) that may be inside our own network.
    """
    try:
        async with asyncio.timeout(limits.seconds):
            async with opened(url, redirects=limits.redirects, allow_private_hosts=allow_private_hosts) as response:
                return await _body(response, limits.max_bytes)
    except TimeoutError as error:
        raise BadValue(
            f"That site took longer than {limits.seconds:.0f} seconds; please send the file itself."
        ) from error


@asynccontextmanager
async def opened(
    url: str, *, redirects: int, allow_private_hosts: frozenset[str] = frozenset()
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Yield the answer that an address leads to, its body unread (status 200); raises BadValue.

    Every step of the way is a connection of its own, checked like the first; no cookie, referrer or secret goes along.
    """
    address, port = web_address(url), None
    for _ in range(redirects + 1):
        connector = _connector(address, port, allow_private_hosts)
        async with _answered(address, connector) as response:
            if response.status not in REDIRECTS:
                _check_status(response.status)
                yield response
                return
            port = address.port
            address = address.followed_by(response.headers.get("Location", ""))
    raise BadValue(f"That address leads on more than {redirects} times; please give the one it ends at.")


@asynccontextmanager
async def _answered(address: WebAddress, connector: aiohttp.TCPConnector) -> AsyncIterator[aiohttp.ClientResponse]:
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                headers=HEADERS,
                timeout=STALLED,
                auto_decompress=False,
                trust_env=False,  # neither a proxy nor a password of ours
            ) as session,
            session.get(address.url, allow_redirects=False) as response,
        ):
            yield response
    except aiohttp.ClientConnectorCertificateError as error:
        raise BadValue(f"`{address.host}` has no valid certificate; please send the file itself.") from error
    except aiohttp.ClientPayloadError as error:
        raise BadValue(
            f"`{address.host}` broke off in the middle; please try again or send the file itself."
        ) from error
    except aiohttp.ClientConnectionError as error:
        _log.info("%s was not reached: %s", address.place, error)
        # One sentence for all, or strangers could ask us which names and ports our network has.
        raise BadValue(f"`{address.host}` can not be reached: no such site, no answer, or not a public one.") from error
    except aiohttp.ClientError as error:
        raise BadValue(f"`{address.host}` does not answer as a web site does.") from error


def _connector(address: WebAddress, before: int | None, private: frozenset[str]) -> aiohttp.TCPConnector:
    """Return what connects to this address only; `before` is the port of the step that led here."""
    named = address.is_named_in(private)
    if not named and address.port not in PORTS.values():
        if before not in (None, address.port):
            raise BadValue("That address leads to another port; please give the one it ends at.")
        if address.port < 1024:
            raise BadValue(f"Port {address.port} is not one that pictures come from.")
    return _Connector(anywhere=named)


class _Connector(aiohttp.TCPConnector):
    """Connects to public IP addresses, checked when looked up, again before and again after connecting."""

    def __init__(self, *, anywhere: bool) -> None:
        self._anywhere = anywhere
        super().__init__(
            resolver=_Resolver(self._check), use_dns_cache=False, force_close=True, socket_factory=self._socket
        )

    def _check(self, ip: str) -> None:
        if not (self._anywhere or is_public(ip)):
            raise PermissionError(errno.EACCES, f"{ip} is not public")

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        # Numeric hosts are never looked up, so this is the first that is seen of them.
        family, kind, protocol, _, address = info
        self._check(str(address[0]))
        return socket.socket(family, kind, protocol)

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        peer, here = (_ip_of(connection.transport, end) for end in ("peername", "sockname"))
        if self._anywhere or (is_public(peer) and peer != here):
            return connection
        connection.close()
        # Not an OSError, which aiohttp would try again.
        raise aiohttp.ClientConnectionError(f"{peer} is not public, or it is this machine")


def _ip_of(transport: asyncio.Transport | None, end: str) -> str:
    address = transport.get_extra_info(end) if transport else None
    return str(address[0]) if address else ""


class _Resolver(AbstractResolver):
    """Looks a name up once; one closed address among several is one too many."""

    def __init__(self, check: Callable[[str], None]) -> None:
        self._check = check

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(_lookups(), _looked_up, host, port, family)
        for result in found:
            self._check(result["host"])
        return found

    async def close(self) -> None:
        """Nothing is held open."""


def _looked_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host, host=str(where[0]), port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST
        )
        for kind, _, proto, _, where in found
    ]


@cache
def _lookups() -> ThreadPoolExecutor:
    # Threads of its own: on the loop's, slow names of strangers would keep the networks' own from being looked up.
    return ThreadPoolExecutor(LOOKUPS, thread_name_prefix="look-up")


def _check_status(status: int) -> None:
    if status == 200:
        return
    if status in {401, 403}:
        raise BadValue(f"That site does not give this to strangers ({status}); please send the file itself.")
    if status in {404, 410}:
        raise BadValue(f"There is nothing at that address ({status}); please check it.")
    raise BadValue(f"That site did not hand it over ({status}); please try again later or send the file itself.")


async def _body(response: aiohttp.ClientResponse, most: int) -> bytes:
    too_large = BadValue(f"What lies at that address has more than {most / 2**20:,.0f} MB; please give a smaller one.")
    # What it claims may be a lie, so the bytes are counted as well.
    if (response.content_length or 0) > most:
        raise too_large
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > most:
            raise too_large
    return bytes(body)
