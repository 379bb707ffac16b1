"""Weights: A1111's own examples, a table of spellings, and what hostile text can not do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easel.prompt.attention import BREAK, MAX_WEIGHT, Part, parse_attention

LESS = 0.9090909090909091

A1111_EXAMPLES = [
    ("normal text", [("normal text", 1.0)]),
    ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
    ("(unbalanced", [("unbalanced", 1.1)]),
    (r"\(literal\]", [("(literal]", 1.0)]),
    ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
    (
        "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
        [
            ("a ", 1.0),
            ("house", 1.5730000000000004),
            (" ", 1.1),
            ("on", 1.0),
            (" a ", 1.1),
            ("hill", 0.55),
            (", sun, ", 1.1),
            ("sky", 1.4641000000000006),
            (".", 1.1),
        ],
    ),
]

NESTED = [
    ("", [("", 1.0)]),
    ("()", [("", 1.0)]),
    ("[]", [("", 1.0)]),
    ("(a)b", [("a", 1.1), ("b", 1.0)]),
    ("((a))", [("a", 1.2100000000000002)]),
    ("[a]", [("a", LESS)]),
    ("[[a]]", [("a", 0.8264462809917354)]),
    ("([a])", [("a", 1.0)]),
    ("(((a:1.3)))", [("a", 1.5730000000000004)]),
    ("(a)(b)", [("ab", 1.1)]),
    ("(a:1.1)(b)", [("ab", 1.1)]),
    ("(a:0.5)[b]", [("a", 0.5), ("b", LESS)]),
    ("(masterpiece:1.2), 1girl", [("masterpiece", 1.2), (", 1girl", 1.0)]),
    ("(猫:1.2)👍", [("猫", 1.2), ("👍", 1.0)]),
]

NUMBERS = [
    ("(a:1.2)", [("a", 1.2)]),
    ("(a:0)", [("a", 0.0)]),
    ("(a:-1)", [("a", -1.0)]),
    ("(a:+.5)", [("a", 0.5)]),
    ("(a:1.)", [("a", 1.0)]),
    ("(a: 1.2 )", [("a", 1.2)]),
    ("(a\n:1.2\n)", [("a\n", 1.2)]),
    ("(a :1.2)", [("a ", 1.2)]),
    ("(a:１.５)", [("a", 1.5)]),
    ("(:1.3)", [("", 1.0)]),
    ("(a:b:1.3)", [("a:b", 1.3)]),
    ("(a:1.2:1.3)", [("a:1.2", 1.3)]),
    ("[a:1.3]", [("a:1.3", LESS)]),
    ("a:1.2)", [("a:1.2)", 1.0)]),
]

NOT_NUMBERS = [
    ("(a:1.2 b)", [("a:1.2 b", 1.1)]),
    ("(a:nan)", [("a:nan", 1.1)]),
    ("(a:inf)", [("a:inf", 1.1)]),
    ("(a:-inf)", [("a:-inf", 1.1)]),
    ("(a:1e999)", [("a:1e999", 1.1)]),
    ("(a:1,2)", [("a:1,2", 1.1)]),
    ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
    ("(a:...)", [("a:...", 1.1)]),
    ("(a:\u22121)", [("a:\u22121", 1.1)]),
    (f"(a:{'9' * 400})", [(f"a:{'9' * 400}", 1.1)]),
]

UNBALANCED = [
    ("(a", [("a", 1.1)]),
    ("[a", [("a", LESS)]),
    ("((a", [("a", 1.2100000000000002)]),
    ("([a", [("a", 1.0)]),
    ("(a (b:1.5) c", [("a ", 1.1), ("b", 1.6500000000000001), (" c", 1.1)]),
    ("a)", [("a)", 1.0)]),
    ("a]", [("a]", 1.0)]),
    ("(a]", [("a]", 1.1)]),
    ("[a)", [("a)", LESS)]),
    ("(a [b) c]", [("a ", 1.1), ("b", 1.0), (" c", LESS)]),
]

ESCAPED = [
    (r"\(a\)", [("(a)", 1.0)]),
    (r"\[a\]", [("[a]", 1.0)]),
    (r"a\\b", [(r"a\b", 1.0)]),
    (r"a\b", [("ab", 1.0)]),
    ("a\\", [("a", 1.0)]),
    (r"(\))", [(")", 1.1)]),
    (r"\\(a)", [("\\", 1.0), ("a", 1.1)]),
    ("{a}|__b__", [("{a}|__b__", 1.0)]),
]

MARKER = ("BREAK", -1.0)

BREAKS = [
    ("BREAK", [("", 1.0), MARKER, ("", 1.0)]),
    ("a BREAK b", [("a", 1.0), MARKER, ("b", 1.0)]),
    ("a\nBREAK\n\tb", [("a", 1.0), MARKER, ("b", 1.0)]),
    ("a BREAK BREAK b", [("a", 1.0), MARKER, ("", 1.0), MARKER, ("b", 1.0)]),
    ("(a) BREAK (b)", [("a", 1.1), ("", 1.0), MARKER, ("", 1.0), ("b", 1.1)]),
    ("aBREAKb", [("aBREAKb", 1.0)]),
    ("break", [("break", 1.0)]),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [*A1111_EXAMPLES, *NESTED, *NUMBERS, *NOT_NUMBERS, *UNBALANCED, *ESCAPED, *BREAKS],
)
def test_a_prompt_is_weighed_as_a1111_weighs_it(text: str, expected: list[tuple[str, float]]) -> None:
    assert parse_attention(text) == tuple(Part(*pair) for pair in expected)


def test_a_break_inside_brackets_is_a_word_of_their_weight() -> None:
    parts = parse_attention("(a BREAK b)")

    assert parts == (Part("a", 1.1), Part("BREAK", -1.1), Part("b", 1.1))
    assert BREAK not in parts


@pytest.mark.parametrize(
    ("text", "weight"),
    [("(a:11)", 10), ("(a:-11)", -10), ("((a:9):9)", 10), ("(a:99999999)", 10), ("(((a:99999):99999):-9)", -10)],
)
def test_weights_stop_at_ten(text: str, weight: float) -> None:
    assert parse_attention(text) == (Part("a", weight),)


def test_neighbours_that_stop_at_the_same_weight_are_one_part() -> None:
    assert parse_attention("(a:20)(b:30)") == (Part("ab", MAX_WEIGHT),)


def test_an_overflow_times_zero_is_zero() -> None:
    big = "9" * 300
    text = "(" * 60 + "a" + f":{big})" * 59 + ":0)"

    assert parse_attention(text) == (Part("a", 0.0),)


@pytest.mark.parametrize("depth", [100, 10_000])
def test_a_tower_of_brackets_weighs_as_much_as_can_be(depth: int) -> None:
    assert parse_attention("(" * depth + "a" + ")" * depth) == (Part("a", MAX_WEIGHT),)
    assert parse_attention("(" * depth + "a") == (Part("a", MAX_WEIGHT),)
    assert parse_attention("[" * depth + "a")[0].weight < 0.01


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="()[]\\")))
def test_text_without_brackets_stays_whole(text: str) -> None:
    if "BREAK" not in text:
        assert parse_attention(text) == (Part(text),)


@settings(deadline=None)
@given(st.text())
def test_escaped_text_stays_whole(text: str) -> None:
    escaped = "".join(f"\\{sign}" if sign in "()[]\\" else sign for sign in text)

    if "BREAK" not in text:
        assert parse_attention(escaped) == (Part(text),)


@settings(deadline=None)
@given(st.text("()[]:ab\\ .1239-"))
def test_no_sign_is_lost_and_no_weight_leaves_its_range(text: str) -> None:
    parts = parse_attention(text)

    assert parts
    assert all(abs(part.weight) <= MAX_WEIGHT for part in parts)
    assert "".join(part.text for part in parts).count("a") == text.count("a")
