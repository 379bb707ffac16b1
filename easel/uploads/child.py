"""The child process that opens a stranger's picture: bytes come in, a clean PNG and its infotext go out.

It runs as `python -m easel.uploads.child`. What it writes is the length of the infotext in four bytes, the infotext
in UTF-8, then the PNG. It ends with `DAMAGED` for a picture that can not be read; any other end is a bomb's doing.
"""

import io
import re
import struct
import sys
import zlib

from PIL import Image, ImageCms, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from easel.confined import Bounds, confine
from easel.errors import BadValue
from easel.infotext import files
from easel.uploads.sniff import sniff

DAMAGED = 3
"""Exit code."""

MEMORY = 768 * 2**20
"""Bytes of address space; the largest picture in the costliest kind (a 16.8 megapixel WebP) takes half of it."""

CPU_SECONDS = 10
MAX_INFOTEXT = 100_000
"""Characters; a longer text is left behind."""

ORIENTATION = 0x0112

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What sets a picture upright, by its EXIF orientation (EXIF 2.32, 4.6.4)."""

PLUGINS = (PngImagePlugin, JpegImagePlugin, WebPImagePlugin)
"""Imported, so that Pillow does not look for any other."""

# What Pillow raises on damaged files.
BROKEN = (OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError)
BROKEN_BELOW = (struct.error, zlib.error, Image.DecompressionBombError, ImageCms.PyCMSError)

_INFOTEXT = re.compile(r"\bSteps: ?\d")


def main() -> int:
    """Serve one picture from standard input to standard output; return the exit code."""
    _shut_in()
    try:
        infotext, png = _opened(sys.stdin.buffer.read())
    except (*BROKEN, *BROKEN_BELOW, BadValue):
        return DAMAGED
    text = infotext.encode("utf-8", "replace")
    sys.stdout.buffer.writelines([len(text).to_bytes(4, "big"), text, png])
    return 0


def _shut_in() -> None:
    """Bound what a picture may cost, so that a bomb ends this process and nothing else."""
    confine(Bounds(MEMORY, CPU_SECONDS))


def _opened(data: bytes) -> tuple[str, bytes]:
    found = sniff(data)
    if found.kind == "PNG":
        with Image.open(io.BytesIO(data), formats=files.KINDS) as image:
            image.verify()  # Pillow's decoder passes over the checksums of pixels
    with Image.open(io.BytesIO(data), formats=files.KINDS) as image:
        # A second header in the file may say otherwise than the first.
        if image.size != (found.width, found.height):
            raise ValueError(image.size)
        image.load()
        clean = _upright(_converted(_narrowed(image, data[24])), _orientation(image))
    out = io.BytesIO()
    clean.info = {}
    clean.save(out, "PNG", compress_level=1)
    return _infotext(data), out.getvalue()


def _narrowed(image: Image.Image, depth: int) -> Image.Image:
    """Return a picture with eight bits a channel; `depth` is what the header of a PNG says there are.

    Pillow clips 16-bit grey and leaves the transparent colour in units of the file.
    """
    narrow, key = image, image.info.get("transparency")
    grey = image.mode in {"L", "I;16"}
    if image.mode == "I;16":
        narrow = Image.frombytes("L", image.size, image.tobytes()[1::2])  # the upper bytes
        narrow.info = dict(image.info)
    if image.format != "PNG":
        return narrow
    if depth == 16 and isinstance(key, int):
        narrow.info["transparency"] = key >> 8
    elif depth == 16 and isinstance(key, tuple):
        narrow.info["transparency"] = tuple(value >> 8 for value in key)
    elif depth < 8 and grey and isinstance(key, int):
        narrow.info["transparency"] = key * 255 // (2**depth - 1)
    return narrow


def _converted(image: Image.Image) -> Image.Image:
    """Return it as RGB in sRGB, or as RGBA where anything is transparent."""
    profile = image.info.get("icc_profile")
    alpha = None
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        alpha = clear.getchannel("A")
        image = image.convert("L") if image.mode == "LA" else clear.convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in {"L", "CMYK"}:
        image = image.convert("RGB")
    colour = _in_srgb(image, profile)
    if alpha is not None and alpha.getextrema() != (255, 255):
        colour.putalpha(alpha)
    return colour


def _in_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Apply a colour profile; one that is broken or meant for another kind of picture is passed over."""
    spaces = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
    if isinstance(profile, bytes):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            name = ImageCms.getProfileDescription(source)
            if source.profile.xcolor_space.strip() == spaces[image.mode] and "sRGB" not in name:
                target = ImageCms.createProfile("sRGB")
                managed = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
                return managed or image.convert("RGB")
        except (*BROKEN, *BROKEN_BELOW):
            pass
    return image.convert("RGB")


def _upright(image: Image.Image, orientation: object) -> Image.Image:
    turn = TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(ORIENTATION)
    except (*BROKEN, *BROKEN_BELOW):  # damaged notes do not cost the picture
        return None


def _infotext(data: bytes) -> str:
    """Return what the picture was made from, or an empty string; what else people or cameras noted stays behind."""
    try:
        text = files.read(data) or ""
    except BadValue:
        return ""
    return text if len(text) <= MAX_INFOTEXT and _INFOTEXT.search(text) else ""


if __name__ == "__main__":
    sys.exit(main())
