"""Pasted infotexts: which words are one, where flags stand in it, and what it tells."""

import pytest

from bot.asking.told import parted, read_words, told_by
from bot.options import IMAGINE
from easel.errors import BadValue, UnknownModel
from tests.fakes.wishes import INFOTEXT, a_catalog

SETTINGS = "Steps: 20, Sampler: Euler a, CFG scale: 7"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (f"a cat\n{SETTINGS}", ("a cat", SETTINGS)),
        (SETTINGS, ("", SETTINGS)),
        (f"a cat\nin a hat\nNegative prompt: dog\n{SETTINGS}", ("a cat\nin a hat\nNegative prompt: dog", SETTINGS)),
        (f"a cat Negative prompt: dog {SETTINGS}", ("a cat\nNegative prompt: dog", SETTINGS)),
        (f"a cat {SETTINGS}", ("a cat", SETTINGS)),
        ("a cat", None),
        ("", None),
        ("a cat\nSteps: 20", None),
        ("a cat\nSteps: 20, Seed: 5", None),
        ("Steps: the musical", None),
        ("a staircase. Steps: 20, all of them red", None),
        (f"mySteps: 20, {SETTINGS.removeprefix('Steps: 20, ')}", None),
    ],
)
def test_an_infotext_is_told_from_other_words(text: str, parts: tuple[str, str] | None) -> None:
    assert parted(text) == parts


@pytest.mark.parametrize("between", [" ", "\n", "\n\n"])
def test_flags_stand_behind_a_pasted_text(between: str) -> None:
    form = read_words(f"{INFOTEXT}{between}--seed 5 —hires", IMAGINE)

    assert form == {"prompt": INFOTEXT, "seed": "5", "hires": "2"}


def test_what_looks_like_a_flag_in_a_pasted_prompt_is_none() -> None:
    text = f"a cat --nonsense -m 5\n{SETTINGS}"

    assert read_words(text, IMAGINE) == {"prompt": text}


def test_other_words_are_read_as_ever() -> None:
    assert read_words("a cat --steps 5", IMAGINE) == {"prompt": "a cat", "steps": "5"}


def test_a_text_tells_fields_and_what_was_left_out() -> None:
    told = told_by(INFOTEXT, a_catalog(), named=False)

    assert told.fields == {
        "prompt": "a lighthouse, (storm:1.2)",
        "negative_prompt": "blurry",
        "steps": 12,
        "seed": 77,
        "clip_skip": 2,
        "cfg_scale": 6.0,
        "rng": "nv",
        "sampler": "Euler a",
        "schedule": "Automatic",
        "width": 192,
        "height": 128,
    }
    assert told.notes == ("Left out, as I do not know what to do with it: ENSD.",)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Model hash: 0123456789, Model: easel-demo", "coast"),
        ("Model hash: 9999999999, Model: coast", "coast"),
        ("Model: easel-demo", "easel-demo"),
        (f"Model hash: 0123456789{'a' * 54}", "coast"),
    ],
)
def test_a_checkpoint_is_known_by_its_hash_before_its_name(model: str, name: str) -> None:
    told = told_by(f"a cat\n{SETTINGS}, {model}", a_catalog(), named=False)

    assert told.card is not None
    assert told.card.name == name


def test_without_a_checkpoint_in_it_a_text_leaves_the_choice() -> None:
    assert told_by(f"a cat\n{SETTINGS}", a_catalog(), named=False).card is None


def test_an_unknown_checkpoint_names_the_nearest_unless_another_is_named() -> None:
    text = f"a cat\n{SETTINGS}, Model hash: 9999999999, Model: easel_dmo"

    with pytest.raises(UnknownModel, match=r"no checkpoint called `easel_dmo`. Did you mean `easel-demo`"):
        told_by(text, a_catalog(), named=False)
    assert told_by(text, a_catalog(), named=True).card is None


def test_an_unknown_hash_without_a_name_is_said() -> None:
    with pytest.raises(BadValue, match=r"hash `9999999999` is not here. Please name one with `--checkpoint`"):
        told_by(f"a cat\n{SETTINGS}, Model hash: 9999999999", a_catalog(), named=False)


def test_a_long_list_of_strange_settings_is_cut() -> None:
    strange = ", ".join(f"Strange{n}: {n}" for n in range(40))

    gone, note = told_by(f"a cat\n{SETTINGS}, VAE: nice.pt, {strange}", a_catalog(), named=False).notes

    assert gone == "The VAE `nice.pt` is not here; the usual one takes its place."
    assert note.count(",") < 20
    assert note.endswith("….")
