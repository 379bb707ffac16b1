"""Picture files made by hand: of every kind, damaged, lying about their size, or out of all proportion once opened."""

import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def ihdr(width: int, height: int, depth: int = 8, colour: int = RGB) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def png(width: int, height: int, rows: bytes, *extra: bytes, depth: int = 8, colour: int = RGB) -> bytes:
    """Return a PNG; `rows` are packed pixels without filter bytes, `extra` chunks stand before them."""
    size = len(rows) // height
    filtered = b"".join(b"\0" + rows[n * size : (n + 1) * size] for n in range(height))
    idat = chunk(b"IDAT", zlib.compress(filtered, 1))
    return b"".join([SIGNATURE, ihdr(width, height, depth, colour), *extra, idat, chunk(b"IEND", b"")])


def blank_png(width: int, height: int, *extra: bytes, said: tuple[int, int] | None = None) -> bytes:
    """Return a black grey-scale PNG of any size without holding its pixels; `said` stands in its first header."""
    packer = zlib.compressobj(9)
    row = bytes(width + 1)
    idat = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    head = ihdr(*said, 8, GREY) if said else b""
    return b"".join([SIGNATURE, head, ihdr(width, height, 8, GREY), *extra, chunk(b"IDAT", idat), chunk(b"IEND", b"")])


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int = 24, height: int = 16, mode: str = "RGB") -> Image.Image:
    bands = [Image.effect_noise((width, height), 80) for _ in range(len(mode))]
    return Image.merge(mode, bands) if len(mode) > 1 else bands[0]


def chunks(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names and the contents of a PNG's chunks; what stands behind the last one counts as one without name."""
    at = len(SIGNATURE)
    while at < len(file):
        (length,) = struct.unpack_from(">I", file, at)
        name = file[at + 4 : at + 8]
        yield name, file[at + 8 : at + 8 + length]
        at += 12 + length
        if name == b"IEND" and at < len(file):
            yield b"", file[at:]
            return


@cache
def bombs() -> dict[str, bytes]:
    """Return small files whose opening costs far more than their size; all pass for pictures by their header."""
    zeros = zlib.compress(bytes(50 * 2**20), 9)
    webp = bytearray(encoded(noise(64, 64, "RGBA"), "WEBP", lossless=True, exif=b"Exif\0\0II*\0\10\0\0\0\0\0"))
    webp[24:30] = (4095).to_bytes(3, "little") * 2
    return {
        "second header": blank_png(13_000, 5_000, said=(100, 100)),
        "profile": blank_png(64, 64, chunk(b"iCCP", b"x\0\0" + zeros)),
        "text": blank_png(64, 64, chunk(b"zTXt", b"parameters\0\0" + zeros)),
        "many texts": blank_png(
            64, 64, *[chunk(b"zTXt", b"k%d\0\0" % n + zlib.compress(bytes(2**20))) for n in range(99)]
        ),
        "surplus pixels": SIGNATURE + ihdr(64, 64, 8, GREY) + chunk(b"IDAT", zeros) + chunk(b"IEND", b""),
        "canvas": bytes(webp),
        "as large as can be": blank_png(4096, 4096),
    }
