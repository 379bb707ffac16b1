"""Files of the fake Telegram: photos weighed and compressed as the real one does it, documents kept as they are."""

import io
import itertools
import mimetypes
import secrets
import warnings
from dataclasses import dataclass, field

from PIL import Image, UnidentifiedImageError

from tests.fakes.telegram_fields import Upload
from tests.fakes.telegram_messages import Document, Json, Photo
from tests.fakes.telegram_world import bad

PHOTO_BYTES = 10 << 20
PHOTO_SIDES = 10_000
"""Width and height together, in pixels."""
PHOTO_RATIO = 20
DOWNLOAD_BYTES = 20 << 20
SERVED_SIDES = (90, 320, 800, 1280)
"""Longest sides of the sizes in which a photo is served, in pixels."""


@dataclass(frozen=True, slots=True)
class Stored:
    path: str
    content: bytes = field(repr=False)
    whole: Photo | Document = field(repr=False)
    shown: Json = field(repr=False)


class Files:
    def __init__(self) -> None:
        self._stored: dict[str, Stored] = {}
        self._numbers = itertools.count()

    def photo(self, source: Upload | str) -> Photo:
        """The photo of an upload or of a known file id; raises ApiError 400 as the real API does."""
        if isinstance(source, str):
            whole = self._known(source).whole
            if isinstance(whole, Document):
                raise bad("can't use file of type Document as Photo")
            return whole
        return self.new_photo(source.content)

    def document(self, source: Upload | str) -> Document:
        if isinstance(source, str):
            whole = self._known(source).whole
            if isinstance(whole, Photo):
                raise bad("can't use file of type Photo as Document")
            return whole
        return self.new_document(source.content, source.name)

    def new_photo(self, content: bytes) -> Photo:
        picture = _opened(content)
        sizes: list[Json] = []
        served: list[tuple[str, bytes]] = []
        for side in SERVED_SIDES:
            small = picture.copy()
            small.thumbnail((side, side))
            written = io.BytesIO()
            small.save(written, "JPEG", quality=87)
            named = self._names("AgACAgIAAxkBAA")
            sizes.append(named | {"width": small.width, "height": small.height, "file_size": written.tell()})
            served.append((named["file_id"], written.getvalue()))
            if small.size == picture.size:
                break
        photo = Photo(content, picture.width, picture.height, tuple(sizes))
        for (file_id, jpeg), size in zip(served, sizes, strict=True):
            self._stored[file_id] = Stored(f"photos/file_{next(self._numbers)}.jpg", jpeg, photo, size)
        return photo

    def new_document(self, content: bytes, name: str) -> Document:
        if not content:
            raise bad("file must be non-empty")
        named = self._names("BQACAgIAAxkBAA")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        shown: Json = {**named, "file_name": name, "mime_type": kind, "file_size": len(content)}
        document = Document(content, name, shown)
        suffix = name.rpartition(".")[2] if "." in name else "bin"
        path = f"documents/file_{next(self._numbers)}.{suffix}"
        self._stored[named["file_id"]] = Stored(path, content, document, shown)
        return document

    def describe(self, file_id: str) -> Json:
        """The Bot API's File, with the path to download it from."""
        stored = self._known(file_id)
        if len(stored.content) > DOWNLOAD_BYTES:
            raise bad("file is too big")
        named = {key: stored.shown[key] for key in ("file_id", "file_unique_id", "file_size")}
        return named | {"file_path": stored.path}

    def download(self, path: str) -> bytes | None:
        """None when no file has this path."""
        return next((one.content for one in self._stored.values() if one.path == path), None)

    def _known(self, file_id: str) -> Stored:
        if file_id.startswith(("http://", "https://")):
            raise bad("failed to get HTTP URL content")
        if stored := self._stored.get(file_id):
            return stored
        raise bad("wrong file identifier/HTTP URL specified")

    def _names(self, prefix: str) -> dict[str, str]:
        return {"file_id": prefix + secrets.token_urlsafe(40), "file_unique_id": "AQAD" + secrets.token_urlsafe(9)}


def _opened(content: bytes) -> Image.Image:
    if len(content) > PHOTO_BYTES:
        raise bad(f"file of size {len(content)} bytes is too big for a photo; the maximum size is {PHOTO_BYTES} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content))
            _measure(*picture.size)
            return picture.convert("RGB")
    except Image.DecompressionBombError as error:
        raise bad("PHOTO_INVALID_DIMENSIONS") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise bad("IMAGE_PROCESS_FAILED") from error


def _measure(width: int, height: int) -> None:
    if width + height > PHOTO_SIDES or max(width, height) > PHOTO_RATIO * min(width, height):
        raise bad("PHOTO_INVALID_DIMENSIONS")
