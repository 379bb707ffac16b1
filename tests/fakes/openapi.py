"""An OpenAPI 3.1 description used as a checker: does this request, does this answer fit what is written there?"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from referencing import Registry
from referencing.jsonschema import DRAFT202012

_URI = "urn:spec"


def find_spec(name: str) -> Path | None:
    """Return the description `name` from the folder SPECS_DIR, or a `specs` folder beside the repository; else None."""
    named = os.environ.get("SPECS_DIR")
    beside = Path(__file__).resolve().parents[3]
    found = [Path(named) / name] if named else [beside / "specs" / name, *beside.glob(f"*/specs/{name}")]
    return next((path for path in found if path.is_file()), None)


class Paths:
    """Path templates such as `/channels/{channel_id}`; a written segment beats a parameter."""

    def __init__(self, templates: Iterable[str]) -> None:
        self._templates = [
            (template, re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template))))
            for template in sorted(templates, key=lambda template: (template.count("{"), template))
        ]

    def find(self, path: str) -> tuple[str, dict[str, str]] | None:
        for template, pattern in self._templates:
            if match := pattern.fullmatch(path):
                return template, match.groupdict()
        return None


@dataclass(frozen=True, slots=True)
class Amendment:
    """One place where the description is wrong: what stands there instead, and why."""

    pointer: str
    becomes: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What does not fit; `where` is a dotted path into the body, empty for the body itself."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where or 'body'}: {self.text}"


class OpenApi:
    """The description, amended; schemas are compiled when they are first needed."""

    def __init__(self, document: dict[str, Any], amendments: Iterable[Amendment] = ()) -> None:
        self._document = document
        for amendment in amendments:
            *parents, last = amendment.pointer.split("/")
            self._at(parents)[last] = amendment.becomes
        registry: Registry[Any] = Registry().with_resource(_URI, DRAFT202012.create_resource(document))
        self._registry = registry
        self._validators: dict[str, Any] = {}

    def knows(self, method: str, template: str) -> bool:
        return method.lower() in self._document["paths"].get(template, {})

    def parameter_faults(
        self, method: str, template: str, params: Mapping[str, str], query: Mapping[str, str]
    ) -> Iterator[Fault]:
        item = self._document["paths"][template]
        known: set[str] = set()
        for base, declared in (
            (f"/paths/{_escape(template)}/parameters", item.get("parameters", [])),
            (f"/paths/{_escape(template)}/{method.lower()}/parameters", item[method.lower()].get("parameters", [])),
        ):
            for index, parameter in enumerate(declared):
                name, values = parameter["name"], query if parameter["in"] == "query" else params
                known.add(name)
                if name in values:
                    value = _typed(values[name], parameter["schema"].get("type"))
                    yield from self._faults(f"{base}/{index}/schema", value, name)
                elif parameter.get("required"):
                    yield Fault(name, "is required")
        yield from (Fault(name, "is no parameter of this path") for name in query if name not in known)

    def body_faults(self, method: str, template: str, body: Any) -> Iterator[Fault]:
        operation = self._document["paths"][template][method.lower()]
        if "requestBody" not in operation:
            if body is not None:
                yield Fault("", "this request takes no body")
            return
        if body is None:
            yield Fault("", "is required")
            return
        yield from self._faults(self._body_pointer(method, template), body)

    def unknown_fields(self, method: str, template: str, body: Any) -> Iterator[str]:
        """Dotted names of fields that the schema does not list: they are no error, they just do nothing."""
        if "requestBody" in self._document["paths"][template][method.lower()]:
            yield from self._unknown(self._body_pointer(method, template), body, "")

    def answer_faults(self, method: str, template: str, status: int, body: Any) -> Iterator[Fault]:
        answers = self._document["paths"][template][method.lower()]["responses"]
        key = str(status) if str(status) in answers else f"{status // 100}XX"
        if key not in answers:
            yield Fault("", f"no answer {status} is described")
            return
        pointer = f"/paths/{_escape(template)}/{method.lower()}/responses/{key}"
        if "$ref" in answers[key]:
            pointer = answers[key]["$ref"].removeprefix("#")
        content = self._at(_segments(pointer)).get("content")
        if content is not None:
            yield from self._faults(f"{pointer}/content/application~1json/schema", body)
        elif body is not None:
            yield Fault("", f"answer {status} has no body")

    def _body_pointer(self, method: str, template: str) -> str:
        return f"/paths/{_escape(template)}/{method.lower()}/requestBody/content/application~1json/schema"

    def _at(self, segments: Iterable[str]) -> Any:
        place: Any = self._document
        for segment in segments:
            place = place[int(segment)] if isinstance(place, list) else place[segment]
        return place

    def _validator(self, pointer: str) -> Any:
        if pointer not in self._validators:
            schema = {"$ref": f"{_URI}#{pointer}"}
            self._validators[pointer] = _jsonschema().Draft202012Validator(schema, registry=self._registry)
        return self._validators[pointer]

    def _faults(self, pointer: str, value: Any, where: str = "") -> Iterator[Fault]:
        for error in self._validator(pointer).iter_errors(value):
            deepest = _jsonschema().exceptions.best_match([error])
            place = ".".join(part for part in (where, *map(str, deepest.absolute_path)) if part)
            yield Fault(place, str(deepest.message)[:300])

    def _unknown(self, pointer: str, value: Any, where: str) -> Iterator[str]:
        pointer = self._resolved(pointer)
        if isinstance(value, list) and "items" in self._at(_segments(pointer)):
            for index, item in enumerate(value):
                yield from self._unknown(f"{pointer}/items", item, f"{where}.{index}")
            return
        if not isinstance(value, dict):
            return
        homes: dict[str, str] = {}
        for branch in self._branches(pointer, value):
            schema = self._at(_segments(branch))
            if "additionalProperties" in schema and "properties" not in schema:
                return
            homes |= {name: f"{branch}/properties/{name}" for name in schema.get("properties", {})}
        for name, inner in value.items():
            place = f"{where}.{name}".removeprefix(".")
            if name not in homes:
                yield place
            else:
                yield from self._unknown(homes[name], inner, place)

    def _branches(self, pointer: str, value: Any) -> Iterator[str]:
        """Pointers of the object schemas that `value` is an instance of."""
        pointer = self._resolved(pointer)
        schema = self._at(_segments(pointer))
        if isinstance(schema, dict) and ("properties" in schema or "additionalProperties" in schema):
            yield pointer
        for union in ("oneOf", "anyOf", "allOf"):
            for index, _ in enumerate(schema.get(union, ())):
                branch = f"{pointer}/{union}/{index}"
                if union == "allOf" or self._validator(branch).is_valid(value):
                    yield from self._branches(branch, value)

    def _resolved(self, pointer: str) -> str:
        schema = self._at(_segments(pointer))
        return self._resolved(schema["$ref"].removeprefix("#")) if "$ref" in schema else pointer


def load_openapi(path: Path, amendments: Iterable[Amendment] = ()) -> OpenApi:
    return OpenApi(json.loads(path.read_text(encoding="utf-8")), amendments)


@cache
def _jsonschema() -> Any:
    """The package has no types, and costs a quarter of a second that a run without descriptions need not pay."""
    return import_module("jsonschema")


def _escape(segment: str) -> str:
    return segment.replace("~", "~0").replace("/", "~1")


def _segments(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _typed(text: str, kind: Any) -> Any:
    """A query value as JSON: Discord takes 1 and 0 for booleans, as its own documentation writes them."""
    if kind == "boolean":
        return {"1": True, "true": True, "True": True, "0": False, "false": False, "False": False}.get(text, text)
    if kind == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    return text
