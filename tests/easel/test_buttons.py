"""The ids and rows of buttons."""

import pytest

from easel.buttons import LABELS, VERBS, Button, button_id, read_button, rows
from easel.errors import Expired

KEY = b"k" * 32


def test_an_id_is_read_as_it_was_written_and_fits_every_network() -> None:
    for verb in VERBS:
        button = Button(verb, "0123456789abcdef", 9)

        assert read_button(button_id(button, KEY), KEY) == button
        assert len(button_id(button, KEY)) <= 40


def test_another_key_or_picture_makes_it_invalid() -> None:
    text = button_id(Button("vary", "0123456789abcdef", 1), KEY)

    for forged in (text.replace(":1:", ":2:"), text.replace("vary", "draw")):
        with pytest.raises(Expired):
            read_button(forged, KEY)
    with pytest.raises(Expired):
        read_button(text, b"another")


def test_one_picture_has_one_row() -> None:
    assert rows(0) == rows(1) == [[(label, verb, 0) for verb, label in LABELS.items()]]
    assert list(LABELS)[-1] == "delete"


@pytest.mark.parametrize(
    ("pictures", "lengths"), [(2, [2, 2, 2]), (4, [4, 4, 2]), (7, [5, 2, 5, 2, 2]), (10, [5] * 4 + [2])]
)
def test_several_pictures_have_numbers(pictures: int, lengths: list[int]) -> None:
    found = rows(pictures)

    assert [len(row) for row in found] == lengths
    assert [label for row in found for label, verb, _ in row if verb == "upscale"] == [
        f"U{n + 1}" for n in range(pictures)
    ]
    assert [n for row in found for _, verb, n in row if verb == "vary"] == list(range(pictures))
    assert [verb for _, verb, _ in found[-1]] == ["again", "delete"]
