"""The text itself: what is written, what is read, and that no text can stall or break the reader."""

import contextlib
import json
import time

import pytest

from easel.errors import BadPrompt
from easel.infotext.text import MAX_TEXT, ModelFacts, describe, parse, tidy, write
from easel.jobs import ImageRequest

REQUEST = ImageRequest(
    prompt="a (red:1.2) cat, <lora:storm:0.8>\nsecond line",
    negative_prompt="bad, ugly",
    checkpoint="coast",
    width=512,
    height=768,
    steps=20,
    cfg_scale=7.0,
    sampler="DPM++ 2M",
    schedule="Karras",
    seed=12345,
)
FACTS = ModelFacts("coast", "0a1b2c3d4e", version="easel 0.1.0")

LAST = "Steps: 20, Sampler: Euler a, CFG scale: 7"

READ = [
    ("", "", "", {}),
    ("a cat", "a cat", "", {}),
    ("a cat\nNegative prompt: a dog", "a cat", "a dog", {}),
    (f"a cat\n{LAST}", "a cat", "", {"Steps": "20", "Sampler": "Euler a", "CFG scale": "7"}),
    (f"  a \r\n\r\n b \r\n{LAST}\r\n", "a\n\nb", "", {"Steps": "20", "Sampler": "Euler a", "CFG scale": "7"}),
    (f"a\nNegative prompt: b\nc\nNegative prompt: d\n{LAST}", "a", "b\nc\nd", None),
    (f"a\nNegative prompt:\n\nb\n{LAST}", "a", "b", None),
    (f"say Negative prompt: x\n{LAST}", "say Negative prompt: x", "", None),
    ("a cat\nSteps: 20, Seed: 1", "a cat\nSteps: 20, Seed: 1", "", {}),
    ("Steps: 1, Seed: 2, Size: 8x8", "", "", {"Steps": "1", "Seed": "2", "Size": "8x8"}),
    ('Steps: 1, Seed: 2, Model: "a, b: c"', "", "", {"Steps": "1", "Seed": "2", "Model": "a, b: c"}),
    (r'Steps: 1, Seed: 2, Model: "a \"b\" \\, c"', "", "", {"Steps": "1", "Seed": "2", "Model": 'a "b" \\, c'}),
    ('Steps: 1, Seed: 2, Model: "a" b', "", "", {"Steps": "1", "Seed": "2", "Model": '"a" b'}),
    (
        'Steps: 1, Seed: 2, Model: "open, Size: 8x8',
        "",
        "",
        {"Steps": "1", "Seed": "2", "Model": '"open', "Size": "8x8"},
    ),
    ("Steps: 1, Seed: 2, x: 3, yy: 4", "", "", {"Steps": "1", "Seed": "2", "yy": "4"}),
    (
        "Steps: 1, - Seed: 2, (Face restoration: GFPGAN",
        "",
        "",
        {"Steps": "1", "Seed": "2", "Face restoration": "GFPGAN"},
    ),
    ("Steps: 1, Steps: 2, Seed: 3", "", "", {"Steps": "2", "Seed": "3"}),
    ("Steps: 1, Seed:, Model: a:b", "", "", {"Steps": "1", "Seed": "", "Model": "a:b"}),
    (
        'Steps: 1, Hashes: {"model": "ab", "lora:x": "cd"}, Version: v1.10.1',
        "",
        "",
        {"Steps": "1", "Hashes": '{"model": "ab", "lora:x": "cd"}', "Version": "v1.10.1"},
    ),
    (
        'Steps: 1, Seed: 2, Hashes: {"a": , Size: 8x8',
        "",
        "",
        {"Steps": "1", "Seed": "2", "Hashes": '{"a": ', "Size": "8x8"},
    ),
]


@pytest.mark.parametrize(("text", "prompt", "negative", "settings"), READ)
def test_a_text_is_taken_apart_by_the_rules_of_a1111(
    text: str, prompt: str, negative: str, settings: dict[str, str] | None
) -> None:
    info = parse(text)

    assert (info.prompt, info.negative_prompt) == (prompt, negative)
    assert settings is None or info.settings == settings


def test_settings_stand_in_the_order_of_a1111() -> None:
    request = REQUEST.changed(variation_seed=7, variation_strength=0.25, clip_skip=2, tiling=True)
    facts = ModelFacts(
        "coast", "0a1b2c3d4e", "soft", "1122334455", {"storm": "00112233aabb"}, {"neon": "a0b1"}, "easel 0.1.0"
    )

    text = describe(request, facts)

    assert text == (
        "a (red:1.2) cat, <lora:storm:0.8>\n"
        "second line\n"
        "Negative prompt: bad, ugly\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 12345, Size: 512x768, "
        "Model hash: 0a1b2c3d4e, Model: coast, VAE hash: 1122334455, VAE: soft, "
        "Variation seed: 7, Variation seed strength: 0.25, Clip skip: 2, RNG: CPU, Tiling: True, "
        'Lora hashes: "storm: 00112233aabb", TI hashes: "neon: a0b1", '
        'Hashes: {"model": "0a1b2c3d4e", "vae": "1122334455", "lora:storm": "00112233aabb", "embed:neon": "a0b1"}, '
        "Version: easel 0.1.0"
    )


def test_what_is_unknown_or_usual_is_not_written() -> None:
    text = describe(REQUEST.changed(negative_prompt="", cfg_scale=5.5), ModelFacts("coast"))

    assert text.splitlines()[-1] == (
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5.5, Seed: 12345, Size: 512x768, Model: coast, RNG: CPU"
    )
    assert "Negative" not in text


def test_settings_that_are_not_there_mean_what_they_mean_to_a1111() -> None:
    settings = parse(f"a\n{LAST}, Size: 640x512").as_a1111()

    assert settings == {
        "Clip skip": "1",
        "Schedule type": "Automatic",
        "RNG": "GPU",
        "Steps": "20",
        "Sampler": "Euler a",
        "CFG scale": "7",
        "Size-1": "640",
        "Size-2": "512",
    }


@pytest.mark.parametrize(
    ("prompt", "written"),
    [
        (" a \r\n\tb\r c ", "a\nb\nc"),
        ("a\x00b\x1b[0m", "a b [0m"),
        ("half \ud83d pair", "half \ufffd pair"),
        ("\ud83d\ude00", "😀"),
        ("not a Negative prompt: cat", "not a Negative prompt : cat"),
        ("Steps: 3\nin 3 Steps: up\nSteps: 5", "Steps : 3\nin 3 Steps: up\nSteps : 5"),
        ("ﾈｺ 猫", "ﾈｺ 猫"),
    ],
)
def test_a_prompt_is_written_so_that_it_is_found_again(prompt: str, written: str) -> None:
    assert tidy(prompt) == written
    assert tidy(written) == written
    assert parse(write(prompt, prompt, {"Steps": 1, "Sampler": "Euler", "Seed": 2})).prompt == written


@pytest.mark.parametrize(
    "name",
    ["plain", "a, b", "a: b", 'he said "hi"', '"quoted"', "back\\slash", "end\\", " edges ", "猫の絵", "a}b{c", "a\nb", "512x512",
     "x, Steps: 99, Seed: 1", 'x", "model": "evil', "Hashes: {}", "tab\t", "e\u0301\U0001f408", "\\u002c"],
)  # fmt: skip
def test_any_file_name_comes_back_as_it_was(name: str) -> None:
    facts = ModelFacts(
        name, "0a1b2c3d4e", name, "1122334455", {name: "00112233aabb"}, {name: "ffeeddccbbaa"}, "easel 0.1.0"
    )

    settings = parse(describe(REQUEST, facts)).settings

    assert (settings["Model"], settings["VAE"]) == (name, name)
    assert json.loads(settings["Hashes"]) == {
        "model": "0a1b2c3d4e",
        "vae": "1122334455",
        f"lora:{name}": "00112233aabb",
        f"embed:{name}": "ffeeddccbbaa",
    }
    assert (settings["Steps"], settings["Seed"], settings["Version"]) == ("20", "12345", "easel 0.1.0")


def test_a_lora_named_like_a_setting_does_not_pose_as_one() -> None:
    facts = ModelFacts("coast", lora_hashes={"storm": "00112233aabb", "Seed": "112233445566"})

    settings = parse(describe(REQUEST, facts)).settings

    assert settings["Lora hashes"] == "storm: 00112233aabb"
    assert json.loads(settings["Hashes"]) == {"lora:storm": "00112233aabb", "lora:Seed": "112233445566"}


MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    "piece",
    ["a", " ", "\t", "\n", ":", ",", '"', "\\", "a:", "ab:", 'ab:"', 'ab:"\\', 'ab: "x\\",', "ab: ", "-/", "猫", "\x00", "\ud800",
     "Negative prompt:", "\nNegative prompt:", "{", "[", "Hashes: {", 'Hashes: {"a": [', "Steps: 1, ", "1x1,", "\u2028"],
)  # fmt: skip
@pytest.mark.parametrize("head", ["", "Steps: 1, Seed: 2, Model: 3, ", 'Steps: 1, Seed: 2, Model: "'])
def test_a_megabyte_of_anything_is_read_in_linear_time(piece: str, head: str) -> None:
    text = (head + piece * (MEGABYTE // len(piece)))[:MEGABYTE]

    start = time.process_time()
    with contextlib.suppress(BadPrompt):  # a sentence is as good as an answer, and nothing else is
        parse(text)

    assert time.process_time() - start < 2


def test_a_text_out_of_proportion_is_refused_with_its_size() -> None:
    with pytest.raises(BadPrompt, match="1,048,577 characters long"):
        parse("a" * (MAX_TEXT + 1))
