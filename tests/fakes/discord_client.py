"""The app in a person's hand: what it sends for a command, a button or a form, and what it does not let them do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.discord_commands import (
    ATTACHMENT,
    BOOLEAN,
    CHANNEL,
    GROUP,
    INTEGER,
    MENTIONABLE,
    NUMBER,
    ROLE,
    STRING,
    SUBCOMMAND,
    USER,
)
from tests.fakes.discord_components import walk
from tests.fakes.discord_files import Upload
from tests.fakes.discord_messages import Message
from tests.fakes.discord_values import Channel, Json, Permission, User
from tests.fakes.discord_world import World

_SELECTS = (3, 5, 6, 7, 8)
_NUMBERS: dict[int, tuple[type, ...]] = {INTEGER: (int,), NUMBER: (int, float)}


class RefusedByClient(Exception):
    """The app would not let a person do this, so nothing was sent."""


def visible_command(world: World, name: str, user: User, channel: Channel, kind: int = 1) -> Json:
    """Return the command as this person sees it here; raise where the app would not offer it."""
    command = world.commands.named(name, channel.guild_id, kind)
    if command is None:
        raise RefusedByClient(f"no command /{name} is registered")
    contexts = command["contexts"]
    private = channel.guild_id is None
    if private and (command.get("guild_id") or not command["dm_permission"] or (contexts and 1 not in contexts)):
        raise RefusedByClient(f"/{name} is not offered in private conversations")
    if not private and contexts and 0 not in contexts:
        raise RefusedByClient(f"/{name} is not offered in guilds")
    if channel.hidden and 1 not in command["integration_types"]:
        raise RefusedByClient(f"/{name} cannot be installed by a user for themselves")
    if command["nsfw"] and not private and not world.is_age_restricted(channel):
        raise RefusedByClient(f"/{name} is offered only in age-restricted channels")
    needed, held = command["default_member_permissions"], world.permissions_of(user)
    lacking = needed is not None and (needed == "0" or int(needed) & ~int(held))
    if not private and lacking and not held & Permission.ADMINISTRATOR:
        raise RefusedByClient(f"{user.name} may not use /{name}")
    return command


@dataclass(slots=True)
class Filling:
    """The options of one command as a person filled them in, and what they point at."""

    world: World
    channel: Channel
    resolved: Json = field(default_factory=dict)

    def data(self, command: Json, path: list[str], values: Mapping[str, Any], focused: str | None = None) -> Json:
        """Return the interaction's data; with `focused` the form is unfinished and only that option is being typed."""
        data: Json = {"id": command["id"], "name": command["name"], "type": command["type"]}
        if command.get("guild_id"):
            data["guild_id"] = command["guild_id"]
        options = self._options(command, path, values, focused)
        if options:
            data["options"] = options
        return data | ({"resolved": self.resolved} if self.resolved else {})

    def _options(self, place: Json, path: list[str], values: Mapping[str, Any], focused: str | None) -> list[Json]:
        declared: list[Json] = place.get("options") or []
        inner = {option["name"]: option for option in declared if option["type"] in {SUBCOMMAND, GROUP}}
        if inner:
            if not path or path[0] not in inner:
                raise RefusedByClient(f"{place['name']} needs one of {sorted(inner)}")
            chosen = inner[path[0]]
            filled = self._options(chosen, path[1:], values, focused)
            return [{"type": chosen["type"], "name": chosen["name"], "options": filled}]
        if path:
            raise RefusedByClient(f"{place['name']} has no subcommand {path[0]}")
        known = {option["name"]: option for option in declared}
        if unknown := set(values) - set(known):
            raise RefusedByClient(f"{place['name']} has no option {sorted(unknown)}")
        if focused is None:
            missing = [name for name, option in known.items() if option.get("required") and name not in values]
            if missing:
                raise RefusedByClient(f"{missing} must be filled in")
        return [self._option(known[name], value, typing=name == focused) for name, value in values.items()]

    def _option(self, option: Json, value: Any, *, typing: bool) -> Json:
        filled: Json = {"type": option["type"], "name": option["name"]}
        if typing:
            if not option.get("autocomplete"):
                raise RefusedByClient(f"{option['name']} has no autocomplete")
            return filled | {"value": str(value), "focused": True}
        return filled | {"value": _FILLERS[option["type"]](self, option, value)}

    def text(self, option: Json, value: Any) -> str:
        if not isinstance(value, str):
            raise RefusedByClient(f"{option['name']} takes text")
        text = value.strip()  # the app sends no blanks at the ends
        low, high = option.get("min_length") or (1 if option.get("required") else 0), option.get("max_length") or 6000
        if not low <= len(text) <= high:
            raise RefusedByClient(f"{option['name']} takes {low} to {high} characters")
        return str(self._chosen(option, text))

    def number(self, option: Json, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, _NUMBERS[option["type"]]):
            raise RefusedByClient(f"{option['name']} takes a number")
        low, high = option.get("min_value", -(2**53)), option.get("max_value", 2**53)
        if not low <= value <= high:
            raise RefusedByClient(f"{option['name']} takes {low} to {high}")
        return self._chosen(option, value)

    def switch(self, option: Json, value: Any) -> bool:
        if not isinstance(value, bool):
            raise RefusedByClient(f"{option['name']} takes yes or no")
        return value

    def thing(self, option: Json, value: Any) -> str:
        number = value.id if isinstance(value, User | Channel) else int(value)
        if number in self.world.users and option["type"] in {USER, MENTIONABLE}:
            person = self.world.users[number]
            self._resolve("users", number, person.payload())
            if self.channel.guild_id is not None:
                member = self.world.member_payload(person, with_permissions=True)
                self._resolve("members", number, {name: part for name, part in member.items() if name != "user"})
        elif number in self.world.channels and option["type"] == CHANNEL:
            permissions = str(int(self.world.bot_permissions))
            self._resolve("channels", number, self.world.channels[number].payload() | {"permissions": permissions})
        else:
            raise RefusedByClient(f"{option['name']}: nothing here has the id {number}")
        return str(number)

    def file(self, option: Json, value: Any) -> str:
        if not isinstance(value, Upload):
            raise RefusedByClient(f"{option['name']} takes a file")
        attachment = self.world.shelf.put(value, self.channel.id, {}, ephemeral=True)
        self._resolve("attachments", attachment.id, attachment.payload(self.world.shelf.link(attachment)))
        return str(attachment.id)

    def _chosen(self, option: Json, value: Any) -> Any:
        allowed = [choice["value"] for choice in option.get("choices") or []]
        if allowed and value not in allowed:
            raise RefusedByClient(f"{option['name']} takes one of {allowed}")
        return value

    def _resolve(self, kind: str, number: int, payload: Json) -> None:
        self.resolved.setdefault(kind, {})[str(number)] = payload


_FILLERS: dict[int, Callable[[Filling, Json, Any], Any]] = {
    STRING: Filling.text,
    INTEGER: Filling.number,
    NUMBER: Filling.number,
    BOOLEAN: Filling.switch,
    USER: Filling.thing,
    CHANNEL: Filling.thing,
    ROLE: Filling.thing,
    MENTIONABLE: Filling.thing,
    ATTACHMENT: Filling.file,
}


def pressed(message: Message, wanted: str, user: User) -> Json:
    """Return the data of a press on the button with this custom id, label or emoji."""
    _check_visible(message, user)
    for part in walk(message.components):
        names = {part.get("custom_id"), part.get("label"), (part.get("emoji") or {}).get("name")}
        if part.get("type") == 2 and wanted in names:
            if part.get("disabled") or not part.get("custom_id"):
                raise RefusedByClient(f"the button {wanted!r} cannot be pressed")
            return {"custom_id": part["custom_id"], "component_type": 2, "id": part["id"]}
    shown = [button.label or button.emoji for button in message.buttons]
    raise RefusedByClient(f"there is no button {wanted!r}; there are {shown}")


def selected(message: Message, custom_id: str, values: list[str], user: User) -> Json:
    """Return the data of a choice in the menu with this custom id."""
    _check_visible(message, user)
    for part in walk(message.components):
        if part.get("type") in _SELECTS and part.get("custom_id") == custom_id and not part.get("disabled"):
            offered = [option["value"] for option in part.get("options") or []]
            low, high = part.get("min_values", 1), part.get("max_values", 1)
            if (offered and set(values) - set(offered)) or not low <= len(values) <= high:
                raise RefusedByClient(f"{custom_id} takes {low} to {high} of {offered}")
            kind, number = part["type"], part["id"]
            return {"custom_id": custom_id, "component_type": kind, "id": number, "values": values}
    raise RefusedByClient(f"there is no menu {custom_id!r}")


def submitted(form: Json, values: Mapping[str, Any]) -> Json:
    """Return the data of a filled-in modal; `values` go by custom id or label, the rest keeps what was prefilled."""
    left = dict(values)
    components = [_submitted_part(component, left) for component in form["components"]]
    if left:
        raise RefusedByClient(f"the form has no field {sorted(left)}")
    return {"custom_id": form["custom_id"], "components": components}


def _submitted_part(component: Json, left: dict[str, Any]) -> Json:
    own = {"type": component["type"], "id": component.get("id") or 0}
    if component["type"] == 18:
        return own | {"component": _submitted_field(component["component"], component["label"], left)}
    if component["type"] == 1:
        fields = [_submitted_field(inner, inner.get("label") or "", left) for inner in component["components"]]
        return own | {"components": fields}
    return own


def _submitted_field(part: Json, label: str, left: dict[str, Any]) -> Json:
    custom_id = part["custom_id"]
    given = left.pop(custom_id, left.pop(label, None))
    own = {"type": part["type"], "id": part.get("id") or 0, "custom_id": custom_id}
    if part["type"] != 4:
        chosen = [option["value"] for option in part.get("options") or [] if option.get("default")]
        return own | {"values": chosen if given is None else list(given)}
    text = str((part.get("value") or "") if given is None else given)
    required = part.get("required") is not False
    low, high = part.get("min_length") or (1 if required else 0), part.get("max_length") or 4000
    if (text or required) and not low <= len(text) <= high:
        raise RefusedByClient(f"{label or custom_id} takes {low} to {high} characters")
    return own | {"value": text}


def _check_visible(message: Message, user: User) -> None:
    if message.deleted or (message.visible_to is not None and message.visible_to != user.id):
        raise RefusedByClient(f"{user.name} does not see this message")
