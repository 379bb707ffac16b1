import pytest

from bot.asking.canvas import canvas
from easel.errors import BadValue
from easel.jobs import Canvas


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("left,right", Canvas(left=128, right=128)),
        ("left:128,top:64", Canvas(left=128, top=64)),
        ("Left=101px; down", Canvas(left=104, bottom=64)),
        ("all", Canvas(left=128, right=128, top=64, bottom=64)),
        ("up:1", Canvas(top=8)),
        ("", Canvas()),
    ],
)
def test_sides_are_read_as_people_write_them(text: str, expected: Canvas) -> None:
    assert canvas(1.0, text, (512, 256)) == expected


def test_zoom_and_sides_go_together() -> None:
    assert canvas(1.5, "left:8", (512, 256)) == Canvas(zoom=1.5, left=8)


@pytest.mark.parametrize("text", ["sideways", "left:x", "left:-8", "left:99999", "left::8", "128", "left:12.5"])
def test_other_words_show_how_it_is_written(text: str) -> None:
    with pytest.raises(BadValue, match="`extend` must look like left,right or left:128,top:64"):
        canvas(1.0, text, (512, 512))


@pytest.mark.parametrize("pixels", [0, 1025])
def test_a_side_has_bounds(pixels: int) -> None:
    with pytest.raises(BadValue, match="can add 1 to 1024 pixels"):
        canvas(1.0, f"left:{pixels}", (512, 512))


def test_a_picture_can_not_grow_beyond_what_is_drawn() -> None:
    with pytest.raises(BadValue, match="would have 2536x512 pixels; at most 2048"):
        canvas(1.0, "left:1000,right:1024", (512, 512))
