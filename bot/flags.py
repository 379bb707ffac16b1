"""`a cat --steps 20 --ar 3:2`: a prompt with flags at its end, as typed into a chat."""

import re
import shlex
from itertools import zip_longest

from bot.options import Option, by_name, find
from easel.errors import BadValue

# Phones turn two hyphens into a dash; a flag follows white space and begins with a letter.
_FLAG = re.compile(r"(?:(?<=\s)|^)(?:--|—|–|--)([A-Za-z][A-Za-z0-9_-]{0,31})(?=[\s=]|$)")
_SHORT = re.compile(r"(?<=\s)-([a-z])(?=\s+\S)")


def parse(text: str, options: tuple[Option, ...]) -> dict[str, str]:
    """Split into the first option (the prompt) and the flags: option name -> text as typed.

    Raise `BadValue` for an unknown flag, one without the value it needs, and one given twice.
    """
    matches = [*_FLAG.finditer(text), *_short_flags(text, options)]
    matches.sort(key=lambda match: match.start())
    found = {options[0].name: text[: matches[0].start()] if matches else text}
    for match, following in zip_longest(matches, matches[1:]):
        option = find(options, match.group(1))
        value = _unquoted(text[match.end() : following.start() if following else len(text)]) or option.bare
        if not value:
            raise BadValue(f"`--{match.group(1)}` needs a value, for example `{example(option)}`.")
        if option.name in found and option.several:
            value = f"{found[option.name]}, {value}"
        elif option.name in found:
            raise BadValue(f"`{option.name}` is given twice; please give it once.")
        found[option.name] = value
    return {name: value.strip() for name, value in found.items()}


def _short_flags(text: str, options: tuple[Option, ...]) -> list[re.Match[str]]:
    known = by_name(options)
    return [match for match in _SHORT.finditer(text) if match.group(1) in known]


def _unquoted(value: str) -> str:
    value = value.lstrip().removeprefix("=").strip()
    quotes = {'"': '"', "'": "'", "“": "”", "„": "“"}
    if len(value) >= 2 and quotes.get(value[0]) == value[-1]:
        return value[1:-1].strip()
    return value


def example(option: Option) -> str:
    """Return a flag as it would be typed."""
    if option.bare:
        return f"--{option.name}" if option.kind == "switch" else f"--{option.name} {option.bare}"
    value = option.sample or (f"{option.low:g}" if option.low is not None else "…")
    return f"--{option.name} {shlex.quote(value) if ' ' in value else value}"


def usage(options: tuple[Option, ...]) -> list[str]:
    """Return one line of help per flag."""
    return [f"{', '.join(map(_dashed, (option.name, *option.flags)))}: {described(option)}" for option in options[1:]]


def described(option: Option) -> str:
    """Return what an option is for and what it may be."""
    if option.low is not None and option.high is not None:
        return f"{option.help} ({option.low:g} to {option.high:.12g})"
    return f"{option.help} ({' or '.join(option.choices)})" if option.choices else option.help


def _dashed(spelling: str) -> str:
    return f"--{spelling}" if len(spelling) > 1 else f"-{spelling}"
