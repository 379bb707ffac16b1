"""Permutations: every prompt, in order, and never too many."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easel.errors import BadPrompt
from easel.prompt.braces import MAX_DEPTH
from easel.prompt.permute import count_permutations, permutations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a bird", ["a bird"]),
        ("", [""]),
        ("{red, green} bird", ["red bird", "green bird"]),
        ("a {red, green} {bird,  cat }", ["a red bird", "a red cat", "a green bird", "a green cat"]),
        (r"a {red, pastel\, yellow} bird", ["a red bird", "a pastel, yellow bird"]),
        ("{a, {b, c} d} e", ["a e", "b d e", "c d e"]),
        (r"{a, {b\, c, d} e}", ["a", "b, c e", "d e"]),
        ("a{, very} big cat", ["a big cat", "avery big cat"]),
        ("{a,b}{,c}", ["a", "ac", "b", "bc"]),
        ("cat --ar {1:1, 16:9}", ["cat --ar 1:1", "cat --ar 16:9"]),
        ("({red, green}:1.2) [{a, b}]", ["(red:1.2) [a]", "(red:1.2) [b]", "(green:1.2) [a]", "(green:1.2) [b]"]),
        ("{(red, wet:1.2), blue}", ["(red, wet:1.2)", "blue"]),
        ("{{masterpiece}}, cat", ["{{masterpiece}}, cat"]),
        ("{prompt}", ["{prompt}"]),
        ("{a|b} {c, d}", ["{a|b} c", "{a|b} d"]),
        ("{x {c, d}|b}", ["{x c|b}", "{x d|b}"]),
        (r"{ {c\, d, e} |b}", [r"{ c\, d |b}", "{ e |b}"]),
        (r"\{a, b\}", [r"\{a, b\}"]),
        (r"{a\(b, \\}", [r"a\(b", r"\\"]),
        ("{a, b", ["{a, b"]),
        ("a, b}", ["a, b}"]),
        ("[a|b] __c__", ["[a|b] __c__"]),
    ],
)
def test_a_prompt_is_permuted(text: str, expected: list[str]) -> None:
    assert permutations(text) == tuple(expected)
    assert count_permutations(text) == len(expected)


def test_too_many_are_counted_and_refused_before_any_is_written() -> None:
    assert count_permutations("{a,b}" * 1000) == 2**1000
    assert count_permutations("{a,b}" * 5 + "{a,b,{c,d}}") == 128

    with pytest.raises(BadPrompt, match="make 64 prompts; at most 40"):
        permutations("{a,b}" * 6)
    with pytest.raises(BadPrompt, match="make more than 1000000 prompts"):
        permutations("{a,b}" * 1000)


def test_the_limit_can_be_chosen() -> None:
    assert len(permutations("{a,b}" * 6, limit=64)) == 64

    with pytest.raises(BadPrompt, match="make 2 prompts; at most 1 are"):
        permutations("{a,b}", limit=1)


def test_a_brace_with_both_separators_is_refused() -> None:
    with pytest.raises(BadPrompt, match="has both"):
        permutations("{a, b|c}")


def test_the_deepest_nest_is_permuted() -> None:
    assert permutations("{a," * MAX_DEPTH + "b" + "}" * MAX_DEPTH) == ("a",) * MAX_DEPTH + ("b",)


@settings(deadline=None)
@given(st.text("{},|()[]\\ab ", max_size=40))
def test_as_many_are_written_as_were_counted(text: str) -> None:
    try:
        written = permutations(text)
    except BadPrompt:
        return

    assert len(written) == count_permutations(text)
    assert all(len(prompt) <= len(text) for prompt in written)
