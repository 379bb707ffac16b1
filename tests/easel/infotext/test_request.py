"""What a pasted text asks for, in the words of a request."""

import random
from typing import Any

import pytest

from easel.errors import BadPrompt
from easel.infotext.request import to_fields
from easel.infotext.text import ModelFacts, describe, tidy
from easel.jobs import MAX_SEED, ImageRequest

OLD = """a lighthouse, <lora:storm:0.8>
second line
Negative prompt: blurry
Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 965400086, Size: 512x768, Model hash: 45dee52b10, \
Model: coast_v2, Clip skip: 2, ENSD: 31337, Lora hashes: "storm: 00112233aabb, rain: ffeeddccbbaa", Version: v1.6.0"""

PLAIN = "a\nSteps: 20, Sampler: Euler a, Size: 512x512"


def test_a_text_of_a1111_asks_for_the_same_picture_here() -> None:
    reading = to_fields(OLD)

    assert reading.fields == {
        "prompt": "a lighthouse, <lora:storm:0.8>\nsecond line",
        "negative_prompt": "blurry",
        "steps": 28,
        "sampler": "DPM++ 2M",
        "schedule": "Karras",
        "cfg_scale": 6.5,
        "seed": 965400086,
        "width": 512,
        "height": 768,
        "checkpoint": "coast_v2",
        "clip_skip": 2,
        "rng": "nv",
    }
    assert reading.hashes == {"model": "45dee52b10", "lora:storm": "00112233aabb", "lora:rain": "ffeeddccbbaa"}
    assert reading.unknown == {"ENSD": "31337"}
    assert reading.notes == ()
    ImageRequest.model_validate(reading.fields)


def test_a_prompt_alone_asks_for_nothing_else() -> None:
    reading = to_fields("a cat\nNegative prompt: a dog")

    assert reading.fields == {"prompt": "a cat", "negative_prompt": "a dog"}
    assert (reading.hashes, reading.unknown, reading.notes) == ({}, {}, ())


@pytest.mark.parametrize(
    ("settings", "rng"),
    [
        ("", "nv"),
        (", Version: v1.10.1", "nv"),
        (", Version: f2.0.1v1.10.1-previous-535-gb20cb4bf", "nv"),
        (", RNG: CPU, Version: v1.10.1", "cpu"),
        (", RNG: NV, Version: v1.10.1", "nv"),
        (", RNG: GPU", "nv"),
        (", RNG: CPU, Version: easel 0.1.0", "cpu"),
        (", Version: ComfyUI", "cpu"),
    ],
)
def test_a_silent_text_drew_its_noise_on_the_graphics_card(settings: str, rng: str) -> None:
    assert to_fields(PLAIN + settings).fields["rng"] == rng


@pytest.mark.parametrize(
    ("sampler", "schedule_type", "expected"),
    [
        ("DPM++ 2M Karras", "", ("DPM++ 2M", "Karras")),
        ("DPM++ 2M SDE Heun Exponential", "", ("DPM++ 2M SDE Heun", "Exponential")),
        ("DPM++ 2M SGM Uniform", "", ("DPM++ 2M", "SGM Uniform")),
        ("dpm++ sde karras", "", ("DPM++ SDE", "Karras")),
        ("DPM++ 2M", "Karras", ("DPM++ 2M", "Karras")),
        ("DPM++ 2M Karras", "Automatic", ("DPM++ 2M", "Karras")),
        ("Euler a", "", ("Euler a", "Automatic")),
        ("DDIM", "", ("DDIM", "Automatic")),
    ],
)
def test_joined_sampler_names_are_parted(sampler: str, schedule_type: str, expected: tuple[str, str]) -> None:
    said = f", Schedule type: {schedule_type}" if schedule_type else ""

    fields = to_fields(f"a\nSteps: 20, Sampler: {sampler}{said}, Seed: 1").fields

    assert (fields["sampler"], fields["schedule"]) == expected


@pytest.mark.parametrize(
    ("names", "kept", "note"),
    [
        ("Sampler: Restart", {"schedule": "Automatic"}, "There is no sampler called `Restart`."),
        (
            "Sampler: Euler, Schedule type: KL Optimal",
            {"sampler": "Euler"},
            "There is no schedule called `KL Optimal`.",
        ),
        (
            "Sampler: DDIM, Schedule type: Karras",
            {"sampler": "DDIM"},
            "The sampler `DDIM` can not follow the schedule `Karras`.",
        ),
    ],
)
def test_a_sampler_we_do_not_have_is_left_out_with_a_note(names: str, kept: dict[str, str], note: str) -> None:
    reading = to_fields(f"a\nSteps: 20, Seed: 1, {names}")

    assert {name: reading.fields[name] for name in ("sampler", "schedule") if name in reading.fields} == kept
    assert len(reading.notes) == 1
    assert reading.notes[0].startswith(note)
    assert reading.notes[0].endswith(" It was left out.")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("Clip skip: 3", {"clip_skip": 3}),
        ("Model: x", {"clip_skip": 1, "schedule": "Automatic"}),
        ("VAE: soft.safetensors", {"vae": "soft.safetensors"}),
        ("VAE: None", {}),
        ("Tiling: True", {"tiling": True}),
        ("CFG Rescale: 0.7", {"guidance_rescale": 0.7}),
        (
            "Variation seed: 4294967295, Variation seed strength: 0.25",
            {"variation_seed": MAX_SEED, "variation_strength": 0.25},
        ),
        ("Denoising strength: 0.4", {"denoising_strength": 0.4}),
        ("Postprocess upscale by: 2, Postprocess upscaler: Lanczos", {"enlarge": 2}),
        ("CFG scale: 7.0", {"cfg_scale": 7.0}),
        ("Steps: 20.0", {"steps": 20}),
        ("Seed: ４２", {}),
    ],
)
def test_a_setting_becomes_a_field(settings: str, expected: dict[str, Any]) -> None:
    fields = to_fields(f"a\nSize: 512x512, Sampler: Euler, {settings}, Hello: world").fields

    usual = {"prompt": "a", "negative_prompt": "", "width": 512, "height": 512, "sampler": "Euler", "rng": "nv"}
    usual |= {"clip_skip": 1, "schedule": "Automatic", **({"checkpoint": "x"} if "Model: x" in settings else {})}
    assert fields == usual | expected


@pytest.mark.parametrize(
    ("settings", "size", "hires"),
    [
        (
            "Size: 512x512, Denoising strength: 0.5, Hires upscale: 2, Hires steps: 10, Hires upscaler: Latent",
            (512, 512),
            {"scale": 2.0, "steps": 10, "upscaler": "Latent", "denoising_strength": 0.5},
        ),
        ("Size: 512x768, Hires resize: 1024x1536, Steps: 9", (512, 768), {"scale": 2.0}),
        ("Size: 512x768, Hires resize: 768x0, Steps: 9", (512, 768), {"scale": 1.5}),
        ("Size: 512x768, Hires resize: 0x0, Steps: 9", (512, 768), None),
        ("Size: 1024x1536, First pass size: 512x768, Steps: 9", (512, 768), {"scale": 2.0}),
        ("Size: 1024x1024, First pass size: 0x0, Steps: 9", (512, 512), {"scale": 2.0}),
        ("Size: 512x512, Hires upscale: 9, Denoising strength: 0.5", (512, 512), None),
    ],
)
def test_a_second_pass_is_one_field(settings: str, size: tuple[int, int], hires: dict[str, Any] | None) -> None:
    fields = to_fields(f"a\n{settings}").fields

    assert (fields["width"], fields["height"]) == size
    assert fields.get("hires_fix") == hires
    assert "denoising_strength" not in fields


def test_an_old_hypernetwork_becomes_a_tag() -> None:
    assert to_fields(f"{PLAIN}, Hypernet: se:p>ia, Hypernet strength: 0.5").fields["prompt"] == "a<hypernet:sepia:0.5>"
    assert to_fields(f"{PLAIN}, Hypernet: sepia").fields["prompt"] == "a<hypernet:sepia:1>"


@pytest.mark.parametrize(
    ("setting", "note"),
    [
        ("Steps: nan", "Steps nan was left out: it is not a number."),
        ("Steps: 9999", "steps 9999 was left out: input should be less than or equal to 150."),
        ("Steps: 2.5", "Steps 2.5 was left out: it is not a whole number."),
        ("CFG scale: 1e999", "CFG scale 1e999 was left out: it is not a number."),
        ("CFG scale: -inf", "CFG scale -inf was left out: it is not a number."),
        ("CFG scale: 1_0", "CFG scale 1_0 was left out: it is not a number."),
        ("Seed: -1", "seed -1 was left out: input should be greater than or equal to 0."),
        ("Seed: 99999999999", "seed 99999999999 was left out: input should be less than or equal to 4294967295."),
        ("Size: 513x512", "size 513x512 was left out: input should be a multiple of 8."),
        ("Size: 0x0", "size 0x0 was left out: input should be greater than or equal to 64."),
        ("Denoising strength: 2", "denoising strength 2.0 was left out: it should be from 0 to 1."),
        ("Size: 512x512, Hires upscale: 9", "hires upscale 9 was left out: it should be from 1 to 4."),
        (f"Model: {'m' * 201}", "Model was left out: it is longer than 200 characters."),
        (f"Seed: {'9' * 5000}", f"Seed {'9' * 55} was left out: it is not a number."),
    ],
)
def test_a_value_that_can_not_be_is_left_out_with_a_note(setting: str, note: str) -> None:
    reading = to_fields(f"a\n{setting}, Sampler: Euler, Foo: bar, Spam: eggs")

    assert reading.notes == (note,)
    assert reading.fields["sampler"] == "Euler"
    assert not reading.fields.keys() & {"steps", "cfg_scale", "seed", "checkpoint", "denoising_strength", "hires_fix"}
    assert reading.unknown == {"Foo": "bar", "Spam": "eggs"}


@pytest.mark.parametrize(
    "text", ["a" * 6001, f"Negative prompt: {'a' * 6001}", f"{'a' * 6001}\n{PLAIN}", "a" * (2**20 + 1)]
)
def test_a_prompt_out_of_bounds_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(BadPrompt, match=r"can not be used: string should have at most 6000 characters\.|1,048,577"):
        to_fields(text)


def test_nothing_unprintable_gets_through() -> None:
    reading = to_fields('a\x00b\ud800\x1b[0m\nSteps: 2, Sampler: Euler\x07, Model: "\\ud83dx\\u0000", Odd\x00: \x1b')

    for text in (
        str(reading.fields["prompt"]),
        reading.fields["sampler"],
        reading.fields["checkpoint"],
        *reading.unknown,
    ):
        assert text.isprintable() or text == "a b\ufffd [0m"
        text.encode()


def test_the_request_comes_back_out_of_its_own_text() -> None:
    dice = random.Random(3)
    for _ in range(300):
        request = ImageRequest(
            prompt="".join(dice.choices(["cat", "猫", ", ", "\n", "(a:1.2)", "😀", "Steps: 3", '"'], k=6)).strip(),
            negative_prompt=dice.choice(["", "dog, blurry", "two\nlines"]),
            checkpoint=dice.choice(["coast", "a, b: c", 'the "best" v\\1', "猫}"]),
            width=dice.randrange(64, 2049, 8),
            height=dice.randrange(64, 2049, 8),
            steps=dice.randint(1, 150),
            cfg_scale=round(dice.uniform(1, 30), 3),
            sampler=dice.choice(["Euler a", "DPM++ 2M", "UniPC"]),
            schedule=dice.choice(["Automatic", "Karras", "SGM Uniform"]),
            seed=dice.randint(0, MAX_SEED),
            clip_skip=dice.randint(1, 12),
            rng=dice.choice(["cpu", "nv"]),
            variation_seed=dice.randint(0, MAX_SEED),
            variation_strength=round(dice.random(), 4) or 0.5,
            tiling=dice.random() < 0.5,
            guidance_rescale=round(dice.random(), 4),
            enlarge=dice.randint(1, 8),
        )
        facts = ModelFacts(
            request.checkpoint, "0a1b2c3d4e", "", "", {"a, b": "00112233aabb"}, {"猫": "ffeeddccbbaa"}, "easel 0.1.0"
        )

        reading = to_fields(describe(request, facts))

        assert ImageRequest.model_validate(reading.fields) == request.changed(prompt=tidy(request.prompt))
        assert reading.hashes["model"] == "0a1b2c3d4e"
        assert reading.hashes["lora:a, b"] == "00112233aabb"
        assert reading.hashes["embed:猫"] == "ffeeddccbbaa"
        assert (reading.unknown, reading.notes) == ({}, ())


def test_any_settings_yield_fields_a_request_takes() -> None:
    dice = random.Random(9)
    words = ["Steps", "Seed", "Size", "Hires upscale", "Hires resize", "First pass size", "Hashes", "Lora hashes", "RNG", "Model", "Hypernet",
             "Denoising strength", "Variation seed", "Sampler", "Clip skip", "Tiling", "Version", "CFG scale"]  # fmt: skip
    values = ["1", "-1", "0", "0x0", "1x1", "99999x99999", "512x512", "1e400", "nan", "", '"', '{"a": 1}', "{", '"a: b, c: d"', "[[", "x" * 300,
              "\x00", "\ud800", "None", "True", "٣", "1.5", ".", "+", "e5"]  # fmt: skip
    usual = {"checkpoint": "c", "width": 64, "height": 64, "steps": 1, "cfg_scale": 1, "sampler": "s", "schedule": "x"}
    for _ in range(2000):
        text = "p\n" + ", ".join(f"{dice.choice(words)}: {dice.choice(values)}" for _ in range(dice.randint(1, 12)))

        fields = to_fields(text).fields

        known = {name: value for name, value in fields.items() if name in ImageRequest.model_fields}
        ImageRequest.model_validate({**usual, "seed": 1, **known})
