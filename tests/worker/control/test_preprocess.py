"""What a ControlNet is shown."""

from typing import get_args

import numpy as np
import pytest
from PIL import Image, ImageDraw

from easel.jobs import Control
from worker.control.preprocess import preprocess

PREPROCESSORS = get_args(Control.model_fields["preprocessor"].annotation)


def drawing(width: int = 96, height: int = 64, *, paper: str = "white") -> Image.Image:
    image = Image.new("RGB", (width, height), paper)
    ImageDraw.Draw(image).ellipse((20, 12, 70, 52), outline="black", width=3)
    return image


def white(image: Image.Image) -> float:
    return float((np.asarray(image) == 255).mean())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
@pytest.mark.parametrize("preprocessor", PREPROCESSORS)
def test_every_preprocessor_gives_colours_at_the_size_of_the_request(preprocessor: str, mode: str) -> None:
    shown = preprocess(drawing().convert(mode), preprocessor, (64, 128))

    assert shown.mode == "RGB"
    assert shown.size == (64, 128)


def test_a_picture_of_the_right_size_is_shown_as_it_is() -> None:
    image = drawing()

    assert preprocess(image, "none", image.size) == image


def test_a_picture_of_another_shape_is_cut_around_the_middle_and_not_stretched() -> None:
    image = Image.new("RGB", (100, 50), "red")
    image.paste("blue", (25, 0, 75, 50))

    shown = preprocess(image, "none", (64, 64))

    assert shown.getpixel((6, 32)) == shown.getpixel((57, 32)) == (0, 0, 255)


def test_what_is_transparent_is_white_paper() -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))

    assert white(preprocess(image, "none", (64, 64))) == 1


@pytest.mark.parametrize("preprocessor", ["canny", "scribble"])
def test_lines_become_white_on_black(preprocessor: str) -> None:
    image = drawing()

    shown = preprocess(image, preprocessor, image.size)

    assert set(np.unique(np.asarray(shown))) == {0, 255}
    assert 0.02 < white(shown) < 0.2


def test_a_scribble_follows_the_strokes_themselves() -> None:
    image = drawing()
    strokes = np.asarray(image.convert("L")) < 64

    lines = np.asarray(preprocess(image, "scribble", image.size))[..., 0] == 255

    assert lines[strokes].mean() > 0.95
    assert lines[~strokes].mean() < 0.05


@pytest.mark.parametrize("preprocessor", ["canny", "scribble"])
def test_an_empty_paper_has_no_lines(preprocessor: str) -> None:
    assert white(preprocess(Image.new("RGB", (64, 64), "grey"), preprocessor, (64, 64))) == 0


def test_invert_turns_black_on_white_around() -> None:
    assert preprocess(drawing(), "invert", (96, 64)).getpixel((0, 0)) == (0, 0, 0)


def test_tile_keeps_colours_and_loses_detail() -> None:
    random = np.random.default_rng(1)
    image = Image.fromarray(random.integers(0, 256, (64, 64, 3), np.uint8))

    shown = np.asarray(preprocess(image, "tile", (64, 64)), dtype=float)

    assert np.abs(shown.mean(axis=(0, 1)) - np.asarray(image).mean(axis=(0, 1))).max() < 3
    assert shown.std() < np.asarray(image).std() / 2
