"""Files on the fake Discord: as they are sent, as they hang on a message, and the signed links to them."""

import hashlib
import mimetypes
import re
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.discord_values import Json, Snowflakes

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it travels; what is left open is guessed from the name and the bytes."""

    filename: str
    data: bytes
    content_type: str = ""
    declared_size: int | None = None
    """What Discord says the size is, where it should differ from the truth."""

    @property
    def kind(self) -> str:
        return self.content_type or mimetypes.guess_type(self.filename)[0] or "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Attachment:
    id: int
    path: str
    upload: Upload
    filename: str
    description: str | None = None
    title: str | None = None
    ephemeral: bool = False

    @property
    def data(self) -> bytes:
        return self.upload.data

    @property
    def content_type(self) -> str:
        return self.upload.kind

    @property
    def spoiler(self) -> bool:
        return self.filename.startswith("SPOILER_")

    def payload(self, url: str) -> Json:
        size = self.upload.declared_size
        shape: Json = {"id": str(self.id), "filename": self.filename, "url": url, "proxy_url": url}
        shape |= {"size": len(self.data) if size is None else size, "content_type": self.content_type}
        if self.data.startswith(_PNG) and len(self.data) >= 24:
            shape["width"], shape["height"] = struct.unpack(">II", self.data[16:24])
        optional = {"description": self.description, "title": self.title, "ephemeral": self.ephemeral or None}
        return shape | {name: value for name, value in optional.items() if value is not None}


def safe_filename(name: str) -> tuple[str, str | None]:
    """The name Discord stores, and the title it keeps where that name differs: spaces become underscores."""
    stored = re.sub(r"[^\w.\-]", "", name.replace(" ", "_"), flags=re.ASCII)
    return stored or "file", None if stored == name else name.rsplit(".", 1)[0]


class Shelf:
    """Where files lie; links are signed and die after `life_s` seconds, as the CDN's do."""

    def __init__(self, ids: Snowflakes) -> None:
        self.base = ""
        self.life_s = 86_400.0
        self._ids = ids
        self._files: dict[str, Attachment] = {}

    def put(self, upload: Upload, channel_id: int, entry: Mapping[str, Any], *, ephemeral: bool = False) -> Attachment:
        filename, title = safe_filename(entry.get("filename") or upload.filename)
        if entry.get("is_spoiler") and not filename.startswith("SPOILER_"):
            filename = f"SPOILER_{filename}"
        number = self._ids.new()
        path = f"/{'ephemeral-' if ephemeral else ''}attachments/{channel_id}/{number}/{filename}"
        title = entry.get("title") or title
        attachment = Attachment(number, path, upload, filename, entry.get("description"), title, ephemeral)
        self._files[path] = attachment
        return attachment

    def link(self, attachment: Attachment) -> str:
        now = int(time.time())
        dies = f"{now + int(self.life_s):x}"
        return f"{self.base}{attachment.path}?ex={dies}&is={now:x}&hm={self._signature(attachment.path, dies)}"

    def get(self, path: str, query: Mapping[str, str]) -> Attachment | None:
        """Return the file behind a link; None where the link is dead, altered or unknown."""
        dies = query.get("ex", "0")
        alive = re.fullmatch(r"[0-9a-f]+", dies) and int(dies, 16) > time.time()
        signed = query.get("hm") == self._signature(path, dies)
        return self._files.get(path) if alive and signed else None

    def _signature(self, path: str, dies: str) -> str:
        return hashlib.sha256(f"{path}{dies}{id(self)}".encode()).hexdigest()
