import pytest

from bot.flags import parse, usage
from bot.options import IMAGINE
from easel.errors import BadValue


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a cat", {"prompt": "a cat"}),
        ("a cat --steps 20", {"prompt": "a cat", "steps": "20"}),
        ("a cat --steps=20 --cfg 7", {"prompt": "a cat", "steps": "20", "cfg": "7"}),
        ("a cat —steps 20 –cfg 7", {"prompt": "a cat", "steps": "20", "cfg": "7"}),
        ("a cat --no blurry, ugly --ar 3:2", {"prompt": "a cat", "negative": "blurry, ugly", "size": "3:2"}),
        ("a cat --sampler DPM++ 2M Karras --seed -1", {"prompt": "a cat", "sampler": "DPM++ 2M Karras", "seed": "-1"}),
        ('a cat --neg "rain -- and snow"', {"prompt": "a cat", "negative": "rain -- and snow"}),
        ("a well--known cat", {"prompt": "a well--known cat"}),
        ("a cat -- and a dog", {"prompt": "a cat -- and a dog"}),
        ("a cat — and a dog", {"prompt": "a cat — and a dog"}),
        ("a cat -m easel-demo", {"prompt": "a cat", "checkpoint": "easel-demo"}),
        ("a cat -x marks the spot", {"prompt": "a cat -x marks the spot"}),
        ("--steps 5 a cat", {"prompt": "", "steps": "5 a cat"}),
        (
            "a (cat:1.2) <lora:x:0.8>\nsecond line --clip-skip 2",
            {"prompt": "a (cat:1.2) <lora:x:0.8>\nsecond line", "clip_skip": "2"},
        ),
    ],
)
def test_flags_stand_at_the_end_of_a_prompt(text: str, fields: dict[str, str]) -> None:
    assert parse(text, IMAGINE) == fields


def test_an_unknown_flag_names_the_nearest_one() -> None:
    with pytest.raises(BadValue, match="Did you mean `--steps`"):
        parse("a cat --stpes 20", IMAGINE)


def test_a_flag_given_twice_is_refused() -> None:
    with pytest.raises(BadValue, match="`size` is given twice"):
        parse("a cat --size=1024x1024 --ar 3:2", IMAGINE)


def test_a_flag_without_a_value_shows_an_example() -> None:
    with pytest.raises(BadValue, match="needs a value, for example `--steps 1`"):
        parse("a cat --steps --cfg 7", IMAGINE)


def test_every_flag_has_a_line_of_help() -> None:
    lines = usage(IMAGINE)

    assert len(lines) == len(IMAGINE) - 1
    assert lines[0] == "--negative, --neg, --no, --negative_prompt: What it should not show"
    assert any("(1 to 150)" in line for line in lines)
