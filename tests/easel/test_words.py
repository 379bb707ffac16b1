"""Sentences and prompts as a network shows them: literally, whole signs only, and no longer than it takes."""

import random
import re

import pytest

from easel.words import cut, for_discord

HOSTILE = (
    *(
        "```",
        "`",
        "[x](http://evil.example)",
        "||",
        "# ",
        "-# ",
        "> ",
        "<t:0>",
        "</cmd:1>",
        "<@1>",
        "**",
        "__",
        "~~",
        "\\",
    ),
    *("\u202e", "\u2066", "\u200b", "e\u0301", "漢", "🐈", "👩🏽\u200d🚀", "❤\ufe0f", "\n", "a", " ", "\ud83d"),
)
MARKUP = re.compile(r"(?<!\\)(?:\\\\)*[*_~`|>#\[\]()<-]")


def texts(count: int) -> list[str]:
    dice = random.Random(5)
    return ["".join(dice.choices(HOSTILE, k=dice.randint(1, 40))) for _ in range(count)]


def units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def test_no_sign_of_a_prompt_is_markup_on_discord() -> None:
    for text in texts(3000):
        shown = for_discord(text)

        assert not MARKUP.search(shown), text
        assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"), text
        assert re.sub(r"\\(.)", r"\1", shown, flags=re.DOTALL) == re.sub("[\u202e\u2066]", "", text)


@pytest.mark.parametrize("limit", [10, 100])
def test_a_text_is_cut_between_signs_and_fits(limit: int) -> None:
    for text in texts(3000):
        short = cut(text, limit)

        assert units(short) <= limit
        if units(text) <= limit:
            assert short == text
        else:
            assert text.encode("utf-16-le", "replace").decode("utf-16-le").startswith(short[:-1])
            assert short[-1] == "…"
            assert not short[:-1].endswith(("\u200d", "\ufe0f"))
            short.encode()
