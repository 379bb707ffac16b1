"""Infotext in picture files, read back by Pillow alone, by sd-parsers and by us."""

import io
import random
import struct
import zlib

import pytest
from PIL import Image
from sd_parsers import ParserManager

from easel.errors import BadValue
from easel.infotext import files
from easel.infotext.text import ModelFacts, describe
from easel.jobs import ImageRequest

SETTINGS = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 8x8"

TEXTS = {
    "ascii": f"a cat\nNegative prompt: a dog\n{SETTINGS}",
    "latin-1": f"un café à Orléans\n{SETTINGS}",
    "beyond": f"猫と犬 😀\nNegative prompt: 雨\n{SETTINGS}",
}


def picture(mode: str = "RGB") -> Image.Image:
    return Image.effect_noise((24, 16), 80).convert(mode)


def reopened(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file))


def with_comment(comment: bytes) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(files.EXIF_IFD)[files.USER_COMMENT] = comment
    file = io.BytesIO()
    picture().save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("kind", files.KINDS)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_the_text_comes_back_from_every_kind_of_file(kind: files.Kind, text: str) -> None:
    file = files.encode(picture(), kind, text)

    assert reopened(file).format == kind
    assert files.read(file) == text
    info = ParserManager(normalize_parameters=False).parse(io.BytesIO(file))
    assert info is not None
    assert info.raw_parameters["parameters"] == text
    assert info.samplers[0].parameters["Seed"] == "1"


@pytest.mark.parametrize(("text", "chunk"), [("ascii", b"tEXt"), ("latin-1", b"tEXt"), ("beyond", b"iTXt")])
def test_a_png_holds_it_as_a1111_wrote_it(text: str, chunk: bytes) -> None:
    file = files.encode(picture(), "PNG", TEXTS[text])

    assert chunk + b"parameters\0" in file
    assert reopened(file).info["parameters"] == TEXTS[text]


@pytest.mark.parametrize("kind", ["WEBP", "JPEG"])
def test_a_webp_and_a_jpeg_hold_it_as_a_unicode_comment(kind: files.Kind) -> None:
    file = files.encode(picture(), kind, TEXTS["beyond"])

    comment = reopened(file).getexif().get_ifd(0x8769)[0x9286]
    assert comment == b"UNICODE\0" + TEXTS["beyond"].encode("utf-16-be")


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "LA"])
@pytest.mark.parametrize("kind", files.KINDS)
def test_any_picture_can_carry_it(mode: str, kind: files.Kind) -> None:
    image = picture("RGB").convert("RGBA").convert(mode)

    assert files.read(files.encode(image, kind, TEXTS["ascii"])) == TEXTS["ascii"]


def test_a_png_keeps_every_pixel() -> None:
    image = picture()

    assert reopened(files.encode(image, "PNG", TEXTS["beyond"])).tobytes() == image.tobytes()


@pytest.mark.parametrize("kind", files.KINDS)
def test_nothing_else_that_came_with_the_pixels_goes_out(kind: files.Kind) -> None:
    image = picture()
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    image.info |= {
        "icc_profile": b"profile of mine" * 20,
        "comment": b"where I live",
        "exif": exif.tobytes(),
        "dpi": (1, 2),
    }

    file = files.encode(image, kind, TEXTS["ascii"])

    assert b"where I live" not in file
    assert b"profile of mine" not in file
    assert "comment" in image.info, "the caller's picture stays as it was"


@pytest.mark.parametrize("kind", files.KINDS)
def test_a_picture_without_a_text_has_none(kind: files.Kind) -> None:
    assert files.read(files.encode(picture(), kind, "")) is None


def test_a_text_no_jpeg_can_hold_does_not_cost_the_picture() -> None:
    text = "猫" * 40_000

    assert files.read(files.encode(picture(), "JPEG", text)) is None
    assert files.read(files.encode(picture(), "WEBP", text)) == text


def test_the_longest_request_fits_a_jpeg() -> None:
    request = ImageRequest(
        prompt="😀" * 6000,
        negative_prompt="😀" * 6000,
        checkpoint="coast",
        width=512,
        height=512,
        steps=20,
        cfg_scale=7,
        sampler="Euler",
        schedule="Automatic",
        seed=1,
    )
    text = describe(
        request, ModelFacts("coast", "0a1b2c3d4e", lora_hashes={f"lora {n}": "00112233aabb" for n in range(20)})
    )

    assert files.read(files.encode(picture(), "JPEG", text)) == text


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + TEXTS["beyond"].encode("utf-16-be"),
        b"UNICODE\0" + TEXTS["beyond"].encode("utf-16-le"),
        b"UNICODE\0" + TEXTS["beyond"].encode("utf-16"),
        b"ASCII\0\0\0" + TEXTS["beyond"].encode(),
        b"\0" * 8 + TEXTS["beyond"].encode(),
        TEXTS["beyond"].encode(),
    ],
    ids=["big-endian", "little-endian", "byte order mark", "ascii", "undefined", "no head"],
)
def test_comments_of_other_programs_are_read(comment: bytes) -> None:
    assert files.read(with_comment(comment)) == TEXTS["beyond"]


@pytest.mark.parametrize("comment", [b"UNICODE\0", b"UNICODE\0a", b"", b"\0\0", b"UNICODE\0\xd8\x00\x00"])
def test_a_broken_comment_breaks_nothing(comment: bytes) -> None:
    assert isinstance(files.read(with_comment(comment)), str | None)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def test_a_png_that_says_it_after_its_pixels_is_read_too() -> None:
    file = files.encode(picture(), "PNG", "")
    end = file.index(b"IEND") - 4

    assert files.read(file[:end] + chunk(b"tEXt", b"parameters\0a cat") + file[end:]) == "a cat"


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"GIF89a" + b"\0" * 50,
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        files.encode(picture(), "PNG", "a cat")[:40],
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0)),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)),
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
        + chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"a" * 50_000_000)),
    ],
    ids=["empty", "gif", "postscript", "cut off", "bomb", "half a bomb", "text bomb"],
)
def test_what_is_no_such_picture_is_refused_with_a_sentence(file: bytes) -> None:
    with pytest.raises(BadValue, match="can not be read as a PNG, WebP or JPEG picture"):
        files.read(file)


@pytest.mark.parametrize("kind", files.KINDS)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(kind: files.Kind) -> None:
    dice = random.Random(5)
    whole = files.encode(picture(), kind, TEXTS["beyond"])
    refused = 0
    for _ in range(400):
        file = bytearray(whole)
        for _ in range(dice.randint(1, 8)):
            file[dice.randrange(len(file))] = dice.randrange(256)
        try:
            files.read(bytes(file[: dice.choice([len(file), dice.randrange(len(file))])]))
        except BadValue:
            refused += 1
    assert 0 < refused < 400
