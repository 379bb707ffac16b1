import pytest

from bot.options import IMAGINE, by_name, find
from easel.errors import BadValue


def test_discord_can_show_every_option() -> None:
    assert sum(not option.rare for option in IMAGINE) <= 25
    assert IMAGINE[0].required
    assert all(len(option.help) <= 100 for option in IMAGINE)
    assert all(option.name == option.name.lower() for option in IMAGINE)


def test_no_spelling_means_two_options() -> None:
    spellings = [spelling for option in IMAGINE for spelling in (option.name, *option.flags)]

    assert len(spellings) == len(set(spellings))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("steps", "0"), ("steps", "-1"), ("steps", "1000000000"), ("steps", "1.5"), ("steps", "0x1"), ("steps", "1_0"),
        ("steps", "\uff11\uff12"), ("steps", "٣"), ("steps", ""), ("steps", "1e3"), ("cfg", "nan"), ("cfg", "inf"),
        ("cfg", "-inf"), ("cfg", "1e999"), ("seed", str(2**64)), ("seed", "-2"), ("count", "1000"), ("clip_skip", "13"),
    ],
)  # fmt: skip
def test_a_number_out_of_range_names_the_range(name: str, text: str) -> None:
    option = by_name(IMAGINE)[name]

    with pytest.raises(BadValue, match=f"`{name}` must be a .*number from .* to "):
        option.value(text)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("cfg", "7,5", 7.5), ("seed", "\u22121", -1), ("seed", "4294967295", 2**32 - 1), ("steps", " 20 ", 20)],
)
def test_numbers_are_read_as_people_write_them(name: str, text: str, value: float) -> None:
    assert by_name(IMAGINE)[name].value(text) == value


def test_dashes_and_case_do_not_matter_in_a_flag() -> None:
    assert find(IMAGINE, "Clip-Skip").name == "clip_skip"
