"""Braces: which of them are choices, and where their options part."""

import pytest

from easel.errors import BadPrompt
from easel.prompt.braces import MAX_DEPTH, Group, Option, read_braces


def group(*options: Option, outermost: bool = True) -> Group:
    return Group(options, outermost)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("",)),
        ("cat", ("cat",)),
        ("{a}", ("{a}",)),
        ("{a,b}", (group(("a",), ("b",)),)),
        ("x {a,} y", ("x ", group(("a",), ()), " y")),
        ("{a|b}", ("{a|b}",)),
        ("{{a,b}}", ("{", group(("a",), ("b",), outermost=False), "}")),
        ("{a,{b,c}}", (group(("a",), (group(("b",), ("c",), outermost=False),)),)),
        ("{(a,b),c}", (group(("(a,b)",), ("c",)),)),
        ("{[a,b]}", ("{[a,b]}",)),
        ("({a,b}:1.2)", ("(", group(("a",), ("b",)), ":1.2)")),
        (r"{a\,b,c}", (group((r"a\,b",), ("c",)),)),
        (r"\{a,b}", (r"\{a,b}",)),
        (r"{a,b\}", (r"{a,b\}",)),
        ("{a,b", ("{a,b",)),
        ("a,b}", ("a,b}",)),
        ("{a (,b}", (group(("a (",), ("b",)),)),
        ("{[(,b}", (group(("[(",), ("b",)),)),
        ("{a), b}", (group(("a)",), (" b",)),)),
        ("{x {a,b}", ("{x ", group(("a",), ("b",), outermost=False))),
    ],
)
def test_braces_with_a_comma_are_choices(text: str, expected: Option) -> None:
    assert read_braces(text, ",") == expected


def test_a_bar_in_square_brackets_is_an_alternation_and_parts_no_brace() -> None:
    assert read_braces("{[a|b]|c}", "|") == (group(("[a|b]",), ("c",)),)
    assert read_braces("{[a|b]}", "|") == ("{[a|b]}",)


@pytest.mark.parametrize("separator", [",", "|"])
def test_a_brace_with_both_separators_is_refused_with_an_explanation(separator: str) -> None:
    with pytest.raises(BadPrompt, match=r"The brace `\{a, b\|c\}` has both `,` and `\|`. Use `\{red, green\}` for one"):
        read_braces("x {a, b|c}", "," if separator == "," else "|")


def test_separators_of_different_braces_do_not_mix() -> None:
    assert read_braces("{a,{b|c}}", ",") == (group(("a",), ("{b|c}",)),)
    assert read_braces("{a,{b|c}}", "|") == ("{a,", group(("b",), ("c",), outermost=False), "}")


def test_choices_nest_only_so_deep_and_other_braces_without_end() -> None:
    assert read_braces("{,a" * MAX_DEPTH + "}" * MAX_DEPTH, ",")
    assert read_braces("{" * 10_000 + "a" + "}" * 10_000, ",") == ("{" * 10_000 + "a" + "}" * 10_000,)

    with pytest.raises(BadPrompt, match="more than 10 deep"):
        read_braces("{,a" * (MAX_DEPTH + 1) + "}" * (MAX_DEPTH + 1), ",")
