import pytest

from bot.telegram_bot.messages import read_form
from easel.errors import BadValue


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("a cat", {"prompt": "a cat"}),
        ("", {"prompt": ""}),
        ("a cat\nblurry", {"prompt": "a cat", "negative": "blurry"}),
        ("a cat --steps 20\nblurry", {"prompt": "a cat", "steps": "20", "negative": "blurry"}),
        ("a cat\nblurry —steps 20", {"prompt": "a cat", "negative": "blurry", "steps": "20"}),
        ('a cat --sampler "Euler a"\nblurry', {"prompt": "a cat", "sampler": "Euler a", "negative": "blurry"}),
        ("a cat\n--steps 20 --size 3:2", {"prompt": "a cat", "steps": "20", "size": "3:2"}),
        ("a cat\n-m easel-demo", {"prompt": "a cat", "checkpoint": "easel-demo"}),
        ("a cat\nin a hat --no dogs", {"prompt": "a cat\nin a hat", "negative": "dogs"}),
        ("a cat\nin a hat\nat night", {"prompt": "a cat\nin a hat\nat night"}),
        ("a cat\n\nblurry", {"prompt": "a cat\n\nblurry"}),
    ],
)
def test_of_exactly_two_lines_the_second_says_what_not_to_show(text: str, form: dict[str, str]) -> None:
    assert read_form(text) == form


def test_a_flag_given_on_both_lines_is_refused() -> None:
    with pytest.raises(BadValue, match="`steps` is given twice"):
        read_form("a cat --steps 20\nblurry --steps 30")
