"""Requests to the fake Discord held against Discord's machine-readable description, where that lies at hand."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from tests.fakes.discord_calls import Call
from tests.fakes.discord_values import Json, Refusal
from tests.fakes.openapi import Amendment, Fault, OpenApi, find_spec, load_openapi

_SNOWFLAKE = {"anyOf": [{"type": "string", "pattern": "^(0|[1-9][0-9]*)$"}, {"type": "integer", "minimum": 0}]}
_BITS = {"anyOf": [{"type": ["integer", "null"], "minimum": 0}, {"type": "string", "pattern": "^[0-9]+$"}]}
_SCHEMAS = "components/schemas"
_CREATE, _PATCH, _PUT = (
    f"{_SCHEMAS}/ApplicationCommand{kind}/properties"
    for kind in ("CreateRequest", "PatchRequestPartial", "UpdateRequest")
)

# Where the description and the documentation differ, the documentation wins.
AMENDMENTS = (
    Amendment(
        f"{_SCHEMAS}/SnowflakeType",
        _SNOWFLAKE,
        "ids are accepted as numbers too: the documentation's own example of an upload writes attachments[].id as 0",
    ),
    *(
        Amendment(
            f"{place}/default_member_permissions", _BITS, "documented as a string of bits; libraries send a number"
        )
        for place in (_CREATE, _PATCH, _PUT)
    ),
    *(
        Amendment(f"{place}/nsfw", {"type": ["boolean", "null"]}, "documented for commands, missing in the description")
        for place in (_CREATE, _PATCH, _PUT)
    ),
    Amendment(
        f"{_SCHEMAS}/Error/properties/code",
        {"type": ["integer", "string"]},
        "the documented errors of single fields have codes such as BASE_TYPE_MAX_LENGTH",
    ),
    Amendment(
        f"{_SCHEMAS}/RatelimitedResponse",
        {"required": ["message", "retry_after", "global"], "properties": {"retry_after": {"type": "number"}}},
        "documented: only some refusals for too many requests carry a code",
    ),
)
# Fields that are sent without effect and without harm.
IDLE_FIELDS = {
    "tts": "discord.py sends it with every edit; it counts only when a message is created",
    "data.tts": "discord.py sends it with every callback",
    "embeds.flags": "discord.py sends it with every embed",
    "data.embeds.flags": "discord.py sends it with every embed",
    "dm_permission": "deprecated in favour of contexts; discord.py still sends it",
}


@cache
def discord_spec() -> OpenApi | None:
    """Return the description; None where it is not at hand, and then nothing is checked."""
    path = find_spec("discord-openapi.json")
    return None if path is None else load_openapi(path, AMENDMENTS)


def check_request(spec: OpenApi, call: Call) -> list[str]:
    """Return what the request gets wrong without harm; raise the refusal for what Discord would not take."""
    name = f"{call.method} {call.template}"
    if not spec.knows(call.method, call.template):
        return [f"{name}: no such request is described"]
    faults = [*spec.parameter_faults(call.method, call.template, call.params, call.query)]
    faults += spec.body_faults(call.method, call.template, call.json)
    if faults:
        raise SchemaRefusal(name, faults)
    unknown = spec.unknown_fields(call.method, call.template, call.json)
    return [f"{name}: the field {field} is not known" for field in unknown if _bare(field) not in IDLE_FIELDS]


def answer_faults(spec: OpenApi, call: Call, status: int, body: Any) -> Iterator[str]:
    """Yield where the fake itself does not answer as described."""
    for fault in spec.answer_faults(call.method, call.template, status, body):
        yield f"{call.method} {call.template} answers {status}: {fault}"


class SchemaRefusal(Refusal):
    def __init__(self, name: str, faults: list[Fault]) -> None:
        errors: Json = {}
        for fault in faults:
            place = errors
            for part in fault.where.split(".") if fault.where else ():
                place = place.setdefault(part, {})
            place.setdefault("_errors", []).append({"code": "SCHEMA", "message": fault.text})
        super().__init__(400, 50035, "Invalid Form Body", errors)
        self.violations = [f"{name}: {fault}" for fault in faults]


def _bare(field: str) -> str:
    """The field's name without the place in a list it stands at."""
    return ".".join(part for part in field.split(".") if not part.isdigit())
