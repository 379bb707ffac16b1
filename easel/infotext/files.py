"""Infotext inside picture files: a PNG text chunk, or the EXIF user comment of a WebP or JPEG, as A1111 keeps it."""

import io
import struct
import zlib
from typing import Literal

from PIL import Image, PngImagePlugin

from easel.errors import BadValue

Kind = Literal["PNG", "WEBP", "JPEG"]

KINDS: tuple[Kind, ...] = ("PNG", "WEBP", "JPEG")

CHUNK = "parameters"
EXIF_IFD = 0x8769
USER_COMMENT = 0x9286
UNICODE = b"UNICODE\0"

JPEG_EXIF_BYTES = 65_000
"""A JPEG segment ends at 65,535 bytes."""

MAX_PIXELS = 2**24
"""Pixels that are decoded to reach text chunks behind them; larger pictures are read up to their pixels."""

# What Pillow raises on damaged files; Warning where warnings are errors.
_DAMAGED = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Warning,
)


def encode(image: Image.Image, kind: Kind, infotext: str, *, quality: int = 90) -> bytes:
    """Return the picture as a file that carries `infotext` and no other metadata.

    `quality` (1 to 100) is for WebP and JPEG. An infotext beyond what a JPEG can hold is left out: the picture counts.
    """
    plain = image.convert("RGB") if kind == "JPEG" else image.copy()
    plain.info = {}  # Pillow would write a colour profile or comment that came with the pixels
    file = io.BytesIO()
    if kind == "PNG":
        plain.save(file, kind, pnginfo=_chunks(infotext))
    else:
        plain.save(file, kind, quality=quality, exif=_exif(infotext, kind))
    return file.getvalue()


def read(file: bytes) -> str | None:
    """Return the infotext of a PNG, WebP or JPEG file, or None where there is none.

    Raises BadValue if the bytes are no such picture.
    """
    try:
        with Image.open(io.BytesIO(file), formats=KINDS) as image:
            text = _png_text(image) if isinstance(image, PngImagePlugin.PngImageFile) else _user_comment(image)
    except _DAMAGED as error:
        raise BadValue("That file can not be read as a PNG, WebP or JPEG picture.") from error
    return text or None


def _chunks(infotext: str) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    if infotext:
        chunks.add_text(CHUNK, infotext)  # tEXt, or iTXt where Latin-1 does not do
    return chunks


def _exif(infotext: str, kind: Kind) -> bytes:
    if not infotext:
        return b""
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = UNICODE + infotext.encode("utf-16-be")
    data = exif.tobytes()
    return b"" if kind == "JPEG" and len(data) > JPEG_EXIF_BYTES else data


def _png_text(image: PngImagePlugin.PngImageFile) -> str:
    text = image.info.get(CHUNK)
    if text is None and image.width * image.height <= MAX_PIXELS:
        text = image.text.get(CHUNK)
    return str(text) if isinstance(text, str) else ""


def _user_comment(image: Image.Image) -> str:
    """Return the comment in any of the encodings its first eight bytes may name (EXIF 2.32, 4.6.5)."""
    comment = image.getexif().get_ifd(EXIF_IFD).get(USER_COMMENT)
    if isinstance(comment, str):
        return comment.strip("\0")
    if not isinstance(comment, bytes):
        return ""
    head, body = comment[:8], comment[8:]
    if head != UNICODE:
        body = comment if head.strip(b"\0") not in (b"", b"ASCII") else body
        return body.decode("utf-8", "replace").strip("\0")
    # It should stand in the file's byte order, but A1111 always writes big-endian. The right order shows more ASCII.
    texts = [body.decode(order, "replace") for order in ("utf-16-be", "utf-16-le")]
    return max(texts, key=lambda text: len(text.encode("ascii", "ignore"))).strip("\0\ufeff")
