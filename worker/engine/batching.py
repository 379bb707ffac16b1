"""How many rows one UNet call may carry: learnt from real calls, per shape, on the one device of the engine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

SAMPLES = 3
"""Calls of one size before it may grow; the first warms up and does not count."""
DOUBTS = 8
"""Calls of one size before it is given up: on a busy machine single calls say little, the best of several does."""
PRICE = 1.1
"""A row of a larger call may cost this share of the best smaller one's time, if it is no dearer than alone."""
LOSS = 1.3
"""A call that makes a row so much dearer is given up without doubts."""
PATIENCE = 256
"""Calls until a size that brought nothing, or did not fit, is tried again: what disturbed it may have gone."""
HEADROOM = 0.8
"""The share of free memory that a larger call may plan with."""


class Shape(NamedTuple):
    """Calls that cost the same per row."""

    base: str
    height: int
    """Of the latents, as `width`."""
    width: int
    tokens: int


@dataclass(slots=True)
class _Known:
    rows: int
    rest: int = 0
    bytes_per_row: int = 0
    seconds: dict[int, list[float]] = field(default_factory=dict)


class BatchPolicy:
    """Starts at one picture and doubles the call as long as that makes no row dearer and memory is free."""

    def __init__(self, device: torch.device, *, first: int = 2, most: int = 32) -> None:
        self._device = torch.device(device)
        self._first = first
        self._most = most
        self._known: dict[Shape, _Known] = {}
        self._clocked: list[tuple[Shape, int, torch.cuda.Event, torch.cuda.Event]] = []

    def limit(self, shape: Shape) -> int:
        """Return the most rows that a call of this shape may carry, at least 1."""
        return self._of(shape).rows

    def too_large(self, shape: Shape, rows: int) -> int:
        """Note that a call of `rows` did not fit into memory, and return the new limit."""
        known = self._of(shape)
        known.rows, known.rest = max(1, min(known.rows, rows) // 2), PATIENCE
        return known.rows

    @contextmanager
    def timed(self, shape: Shape, rows: int) -> Iterator[None]:
        """Time a call of `rows`; on a GPU without waiting for it, the time is read before one of the next calls."""
        if self._device.type == "cuda":
            with self._timed_on_gpu(shape, rows):
                yield
        elif self._device.type == "cpu":
            began = time.perf_counter()
            yield
            self.record(shape, rows, time.perf_counter() - began)
        else:
            yield

    def record(self, shape: Shape, rows: int, seconds: float) -> None:
        """Learn from one call."""
        known = self._of(shape)
        samples = known.seconds.setdefault(rows, [])
        samples.append(seconds / rows)
        del samples[1:-DOUBTS]
        if known.rest:
            known.rest -= 1
            if not known.rest:
                known.seconds.clear()
        elif 2 * rows > known.rows and len(samples) >= SAMPLES:
            self._judge(known, rows)

    def _judge(self, known: _Known, rows: int) -> None:
        costs = {size: min(took[1:]) for size, took in known.seconds.items() if len(took) >= SAMPLES}
        smaller = [cost for size, cost in costs.items() if 2 * size <= rows]
        share = costs[rows] / min(smaller) if smaller else 0.0
        if share > PRICE or costs[rows] > costs.get(self._first, costs[rows]):
            if share > LOSS or len(known.seconds[rows]) >= DOUBTS:
                known.rows, known.rest = max(self._first, known.rows // 2), PATIENCE
        elif 2 * known.rows <= self._most and self._fits(2 * known.rows * known.bytes_per_row):
            known.rows *= 2

    def _of(self, shape: Shape) -> _Known:
        return self._known.setdefault(shape, _Known(self._first))

    def _fits(self, size: int) -> bool:
        if self._device.type != "cuda":
            return True
        free, _ = torch.cuda.mem_get_info(self._device)
        unused = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return size < HEADROOM * (free + unused)

    @contextmanager
    def _timed_on_gpu(self, shape: Shape, rows: int) -> Iterator[None]:
        self._read_clocks()
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        stream = torch.cuda.current_stream(self._device)
        began.record(stream)
        yield
        ended.record(stream)
        taken = torch.cuda.max_memory_allocated(self._device) - before
        known = self._of(shape)
        known.bytes_per_row = max(known.bytes_per_row, taken // rows)
        self._clocked.append((shape, rows, began, ended))

    def _read_clocks(self) -> None:
        while self._clocked and self._clocked[0][3].query():  # type: ignore[no-untyped-call]
            shape, rows, began, ended = self._clocked.pop(0)
            self.record(shape, rows, began.elapsed_time(ended) / 1000)
