"""YAML text as a tree of words that know their row, bounded in size, depth and number."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from easel.errors import ModelsFileError

MAX_BYTES = 2**20
MAX_NODES = 100_000
"""Counted as if every alias were written out, so that a file of aliases of aliases can not grow in memory."""
MAX_DEPTH = 12
MAX_BRACKETS = 100
"""In one line. The scanner's time grows with the square of them, before the depth of nesting can be seen."""

_ODD_BREAKS = re.compile("[\x85\u2028\u2029]")
"""Line breaks to some readers and not to others."""

NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Node:
    """One value: a word as it was written, None, a list or a mapping."""

    value: "str | tuple[Node, ...] | dict[str, Node] | None"
    row: int
    """Where it stands, or the key it belongs to; from 0."""
    column: int = 0
    key_width: int = 0
    """Characters of its key as written, quotes included."""
    end: int = 0
    """Of a mapping: the row after its last line, comments that follow a block included."""
    flow: bool = False
    """Whether it is a mapping in braces."""

    def plain(self) -> Any:
        """Return strings, lists and dicts; fields without a value are left out."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items() if node.value is not None}
        if isinstance(self.value, tuple):
            return [node.plain() for node in self.value]
        return self.value

    def fields(self) -> "dict[str, Node]":
        """Return its fields, none where it is not a mapping."""
        return self.value if isinstance(self.value, dict) else {}


def read_tree(file: str, data: bytes) -> Node:
    """Parse YAML 1.2 without turning words into numbers or dates; raises ModelsFileError."""
    if len(data) > MAX_BYTES:
        raise ModelsFileError(file, 1, "", f"the file is larger than {MAX_BYTES // 2**20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelsFileError(file, data.count(b"\n", 0, error.start) + 1, "", "this is not UTF-8 text") from error
    if odd := _ODD_BREAKS.search(text):
        row = text.count("\n", 0, odd.start()) + 1
        raise ModelsFileError(file, row, "", "there is an invisible line separator in this line; delete it")
    for row, line in enumerate(text.splitlines(), 1):
        if line.count("[") + line.count("{") > MAX_BRACKETS:
            raise ModelsFileError(file, row, "", f"there are more than {MAX_BRACKETS} brackets in one line")
    try:
        return _Builder(file, text).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = (mark.line, mark.column + 1) if mark else (0, 1)
        problem = f"{error.problem or error.context} (column {where[1]}); is a quote or an indent missing?"
        raise ModelsFileError(file, where[0] + 1, "", problem) from error
    except ReaderError as error:
        row = text.count("\n", 0, error.position) + 1
        raise ModelsFileError(file, row, "", "there is a control character in this line") from error
    except YAMLError as error:
        raise ModelsFileError(file, 1, "", f"this is not YAML: {error}") from error


class _Builder:
    """Builds nodes from parser events: the parser keeps no stack of Python calls, so depth is seen before it hurts."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._lines = text.splitlines()
        self._events: Iterator[Any] = YAML(typ="safe", pure=True).parse(text)
        self._nodes = 0
        self._anchors: dict[str, tuple[Node, int]] = {}

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    raise self._wrong(event, "", "there is a second document (`---`) in the file")
                root = self._node(next(self._events), "", 0)
        return root or Node(None, 0)

    def _wrong(self, event: Event, field: str, problem: str) -> ModelsFileError:
        return ModelsFileError(self._file, event.start_mark.line + 1, field, problem)

    def _count(self, event: Event, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._wrong(event, "", f"the file holds more than {MAX_NODES} values, aliases written out")

    def _node(self, event: Any, field: str, depth: int) -> Node:
        self._count(event, 1)
        if isinstance(event, AliasEvent):
            return self._aliased(event, field)
        if event.tag is not None:
            raise self._wrong(event, field, f"tags such as `{str(event.tag)[:60]}` are not used here; delete it")
        if depth > MAX_DEPTH:
            raise self._wrong(event, "", f"values are nested more than {MAX_DEPTH} deep")
        before = self._nodes
        mark = event.start_mark
        if isinstance(event, ScalarEvent):
            empty = event.style is None and event.value in NULLS
            node = Node(None if empty else event.value, mark.line, mark.column)
        elif isinstance(event, SequenceStartEvent):
            node = Node(self._items(field, depth), mark.line, mark.column)
        else:
            node = self._mapping(event, field, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node, self._nodes - before + 1
        return node

    def _aliased(self, event: AliasEvent, field: str) -> Node:
        if event.anchor not in self._anchors:
            raise self._wrong(event, field, f"nothing above it is marked `&{event.anchor}`")
        node, nodes = self._anchors[event.anchor]
        self._count(event, nodes)
        return Node(node.value, event.start_mark.line, event.start_mark.column)

    def _items(self, field: str, depth: int) -> tuple[Node, ...]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, f"{field}.{len(items)}", depth + 1))
        return tuple(items)

    def _mapping(self, start: MappingStartEvent, field: str, depth: int) -> Node:
        fields: dict[str, Node] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            if not isinstance(event, ScalarEvent) or event.tag is not None:
                raise self._wrong(event, field, "a field's name must be a plain word")
            key, mark = event.value, event.start_mark
            inner = f"{field}.{key}" if field else key
            if key in fields:
                first = fields[key].row + 1
                raise self._wrong(event, inner, f"stands twice, first in line {first}; delete or rename one of them")
            width = event.end_mark.column - mark.column
            node = self._node(next(self._events), inner, depth + 1)
            fields[key] = Node(node.value, mark.line, mark.column, width, node.end, node.flow)
        mark = event.start_mark
        # A block ends where the next thing begins, or behind the last character of a file without a last newline.
        inside = mark.line < len(self._lines) and bool(self._lines[mark.line][: mark.column].strip())
        flow = bool(start.flow_style)
        return Node(fields, start.start_mark.line, start.start_mark.column, 0, mark.line + (inside or flow), flow)
