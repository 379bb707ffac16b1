"""The settings of one text while they are being read: each is taken once, what nobody takes is left over."""

import math
import re

from easel.infotext.text import MISSING, Infotext, printable

MAX_NAME = 200
"""Characters of a model's or sampler's name; file systems end at 255 bytes."""

# Bounded, because int() and float() take time on long digits, underscores, and words such as "nan".
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_REAL = re.compile(r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,4})?")
_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")


class Slip:
    def __init__(self, info: Infotext) -> None:
        said = {printable(name): printable(value) for name, value in info.settings.items()}
        self.silent = {name for name in MISSING if name not in said}
        """Settings the text does not have, and which mean something by it."""
        self.left = MISSING | said if said else {}
        self.notes: list[str] = []

    def note(self, what: str, problem: str) -> None:
        self.notes.append(f"{what[:60]} was left out: {problem}.")

    def word(self, name: str) -> str | None:
        """Take a name; None where there is none, or where A1111 wrote the word None."""
        value = self.left.pop(name, "").strip()
        if len(value) > MAX_NAME:
            self.note(name, f"it is longer than {MAX_NAME} characters")
            return None
        return None if value in {"", "None"} else value

    def real(self, name: str) -> float | None:
        value = self.left.pop(name, "").strip()
        number = float(value) if _REAL.fullmatch(value) else math.nan
        if value and not math.isfinite(number):
            self.note(f"{name} {value}", "it is not a number")
        return number if math.isfinite(number) else None

    def whole(self, name: str) -> int | None:
        value = self.left.get(name, "").strip()
        if _WHOLE.fullmatch(value):  # a float would round seeds
            del self.left[name]
            return int(value)
        number = self.real(name)
        if number is not None and not number.is_integer():
            self.note(f"{name} {value}", "it is not a whole number")
            return None
        return None if number is None else int(number)

    def size(self, name: str) -> tuple[int, int] | None:
        """Take `WIDTHxHEIGHT`, of which either may be 0; anything else is left over."""
        found = _SIZE.fullmatch(self.left.get(name, "").strip())
        if not found:
            return None
        del self.left[name]
        return int(found[1]), int(found[2])
