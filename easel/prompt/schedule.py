"""Editing and alternation: `[from:to:when]` and `[a|b]` turned into the text of every step, as A1111 does it."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import TypeAlias

_TOKEN = re.compile(r"[\[\]():|]|[^\\\[\]():|]++|\\.?", re.DOTALL)
_WHEN = re.compile(r"\s*+([+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)\s*+")


@dataclass(frozen=True, slots=True)
class Stage:
    """What the prompt says up to and including `until_step`, counted from 1."""

    until_step: int
    text: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Edit:
    before: "tuple[_Piece, ...]"
    after: "tuple[_Piece, ...]"
    until_step: int

    def at(self, step: int) -> "tuple[_Piece, ...]":
        return self.before if step <= self.until_step else self.after


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Turns:
    options: "tuple[tuple[_Piece, ...], ...]"

    def at(self, step: int) -> "tuple[_Piece, ...]":
        return self.options[(step - 1) % len(self.options)]


_Piece: TypeAlias = str | _Edit | _Turns


@dataclass(slots=True)
class _Open:
    """A bracket not yet closed, and where on the tape it and its own separators stand."""

    bracket: str
    start: int
    colons: list[int] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)


def schedule(text: str, steps: int, *, first_pass_steps: int | None = None) -> tuple[Stage, ...]:
    """Return the stages in order, the last one until `steps`.

    `when` is a share of `steps` if written with a point, else a step. In the second pass of a hires fix, which
    comes after `first_pass_steps`, shares count on from 1.0 and steps from there.
    What A1111 can not parse stays text, a stray `|` too: A1111 would drop all editing of a prompt that has one,
    though its own documentation expects otherwise.
    """
    reader = _Reader(steps, first_pass_steps)
    for match in _TOKEN.finditer(text):
        reader.take(match[0])
    pieces = _joined(reader.tape)
    return tuple(Stage(step, _text_at(pieces, step)) for step in sorted({*reader.stops, steps}))


class _Reader:
    """Writes pieces onto a tape; a bracket that turns out to be an edit replaces its piece of the tape."""

    def __init__(self, steps: int, first_pass_steps: int | None) -> None:
        self.tape: list[_Piece] = []
        self.stops: set[int] = set()
        self._open: list[_Open] = []
        self._steps = steps
        self._steps_done = first_pass_steps or 0
        self._share_done = 0.0 if first_pass_steps is None else 1.0

    def take(self, sign: str) -> None:
        place = len(self.tape)
        self.tape.append(sign)
        if sign in {"(", "["}:
            self._open.append(_Open(sign, place))
        elif sign in {")", "]"} and self._open:
            self._close(self._open.pop(), sign)
        elif sign == ":" and self._open:
            self._open[-1].colons.append(place)
        elif sign == "|" and self._open:
            self._open[-1].bars.append(place)

    def _close(self, opened: _Open, closer: str) -> None:
        pair = opened.bracket + closer
        if pair == "[]" and (piece := self._edit(opened) if opened.colons else self._turns(opened)):
            del self.tape[opened.start :]
            self.tape.append(piece)
            return
        weight = (pair == "()" and len(opened.colons) <= 1) or (pair == "[]" and not opened.colons)
        if not weight:
            # A bracket that means nothing is text, and nothing around text with a stray bracket is an edit.
            self._open.clear()

    def _edit(self, opened: _Open) -> _Edit | None:
        cuts = [opened.start, *opened.colons]
        if len(cuts) > 3:
            return None
        until_step = self._until_step(self._between(cuts[-1], -1))
        if until_step is None:
            return None
        if until_step >= 1:
            self.stops.add(until_step)
        before = self._between(cuts[0], cuts[1]) if len(cuts) == 3 else []
        return _Edit(_joined(before), _joined(self._between(*cuts[-2:])), until_step)

    def _turns(self, opened: _Open) -> _Turns | None:
        if not opened.bars:
            return None
        self.stops.update(range(1, self._steps + 1))
        cuts = [opened.start, *opened.bars, len(self.tape) - 1]
        return _Turns(tuple(_joined(self._between(*ends)) for ends in pairwise(cuts)))

    def _between(self, start: int, end: int) -> list[_Piece]:
        return self.tape[start + 1 : end]

    def _until_step(self, pieces: Sequence[_Piece]) -> int | None:
        words = [piece for piece in pieces if isinstance(piece, str)]
        match = _WHEN.fullmatch("".join(words))
        if match is None or len(words) < len(pieces):
            return None
        number = float(match[1])
        step = (number - self._share_done) * self._steps if "." in match[1] else number - self._steps_done
        return min(self._steps, int(step)) if math.isfinite(step) else None


def _joined(pieces: Iterable[_Piece]) -> tuple[_Piece, ...]:
    """Return the pieces with neighbouring texts made one."""
    joined: list[_Piece] = []
    for is_text, run in groupby(pieces, key=lambda piece: isinstance(piece, str)):
        own = list(run)
        joined += ["".join(map(str, own))] if is_text else own
    return tuple(joined)


def _text_at(pieces: Sequence[_Piece], step: int) -> str:
    words: list[str] = []
    ahead = list(reversed(pieces))
    while ahead:
        piece = ahead.pop()
        if isinstance(piece, str):
            words.append(piece)
        else:
            ahead += reversed(piece.at(step))
    return "".join(words)
