"""What a pasted text of settings, or the one inside a picture, tells of a request."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.asking.told_models import by_hash, known_here
from bot.flags import parse as parse_flags
from bot.options import Option
from easel import words
from easel.catalog import Catalog, ModelCard, ModelKind
from easel.errors import BadValue
from easel.infotext.request import Reading, to_fields
from easel.infotext.text import parse

MOST_LEFT_OUT = 12
"""Settings that are named in a note."""

_SETTINGS = re.compile(r"(?<!\S)Steps: ?\d{1,5}, ?(?=[A-Z])")
_NEGATIVE = re.compile(r"\s+(?=Negative prompt:)")


@dataclass(frozen=True, slots=True)
class Told:
    """What a text tells, under the names of `ImageRequest`; nothing where there is no text."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    card: ModelCard | None = None
    """The checkpoint it names, if that is here."""
    notes: tuple[str, ...] = ()


def parted(text: str) -> tuple[str, str] | None:
    """Part a pasted infotext into its prompts and what follows from `Steps:` on; None for any other words."""
    starts = [match.start() for match in _SETTINGS.finditer(text)]
    if not starts:
        return None
    prompts, settings = text[: starts[-1]].strip(), text[starts[-1] :]
    if len(parse(settings.partition("\n")[0]).settings) < 3:
        return None
    if "\n" not in prompts:  # Discord's fields turn line breaks into spaces
        prompts = _NEGATIVE.sub("\n", prompts, count=1)
    return prompts, settings


def read_words(text: str, options: tuple[Option, ...]) -> dict[str, str]:
    """Read words and the flags at their end: option name -> text as typed; raises BadValue.

    In a pasted infotext, which stays whole under the first option, flags stand behind its last line.
    """
    pasted = parted(text)
    if pasted is None:
        return parse_flags(text, options)
    prompts, settings = pasted
    first = options[0].name
    form = parse_flags(settings, options)
    last_line, _, _ = form[first].partition("\n")
    return form | {first: f"{prompts}\n{last_line}".strip()}


def told_by(text: str, catalog: Catalog, *, named: bool) -> Told:
    """Read an infotext; raises UnknownModel where its checkpoint is not here, unless another one is `named`."""
    reading = to_fields(text)
    known = known_here(reading, catalog)
    fields = {field: value for field, value in reading.fields.items() if field not in {"checkpoint", "vae"}}
    fields |= known.fields
    left = list(reading.unknown)
    notes = [*reading.notes, *known.notes]
    if left:
        shown = [words.cut(name, 40) for name in left[:MOST_LEFT_OUT]] + ["…"] * (len(left) > MOST_LEFT_OUT)
        notes.append(f"Left out, as I do not know what to do with it: {', '.join(shown)}.")
    return Told(fields, None if named else _card(reading, catalog), tuple(notes))


def _card(reading: Reading, catalog: Catalog) -> ModelCard | None:
    """Return the checkpoint by its hash, else by its name; None where the text names none."""
    digits, name = reading.hashes.get("model"), reading.fields.get("checkpoint")
    if digits and (card := by_hash(ModelKind.CHECKPOINT, digits, name or "", catalog)):
        return card
    if name:
        return catalog.checkpoint(name)
    if digits:
        raise BadValue(f"The checkpoint with the hash `{digits}` is not here. Please name one with `--checkpoint`.")
    return None
