"""What a stranger's file is, told from its first bytes: which kind of picture and how large, or why not."""

import struct
from dataclasses import dataclass

from easel.errors import BadValue

MAX_BYTES = 20 * 2**20
"""What a Telegram bot can fetch."""

MAX_PIXELS = 2**24
"""16.8 megapixels: four times the largest picture that is rendered, and 64 MiB once opened."""

MIN_SIDE = 16
MAX_ASPECT = 20

MAX_SEGMENTS = 2000
"""Parts of a JPEG before its size. Real ones have a few hundred; a hostile one of 20 MB could have five million."""

_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of segments that hold the size (ITU T.81, table B.1)."""

_JPEG_BARE = {0x01, *range(0xD0, 0xD9)}
"""Markers that stand alone, without a length."""

# Where each kind has its first bytes, and what people call it. The order matters: some begin alike.
_OTHERS = (
    (0, b"GIF8", "a GIF"),
    (0, b"II*\0", "a TIFF file"),
    (0, b"MM\0*", "a TIFF file"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (0, b"%PDF", "a PDF document"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"icns", "an icon file"),
    (0, b"\0\0\1\0", "an icon file"),
    (0, b"SIMPLE  =", "a FITS file"),
    (0, b"BM", "a BMP file"),
    (0, b"\xff\x0a", "a JPEG XL file"),
    (4, b"JXL ", "a JPEG XL file"),
    (4, b"jP  ", "a JPEG 2000 file"),
    (4, b"ftypavif", "an AVIF file"),
    (4, b"ftypavis", "an AVIF file"),
    (4, b"ftyphe", "a HEIC photo"),
    (4, b"ftypmif1", "a HEIC photo"),
    (4, b"ftyp", "a video"),
    (0, b"\x1a\x45\xdf\xa3", "a video"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"\x1f\x8b", "an archive"),
)


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What the header says, before any turning; the pixels may yet turn out to be damaged."""

    kind: str
    """PNG, JPEG or WEBP, as Pillow names them."""
    width: int
    height: int


def sniff(data: bytes) -> Sniffed:
    """Return what an upload is; raises BadValue where it is no picture that can be used, without looking at pixels."""
    if not data:
        raise BadValue("That file is empty; please send the picture again.")
    if len(data) > MAX_BYTES:
        raise BadValue(f"That file has {len(data) / 2**20:,.1f} MB; a picture may have up to {MAX_BYTES // 2**20} MB.")
    found = header(data)
    if found is None:
        raise BadValue(_refusal(data))
    wrong = _objection(found.width, found.height)
    if wrong:
        raise BadValue(wrong)
    return found


def header(data: bytes) -> Sniffed | None:
    """Return kind and size of a PNG, JPEG or WebP file of any size; None for anything else or a broken header."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        kind, size = "PNG", _png(data)
    elif data.startswith(b"\xff\xd8\xff"):
        kind, size = "JPEG", _jpeg(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        kind, size = "WEBP", _webp(data)
    else:
        return None
    return Sniffed(kind, *size) if size else None


def _png(data: bytes) -> tuple[int, int] | None:
    if len(data) < 33 or data[8:16] != b"\0\0\0\rIHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    for _ in range(MAX_SEGMENTS):
        if at + 9 > len(data) or data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    """Read the size from any of the three first chunks (developers.google.com/speed/webp/docs/riff_container)."""
    first = data[12:16]
    if len(data) < 30:
        return None
    if first == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if first == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if first == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _objection(width: int, height: int) -> str:
    """Say what is wrong with a size; empty where nothing is."""
    size = f"{width:,} x {height:,} pixels"
    if min(width, height) < MIN_SIDE:
        return f"That picture has {size}; each side needs at least {MIN_SIDE}."
    if width * height > MAX_PIXELS:
        return f"That picture has {size}; please make it smaller, up to {MAX_PIXELS / 1e6:.1f} megapixels are possible."
    if max(width, height) > MAX_ASPECT * min(width, height):
        return f"That picture has {size}; please crop it, the long side may be {MAX_ASPECT} times the short one."
    return ""


def _refusal(data: bytes) -> str:
    start = data[:1000]
    markup = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if markup.startswith(b"<") and b"<svg" not in markup.partition(b"<html")[0]:
        return "That is a web page, not a picture; please give the address of the picture itself."
    if start.startswith((b"\x89PNG", b"\xff\xd8\xff")) or (start.startswith(b"RIFF") and start[8:12] == b"WEBP"):
        return "That picture is damaged; please save it again and send the new file."
    nouns = (noun for at, magic, noun in _OTHERS if start.startswith(magic, at))
    noun = "an SVG drawing" if markup.startswith(b"<") else next(nouns, "no picture that is known here")
    return f"That is {noun}; only PNG, JPEG and WebP pictures can be used."
