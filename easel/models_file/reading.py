"""`models.yaml` read into cards, checked field by field, and read again when it changes."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from easel.catalog import Defaults, ModelCard
from easel.errors import ModelsFileError
from easel.jobs import Frozen
from easel.models_file.tree import Node, read_tree

ENTRY_FIELDS = frozenset(ModelCard.model_fields) - {"name", "root", "workers"}
"""What may be said about a model: the name stands before the colon, and where its file lies is found."""

_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "`true` or `false`",
    "string": "a word or a sentence",
    "tuple": "a list, such as `[one, two]`",
    "model": "a group of fields, such as `{steps: 20}`",
}


class ModelsFile(Frozen):
    """What the owner wrote."""

    default: str = ""
    """The checkpoint to use where none is named."""
    cards: tuple[ModelCard, ...] = ()


def read_models_file(path: Path) -> ModelsFile:
    """Read `path`; a file that is not there holds nothing; raises ModelsFileError with the line and the field."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ModelsFile()
    except OSError as error:
        raise ModelsFileError(path.name, 1, "", f"can not be read: {error.strerror}") from error
    return checked(path.name, read_tree(path.name, data))


def checked(file: str, tree: Node) -> ModelsFile:
    """Check what stands in a models file called `file`; raises ModelsFileError."""
    if not isinstance(tree.value, dict | None):
        raise ModelsFileError(file, tree.row + 1, "", "the file must begin with `models:`")
    _refuse_unknown(file, tree, "", {"default", "models"})
    default, models = tree.fields().get("default"), tree.fields().get("models")
    if default is not None and not isinstance(default.value, str | None):
        raise ModelsFileError(file, default.row + 1, "default", "must be the name of a checkpoint")
    if models is not None and not isinstance(models.value, dict | None):
        raise ModelsFileError(file, models.row + 1, "models", "must be a group of entries, each a name and a colon")
    entries = models.fields() if models else {}
    cards = tuple(_card(file, name, node) for name, node in entries.items())
    return ModelsFile(default=str(default.value or "") if default else "", cards=cards)


def _card(file: str, name: str, node: Node) -> ModelCard:
    field = f"models.{name}"
    if not isinstance(node.value, dict):
        raise ModelsFileError(file, node.row + 1, field, "must be a group of fields, at least `kind:` and `path:`")
    _refuse_unknown(file, node, field, ENTRY_FIELDS)
    if "defaults" in node.value:
        _refuse_unknown(file, node.value["defaults"], f"{field}.defaults", frozenset(Defaults.model_fields))
    try:
        return ModelCard.model_validate({"name": name, **node.plain()})
    except ValidationError as error:
        raise _named(file, field, node, error.errors()[0]) from error


def _refuse_unknown(file: str, node: Node, field: str, known: Iterable[str]) -> None:
    for key, inner in node.fields().items():
        if key not in known:
            near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.5)
            hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(sorted(known))}"
            raise ModelsFileError(file, inner.row + 1, f"{field}.{key}".lstrip("."), f"there is no such field; {hint}")


def _named(file: str, field: str, node: Node, detail: ErrorDetails) -> ModelsFileError:
    row = node.row
    for part in detail["loc"]:
        inner: Any = node.value
        if isinstance(inner, dict) and str(part) in inner:
            node = inner[str(part)]
        elif isinstance(inner, tuple) and isinstance(part, int) and part < len(inner):
            node = inner[part]
        else:
            break
        row = node.row
    loc = [str(part) for part in detail["loc"] if part != "name"]
    return ModelsFileError(file, row + 1, ".".join([field, *loc]), _sentence(detail))


def _sentence(detail: ErrorDetails) -> str:
    kind = detail["type"].split("_")[0]
    if detail["type"] == "missing":
        return "is missing"
    if detail["type"].endswith(("_type", "_parsing", "_from_float")) and kind in _TYPES:
        problem = f"must be {_TYPES[kind]}"
    else:
        problem = detail["msg"].removeprefix("Value error, ").replace("Input should", "must")
    given = detail["input"]
    return f"{problem}, not `{given[:60]}`" if isinstance(given, str) and "control" not in problem else problem


class WatchedModels:
    """The last good state of a models file that people edit while everything runs."""

    def __init__(self, path: Path) -> None:
        """Read the file once; raises ModelsFileError, for without a good state its access rules would be lost."""
        self.path = path
        self.problem = ""
        """Why the newest edit is not in use; empty while it is."""
        self._seen = self._stamp()
        self._good = read_models_file(path)

    def changed(self) -> bool:
        """Tell whether the file was touched since `current` looked."""
        return self._stamp() != self._seen

    def current(self) -> ModelsFile:
        """Return what stands in the file now, or the last good state while that is wrong."""
        stamp = self._stamp()
        if stamp == self._seen:
            return self._good
        self._seen = stamp
        if stamp is None:
            # An editor may take the file away for a moment, and an owner rarely means to drop every rule at once.
            self.problem = f"{self.path.name} is gone. The last good state stays in use."
            return self._good
        try:
            self._good = read_models_file(self.path)
            self.problem = ""
        except ModelsFileError as error:
            self.problem = f"{error}. The last good state stays in use."
        return self._good

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
