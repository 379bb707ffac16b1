"""Calls to a chat network that outlast its troubles."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """What passes by itself."""

    why: str
    """What is said of the network: `can not be reached (502)`."""
    wait_s: float | None = None
    """What the network asked for; None where it did not say, and the pauses grow."""


async def keep_asking(
    call: Callable[[], Awaitable[T]],
    network: str,
    faults: tuple[type[Exception], ...],
    sort: Callable[[Exception], Trouble],
) -> T:
    """Repeat `call` until the network answers; `sort` raises where repeating would not help."""
    pause = FIRST_PAUSE_S
    while True:
        try:
            return await call()
        except faults as error:
            trouble = sort(error)
        wait = trouble.wait_s
        if wait is None:
            wait, pause = pause, min(LONGEST_PAUSE_S, 2 * pause)
        log.warning("%s %s; trying again in %.1f s", network, trouble.why, wait)
        await asyncio.sleep(wait)
