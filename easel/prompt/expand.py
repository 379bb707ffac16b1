"""Random choice: `{a|b}` and `__wildcard__` replaced by one of theirs, the same ones for the same seed."""

import random
import re
from collections.abc import Sequence

from easel.errors import BadPrompt
from easel.prompt.braces import Group, Option, read_braces, resolve
from easel.prompt.text import bounded, quoted
from easel.prompt.wildcards import WildcardSource

MAX_WILDCARDS = 100
"""Replaced in one prompt, those that came out of others included."""

MAX_DEPTH = 8
"""Wildcards that come out of one another."""

_WILDCARD = re.compile(r"(?<!\\)__(?=[^\W_]|[./\\])([\w./\\ -]{1,100}?)(?<! )__")
_SHARE = re.compile(r"\s*+([0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})::")
_HOW_MANY = re.compile(r"\s*+([0-9]{1,2})(?:-([0-9]{1,2}))?\$\$")


def expand_random(text: str, seed: int, wildcards: WildcardSource) -> str:
    """Return `text` with every choice made.

    `0.3::a` is chosen with 0.3 shares instead of 1; `{2$$a|b|c}` and `{1-2$$a|b|c}` choose several different ones,
    joined by commas. Raises BadPrompt for a wildcard that is not there, and where the text would grow out of bounds.
    """
    return _Expansion(random.Random(seed), wildcards).expand(text, depth=0)


class _Expansion:
    def __init__(self, dice: random.Random, wildcards: WildcardSource) -> None:
        self._dice = dice
        self._wildcards = wildcards
        self._replaced = 0
        self._lines: dict[str, Sequence[str]] = {}

    def expand(self, text: str, *, depth: int) -> str:
        # What people type may have meant either brace; in a wildcard file, commas are text by old custom.
        return bounded(self._chosen(read_braces(text, "|", mixed=depth > 0), depth))

    def _chosen(self, option: Option, depth: int) -> str:
        return "".join(
            _WILDCARD.sub(lambda match: self._line(match[1], depth), piece)
            if isinstance(piece, str)
            else self._choose(piece, depth)
            for piece in option
        )

    def _line(self, name: str, depth: int) -> str:
        self._replaced += 1
        if self._replaced > MAX_WILDCARDS:
            raise BadPrompt(f"More than {MAX_WILDCARDS} wildcards would have to be replaced. Please use fewer.")
        if depth >= MAX_DEPTH:
            raise BadPrompt(f"The wildcard {quoted(name)} comes out of other wildcards more than {MAX_DEPTH} deep.")
        lines = self._lines.get(name)
        if lines is None:
            lines = self._lines[name] = self._wildcards.lines(name)
        if not lines:
            raise BadPrompt(f"The wildcard {quoted(name)} is an empty list.")
        return self.expand(bounded(lines[self._below(len(lines))]), depth=depth + 1)

    def _choose(self, group: Group, depth: int) -> str:
        how_many, options = self._how_many(group.options)
        left = [_share(option) for option in options]
        chosen: list[Option] = []
        for _ in range(min(how_many, len(left))):
            chosen.append(left.pop(self._weighed([share for share, _ in left]))[1])
        return resolve(group, ", ".join(self._chosen(option, depth).strip() for option in chosen))

    def _how_many(self, options: tuple[Option, ...]) -> tuple[int, tuple[Option, ...]]:
        match, first = _prefix(_HOW_MANY, options[0])
        if match is None:
            return 1, options
        low, high = int(match[1]), int(match[2] or match[1])
        return low + self._below(max(high - low, 0) + 1), (first, *options[1:])

    def _below(self, count: int) -> int:
        # random() is the one method whose sequence Python promises to keep.
        return int(self._dice.random() * count)

    def _weighed(self, shares: list[float]) -> int:
        point = self._dice.random() * sum(shares)
        for index, share in enumerate(shares):
            point -= share
            if point < 0:
                return index
        return len(shares) - 1


def _share(option: Option) -> tuple[float, Option]:
    match, rest = _prefix(_SHARE, option)
    return (float(match[1]) if match else 1.0), rest


def _prefix(pattern: re.Pattern[str], option: Option) -> tuple[re.Match[str] | None, Option]:
    """Return the match at the start of `option`, None if there is none, and what follows it."""
    first = option[0] if option else ""
    match = pattern.match(first) if isinstance(first, str) else None
    return (match, (match.string[match.end() :], *option[1:])) if match else (None, option)
