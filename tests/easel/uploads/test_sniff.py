"""What a file is by its first bytes."""

import resource
import time

import pytest

from easel.errors import BadValue
from easel.uploads.sniff import MAX_BYTES, MAX_PIXELS, header, sniff
from tests.fakes.hostile_pictures import SIGNATURE, blank_png, encoded, ihdr, noise, png


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_picture_is_known_with_its_size(kind: str, mode: str) -> None:
    image = noise(40, 24, mode)

    found = sniff(encoded(image.convert("RGB") if kind == "JPEG" else image, kind))

    assert (found.kind, found.width, found.height) == (kind, 40, 24)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 50}),
        ("WEBP", {"exif": b"Exif\0\0II*\0\10\0\0\0\0\0"}),
        ("WEBP", {"save_all": True, "append_images": [noise(40, 24)]}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"icc_profile": bytes(200_000), "comment": b"hello", "optimize": True}),
        ("PNG", {"save_all": True, "append_images": [noise(40, 24)]}),
    ],
)
def test_every_make_of_a_kind_is_read(kind: str, options: dict[str, object]) -> None:
    found = sniff(encoded(noise(40, 24), kind, **options))

    assert (found.kind, found.width, found.height) == (kind, 40, 24)


def test_padding_in_a_jpeg_is_passed_over() -> None:
    file = encoded(noise(40, 24), "JPEG")

    found = sniff(file[:2] + b"\xff" * 50 + file[2:])

    assert (found.width, found.height) == (40, 24)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "a web page, not a picture"),
        (b"\xef\xbb\xbf\n <HTML><body><svg></svg>", "a web page, not a picture"),
        (b"<?xml version='1.0'?><Error>", "a web page, not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"<?xml version='1.0'?><!DOCTYPE svg><svg/>", "an SVG drawing"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file", "a PostScript file"),
        (b"\xc5\xd0\xd3\xc6" + bytes(30), "a PostScript file"),
        (b"%PDF-1.7", "a PDF document"),
        (b"II*\0" + bytes(30), "a TIFF file"),
        (b"MM\0*" + bytes(30), "a TIFF file"),
        (b"8BPS" + bytes(30), "a Photoshop file"),
        (b"icns" + bytes(30), "an icon file"),
        (b"SIMPLE  =                    T", "a FITS file"),
        (b"GIF89a" + bytes(30), "a GIF"),
        (b"BM" + bytes(30), "a BMP file"),
        (b"\0\0\0\x20ftypheic" + bytes(30), "a HEIC photo"),
        (b"\0\0\0\x20ftypavif" + bytes(30), "an AVIF file"),
        (b"\0\0\0\x20ftypisom" + bytes(30), "a video"),
        (b"PK\3\4" + bytes(30), "a ZIP archive"),
        (b"RIFF\0\0\0\0WAVEfmt ", "no picture that is known"),
        (b'{"error": "no"}', "no picture that is known"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIDAT" + bytes(30), "damaged"),
        (b"\xff\xd8\xff", "damaged"),
        (b"\xff\xd8\xff\xda\0\2" + bytes(30), "damaged"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "damaged"),
        (b"RIFF\0\0\0\0WEBPVP8 " + bytes(30), "damaged"),
    ],
)
def test_anything_else_is_called_by_its_name(data: bytes, words: str) -> None:
    with pytest.raises(BadValue, match=words):
        sniff(data)


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        *((20_000, 20_000, "20,000 x 20,000 pixels; please make it smaller"), (65_000, 65_000, "16.8 megapixels")),
        *((13_000, 13_000, "make it smaller"), (2**31, 2**31, "make it smaller"), (4097, 4096, "make it smaller")),
        *((1, 100_000, "at least 16"), (0, 0, "at least 16"), (0, 500, "at least 16"), (3, 3, "at least 16")),
        *((15, 100, "at least 16"), (16, 321, "crop it"), (700, 20, "crop it")),
    ],
)
def test_a_size_beyond_the_bounds_is_refused_by_the_header(width: int, height: int, words: str) -> None:
    with pytest.raises(BadValue, match=words):
        sniff(SIGNATURE + ihdr(width, height))


@pytest.mark.parametrize("size", [(16, 16), (4096, 4096), (16, 320), (18_000, 900)])
def test_a_size_at_the_bounds_is_taken(size: tuple[int, int]) -> None:
    found = sniff(SIGNATURE + ihdr(*size))

    assert (found.width, found.height) == size
    assert size[0] * size[1] <= MAX_PIXELS


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_other_kinds_have_the_same_bounds(kind: str) -> None:
    with pytest.raises(BadValue, match="at least 16"):
        sniff(encoded(noise(8, 8), kind))
    with pytest.raises(BadValue, match="crop it"):
        sniff(encoded(noise(16, 400), kind))


def test_a_file_beyond_20_mb_is_refused() -> None:
    file = png(16, 16, bytes(16 * 16 * 3))

    assert sniff(file + bytes(MAX_BYTES - len(file))).width == 16
    with pytest.raises(BadValue, match=r"20\.0 MB; a picture may have up to 20 MB"):
        sniff(file + bytes(MAX_BYTES - len(file) + 1))


def test_a_bomb_is_refused_without_being_opened() -> None:
    bomb = blank_png(13_000, 13_000)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()

    for file in (bomb, SIGNATURE + ihdr(20_000, 20_000) + bytes(389_000), SIGNATURE + ihdr(65_000, 65_000)):
        with pytest.raises(BadValue):
            sniff(file)

    assert time.thread_time() - start < 0.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 2**10


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xe0\0\2" * 5_000_000,
        b"\xff\xd8" + b"\xff" * 20_000_000,
        b"\xff\xd8" + b"\xff\xe0\0\0" * 5_000_000,
        b"\xff\xd8\xff" + b"\x01\xff" * 10_000_000,
        b"<!" * 10_000_000,
        b"<!-- -->" * 2_500_000,
        b" " * 20_000_000,
        b"<?xml><!>" * 2_000_000,
    ],
    ids=range(8),
)
def test_no_file_keeps_us_busy(data: bytes) -> None:
    start = time.thread_time()

    with pytest.raises(BadValue):
        sniff(data)

    assert time.thread_time() - start < 0.5


def test_a_header_cut_anywhere_is_no_accident() -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        file = encoded(noise(40, 24), kind)
        for length in range(min(len(file), 700)):
            found = header(file[:length])
            assert found is None or (found.width, found.height) == (40, 24)
