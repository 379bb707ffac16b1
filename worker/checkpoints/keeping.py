"""Which of several things to keep where not all of them fit: those that are asked for most, for the bytes they take."""

from collections.abc import Mapping, Sequence
from heapq import nlargest

HALF_LIFE = 1000.0
"""Uses of anything after which one use counts half. Shorter forgets what is rare, longer clings to last month's."""
FIXED = 256 * 2**20
"""Bytes that could be read in the time that loading takes whatever the size."""
MOST_REMEMBERED = 4096
"""Names, of which the less used half is forgotten when there are more."""


class Keeping:
    """Remembers how often names are used, also while they are not kept; one thread writes, others may read.

    A use counts less the longer it is ago, as in LRFU (Lee et al., 2001); what is worth most per byte stays, as in
    GreedyDual-Size with frequency (Cherkasova, 1998).
    """

    def __init__(self, *, half_life: float = HALF_LIFE) -> None:
        self._half_life = half_life
        self._uses = 0
        self._told: dict[str, tuple[float, int]] = {}
        """How often, counted at which use."""

    def used(self, name: str) -> None:
        """Take note of one use."""
        self._uses += 1
        self._told[name] = (self.frequency(name) + 1.0, self._uses)
        if len(self._told) > MOST_REMEMBERED:
            self._told = dict(nlargest(MOST_REMEMBERED // 2, self._told.items(), key=lambda item: self._rank(item[0])))

    def frequency(self, name: str) -> float:
        """Return how often it was used, the older uses counted less; 0 for what is not known."""
        count, at = self._told.get(name, (0.0, self._uses))
        return float(count * 0.5 ** ((self._uses - at) / self._half_life))

    def leaving(self, kept: Mapping[str, int], budget: int, coming: Sequence[str] = ()) -> list[str]:
        """Return which of `kept`, bytes by name, must leave so that the rest fits into `budget`, first the least worth.

        What is `coming`, the next first, stays if anything can.
        """
        soon = {name: -place for place, name in reversed(list(enumerate(coming, 1)))}
        order = sorted(kept, key=lambda name: (name in soon, soon.get(name, 0), *self._rank(name, kept[name])))
        excess = sum(kept.values()) - budget
        gone: list[str] = []
        for name in order:
            if excess <= 0:
                break
            gone.append(name)
            excess -= kept[name]
        return gone

    def _rank(self, name: str, nbytes: int = FIXED) -> tuple[float, int]:
        """Return what is lost per byte without it, and for a tie when it was used last."""
        cost = (FIXED + nbytes) / max(1, nbytes)
        return self.frequency(name) * cost, self._told.get(name, (0.0, 0))[1]
