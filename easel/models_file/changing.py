"""One entry of `models.yaml` changed, added or removed: the rest stays as it was, character for character."""

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python
from ruamel.yaml import YAML
from ruamel.yaml.emitter import Emitter
from ruamel.yaml.error import YAMLError
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from easel.errors import ModelsFileError
from easel.files import locked, replace_file
from easel.models_file.reading import ModelsFile, checked
from easel.models_file.tree import NULLS, Node, read_tree

_EMPTY_MODELS = re.compile(r"^(\S+?:)[ \t]*(?:\{[ \t]*\}|~|null)?", re.IGNORECASE)


def change_entry(path: Path, name: str, fields: Mapping[str, Any] | None) -> ModelsFile:
    """Set `fields` of one entry and return the file as it then stands.

    A field set to None is removed, and so is an entry where `fields` is None; an entry that is not there is added.
    Raises ModelsFileError, with the file as it was, where the result would be wrong or can not be written.
    """
    return _edited(path, lambda lines, tree: _with_entry(path.name, lines, tree, name, fields))


def change_default(path: Path, name: str) -> ModelsFile:
    """Name the checkpoint to use where none is asked for; raises as `change_entry` does."""
    return _edited(path, lambda lines, tree: _with_default(path.name, lines, tree, name))


def _with_entry(file: str, lines: list[str], tree: Node, name: str, fields: Mapping[str, Any] | None) -> list[str]:
    models = tree.fields().get("models") or Node({}, len(lines))
    entries = models.fields()
    if tree.flow or (models.flow and entries):
        raise ModelsFileError(file, models.row + 1, "models", "entries in braces can only be changed by hand")
    if name in entries:
        rows = _rows(lines, models, name)
        changed = [] if fields is None else _changed(file, lines[rows], entries[name], fields)
        return [*lines[: rows.start], *changed, *lines[rows.stop :]]
    if fields is None:
        return lines
    if not entries:
        opened = [_EMPTY_MODELS.sub(r"\1", lines[models.row])] if models.row < len(lines) else ["models:\n"]
        return [*lines[: models.row], *opened, *_written(name, fields, 2), *lines[models.row + 1 :]]
    *_, (last, node) = entries.items()
    end = _rows(lines, models, last).stop
    return [*lines[:end], *_written(name, fields, node.column), *lines[end:]]


def _with_default(file: str, lines: list[str], tree: Node, name: str) -> list[str]:
    default = tree.fields().get("default")
    if default is None:
        first = min((node.row for node in tree.fields().values()), default=len(lines))
        return [*lines[:first], _dumped({"default": _words(name)}), *lines[first:]]
    loaded = _loaded(file, default.row, lines[default.row])
    loaded["default"] = _words(name)
    return [*lines[: default.row], _dumped(loaded), *lines[default.row + 1 :]]


def _rows(lines: list[str], models: Node, name: str) -> slice:
    """Return the lines of one entry, without the comments that stand before the next one."""
    entry = models.fields()[name]
    end = min((node.row for node in models.fields().values() if node.row > entry.row), default=models.end)
    while end > entry.row + 1:
        text = lines[end - 1].lstrip()
        if text and not (text.startswith("#") and len(lines[end - 1]) - len(text) <= entry.column):
            break
        end -= 1
    return slice(entry.row, end)


def _changed(file: str, lines: list[str], entry: Node, fields: Mapping[str, Any]) -> list[str]:
    """Return an entry's lines with `fields` merged into it, its own comments kept."""
    column, width = entry.column, entry.key_width
    key = lines[0][column : column + width]
    # The key is masked, for it goes back exactly as it was written.
    text = "".join(["key", lines[0][column + width :], *(_outdented(line, column) for line in lines[1:])])
    loaded = _loaded(file, entry.row, text)
    _merge(loaded["key"], fields)
    return _indented(key + _dumped(loaded).removeprefix("key"), column)


def _merge(target: Any, fields: Mapping[str, Any]) -> None:
    for field, value in fields.items():
        if value is None:
            target.pop(field, None)
        elif isinstance(value, Mapping) and isinstance(target.get(field), dict):
            _merge(target[field], value)
        else:
            target[field] = _words(value)


def _words(value: Any) -> Any:
    """Return `value` as the reader wants it back: words, quoted where they would mean nothing at all."""
    plain = to_jsonable_python(value)
    if isinstance(plain, dict):
        return {key: _words(inner) for key, inner in plain.items() if inner is not None}
    if isinstance(plain, list):
        return [_words(inner) for inner in plain]
    word = str(plain).lower() if isinstance(plain, bool) else str(plain)
    return DoubleQuotedScalarString(word) if word in NULLS else word


def _written(name: str, fields: Mapping[str, Any], column: int) -> list[str]:
    return _indented(_dumped({name: _words(fields)}), column)


def _outdented(line: str, columns: int) -> str:
    return line[min(columns, len(line) - len(line.lstrip(" "))) :]


def _indented(text: str, columns: int) -> list[str]:
    return [" " * columns + line if line.strip() else line for line in text.splitlines(keepends=True)]


class _NoTypes(VersionedResolver):
    """Leaves every plain word a word, so that `0123` and `1e3` are written back as they were."""

    @property
    def versioned_resolver(self) -> Any:
        return {}


class _LongKeys(Emitter):
    MAX_SIMPLE_KEY_LENGTH = 1000
    """Beyond it a key is written as `? key`, which the rest of this room does not expect; ruamel's own is 128."""


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 2**20
    yaml.Resolver = _NoTypes
    yaml.Emitter = _LongKeys
    return yaml


def _loaded(file: str, row: int, text: str) -> Any:
    try:
        return _yaml().load(text)
    except YAMLError as error:
        problem = "can only be changed by hand, for it does not stand alone (a `*` or a second line)"
        raise ModelsFileError(file, row + 1, "", problem) from error


def _dumped(value: Any) -> str:
    out = io.StringIO()
    _yaml().dump(value, out)
    return out.getvalue()


def _edited(path: Path, edit: Callable[[list[str], Node], list[str]]) -> ModelsFile:
    path = path.resolve()
    try:
        with locked(path):
            old = path.read_bytes() if path.exists() else b""
            tree = read_tree(path.name, old)
            before = checked(path.name, tree)
            lines = old.decode("utf-8-sig").splitlines(keepends=True)
            if lines and not lines[-1].endswith(("\n", "\r")):
                lines[-1] += "\n"
            new = "".join(edit(lines, tree)).encode()
            after = checked(path.name, read_tree(path.name, new))
            _refuse_more_than_one(path.name, before, after)
            if old and new != old:
                replace_file(path.with_name(f"{path.name}.bak"), old)
            if new != old:
                replace_file(path, new)
    except OSError as error:
        raise ModelsFileError(path.name, 1, "", f"can not be changed: {error.strerror}") from error
    return after


def _refuse_more_than_one(file: str, before: ModelsFile, after: ModelsFile) -> None:
    """Raise ModelsFileError where an edit of odd YAML touched a second entry."""
    names = {card.name for card in set(before.cards) ^ set(after.cards)}
    if len(names) > 1:
        raise ModelsFileError(file, 1, "", f"would change {' and '.join(sorted(names)[:3])}; please change it by hand")
