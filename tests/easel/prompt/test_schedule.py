"""Editing and alternation: A1111's own examples, a table of spellings, nests and stray brackets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easel.prompt.schedule import Stage, schedule

A1111_EXAMPLES = [
    ("test", [(10, "test")]),
    ("a [b:3]", [(3, "a "), (10, "a b")]),
    ("a [b: 3]", [(3, "a "), (10, "a b")]),
    ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
    ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
    ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
    ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
    ("a [unbalanced", [(10, "a [unbalanced")]),
    ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
    ("a [{b|d{:.5] c", [(5, "a  c"), (10, "a {b|d{ c")]),
    ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
    ("[a|(b:1.1)]", [(step, "a" if step % 2 else "(b:1.1)") for step in range(1, 11)]),
    ("[fe|]male", [(step, "female" if step % 2 else "male") for step in range(1, 11)]),
    ("[fe|||]male", [(step, "female" if step % 4 == 1 else "male") for step in range(1, 11)]),
]

WHEN = [
    ("[a:b:0.35]", [(3, "a"), (10, "b")]),
    ("[a:b:+3]", [(3, "a"), (10, "b")]),
    ("[a:b:3 ]", [(3, "a"), (10, "b")]),
    ("[a:b:1.0]", [(10, "a")]),
    ("[a:b:1]", [(1, "a"), (10, "b")]),
    ("[a:b:0]", [(10, "b")]),
    ("[a:b:-1]", [(10, "b")]),
    ("[a:b:5e-1]", [(10, "b")]),
    ("[a:b:2e0]", [(2, "a"), (10, "b")]),
    ("[a:b:99]", [(10, "a")]),
    ("[a:b:9999999999999999999]", [(10, "a")]),
    ("[a:b:1e999]", [(10, "[a:b:1e999]")]),
    ("[a:b:1.0e308]", [(10, "[a:b:1.0e308]")]),
    ("[a:b:nan]", [(10, "[a:b:nan]")]),
    ("[a:b:inf]", [(10, "[a:b:inf]")]),
    ("[a:b:３]", [(10, "[a:b:３]")]),
    ("[a:b:0.5.5]", [(10, "[a:b:0.5.5]")]),
]

SHAPES = [
    ("", [(10, "")]),
    ("[]", [(10, "[]")]),
    ("[a]", [(10, "[a]")]),
    ("(a:1.2)", [(10, "(a:1.2)")]),
    ("[a::3]", [(3, "a"), (10, "")]),
    ("[:a:3]", [(3, ""), (10, "a")]),
    ("[:3]", [(3, ""), (10, "")]),
    ("[a\n:3\n]", [(3, ""), (10, "a\n")]),
    ("[[a:b:5]:c:3]", [(3, "a"), (5, "c"), (10, "c")]),
    ("([a:b:3]:1.2)", [(3, "(a:1.2)"), (10, "(b:1.2)")]),
    ("[(a:1.2):(b:0.8):4]", [(4, "(a:1.2)"), (10, "(b:0.8)")]),
    ("[a:3][b:4]", [(3, ""), (4, "a"), (10, "ab")]),
    ("[[a|b]:c:2]", [(1, "a"), (2, "b"), *((step, "c") for step in range(3, 11))]),
    (r"[\[a\]:3]", [(3, ""), (10, r"\[a\]")]),
    (r"[a\:b:3]", [(3, ""), (10, r"a\:b")]),
    (r"\[a:3]", [(10, r"\[a:3]")]),
    (r"[a\|b]", [(10, r"[a\|b]")]),
]

STRAY = [
    ("[a:b:c:3]", [(10, "[a:b:c:3]")]),
    ("[a:b]", [(10, "[a:b]")]),
    ("[a(b:3]", [(10, "[a(b:3]")]),
    ("[a:(b:3)]", [(10, "[a:(b:3)]")]),
    ("[a:3)]", [(10, "[a:3)]")]),
    ("[x [a:b] y:3]", [(10, "[x [a:b] y:3]")]),
    ("[[a:3]", [(3, "["), (10, "[a")]),
    ("[a:3]]", [(3, "]"), (10, "a]")]),
    ("a | b [c:3]", [(3, "a | b "), (10, "a | b c")]),
    ("[(a|b):3]", [(3, ""), (10, "(a|b)")]),
    ("[a:3] \\", [(3, " \\"), (10, "a \\")]),
]


@pytest.mark.parametrize(("text", "expected"), [*A1111_EXAMPLES, *WHEN, *SHAPES, *STRAY])
def test_a_prompt_says_at_each_step_what_a1111_makes_it_say(text: str, expected: list[tuple[int, str]]) -> None:
    assert schedule(text, 10) == tuple(Stage(*pair) for pair in expected)


def test_the_stages_of_a_long_prompt_follow_each_other() -> None:
    text = (
        "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75]"
        "[ in foreground::0.6][ in background:0.25] [shoddy:masterful:0.5]"
    )

    stages = schedule(text, 100)

    assert stages == (
        Stage(25, "fantasy landscape with a mountain and an oak in foreground shoddy"),
        Stage(50, "fantasy landscape with a lake and an oak in foreground in background shoddy"),
        Stage(60, "fantasy landscape with a lake and an oak in foreground in background masterful"),
        Stage(75, "fantasy landscape with a lake and an oak in background masterful"),
        Stage(100, "fantasy landscape with a lake and a christmas tree in background masterful"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a [b:.5] c", [(10, "a b c")]),
        ("a [b:1.5] c", [(5, "a  c"), (10, "a b c")]),
        ("a [b:13] c", [(3, "a  c"), (10, "a b c")]),
        ("a [b:3] c", [(10, "a b c")]),
    ],
)
def test_in_a_second_pass_the_steps_of_the_first_are_over(text: str, expected: list[tuple[int, str]]) -> None:
    assert schedule(text, 10, first_pass_steps=10) == tuple(Stage(*pair) for pair in expected)


def test_edits_nest_ten_thousand_deep() -> None:
    depth = 10_000

    stages = schedule("[" * depth + "a" + ":1]" * depth, 2)

    assert stages == (Stage(1, ""), Stage(2, "a"))


@pytest.mark.timeout(5)
@pytest.mark.parametrize("number", ["9" * 100_000, "." + "9" * 100_000, "1e" + "9" * 100_000, " " * 100_000])
def test_a_number_that_does_not_end_is_read_at_once(number: str) -> None:
    assert schedule(f"[a:{number}x]", 2) == (Stage(2, f"[a:{number}x]"),)


@settings(deadline=None)
@given(st.text("[]():|a 13.\\"), st.integers(1, 20))
def test_stages_rise_to_the_last_step(text: str, steps: int) -> None:
    ends = [stage.until_step for stage in schedule(text, steps)]

    assert ends == sorted(set(ends))
    assert ends[0] >= 1
    assert ends[-1] == steps


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="[")))
def test_text_without_square_brackets_stays_as_it_is(text: str) -> None:
    assert schedule(text, 7) == (Stage(7, text),)
