"""How often the checkpoint that is asked for is there, against the best that knowing the future allows.

Requests are drawn by Zipf's law from 50 checkpoints of one size. The best is Belady's: what is needed last leaves.
"Ahead" is told the next four of the line, as a worker is. Run from the repository: python -m benchmarks.cache_hits
"""

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from worker.checkpoints.keeping import Keeping

CHECKPOINTS = 50
GOALS = {0.7: 0.75, 1.0: 0.87, 1.3: 0.94}
"""Share of the best, by the exponent of Zipf's law."""
SLOTS = (2, 4, 8)


def trace(exponent: float, length: int, seed: int) -> list[str]:
    """Return the names of the checkpoints asked for, one after the other."""
    weights = [1 / rank**exponent for rank in range(1, CHECKPOINTS + 1)]
    return [f"c{n}" for n in random.Random(seed).choices(range(CHECKPOINTS), weights, k=length)]


def kept_hits(asked: Sequence[str], slots: int, *, ahead: int = 0) -> float:
    """Return the share of hits of our policy, which sees the next `ahead` requests."""
    keeping, kept, hits = Keeping(), dict[str, int](), 0
    for n, name in enumerate(asked):
        keeping.used(name)
        hits += name in kept
        if name not in kept:
            for gone in keeping.leaving(kept, slots - 1, asked[n + 1 : n + 1 + ahead]):
                del kept[gone]
            kept[name] = 1
    return hits / len(asked)


def oldest_first_hits(asked: Sequence[str], slots: int) -> float:
    kept: dict[str, None] = {}
    hits = 0
    for name in asked:
        hits += name in kept
        kept.pop(name, None)
        if len(kept) == slots:
            del kept[next(iter(kept))]
        kept[name] = None
    return hits / len(asked)


def best_hits(asked: Sequence[str], slots: int) -> float:
    """Return the share of hits of whoever knows the future; what is asked for must be loaded, as it is by us."""
    again = _next_uses(asked)
    kept: dict[str, int] = {}
    hits = 0
    for n, name in enumerate(asked):
        hits += name in kept
        if name not in kept and len(kept) == slots:
            del kept[max(kept, key=kept.__getitem__)]
        kept[name] = again[n]
    return hits / len(asked)


def _next_uses(asked: Sequence[str]) -> list[int]:
    uses = [0] * len(asked)
    following: dict[str, int] = {}
    for n in range(len(asked) - 1, -1, -1):
        uses[n] = following.get(asked[n], len(asked))
        following[asked[n]] = n
    return uses


@dataclass(frozen=True, slots=True)
class Row:
    exponent: float
    slots: int
    best: float
    """Share of hits."""
    kept: float
    ahead: float
    oldest_first: float
    """Shares of the best."""


def measured(length: int, seeds: Sequence[int]) -> list[Row]:
    return [_row(exponent, slots, length, seeds) for exponent in GOALS for slots in SLOTS]


def _row(exponent: float, slots: int, length: int, seeds: Sequence[int]) -> Row:
    traces = [trace(exponent, length, seed) for seed in seeds]
    best = fmean(best_hits(one, slots) for one in traces)
    kept = fmean(kept_hits(one, slots) for one in traces) / best
    ahead = fmean(kept_hits(one, slots, ahead=4) for one in traces) / best
    return Row(exponent, slots, best, kept, ahead, fmean(oldest_first_hits(one, slots) for one in traces) / best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=10_000, help="requests in a trace")
    parser.add_argument("--seeds", type=int, default=5, help="traces of each kind")
    options = parser.parse_args()
    print("zipf  slots  best hits  ours/best  ahead/best  LRU/best  goal")
    for row in measured(options.length, range(options.seeds)):
        figures = f"{row.best:9.3f}  {row.kept:9.3f}  {row.ahead:10.3f}  {row.oldest_first:8.3f}"
        print(f"{row.exponent:4}  {row.slots:5}  {figures}  {GOALS[row.exponent]:4}")


if __name__ == "__main__":
    main()
