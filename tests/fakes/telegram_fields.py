"""How the fake Telegram reads a request: query, form, JSON or multipart, into plain values by field name."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

from tests.fakes.telegram_messages import Json
from tests.fakes.telegram_world import ApiError, bad

JSON_FIELDS = {
    "allowed_updates", "button", "caption_entities", "commands", "entities", "link_preview_options", "media",
    "menu_button", "message_ids", "reaction", "reply_markup", "reply_parameters", "results", "scope",
}  # fmt: skip
INTEGER_FIELDS = {
    "cache_time", "chat_id", "limit", "max_connections", "message_id", "message_thread_id", "offset", "timeout", "user_id",
}  # fmt: skip
BOOLEAN_FIELDS = {
    "allow_paid_broadcast", "disable_content_type_detection", "disable_notification", "drop_pending_updates",
    "has_spoiler", "is_big", "is_personal", "protect_content", "return_bots", "show_alert", "show_caption_above_media",
}  # fmt: skip
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
JSON_NAMES = {"reply_markup": "reply keyboard markup", "media": "media", "scope": "BotCommandScope"}
REQUEST_LIMIT = 50 << 20
"""Bytes the cloud Bot API accepts in one upload."""


@dataclass(frozen=True, slots=True)
class Upload:
    name: str
    content: bytes = field(repr=False)
    content_type: str


@dataclass(frozen=True, slots=True)
class Call:
    """One request, its values already numbers, booleans and JSON where the field asks for that."""

    method: str
    fields: Json
    uploads: dict[str, Upload]

    def get(self, name: str, default: Any = None) -> Any:
        return self.fields.get(name, default)

    def text(self, name: str) -> str:
        """Empty when the field is missing."""
        value = self.fields.get(name, "")
        return value if isinstance(value, str) else str(value)

    def integer(self, name: str) -> int | None:
        """None when the field is missing; a chat's `@name` is no integer."""
        value = self.fields.get(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise bad(f'field "{name}" must be an Integer')

    def needed(self, name: str) -> int:
        value = self.integer(name)
        if value is None:
            raise bad(f"{name.replace('_', ' ')} is not specified")
        return value

    @property
    def chat_id(self) -> int | str:
        value: int | str = self.fields.get("chat_id", "")
        if value == "":
            raise bad("chat_id is empty")
        return value

    def file(self, name: str, value: Any = None) -> Upload | str:
        """What `name` brings: an upload (named by itself or by attach://), or a file id or address as text."""
        value = self.fields.get(name) if value is None else value
        if value is None and name in self.uploads:
            return self.uploads[name]
        if not isinstance(value, str) or not value:
            raise bad(f"there is no {name} in the request")
        if not value.startswith("attach://"):
            return value
        if upload := self.uploads.get(value.removeprefix("attach://")):
            return upload
        raise bad("wrong file identifier/HTTP URL specified: nothing is attached under that name")


async def read_call(method: str, request: web.Request) -> Call:
    """Decode `request`; 400 when a value can not be read, 413 when the upload is too large."""
    raw: Json = dict(request.query)
    uploads: dict[str, Upload] = {}
    if request.content_type == "application/json":
        raw |= _json_object(await request.read())
    elif request.content_type == "multipart/form-data":
        raw |= await _parts(request, uploads)
    elif request.content_type == "application/x-www-form-urlencoded":
        raw |= dict(await request.post())
    if sum(len(one.content) for one in uploads.values()) > REQUEST_LIMIT:
        raise ApiError(413, "Request Entity Too Large")
    fields = {name: _decoded(name, value) for name, value in raw.items()}
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        # JSON can spell half of a surrogate pair.
        raise bad("strings must be encoded in UTF-8") from error
    return Call(method, fields, uploads)


async def _parts(request: web.Request, uploads: dict[str, Upload]) -> Mapping[str, str]:
    texts: dict[str, str] = {}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            raise bad("can't parse the multipart body: a part has no name")
        content = bytes(await part.read(decode=True))
        if part.filename is None:
            texts[part.name] = _utf8(content)
        else:
            kind = part.headers.get("Content-Type", "application/octet-stream")
            uploads[part.name] = Upload(part.filename, content, kind)
    return texts


def _json_object(body: bytes) -> Json:
    if not body:
        return {}
    try:
        value = json.loads(_utf8(body))
    except ValueError as error:
        raise bad("can't parse JSON object") from error
    if not isinstance(value, dict):
        raise bad("JSON object expected")
    return value


def _utf8(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise bad("strings must be encoded in UTF-8") from error


def _decoded(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if name in JSON_FIELDS:
        try:
            return json.loads(value) if value else None
        except ValueError as error:
            raise bad(f"can't parse {JSON_NAMES.get(name, name)} JSON object") from error
    if name in INTEGER_FIELDS and re.fullmatch(r"-?\d+", value):
        return int(value)
    if name in BOOLEAN_FIELDS:
        return BOOLEANS.get(value.lower(), value)
    return value
