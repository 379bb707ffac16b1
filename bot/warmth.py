"""Which checkpoints the workers have at hand, as it was a moment ago: asked in the background, told from memory."""

import asyncio
from collections.abc import Callable, Iterable

from easel.errors import QueueDown

EVERY = 2.0
"""Seconds between two looks."""


class Warmth:
    def __init__(self, look: Callable[[], Iterable[str]]) -> None:
        """`look` asks Redis for names, and may raise QueueDown."""
        self._look = look
        self._names: frozenset[str] = frozenset()

    def names(self) -> frozenset[str]:
        return self._names

    def refresh(self) -> None:
        """Look once; a Redis that is away has nothing at hand."""
        try:
            self._names = frozenset(self._look())
        except QueueDown:
            self._names = frozenset()

    async def watch(self) -> None:
        """Look again and again, for ever, without holding up the event loop."""
        while True:
            await asyncio.to_thread(self.refresh)
            await asyncio.sleep(EVERY)
