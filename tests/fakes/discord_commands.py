"""The application commands registered with the fake Discord, and what it refuses to register."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tests.fakes.discord_values import Json, Refusal, Snowflakes, bad_form

SUBCOMMAND, GROUP, STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(1, 12)
_MOST = {1: 100, 2: 15, 3: 15}
_DEFAULTS: Json = {
    "description": "",
    "options": [],
    "default_member_permissions": None,
    "nsfw": False,
    "contexts": None,
    "integration_types": [0],
    "dm_permission": True,
}


class Commands:
    """Commands by scope: None for the global ones, else the guild's id."""

    def __init__(self, ids: Snowflakes, application_id: int) -> None:
        self._ids = ids
        self._application_id = application_id
        self._scopes: dict[int | None, dict[tuple[int, str], Json]] = {}

    def all(self, scope: int | None) -> list[Json]:
        return list(self._scopes.get(scope, {}).values())

    def named(self, name: str, guild_id: int | None, kind: int = 1) -> Json | None:
        """Return the command people see under `name`: the guild's own one hides the global one."""
        own = self._scopes.get(guild_id, {}) if guild_id is not None else {}
        return own.get((kind, name)) or self._scopes.get(None, {}).get((kind, name))

    def replace(self, scope: int | None, bodies: Sequence[Json]) -> list[Json]:
        for kind, most in _MOST.items():
            if sum((body.get("type") or 1) == kind for body in bodies) > most:
                raise Refusal(400, 30032, f"Maximum number of application commands reached ({most})")
        for index, body in enumerate(bodies):
            check_command(str(index), body)
        keys = [_key(body) for body in bodies]
        if len(set(keys)) < len(keys):
            raise bad_form("", "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")
        before = self._scopes.get(scope, {})
        self._scopes[scope] = {_key(body): self._stored(scope, body, before.get(_key(body))) for body in bodies}
        return self.all(scope)

    def add(self, scope: int | None, body: Json) -> tuple[int, Json]:
        """Return 201 for a new command, 200 for one that was written over, and the command."""
        check_command("", body)
        before = self._scopes.setdefault(scope, {}).get(_key(body))
        stored = self._stored(scope, body, before)
        self._scopes[scope][_key(body)] = stored
        return (201 if before is None else 200), stored

    def get(self, scope: int | None, command_id: str) -> Json:
        for command in self.all(scope):
            if command["id"] == command_id:
                return command
        raise Refusal(404, 10063, "Unknown application command")

    def change(self, scope: int | None, command_id: str, body: Json) -> Json:
        old = self.get(scope, command_id)
        merged = {name: old[name] for name in ("name", "type", *_DEFAULTS) if name in old} | body
        check_command("", merged)
        del self._scopes[scope][_key(old)]
        self._scopes[scope][_key(merged)] = stored = self._stored(scope, merged, old)
        return stored

    def remove(self, scope: int | None, command_id: str) -> None:
        del self._scopes[scope][_key(self.get(scope, command_id))]

    def _stored(self, scope: int | None, body: Json, before: Json | None) -> Json:
        given = {name: value for name, value in body.items() if value is not None}
        permissions = given.get("default_member_permissions")
        return {
            **_DEFAULTS,
            "type": 1,
            **given,
            **({} if scope is None else {"guild_id": str(scope)}),
            "id": before["id"] if before else str(self._ids.new()),
            "application_id": str(self._application_id),
            "version": str(self._ids.new()),
            "default_member_permissions": None if permissions is None else str(permissions),
            "options": [_without_nulls(option) for option in given.get("options", [])],
        }


def check_command(where: str, body: Json) -> None:
    kind, name = body.get("type") or 1, body.get("name") or ""
    description = body.get("description") or ""
    if kind == 1:
        _check_name(where, name)
        _within(where, "description", description, 1, 100)
        _check_options(f"{where}.options".strip("."), body.get("options") or [])
    else:
        _within(where, "name", name, 1, 32)
        if description or body.get("options"):
            text = "Context menu commands cannot have description or options"
            raise bad_form(where, "APPLICATION_COMMAND_INVALID_DESCRIPTION", text)
    if sum(map(len, _texts(body))) > 8000:
        raise bad_form(where, "APPLICATION_COMMAND_TOO_LARGE", "Command exceeds maximum size (8000)")


def _check_options(where: str, options: Sequence[Json]) -> None:
    if len(options) > 25:
        raise bad_form(where, "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    if len({option.get("name") for option in options}) < len(options):
        raise bad_form(where, "APPLICATION_COMMAND_OPTIONS_NAME_INVALID", "Option names must be unique")
    optional_seen = False
    for index, option in enumerate(options):
        place = f"{where}.{index}"
        _check_name(place, option.get("name") or "")
        _within(place, "description", option.get("description") or "", 1, 100)
        if option["type"] in {SUBCOMMAND, GROUP}:
            _check_options(f"{place}.options", option.get("options") or [])
            continue
        if option.get("required") and optional_seen:
            text = "Required options must be placed before non-required options"
            raise bad_form(place, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", text)
        optional_seen |= not option.get("required")
        _check_values(place, option)


def _check_values(where: str, option: Json) -> None:
    kind, choices = option["type"], option.get("choices") or []
    if option.get("autocomplete") and (choices or kind not in {STRING, INTEGER, NUMBER}):
        text = "Autocomplete stands only on string, integer and number options without choices"
        raise bad_form(where, "APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE_INVALID", text)
    for index, choice in enumerate(choices):
        _within(f"{where}.choices.{index}", "name", choice.get("name") or "", 1, 100)
        if isinstance(choice.get("value"), str):
            _within(f"{where}.choices.{index}", "value", choice["value"], 1, 100)
    ranges = [name for name in ("min_value", "max_value") if option.get(name) is not None]
    if ranges and kind not in {INTEGER, NUMBER}:
        raise bad_form(f"{where}.{ranges[0]}", "APPLICATION_COMMAND_OPTIONS_RANGE_INVALID", "Only numbers have a range")


def _check_name(where: str, name: str) -> None:
    if not re.fullmatch(r"[-_'\w]{1,32}", name) or name != name.lower():
        text = "Command name is invalid"
        raise bad_form(f"{where}.name".strip("."), "APPLICATION_COMMAND_INVALID_NAME", text)


def _within(where: str, name: str, text: str, low: int, high: int) -> None:
    if not low <= len(text) <= high:
        place = f"{where}.{name}".strip(".")
        raise bad_form(place, "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")


def _texts(part: Json) -> Iterator[str]:
    yield from (part[name] for name in ("name", "description") if isinstance(part.get(name), str))
    yield from (choice["value"] for choice in part.get("choices") or [] if isinstance(choice.get("value"), str))
    for inner in [*(part.get("options") or []), *(part.get("choices") or [])]:
        yield from _texts(inner)


def _key(body: Json) -> tuple[int, str]:
    return body.get("type") or 1, body["name"]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
