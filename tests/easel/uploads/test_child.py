"""What the child makes of pixels, against conversions worked out by hand or by the reference; and its bounds."""

import io
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence

import pytest
from PIL import Image, ImageCms, ImageOps

from easel.errors import BadValue
from easel.uploads.decode import Prepared, prepare_now
from tests.fakes.hostile_pictures import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, chunk, encoded, noise, png

W, H = 32, 16
SAMPLES = [(n * 7919) % 65536 for n in range(W * H)]
"""Values of 16 bits, one a pixel."""


def pixels(prepared: Prepared) -> list[tuple[int, ...]]:
    image = Image.open(io.BytesIO(prepared.png))
    data = image.tobytes()
    bands = len(image.getbands())
    return [tuple(data[n : n + bands]) for n in range(0, len(data), bands)]


def packed(values: Sequence[int], depth: int) -> bytes:
    """Pack samples as PNG does, a row of `W` at a time."""
    if depth == 16:
        return struct.pack(f">{len(values)}H", *values)
    rows = (values[n : n + W] for n in range(0, len(values), W))
    return b"".join(
        int("".join(f"{value:0{depth}b}" for value in row), 2).to_bytes(W * depth // 8, "big") for row in rows
    )


def grey(value: int, alpha: int | None = None) -> tuple[int, ...]:
    return (value,) * 3 if alpha is None else (value, value, value, alpha)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_of_every_depth_is_scaled_to_eight_bits(depth: int) -> None:
    values = [sample >> (16 - depth) for sample in SAMPLES]

    prepared = prepare_now(png(W, H, packed(values, depth), depth=depth, colour=GREY))

    most = 2**depth - 1
    assert pixels(prepared) == [grey(value >> 8 if depth == 16 else value * 255 // most) for value in values]


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_every_depth_is_transparent(depth: int) -> None:
    values = [sample >> (16 - depth) for sample in SAMPLES]
    key = values[5]

    file = png(W, H, packed(values, depth), chunk(b"tRNS", struct.pack(">H", key)), depth=depth, colour=GREY)
    prepared = prepare_now(file)

    assert prepared.has_alpha
    # In 16 bits, what looks the same in eight is transparent along with it.
    narrow = [value >> max(0, depth - 8) for value in values]
    alphas = [0 if value == key >> max(0, depth - 8) else 255 for value in narrow]
    assert [pixel[3] for pixel in pixels(prepared)] == alphas


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_palette_is_looked_up_with_its_transparency(depth: int) -> None:
    values = [sample >> (16 - depth) for sample in SAMPLES]
    colours = [(n, 255 - n, n * 7 % 256) for n in range(2**depth)]
    alphas = [(n * 85) % 256 for n in range(2**depth)]

    file = png(
        *(W, H, packed(values, depth)),
        chunk(b"PLTE", bytes(band for colour in colours for band in colour)),
        chunk(b"tRNS", bytes(alphas)),
        depth=depth,
        colour=PALETTE,
    )
    prepared = prepare_now(file)

    assert pixels(prepared) == [(*colours[value], alphas[value]) for value in values]


def test_a_palette_without_transparency_is_plain_colour() -> None:
    values = [sample >> 12 for sample in SAMPLES]
    palette = bytes(range(48))

    prepared = prepare_now(png(W, H, packed(values, 4), chunk(b"PLTE", palette), depth=4, colour=PALETTE))

    assert pixels(prepared) == [tuple(palette[3 * value : 3 * value + 3]) for value in values]


@pytest.mark.parametrize(("colour", "bands"), [(RGB, 3), (GREY_ALPHA, 2), (RGBA, 4)])
def test_sixteen_bits_keep_their_upper_half(colour: int, bands: int) -> None:
    values = [(n * 7919) % 65536 for n in range(W * H * bands)]

    prepared = prepare_now(png(W, H, packed(values, 16), depth=16, colour=colour))

    found = [tuple(value >> 8 for value in values[n : n + bands]) for n in range(0, len(values), bands)]
    assert pixels(prepared) == ([grey(*pixel) for pixel in found] if colour == GREY_ALPHA else found)


@pytest.mark.parametrize(("depth", "shift"), [(8, 0), (16, 8)])
def test_the_transparent_colour_is_transparent(depth: int, shift: int) -> None:
    values = [SAMPLES[n] % 2**depth for n in range(W * H)] * 3
    key = values[30:33]

    prepared = prepare_now(png(W, H, packed(values, depth), chunk(b"tRNS", struct.pack(">3H", *key)), depth=depth))

    narrow = [tuple(value >> shift for value in values[n : n + 3]) for n in range(0, len(values), 3)]
    seen = tuple(value >> shift for value in key)
    assert pixels(prepared) == [(*pixel, 0 if pixel == seen else 255) for pixel in narrow]


def test_grey_with_alpha_keeps_both() -> None:
    rows = bytes(sample >> 8 for sample in SAMPLES) * 2

    prepared = prepare_now(png(W, H, rows, colour=GREY_ALPHA))

    assert pixels(prepared) == [grey(*rows[n : n + 2]) for n in range(0, len(rows), 2)]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"icc_profile": b"odd"}, {"icc_profile": bytes(5000)}])
def test_a_jpeg_looks_as_its_reference_decoder_has_it(mode: str, options: dict[str, object]) -> None:
    file = encoded(noise(64, 48, mode), "JPEG", **options)

    prepared = prepare_now(file)

    reference = Image.open(io.BytesIO(file)).convert("RGB")
    assert Image.open(io.BytesIO(prepared.png)).tobytes() == reference.tobytes()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_webp_looks_as_it_was_made(mode: str) -> None:
    image = noise(64, 48, mode)

    prepared = prepare_now(encoded(image, "WEBP", lossless=True, exact=True))

    assert Image.open(io.BytesIO(prepared.png)).tobytes() == image.tobytes()


def strange_profile() -> bytes:
    """Return a sound profile in which red and green have changed places, so that whoever applies it can be told."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


def managed(image: Image.Image, profile: bytes) -> bytes:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    target = ImageCms.createProfile("sRGB")
    result = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    assert result is not None
    assert result.tobytes() != image.tobytes()
    return result.tobytes()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_colour_profile_is_applied_before_it_is_dropped(kind: str) -> None:
    image, profile = noise(64, 48), strange_profile()

    prepared = prepare_now(encoded(image, kind, icc_profile=profile, lossless=True))

    assert Image.open(io.BytesIO(prepared.png)).tobytes() == managed(image, profile)


def test_a_colour_profile_leaves_the_alpha_alone() -> None:
    image, profile = noise(64, 48, "RGBA"), strange_profile()

    prepared = prepare_now(encoded(image, "PNG", icc_profile=profile))

    found = Image.open(io.BytesIO(prepared.png))
    assert found.getchannel("A").tobytes() == image.getchannel("A").tobytes()
    assert found.convert("RGB").tobytes() == managed(image.convert("RGB"), profile)


def test_the_common_profile_changes_no_pixel() -> None:
    image = noise(64, 48)
    common = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    prepared = prepare_now(encoded(image, "PNG", icc_profile=common))

    assert Image.open(io.BytesIO(prepared.png)).tobytes() == image.tobytes()


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("profile", ["truncated", "garbage", "of another kind"])
def test_an_odd_profile_is_passed_over(mode: str, profile: str) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    odd = {"truncated": strange_profile()[:200], "garbage": b"\xff" * 3000, "of another kind": lab}[profile]
    image = noise(64, 48, mode)

    prepared = prepare_now(encoded(image, "PNG", icc_profile=odd))

    assert Image.open(io.BytesIO(prepared.png)).tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_set_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = encoded(noise(48, 32), kind, exif=exif, lossless=True)

    prepared = prepare_now(file)

    reference = ImageOps.exif_transpose(Image.open(io.BytesIO(file)).convert("RGB"))
    assert (prepared.width, prepared.height) == reference.size
    assert Image.open(io.BytesIO(prepared.png)).tobytes() == reference.tobytes()


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(99)]
)
def test_damaged_notes_do_not_cost_the_picture(exif: bytes) -> None:
    prepared = prepare_now(encoded(noise(48, 32), "JPEG", exif=exif))

    assert (prepared.width, prepared.height) == (48, 32)


def test_an_orientation_nobody_defined_is_passed_over() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99

    assert prepare_now(encoded(noise(48, 32), "JPEG", exif=exif)).width == 48


@pytest.mark.parametrize("key", [b"icc_profile", b"exif", b"gamma", b"Raw profile type exif"])
def test_a_note_with_an_inner_name_changes_no_pixel(key: bytes) -> None:
    image = noise(W, H)

    prepared = prepare_now(png(W, H, image.tobytes(), chunk(b"tEXt", key + b"\0odd")))

    assert Image.open(io.BytesIO(prepared.png)).tobytes() == image.tobytes()


@pytest.mark.parametrize("key", [b"transparency", b"interlace"])
def test_a_note_that_would_confuse_the_decoder_is_damage(key: bytes) -> None:
    with pytest.raises(BadValue, match="damaged"):
        prepare_now(png(W, H, noise(W, H).tobytes(), chunk(b"tEXt", key + b"\0odd")))


def in_bounds(program: str) -> subprocess.CompletedProcess[str]:
    """Run a few lines inside the bounds of a child."""
    setup = "import os\nfrom easel.uploads import child\nchild.CPU_SECONDS = 1\nchild._shut_in()\n"
    return subprocess.run(
        [sys.executable, "-c", setup + program], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_child_that_computes_without_end_is_ended() -> None:
    assert in_bounds("while True: pass").returncode in {-signal.SIGKILL, -signal.SIGXCPU}


def test_a_child_gets_no_more_memory_than_it_may() -> None:
    done = in_bounds("bytearray(child.MEMORY)")

    assert "MemoryError" in done.stderr


def test_a_child_writes_no_file(tmp_path: object) -> None:
    done = in_bounds(f"open({str(tmp_path) + '/file'!r}, 'wb', 0).write(b'x')")

    assert "File too large" in done.stderr
