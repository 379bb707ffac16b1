"""Composition: where `AND` cuts, and what counts as a weight."""

import pytest

from easel.errors import BadPrompt
from easel.prompt.compose import MAX_PROMPTS, split_and


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [("", 1.0)]),
        ("a cat", [("a cat", 1.0)]),
        ("a AND b:0.5", [("a", 1.0), (" b", 0.5)]),
        ("a:1.2 AND b : -0.5 AND c", [("a", 1.2), (" b", -0.5), (" c", 1.0)]),
        ("a\nAND\nb :\n.5\n", [("a", 1.0), ("\nb", 0.5)]),
        ("a:1:2", [("a:1", 2.0)]),
        ("a:2.", [("a", 2.0)]),
        ("(a:1.2) AND (b:1.3)", [("(a:1.2)", 1.0), (" (b:1.3)", 1.0)]),
        ("sANDy AND ANDY and", [("sANDy", 1.0), (" ANDY and", 1.0)]),
        ("AND", [("", 1.0), ("", 1.0)]),
        ("a:nan AND b:1e999", [("a:nan", 1.0), (" b:1e999", 1.0)]),
        (f"a:{'9' * 400}", [(f"a:{'9' * 400}", 1.0)]),
        ("a:99 AND b:-99", [("a", 10.0), (" b", -10.0)]),
    ],
)
def test_and_cuts_as_in_a1111(text: str, expected: list[tuple[str, float]]) -> None:
    assert split_and(text) == tuple(expected)


def test_too_many_joined_prompts_are_refused_with_both_numbers() -> None:
    assert len(split_and(" AND ".join("a" * MAX_PROMPTS))) == MAX_PROMPTS

    with pytest.raises(BadPrompt, match=r"joins 11 prompts here; at most 10"):
        split_and(" AND ".join("a" * (MAX_PROMPTS + 1)))
