"""Weights: `(more)`, `[less]`, `(exactly:1.3)`, with the very numbers that A1111's parser gives."""

import math
import re
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

MAX_WEIGHT = 10.0

MORE = 1.1
LESS = 1 / 1.1

MAX_DEPTH = 64
"""Brackets open at once that still weigh; 1.1 to this power is far beyond MAX_WEIGHT. It keeps the time linear."""

MAX_FACTOR = 1e4
"""Of one bracket: MAX_DEPTH such factors do not overflow, so no weight becomes infinite or not-a-number."""

_TOKEN = re.compile(r"\\[()\[\]\\]?|[(\[\])]|:\s*+([+-]?[.\d]++)\s*+\)|[^\\()\[\]:]++|:")
_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of prompt and its weight, or the marker BREAK."""

    text: str
    weight: float = 1.0


BREAK = Part("BREAK", -1.0)
"""Ends a chunk of tokens. Only what equals it does: inside brackets A1111 weighs the word like any other."""


def parse_attention(text: str) -> tuple[Part, ...]:
    """Return at least one part, neighbours of equal weight merged, each weight between -MAX_WEIGHT and MAX_WEIGHT."""
    reader = _Reader()
    for match in _TOKEN.finditer(text):
        reader.take(match[0], match[1])
    return reader.parts()


class _Reader:
    """Round and square brackets are counted apart, as in A1111, so that `(a [b) c]` weighs `b` by both."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._weights: list[float] = []
        self._round: list[int | None] = []
        self._square: list[int | None] = []

    def take(self, sign: str, number: str | None) -> None:
        if sign.startswith("\\"):
            self._add(sign[1:])
        elif sign == "(":
            self._open(self._round)
        elif sign == "[":
            self._open(self._square)
        elif sign == "]" and self._square:
            self._multiply(self._square.pop(), LESS)
        elif sign.endswith(")") and self._round:
            self._close_round(sign, number)
        else:
            self._add_words(sign)

    def parts(self) -> tuple[Part, ...]:
        # What was never closed weighs to the end: the outermost first, round before square, which the last digit shows.
        for start in self._round:
            self._multiply(start, MORE)
        for start in self._square:
            self._multiply(start, LESS)
        limited = (min(max(weight, -MAX_WEIGHT), MAX_WEIGHT) for weight in self._weights)
        runs = groupby(zip(limited, self._texts, strict=True), key=itemgetter(0))
        return tuple(Part("".join(text for _, text in run), weight) for weight, run in runs) or (Part(""),)

    def _open(self, brackets: list[int | None]) -> None:
        shallow = len(self._round) + len(self._square) < MAX_DEPTH
        brackets.append(len(self._texts) if shallow else None)

    def _close_round(self, token: str, number: str | None) -> None:
        factor = _factor(number) if number else MORE
        if factor is None:
            self._add_words(token[:-1])
            factor = MORE
        self._multiply(self._round.pop(), factor)

    def _multiply(self, start: int | None, factor: float) -> None:
        if start is not None:
            self._weights[start:] = [weight * factor for weight in self._weights[start:]]

    def _add(self, text: str, weight: float = 1.0) -> None:
        self._texts.append(text)
        self._weights.append(weight)

    def _add_words(self, token: str) -> None:
        first, *others = _BREAK.split(token)
        self._add(first.rstrip() if others else first)
        for index, words in enumerate(others, 1):
            self._add(BREAK.text, BREAK.weight)
            self._add(words.strip() if index < len(others) else words.lstrip())


def _factor(number: str) -> float | None:
    """Return the factor, or None for what is no finite number, like `1.2.3`."""
    try:
        value = float(number)
    except ValueError:
        return None
    return min(max(value, -MAX_FACTOR), MAX_FACTOR) if math.isfinite(value) else None
