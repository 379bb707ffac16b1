"""The braces of a prompt as a tree, for both of their meanings: `{a, b}` is each in turn, `{a|b}` is one at random."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from easel.errors import BadPrompt
from easel.prompt.text import quoted

MAX_DEPTH = 10
"""Braces with a choice inside one another; whoever walks the tree may recurse."""

_MARK = re.compile(r"\\.|[{}()\[\],|]", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PAIRS = {")": "(", "]": "["}


@dataclass(frozen=True, slots=True)
class Group:
    options: "tuple[Option, ...]"
    outermost: bool
    """False inside another brace, whatever that one means."""


Option: TypeAlias = "tuple[str | Group, ...]"


@dataclass(slots=True)
class _Open:
    bracket: str
    start: int
    separators: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Choice:
    """A brace with a choice, by the places of its marks in the text."""

    start: int
    separators: list[int]
    end: int
    outermost: bool


def read_braces(text: str, separator: Literal[",", "|"], *, mixed: bool = False) -> Option:
    r"""Return `text` with every brace that has `separator` at its top level as a Group; any other brace is text.

    Inside round and square brackets a separator belongs to these, and `\` takes its meaning from any sign.
    A brace with both separators raises BadPrompt unless `mixed`.
    """
    choices = _choices(text, separator, mixed=mixed)
    return _tree(text, choices) if choices else (text,)


def resolve(group: Group, text: str) -> str:
    r"""Return what an option of `group` came to, trimmed, and without its `\,` once no brace is left around it."""
    text = text.strip()
    return _ESCAPED.sub(lambda match: "," if match[1] == "," else match[0], text) if group.outermost else text


def _choices(text: str, separator: str, *, mixed: bool) -> list[_Choice]:
    choices: list[_Choice] = []
    opened: list[_Open] = []
    braces = 0
    for match in _MARK.finditer(text):
        mark, place = match[0], match.start()
        if mark in {"{", "(", "["}:
            opened.append(_Open(mark, place))
            braces += mark == "{"
        elif mark in {",", "|"} and opened:
            opened[-1].separators.append(place)
        elif mark in _PAIRS and opened and opened[-1].bracket == _PAIRS[mark]:
            opened.pop()
        elif mark == "}" and braces:
            braces -= 1
            start, places = _close(opened)
            own = [at for at in places if text[at] == separator]
            if own and len(own) < len(places) and not mixed:
                raise BadPrompt(_BOTH.format(quoted(text[start : place + 1])))
            if own:
                choices.append(_Choice(start, own, place, outermost=not braces))
    return choices


_BOTH = (
    "The brace {} has both `,` and `|`. Use `{{red, green}}` for one picture of each, or `{{red|green}}` for one of them "
    "at random; a comma that is only text is written `\\,`."
)


def _close(opened: list[_Open]) -> tuple[int, list[int]]:
    """Pop the innermost brace; brackets left open in it are text, and their separators are the brace's."""
    places: list[int] = []
    while True:
        bracket = opened.pop()
        places += bracket.separators
        if bracket.bracket == "{":
            return bracket.start, sorted(places)


def _tree(text: str, choices: list[_Choice]) -> Option:
    builder = _Builder()
    acts: list[tuple[int, Callable[[], None]]] = []
    for choice in choices:
        acts.append((choice.start, builder.open))
        acts += [(at, builder.separate) for at in choice.separators]
        acts.append((choice.end, _closing(builder, outermost=choice.outermost)))
    written = 0
    for place, act in sorted(acts, key=lambda pair: pair[0]):
        builder.write(text[written:place])
        act()
        written = place + 1
    builder.write(text[written:])
    return builder.whole()


def _closing(builder: "_Builder", *, outermost: bool) -> Callable[[], None]:
    return lambda: builder.close(outermost=outermost)


class _Builder:
    def __init__(self) -> None:
        self._levels: list[list[list[str | Group]]] = [[[]]]

    def write(self, text: str) -> None:
        if text:
            self._levels[-1][-1].append(text)

    def open(self) -> None:
        if len(self._levels) > MAX_DEPTH:
            raise BadPrompt(f"The braces are more than {MAX_DEPTH} deep. Please nest fewer of them.")
        self._levels.append([[]])

    def separate(self) -> None:
        self._levels[-1].append([])

    def close(self, *, outermost: bool) -> None:
        options = tuple(tuple(option) for option in self._levels.pop())
        self._levels[-1][-1].append(Group(options, outermost))

    def whole(self) -> Option:
        return tuple(self._levels[0][0])
