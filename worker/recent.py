"""Keeps the few loaded things that were used last."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """At most `most` values by key; the one used longest ago leaves before a new one is made."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return what is kept under `key`, or what `make` returns, which is then kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        # Before and not after, so that there is room for it.
        while len(self._kept) >= self._most:
            self._kept.popitem(last=False)
        value = make()
        self._kept[key] = value
        return value

    def clear(self) -> None:
        """Let everything go, as after the device ran out of memory."""
        self._kept.clear()
