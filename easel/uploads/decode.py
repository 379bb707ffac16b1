"""Opening strangers' pictures, each in a child process of its own, so that a bomb costs nothing but its own opening."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from easel.confined import run_confined
from easel.errors import BadValue
from easel.uploads.child import DAMAGED
from easel.uploads.sniff import header, sniff

SECONDS = 60
"""What opening may take by the clock, on a machine that is busy rendering; the child bounds its own computing."""

CHILDREN = 2
"""Pictures that are opened at once."""

MAX_WAITING = 256 * 2**20
"""Bytes of all pictures that wait for their turn."""

MAX_OUTPUT = 128 * 2**20
"""Bytes; the largest PNG has 65 MiB and the infotext half of one."""

RGBA = 6
"""Colour type in a PNG's header."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A stranger's picture made clean: upright, in sRGB, without any metadata."""

    png: bytes
    """RGBA where anything in it is transparent, else RGB."""
    width: int
    height: int
    has_alpha: bool
    infotext: str | None
    """What the picture says it was made from; None where it does not."""


async def prepare(data: bytes) -> Prepared:
    """Open a picture in its turn while the event loop goes on; raises BadValue as `prepare_now` does."""
    sniff(data)
    return await _line().opened(data)


def prepare_now(data: bytes) -> Prepared:
    """Open a picture in a child process and wait for it, at most `SECONDS`; raises BadValue where it is no good."""
    sniff(data)
    code, output = run_confined("easel.uploads.child", given=data, seconds=SECONDS, most=MAX_OUTPUT)
    if code == DAMAGED:
        raise BadValue("That picture is damaged; please save it again and send the new file.")
    length = int.from_bytes(output[:4], "big")
    infotext, png = output[4 : 4 + length], output[4 + length :]
    found = header(png)
    if code or found is None:
        # A negative code is the signal that ended it; 1 is an error nobody thought of, mostly too little memory.
        _log.warning("a picture of %d bytes was not opened: the child ended with %d", len(data), code)
        raise BadValue("That picture can not be opened here; please save it again as a plain PNG or JPEG.")
    return Prepared(png, found.width, found.height, png[25] == RGBA, infotext.decode() or None)


class _Line:
    """Where pictures wait for their turn, on threads of its own: the loop's are needed to look up networks' hosts."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(CHILDREN, thread_name_prefix="picture")
        self._lock = threading.Lock()
        self._waiting = 0

    async def opened(self, data: bytes) -> Prepared:
        with self._lock:
            if self._waiting + len(data) > MAX_WAITING:
                raise BadValue("Too many pictures came in at once; please send it again in a minute.")
            self._waiting += len(data)
        turn = self._threads.submit(prepare_now, data)
        # Not when this coroutine ends: it may be cancelled while the child goes on.
        turn.add_done_callback(lambda _: self._left(len(data)))
        return await asyncio.wrap_future(turn)

    def _left(self, size: int) -> None:
        with self._lock:
            self._waiting -= size


@cache
def _line() -> _Line:
    return _Line()
