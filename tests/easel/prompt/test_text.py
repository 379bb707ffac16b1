"""Text as it may enter."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easel.errors import BadPrompt
from easel.prompt.text import MAX_LENGTH, clean, quoted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 猫 👍🏽 e\u0301", "a 猫 👍🏽 e\u0301"),
        ("a\0b", "a\ufffdb"),
        ("a\ud800b", "a\ufffdb"),
        ("\udc00", "\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("\ufeffa\r\nb", "\ufeffa\r\nb"),
    ],
)
def test_nul_and_lone_surrogates_are_replaced(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_a_text_too_long_is_refused_with_both_numbers() -> None:
    assert clean("👍" * MAX_LENGTH) == "👍" * MAX_LENGTH

    with pytest.raises(BadPrompt, match="has 6001 characters; at most 6000"):
        clean("a" * (MAX_LENGTH + 1))


@settings(deadline=None)
@given(st.text(st.characters(codec=None), max_size=50))
def test_what_is_clean_can_be_sent_and_stays_as_it_is(text: str) -> None:
    cleaned = clean(text)

    assert cleaned.encode().decode() == cleaned
    assert "\0" not in cleaned
    assert clean(cleaned) == cleaned


def test_a_long_text_is_quoted_in_short() -> None:
    assert quoted("ink") == "`ink`"
    assert quoted("i`n`k") == "`i'n'k`"
    assert len(quoted("x" * 5000)) == 103
