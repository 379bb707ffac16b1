"""Hostile text: a hundred thousand random prompts and long ones of every pattern, in every function that reads them."""

import random
import time
from collections.abc import Callable, Sequence

import pytest

from easel.errors import BadPrompt
from easel.prompt.attention import parse_attention
from easel.prompt.compose import split_and
from easel.prompt.expand import expand_random
from easel.prompt.networks import extract_networks
from easel.prompt.permute import count_permutations, permutations
from easel.prompt.schedule import schedule
from easel.prompt.styles import apply_style
from easel.prompt.text import clean

ALPHABET = [
    *"()[]{}<>:|,\\_$ .=-+#\n\t\0\x1b",
    *("a", "cat", "1", "0.5", "1e999", "nan", "\u2212", "１", "é", "👍🏽", "\u202e", "\u0301", "\ud800", "\udc00"),
    *("AND", " AND ", "BREAK", " BREAK ", ":1.2)", ": .5]", "::", "__", "__x__", "__../x__", "2$$", "0.3::"),
    *("<lora:", "<lyco:x:", "<hypernet:", "te=", "[a|b]", "{a|b}", "{a,b}", "[a:b:3]", "{prompt}", "..", "/"),
]


class Echo:
    """A wildcard that comes out of itself."""

    def lines(self, name: str) -> Sequence[str]:
        return (f"__{name[:9]}__", "{a|b}", name)


READERS: dict[str, Callable[[str], object]] = {
    "clean": clean,
    "attention": parse_attention,
    "schedule": lambda text: schedule(text, 12),
    "compose": split_and,
    "networks": extract_networks,
    "count": count_permutations,
    "permute": permutations,
    "expand": lambda text: expand_random(text, 7, Echo()),
    "style": lambda text: apply_style("a cat", text),
}


def refusal(name: str, text: str) -> str | None:
    """Return the sentence with which `text` is refused, None if it is read."""
    try:
        READERS[name](text)
    except BadPrompt as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", READERS)
def test_no_text_does_worse_than_be_refused(name: str) -> None:
    dice = random.Random(name)
    texts = ["".join(dice.choices(ALPHABET, k=dice.randint(0, 40))) for _ in range(100_000 // len(READERS) + 1)]

    refusals = [refusal(name, text) for text in texts]

    assert None in refusals
    assert all(len(sentence) < 600 for sentence in refusals if sentence is not None)


REPEATED = [
    *("(", "[", "{", "<", ")", "]", "}", ">", ":", "|", ",", "\\", " ", "_", "a", "9", "9.", "::", ": ", "a:1", "\\("),
    *("(a", "[a", "{a", "(a:", "[a:", "[a|", "{a,", "{a|", "{(,", "{[|", "(]", "[)", "[(", "((((a:1.2)", "(a:1.2)"),
    *("(a:9.9", "[a:1e", "[a:b:0.5]", "[[a:1]", "[a|b]", "[a:b:c:1]", "{a,b}", "{a|b}", "{{a}}", "BREAK ", "(BREAK"),
    *("a BREAK(", "AND", "a AND b:", "<a:", "<a:b", "<a:b>", "<lora:", "<lora:x", "__", "__x", "__ a", "__x y", "{2$$"),
    *("{9$$a|", "0.3::", "$$", "\u2003", "👍"),
]

TOWERS = [("[a:", ":1]"), ("(a", ":1.2)"), ("{a,", "}"), ("{a|", "}"), ("{", "}"), ("[", "]"), ("(", ":1.2)")]

SHAPES = [*((pattern, "") for pattern in REPEATED), *TOWERS]


def grown(shape: tuple[str, str], size: int) -> str:
    before, after = shape
    times = size // len(before + after)
    return before * times + "b" + after * times


def seconds(name: str, text: str) -> float:
    """Return this thread's own time, the best of three, for the machine may be busy with other things."""
    times = []
    for _ in range(3):
        start = time.thread_time()
        refusal(name, text)
        times.append(time.thread_time() - start)
    return min(times)


@pytest.mark.parametrize("name", READERS)
def test_time_grows_with_length_and_not_with_its_square(name: str) -> None:
    for shape in SHAPES:
        short, long = seconds(name, grown(shape, 1000)), seconds(name, grown(shape, 16_000))

        # Of 16 times the length; a square would take 256 times as long.
        assert long < 100 * short + 0.1, shape
