"""Random choice: by the seed alone, within bounds, with nothing left to choose."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easel.errors import BadPrompt
from easel.prompt.braces import MAX_DEPTH as MAX_BRACES
from easel.prompt.expand import MAX_DEPTH, expand_random


class Lists:
    """Wildcards out of a dictionary; counts how often each is read."""

    def __init__(self, **lists: Sequence[str]) -> None:
        self._lists = lists
        self.read: Counter[str] = Counter()

    def lines(self, name: str) -> Sequence[str]:
        self.read[name] += 1
        if name not in self._lists:
            raise BadPrompt(f"There is no wildcard called `{name}`.")
        return self._lists[name]


NONE = Lists()


def outcomes(text: str, wildcards: Lists = NONE, seeds: int = 200) -> Counter[str]:
    return Counter(expand_random(text, seed, wildcards) for seed in range(seeds))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat", {"a cat"}),
        ("a {red|green} cat", {"a red cat", "a green cat"}),
        ("a { red | green } cat", {"a red cat", "a green cat"}),
        (r"cat{|\, wet}", {"cat", "cat, wet"}),
        ("{a|{b|c} d}", {"a", "b d", "c d"}),
        ("{a|b}{c|d}", {"ac", "ad", "bc", "bd"}),
        ("{[a|b]|c}", {"[a|b]", "c"}),
        ("[a|b]", {"[a|b]"}),
        ("({a|b}:1.2)", {"(a:1.2)", "(b:1.2)"}),
        ("{a} {prompt} {c, d}", {"{a} {prompt} {c, d}"}),
        ("{c, {a|b}}", {"{c, a}", "{c, b}"}),
        (r"{a\, b|c}", {"a, b", "c"}),
        (r"{a\|b|c}", {r"a\|b", "c"}),
        (r"\{a|b\}", {r"\{a|b\}"}),
        ("{a|b", {"{a|b"}),
        ("{0::a|b}", {"b"}),
        ("{1::a|0.0::b}", {"a"}),
        ("{0::a|0::b}", {"b"}),
        ("{.5::{a|b}|{c|d}}", {"a", "b", "c", "d"}),
        ("{2$$a|b|c}", {"a, b", "b, a", "a, c", "c, a", "b, c", "c, b"}),
        ("{9$$a|b}", {"a, b", "b, a"}),
        ("{0-1$$a|b}", {"", "a", "b"}),
        ("{2-1$$a|b}", {"a, b", "b, a"}),
        (r"\__a__ ____ __ a__", {r"\__a__ ____ __ a__"}),
    ],
)
def test_every_choice_comes_up_and_nothing_else(text: str, expected: set[str]) -> None:
    assert set(outcomes(text)) == expected


def test_the_same_seed_chooses_the_same() -> None:
    text = "{a|b|c} {2$$d|e|f} __colours__"
    lists = Lists(colours=["red", "green", "blue"])

    assert [expand_random(text, seed, lists) for seed in (0, 1, 2, 2**32 - 1)] == [
        expand_random(text, seed, lists) for seed in (0, 1, 2, 2**32 - 1)
    ]
    assert expand_random("{a|b|c|d|e|f|g|h}" * 8, 1234, NONE) == "hdahhefa"


def test_shares_weigh_the_choice() -> None:
    count = outcomes("{3::a|b}", seeds=2000)

    assert 1400 < count["a"] < 1600


def test_wildcards_are_replaced_wherever_they_stand() -> None:
    lists = Lists(c=["red", "blue"], **{"animals/my birds": ["owl"]})

    assert set(outcomes("a __c__ __animals/my birds__", lists)) == {"a red owl", "a blue owl"}
    assert set(outcomes("{__c__ x|y}", lists)) == {"red x", "blue x", "y"}
    assert set(outcomes("(__c__:1.2)_", lists)) == {"(red:1.2)_", "(blue:1.2)_"}


def test_a_line_may_hold_choices_and_wildcards_with_commas() -> None:
    lists = Lists(a=["{red, wet|blue} __b__"], b=["owl"])

    assert set(outcomes("__a__", lists)) == {"red, wet owl", "blue owl"}


def test_a_list_is_read_once_for_a_prompt() -> None:
    lists = Lists(c=["red"])

    assert expand_random("__c__ __c__ __c__", 1, lists) == "red red red"
    assert lists.read == {"c": 1}


def test_an_unknown_or_empty_wildcard_is_refused() -> None:
    with pytest.raises(BadPrompt, match="no wildcard called `x`"):
        expand_random("__x__", 1, NONE)
    with pytest.raises(BadPrompt, match="`x` is an empty list"):
        expand_random("__x__", 1, Lists(x=[]))


def test_a_wildcard_that_comes_out_of_itself_is_refused() -> None:
    with pytest.raises(BadPrompt, match="`x` comes out of other wildcards more than 8 deep"):
        expand_random("__x__", 1, Lists(x=["a __x__"]))
    with pytest.raises(BadPrompt, match="More than 100 wildcards"):
        expand_random("__x__" * 100, 1, Lists(x=["__y__"], y=["a"]))


def test_the_text_does_not_grow_out_of_bounds() -> None:
    with pytest.raises(BadPrompt, match="at most 6000"):
        expand_random("__x__" * 99, 1, Lists(x=["a" * 61]))
    with pytest.raises(BadPrompt, match="at most 6000"):
        expand_random("{a|b}" + "c" * 6000, 1, NONE)


def test_the_deepest_of_all_nests_is_expanded() -> None:
    nest = "{" * MAX_BRACES + "__{n}__" + "|0::}" * MAX_BRACES
    lists = Lists(
        **{f"x{n}": [nest.replace("{n}", f"x{n + 1}")] for n in range(1, MAX_DEPTH)}, **{f"x{MAX_DEPTH}": ["end"]}
    )

    assert expand_random(nest.replace("{n}", "x1"), 1, lists) == "end"


def test_a_typed_brace_with_both_separators_is_refused() -> None:
    with pytest.raises(BadPrompt, match="has both"):
        expand_random("{a, b|c}", 1, NONE)


@settings(deadline=None)
@given(st.text("{}|$:,12 ()[]\\a", max_size=40), st.integers(0, 2**32 - 1))
def test_what_was_expanded_is_expanded_the_same_way_again(text: str, seed: int) -> None:
    try:
        once = expand_random(text, seed, NONE)
    except BadPrompt:
        return

    assert expand_random(text, seed, NONE) == once
