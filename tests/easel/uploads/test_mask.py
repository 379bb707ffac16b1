"""Masks out of transparency."""

import io

from PIL import Image

from easel.uploads.decode import prepare_now
from easel.uploads.mask import alpha_mask
from tests.fakes.hostile_pictures import chunks, encoded, noise


def test_what_is_transparent_is_repainted() -> None:
    picture = noise(64, 48, "RGBA")
    alpha = picture.getchannel("A")

    mask = alpha_mask(prepare_now(encoded(picture, "PNG")).png)

    image = Image.open(io.BytesIO(mask))
    assert (image.mode, image.size) == ("L", (64, 48))
    assert image.tobytes() == bytes(255 - value for value in alpha.tobytes())
    assert {name for name, _ in chunks(mask)} == {b"IHDR", b"IDAT", b"IEND"}


def test_an_opaque_picture_has_a_black_mask() -> None:
    mask = alpha_mask(prepare_now(encoded(noise(64, 48), "JPEG")).png)

    assert Image.open(io.BytesIO(mask)).tobytes() == bytes(64 * 48)
