import io

import numpy as np
import pytest
from PIL import Image

from easel.pictures import MOST_SHEET_PIXELS, enlarged, grid, labelled_grid

COLOURS = ("red", "green", "blue", "orange")


def png(colour: str, size: tuple[int, int] = (8, 6)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def cells(width: int, height: int, across: int, down: int) -> list[list[Image.Image]]:
    return [[Image.new("RGB", (width, height), COLOURS[(x + y) % 4]) for x in range(across)] for y in range(down)]


def ink(sheet: Image.Image, box: tuple[int, int, int, int]) -> int:
    """Return how many pixels in the box are darker than grey."""
    return int((np.asarray(sheet.crop(box).convert("L")) < 128).sum())


def test_a_grid_is_as_square_as_possible() -> None:
    sheet = Image.open(io.BytesIO(grid([png(colour) for colour in COLOURS])))

    assert sheet.size == (20, 16)
    assert sheet.getpixel((0, 0)) == (255, 0, 0)
    assert sheet.getpixel((12, 10)) == (255, 165, 0)


def test_a_factor_of_one_leaves_the_picture_as_it_is() -> None:
    image = Image.new("RGB", (8, 6))

    assert enlarged(image, 1) is image
    assert enlarged(image, 3).size == (24, 18)


def test_labels_stand_above_their_columns_and_before_their_rows() -> None:
    sheet = labelled_grid(cells(200, 100, 3, 2), columns=["one", "two", "three"], rows=["here", "there"])

    left, top = sheet.width - 3 * 204 + 4, sheet.height - 2 * 104 + 4
    assert sheet.getpixel((left + 204 + 5, top + 5)) == (0, 128, 0)
    assert sheet.getpixel((left + 5, top + 104 + 5)) == (0, 128, 0)
    for n in range(3):
        assert ink(sheet, (left + n * 204, 0, left + n * 204 + 200, top)) > 20
    for n in range(2):
        assert ink(sheet, (0, top + n * 104, left, top + n * 104 + 100)) > 20
    assert ink(sheet, (0, 0, left, top)) == 0


def test_without_rows_there_is_no_room_for_them() -> None:
    assert labelled_grid(cells(200, 100, 2, 1), columns=["one", "two"]).width == 404


@pytest.mark.parametrize(
    "label",
    [
        "a rather long label of many words that can not stand in one line",
        "averylongnamewithoutanyspaceinit_v1.5_final.safetensors",
        "a\nb\t c",
        "",
    ],
)
def test_no_label_is_cut(label: str) -> None:
    sheet = labelled_grid(cells(64, 64, 2, 2), columns=[label, "x"], rows=["y", label])

    left, top = sheet.width - 2 * 68 + 4, sheet.height - 2 * 68
    # A cut label would touch the border of its place.
    for box in ((left, 0, left + 132, 1), (left - 4, 0, left, top), (0, 0, 1, sheet.height)):
        assert ink(sheet, box) == 0
    if label:
        assert ink(sheet, (left, 0, left + 64, top)) > 20


def test_every_letter_of_a_long_word_is_written() -> None:
    narrow = labelled_grid(cells(64, 64, 1, 1), columns=["W" * 60])
    wide = labelled_grid([[Image.new("RGB", (64 * 16, 8), "white")]], columns=["W" * 2])

    assert narrow.height > 64 + 60 // 6 * 12
    assert wide.height < 120


def test_a_label_without_end_is_cut_visibly() -> None:
    sheet = labelled_grid(cells(64, 64, 1, 1), columns=["W " * 10**5])

    assert sheet.height < 20_000


def test_a_low_row_grows_with_its_label() -> None:
    sheet = labelled_grid(
        cells(64, 8, 1, 2), columns=["x"], rows=["a label in several lines, one above the other", "y"]
    )

    assert sheet.height > 100


def test_a_sheet_of_large_pictures_is_made_smaller() -> None:
    image = Image.new("RGB", (2048, 2048))

    sheet = labelled_grid([[image] * 4] * 4, columns=["1", "2", "3", "4"], rows=["1", "2", "3", "4"])

    assert sheet.width * sheet.height < 1.2 * MOST_SHEET_PIXELS
