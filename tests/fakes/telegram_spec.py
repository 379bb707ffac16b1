"""The Bot API's machine-readable description, if there is one at hand, and what it says against a request."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.fakes.openapi import find_spec
from tests.fakes.telegram_fields import BOOLEANS, Call
from tests.fakes.telegram_messages import Json


def _is_number(value: Any, written: str) -> bool:
    """Numbers may come as text, as they do in forms."""
    return not isinstance(value, bool) and re.fullmatch(written, str(value)) is not None


PLAIN: dict[str, Callable[[Any], bool]] = {
    "String": lambda value: isinstance(value, str),
    "InputFile": lambda value: isinstance(value, str),
    "Boolean": lambda value: isinstance(value, bool),
    "Integer": lambda value: _is_number(value, r"-?\d+"),
    "Float": lambda value: _is_number(value, r"-?\d+(\.\d+)?(e-?\d+)?"),
}


class Spec:
    def __init__(self, data: Json) -> None:
        self._methods: Json = data["methods"]
        self._types: Json = data["types"]

    def knows(self, method: str) -> bool:
        return method in self._methods

    def misfits(self, value: Any, kind: str) -> list[str]:
        """What keeps `value` from being a `kind` (`Update`, `Message`, …)."""
        return self._against(value, kind, kind)

    def problems(self, call: Call) -> list[str]:
        """Sentences that say what is wrong with the request; empty when it is as the Bot API wants it."""
        known = {one["name"]: one for one in self._methods[call.method].get("fields", [])}
        found = [*self._missing(call, known), *self._unfit(call, known), *self._stray_uploads(call, known)]
        return list(dict.fromkeys(found))

    def _missing(self, call: Call, known: Json) -> Iterator[str]:
        for name, spec in known.items():
            if spec["required"] and name not in call.fields and name not in call.uploads:
                yield f"the field {name} is missing"

    def _unfit(self, call: Call, known: Json) -> Iterator[str]:
        for name, value in call.fields.items():
            if name not in known:
                yield f"there is no field {name}"
            elif value is None:
                yield f"{name} is null; leave it out"
            else:
                yield from self._any_of(_read(value, known[name]["types"]), known[name]["types"], name)

    def _stray_uploads(self, call: Call, known: Json) -> Iterator[str]:
        told = json.dumps(call.fields)
        for name in call.uploads:
            direct = name in known and "InputFile" in known[name]["types"]
            if not direct and f'attach://{name}"' not in told:
                yield f"a file was uploaded as {name}, which nothing refers to"

    def _any_of(self, value: Any, kinds: Sequence[str], where: str) -> list[str]:
        """The complaints of the kind that fits best."""
        return min((self._against(value, kind, where) for kind in kinds), key=len)

    def _against(self, value: Any, kind: str, where: str) -> list[str]:
        if kind.startswith("Array of "):
            if not isinstance(value, list):
                return [f"{where} must be an array", "and nothing in it can be read"]
            inner = kind.removeprefix("Array of ")
            return [one for n, item in enumerate(value) for one in self._against(item, inner, f"{where}[{n}]")]
        if kind in PLAIN:
            return [] if PLAIN[kind](value) else [f"{where} must be of type {kind}"]
        spec = self._types[kind]
        if spec.get("subtypes"):
            return self._any_of(value, spec["subtypes"], where)
        return self._object(value, spec, where)

    def _object(self, value: Any, spec: Json, where: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{where} must be a {spec['name']}", "and nothing in it can be read"]
        known = {one["name"]: one for one in spec.get("fields", [])}
        found = [f"{where}.{name} is missing" for name, one in known.items() if one["required"] and name not in value]
        for name, inner in value.items():
            if name not in known:
                found.append(f"there is no field {where}.{name}")
            elif word := _wrong_word(known[name], inner):
                # Twice, so that a union answers with the complaints of the type that was meant.
                found += [f"{where}.{name} must be {word}"] * 2
            else:
                found += self._any_of(inner, known[name]["types"], f"{where}.{name}")
        return found


def _wrong_word(spec: Json, value: Any) -> str:
    """The one word that a `type` or `source` must have, when `value` is another; else empty."""
    if spec["name"] not in {"type", "source"}:
        return ""
    found = re.search(r'(?:must be|always) ["“*]?([a-z_0-9]+)', spec["description"])
    return found[1] if found and found[1] != value else ""


def _read(value: Any, kinds: Sequence[str]) -> Any:
    """Read the text of a form's field that no table of ours reads; a String stays as it is."""
    if not isinstance(value, str) or {"String", "InputFile", "Integer", "Float"} & set(kinds):
        return value
    if "Boolean" in kinds:
        return BOOLEANS.get(value.lower(), value)
    try:
        return json.loads(value)
    except ValueError:
        return value


def load_spec() -> Spec | None:
    """None when the file is not there: requests are then not checked against it."""
    file = find_spec("telegram-api.json")
    return _loaded(file) if file else None


@cache
def _loaded(file: Path) -> Spec:
    return Spec(json.loads(file.read_text(encoding="utf-8")))
