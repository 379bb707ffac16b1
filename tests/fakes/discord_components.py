"""The JSON trees of embeds and components: walked, numbered, and shown as Discord shows them back."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.fakes.discord_values import Json

EMBED_TEXTS = ("title", "description", "name", "value", "text")
_REFERENCE = re.compile(r"attachment://(.+)")
# What Discord writes into its answers although the request left it out, by component type.
_ONE_CHOICE: Json = {"min_values": 1, "max_values": 1}
_FILLED_IN: dict[Any, Json] = {
    **dict.fromkeys((3, 5, 6, 7, 8), _ONE_CHOICE),
    11: {"description": None, "spoiler": False},
    13: {"name": None, "size": None, "spoiler": False},
    14: {"spacing": 1, "divider": True},
    17: {"accent_color": None, "spoiler": False},
}
_GALLERY_ITEM: Json = {"description": None, "spoiler": False}


def walk(value: Any) -> Iterator[Json]:
    """Yield every JSON object inside `value`, parents before children."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from walk(inner)


def texts(parts: Sequence[Json], names: Sequence[str]) -> list[str]:
    return [part[name] for part in walk(parts) for name in names if isinstance(part.get(name), str)]


def references(parts: Sequence[Json]) -> set[str]:
    """Names of the files that embeds or components show by attachment://."""
    urls = (part["url"] for part in walk(parts) if isinstance(part.get("url"), str))
    return {match[1] for url in urls if (match := _REFERENCE.fullmatch(url))}


def shown(value: Any, links: Mapping[str, str]) -> Any:
    """Return embeds or components as an answer has them: nulls left out, files by their links."""
    if isinstance(value, list):
        return [shown(inner, links) for inner in value]
    if not isinstance(value, dict):
        return value
    part = {name: shown(inner, links) for name, inner in value.items() if inner is not None}
    if isinstance(part.get("url"), str) and (match := _REFERENCE.fullmatch(part["url"])):
        part["url"] = links.get(match[1], "")
    for name in ("media", "file"):
        if isinstance(part.get(name), dict):
            part[name] = {"id": "0", "proxy_url": part[name]["url"]} | part[name]
    defaults = _GALLERY_ITEM if "media" in part else _FILLED_IN.get(part.get("type"), {})
    return defaults | part


def numbered(components: Sequence[Json]) -> list[Json]:
    """Components with the numeric ids that Discord gives those that have none."""
    count = iter(range(1, 1000))

    def number(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [number(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        own = {"id": value.get("id") or next(count)} if "type" in value else {}
        return own | {name: number(inner) for name, inner in value.items() if name != "id" or not own}

    return [number(component) for component in components]
