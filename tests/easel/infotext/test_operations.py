"""What an infotext says of image-to-image, masks, second passes, ControlNets, plots and enlarging."""

import time
from typing import Any

import pytest

from easel.infotext.request import to_fields
from easel.infotext.text import ModelFacts, describe, parse
from tests.fakes.jobs import a_request

HIRES = {"scale": 1.5, "steps": 8, "denoising_strength": 0.4, "upscaler": "Latent"}
CONTROL = {"model": 'scan, "fine": v2', "image": "x", "preprocessor": "scribble", "weight": 0.8, "end": 0.75}


def said(**changes: Any) -> dict[str, str]:
    """Return the settings of such a request but for those of a plain one."""
    plain = parse(describe(a_request(), ModelFacts("coast"))).settings
    settings = parse(describe(a_request(**changes), ModelFacts("coast"))).settings
    assert plain.items() <= settings.items()
    return {name: value for name, value in settings.items() if name not in plain}


def test_a_plain_picture_has_none_of_it() -> None:
    assert said() == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"init_image": "x", "denoising_strength": 0.6}, {"Denoising strength": "0.6"}),
        ({"denoising_strength": 0.6}, {}),
        (
            {"init_image": "x", "mask": "m", "mask_blur": 8},
            {"Denoising strength": "0.75", "Mask blur": "8"},
        ),
        (
            {"init_image": "x", "mask": "m", "mask_padding": 0},
            {
                "Denoising strength": "0.75",
                "Mask blur": "4",
                "Inpaint area": "Only masked",
                "Masked area padding": "0",
            },
        ),
        ({"init_image": "x", "canvas": {"left": 8}}, {"Denoising strength": "0.75", "Mask blur": "4"}),
        (
            {"hires_fix": HIRES},
            {"Denoising strength": "0.4", "Hires upscale": "1.5", "Hires steps": "8", "Hires upscaler": "Latent"},
        ),
        (
            {"hires_fix": {"scale": 2}},
            {"Denoising strength": "0.7", "Hires upscale": "2", "Hires upscaler": "Latent"},
        ),
        (
            {"control": CONTROL},
            {
                "ControlNet 0": "Module: scribble_xdog, Model: scan fine v2, Weight: 0.8, Resize Mode: Crop and Resize, "
                "Guidance Start: 0, Guidance End: 0.75, Control Mode: Balanced"
            },
        ),
        ({"tiling": True}, {"Tiling": "True"}),
        (
            {"init_image": "x", "upscale": {"scale": 2.5, "upscaler": "sharp"}, "enlarge": 1},
            {"Postprocess upscale by": "2.5", "Postprocess upscaler": "sharp"},
        ),
        (
            {"enlarge": 4},
            {"Postprocess upscale by": "4", "Postprocess upscaler": "Lanczos"},
        ),
        (
            {
                "plot": {
                    "x": {"field": "cfg_scale", "values": ["2", "4.5"]},
                    "y": {"field": "checkpoint", "values": ['a, "b"']},
                }
            },
            {
                "Script": "X/Y/Z plot",
                "X Type": "CFG Scale",
                "X Values": "2, 4.5",
                "Y Type": "Checkpoint name",
                "Y Values": 'a, "b"',
            },
        ),
    ],
)
def test_settings_are_named_as_a1111_names_them(changes: dict[str, Any], expected: dict[str, str]) -> None:
    assert said(**changes) == expected


def test_the_strength_stands_where_a1111_has_it() -> None:
    text = describe(a_request(init_image="x", clip_skip=2, variation_strength=0.5), ModelFacts("coast"))

    names = list(parse(text).settings)
    assert names.index("Variation seed strength") + 1 == names.index("Denoising strength")
    assert names.index("Denoising strength") + 1 == names.index("Clip skip")


def test_a_second_pass_is_read_back_as_it_was() -> None:
    request = a_request(hires_fix=HIRES)

    fields = to_fields(describe(request, ModelFacts("coast"))).fields

    assert fields["hires_fix"] == HIRES
    assert (fields["width"], fields["height"]) == (128, 128)
    assert "denoising_strength" not in fields


def test_how_a_mask_was_used_is_read_back() -> None:
    request = a_request(init_image="x", mask="m", mask_blur=8, mask_padding=0)

    fields = to_fields(describe(request, ModelFacts("coast"))).fields

    assert (fields["mask_blur"], fields["mask_padding"]) == (8, 0)
    assert to_fields("a\nSteps: 9, Inpaint area: Only masked, Seed: 1").fields["mask_padding"] == 32
    assert "mask_padding" not in to_fields("a\nSteps: 9, Inpaint area: Whole picture, Seed: 1").fields


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        (
            describe(a_request(control=CONTROL), ModelFacts("coast")).rpartition("\n")[2],
            (
                "ControlNet was left out: it takes the picture that it followed. "
                "Send that along with `--control scan fine v2:scribble:0.8`."
            ),
        ),
        (
            (
                'Steps: 9, Seed: 1, ControlNet 0: "preprocessor: canny, model: control_canny [e3fe7712], weight: 1, '
                'starting/ending: (0, 1), resize mode: Crop and Resize, pixel perfect: False"'
            ),
            (
                "ControlNet was left out: it takes the picture that it followed. "
                "Send that along with `--control control_canny:canny:1`."
            ),
        ),
        (
            describe(
                a_request(
                    plot={
                        "x": {"field": "cfg_scale", "values": ["2", "4.5"]},
                        "y": {"field": "seed", "values": ["7"]},
                    }
                ),
                ModelFacts("coast"),
            ).rpartition("\n")[2],
            "X/Y plot was left out: this draws one picture of it. Ask for it with `--xy cfg:2, 4.5 seed:7`.",
        ),
        (
            "Steps: 9, Seed: 1, Postprocess upscale by: 4, Postprocess upscaler: R-ESRGAN 4x+",
            "Upscaler R-ESRGAN 4x+ was left out: ask for it with the picture that comes.",
        ),
    ],
    ids=["ours", "theirs of 2023", "plot", "upscaler"],
)
def test_what_takes_a_picture_is_left_out_with_what_to_type_for_it(settings: str, note: str) -> None:
    reading = to_fields(f"a\n{settings}")

    assert reading.notes == (note,)
    assert reading.unknown == {}


def test_no_setting_of_ours_is_unknown_to_our_reader() -> None:
    everything = a_request(
        init_image="x",
        mask="m",
        mask_padding=0,
        hires_fix=HIRES,
        control=CONTROL,
        tiling=True,
        enlarge=2,
        clip_skip=2,
        guidance_rescale=0.5,
        variation_strength=0.5,
        plot={"x": {"field": "steps", "values": ["2"]}},
    )
    facts = ModelFacts(
        "coast", "0a1b2c3d4e", "soft", "0a1b2c3d4e", {"l": "00112233aabb"}, {"e": "00112233aabb"}, "easel 1"
    )

    assert to_fields(describe(everything, facts)).unknown == {}


@pytest.mark.parametrize("name", ["ControlNet 0", "X Values"])
def test_a_long_value_is_read_in_linear_time(name: str) -> None:
    value = "(a: (" * 100_000

    began = time.process_time()
    to_fields(f'a\nSteps: 9, Script: X/Y/Z plot, X Type: Steps, {name}: "{value}"')

    assert time.process_time() - began < 2
