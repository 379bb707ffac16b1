"""The one table of what `/imagine` can be asked, from which forms, flags, help and completion are generated."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from easel.errors import BadValue

Kind = Literal["text", "integer", "number"]
Suggest = Literal["checkpoint", "sampler", "schedule", "size"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command, whichever door it comes through."""

    name: str
    help: str
    """At most 100 characters: Discord shows it beside the field."""
    kind: Kind = "text"
    flags: tuple[str, ...] = ()
    """Other spellings, after `--name`."""
    low: float | None = None
    high: float | None = None
    suggest: Suggest | None = None
    required: bool = False

    def value(self, text: object) -> str | int | float:
        """Read what somebody typed; raise `BadValue` with the range."""
        if self.kind == "text":
            return str(text).strip()
        number = self._number(str(text).strip())
        if number is None or not (self.low or 0) <= number <= (self.high or 0):
            raise BadValue(f"`{self.name}` must be {self._range()}, not `{str(text)[:40]}`.")
        return number

    def _number(self, text: str) -> float | int | None:
        # int() would take "１２", "1_0" and "٣"; a person who typed that meant something else.
        plain = text.replace("\u2212", "-").replace(",", ".")
        if not plain.isascii() or "_" in plain:
            return None
        try:
            return int(plain) if self.kind == "integer" else float(plain)
        except ValueError:
            return None

    def _range(self) -> str:
        noun = "a whole number" if self.kind == "integer" else "a number"
        return f"{noun} from {self.low:g} to {self.high:.12g}"


IMAGINE: tuple[Option, ...] = (
    Option("prompt", "What the picture should show", required=True),
    Option("negative", "What it should not show", flags=("neg", "no", "negative_prompt")),
    Option("checkpoint", "Which model draws it", flags=("model", "m"), suggest="checkpoint"),
    Option("size", "Size: 512x768, or a shape such as 3:2", flags=("ar", "aspect"), suggest="size"),
    Option("steps", "How many steps; more is slower", "integer", flags=("t",), low=1, high=150),
    Option("cfg", "How closely it follows the prompt", "number", flags=("c", "cfg_scale"), low=1, high=30),
    Option("sampler", "The sampling method", flags=("r",), suggest="sampler"),
    Option("schedule", "How the noise falls from step to step", flags=("scheduler",), suggest="schedule"),
    Option(
        "seed", "The same number draws the same picture; -1 is random", "integer", flags=("s",), low=-1, high=2**32 - 1
    ),
    Option("count", "How many pictures", "integer", flags=("repeat", "n", "o"), low=1, high=10),
    Option(
        "clip_skip",
        "Leave out the last layers of the text encoder; 1 leaves none",
        "integer",
        flags=("clip",),
        low=1,
        high=12,
    ),
)


def by_name(options: tuple[Option, ...]) -> Mapping[str, Option]:
    """Map every spelling, without dashes, to its option."""
    return {spelling: option for option in options for spelling in (option.name, *option.flags)}


def find(options: tuple[Option, ...], spelling: str) -> Option:
    """Return the option behind `--spelling`; raise `BadValue` with the nearest one."""
    known = by_name(options)
    if found := known.get(spelling.lower().replace("-", "_")):
        return found
    nearest = get_close_matches(spelling.lower(), known, n=1, cutoff=0.5)
    hint = f"Did you mean `--{nearest[0]}`?" if nearest else "Send /help for the list."
    raise BadValue(f"There is no option `--{spelling[:40]}`. {hint}")
