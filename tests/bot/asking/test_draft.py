"""One form becomes one request: what outweighs what, and what does not go together."""

import pytest

from bot.asking.draft import draft
from easel.errors import BadPrompt, BadValue, RequestError, UnknownModel
from easel.jobs import Canvas, Control, HiresFix, ImageRequest, Upscale
from tests.fakes.wishes import INFOTEXT, a_catalog, attached, picture

CATALOG = a_catalog()
PICTURE = picture(96, 64)


def asked(**form: object) -> ImageRequest:
    return draft({"prompt": "a cat"} | form, CATALOG).request


# -- what outweighs what


def test_a_pasted_text_is_drawn_as_it_says() -> None:
    drafted = draft({"prompt": INFOTEXT}, CATALOG)

    request = drafted.request
    assert drafted.verbatim
    assert (request.prompt, request.negative_prompt) == ("a lighthouse, (storm:1.2)", "blurry")
    assert (request.checkpoint, request.steps, request.cfg_scale, request.seed) == ("coast", 12, 6.0, 77)
    assert (request.width, request.height, request.clip_skip, request.rng) == (192, 128, 2, "nv")
    assert (request.sampler, request.schedule) == ("Euler a", "Automatic")
    assert drafted.notes == ("Left out, as I do not know what to do with it: ENSD.",)


def test_what_is_typed_outweighs_the_text_and_that_the_checkpoint() -> None:
    request = asked(
        prompt=INFOTEXT, steps="30", negative="fog", seed="-1", size="64x64", checkpoint="easel-demo", rng="CPU"
    )

    assert (request.steps, request.negative_prompt, request.width, request.checkpoint) == (30, "fog", 64, "easel-demo")
    assert (request.cfg_scale, request.clip_skip, request.rng) == (6.0, 2, "cpu")
    assert request.seed != 77


def test_a_text_that_says_nothing_against_is_not_what_the_checkpoint_wants() -> None:
    settings = "Steps: 12, Sampler: Euler a, CFG scale: 6, Model: easel-demo"

    assert asked(prompt=f"a cat\n{settings}").negative_prompt == ""
    assert asked().negative_prompt == "ugly"


def test_a_sampler_brings_its_own_schedule() -> None:
    assert asked().schedule == "SGM Uniform"
    assert asked(sampler="Euler").schedule == "Automatic"
    assert asked(prompt=INFOTEXT, sampler="dpm++ 2m karras").schedule == "Karras"


def test_the_infotext_of_a_picture_counts_where_nobody_says_a_word() -> None:
    told = picture(infotext=INFOTEXT)

    silent = draft({"prompt": "", "image": told, "steps": "3"}, CATALOG)
    changed = asked(prompt="", image=told, strength="0.4")
    worded = asked(image=told)

    assert silent.verbatim
    assert (silent.request.prompt, silent.request.seed, silent.request.steps) == ("a lighthouse, (storm:1.2)", 77, 3)
    assert silent.request.init_image == ""
    assert (changed.prompt, changed.init_image, changed.denoising_strength) == (silent.request.prompt, "image", 0.4)
    assert (worded.prompt, worded.init_image, worded.seed != 77) == ("a cat", "image", True)


def test_the_strength_of_another_picture_is_left_out_and_said() -> None:
    text = INFOTEXT.replace("ENSD: 31337", "Denoising strength: 0.4")

    alone, with_picture = draft({"prompt": text}, CATALOG), draft({"prompt": text, "image": PICTURE}, CATALOG)

    assert alone.notes == ("Denoising strength was left out: it takes the picture that this one was made from.",)
    assert alone.request.denoising_strength == 0.75
    assert (with_picture.notes, with_picture.request.denoising_strength) == ((), 0.4)


def test_the_second_pass_of_a_text_is_kept_and_an_unknown_upscaler_replaced() -> None:
    text = INFOTEXT.replace("ENSD: 31337", "Denoising strength: 0.4, Hires upscale: 2, Hires upscaler: {}")

    known = draft({"prompt": text.format("Latent (bicubic)")}, CATALOG)
    unknown = draft({"prompt": text.format("9x-Gone")}, CATALOG)

    assert known.request.hires_fix == HiresFix(scale=2, denoising_strength=0.4, upscaler="Latent (bicubic)")
    assert known.notes == ()
    assert unknown.request.hires_fix == HiresFix(scale=2, denoising_strength=0.4, upscaler="Latent")
    assert unknown.notes[0].endswith("Did you mean `4x-crisp`? `Latent` takes its place.")


# -- pictures


def test_a_picture_is_started_from_in_its_own_shape() -> None:
    request = asked(image=PICTURE)

    assert (request.init_image, request.mask, request.denoising_strength) == ("image", "", 0.75)
    assert (request.width, request.height) == (160, 112)
    assert asked(image=picture(64, 1200)).height == 256
    assert asked(image=PICTURE, size="128x128").width == 128


def test_a_mask_is_named_beside_its_picture() -> None:
    request = asked(image=PICTURE, mask=PICTURE, strength="1")

    assert (request.init_image, request.mask, request.denoising_strength) == ("image", "mask", 1.0)


def test_what_is_missing_in_a_picture_is_painted_nearly_anew() -> None:
    holes = picture(has_holes=True)

    assert asked(image=holes).denoising_strength == 0.8
    assert asked(image=holes, strength="0.5").denoising_strength == 0.5
    with pytest.raises(BadValue, match="`hires` does not go together with painting what is missing"):
        asked(image=holes, hires="2")


def test_zoom_and_extend_make_room_and_keep_the_size_of_the_picture() -> None:
    request = asked(image=PICTURE, zoom="1,5", extend="left:32")

    assert request.canvas == Canvas(left=32, zoom=1.5)
    assert (request.width, request.height, request.denoising_strength) == (160, 112, 0.8)
    assert asked(image=PICTURE, zoom="1").canvas is None


def test_a_controlnet_follows_the_picture_and_starts_from_it_only_when_asked() -> None:
    control = Control(model="control_canny", image="image")

    followed = asked(image=PICTURE, control="control_canny")
    started = asked(image=PICTURE, control="control_canny", strength="0.6")

    assert (followed.control, followed.init_image, followed.width) == (control, "", 160)
    assert (started.control, started.init_image) == (control, "image")


def test_a_picture_is_enlarged_without_a_word() -> None:
    request = asked(prompt="", image=PICTURE, upscale="3", count="4")

    assert (request.upscale, request.init_image) == (Upscale(scale=3.0, upscaler="4x-crisp"), "image")
    assert (request.prompt, request.batch_size) == ("", 1)
    assert asked(image=PICTURE, upscale="2", upscaler="lanczos").upscale == Upscale(scale=2.0, upscaler="Lanczos")


def test_a_picture_that_is_not_open_yet_may_be_anything() -> None:
    for unopened in (attached(b"?"), "https://example.com/cat.png"):
        assert asked(prompt="", image=unopened).init_image == ""
        assert asked(image=unopened, mask=unopened).mask == "mask"


# -- the other options


def test_a_second_pass() -> None:
    assert asked(hires="1.5").hires_fix == HiresFix(scale=1.5)
    assert asked(hires="1").hires_fix is None
    assert asked(hires="2", strength="0.3", upscaler="4x Crisp").hires_fix == HiresFix(
        scale=2, denoising_strength=0.3, upscaler="4x-crisp"
    )


def test_the_rarer_ones() -> None:
    request = asked(tile="yes", rng="nv", vary="0.3", seed="5", count="2")

    assert (request.tiling, request.rng, request.seed, request.batch_size) == (True, "nv", 5, 2)
    assert request.variation_strength == 0.3
    assert asked(vary="0.3").variation_seed != request.variation_seed
    assert asked(tile="no").tiling is False


def test_a_sheet() -> None:
    sheet = asked(xy="steps:5,10 cfg:2,4").plot

    assert sheet is not None
    assert (sheet.x.values, sheet.y and sheet.y.values) == (("5", "10"), ("2", "4"))


@pytest.mark.parametrize(
    ("form", "error", "words"),
    [
        ({"prompt": ""}, BadPrompt, "Please say what the picture should show"),
        ({"prompt": "", "image": PICTURE}, BadPrompt, "does not tell how it was made"),
        ({"prompt": "", "image": PICTURE, "strength": "1"}, BadPrompt, "does not tell how it was made"),
        ({"mask": PICTURE}, BadValue, "`mask` needs a picture"),
        ({"zoom": "2"}, BadValue, "`zoom` needs a picture"),
        ({"extend": "left"}, BadValue, "`extend` needs a picture"),
        ({"control": "control_canny"}, BadValue, "`control` needs a picture"),
        ({"upscale": "2"}, BadValue, "`upscale` needs a picture"),
        ({"strength": "0.5"}, BadValue, "`strength` needs a picture"),
        ({"strength": "2", "image": PICTURE}, BadValue, "`strength` must be a number from 0 to 1, not `2`"),
        ({"strength": "nan", "image": PICTURE}, BadValue, "from 0 to 1"),
        ({"image": PICTURE, "upscale": "1"}, BadValue, "from 2 to 4"),
        ({"image": PICTURE, "upscale": "2", "strength": "1"}, BadValue, "`upscale` and `strength` do not go together"),
        ({"image": PICTURE, "upscale": "2", "xy": "steps:5"}, BadValue, "`upscale` and `xy` do not go together"),
        ({"image": PICTURE, "mask": PICTURE, "zoom": "2"}, BadValue, "`mask` and `zoom` do not go together"),
        ({"image": PICTURE, "mask": PICTURE, "hires": "2"}, BadValue, "`hires` and `mask` do not go together"),
        ({"image": PICTURE, "control": "xl-depth"}, BadValue, "was not made for checkpoints like"),
        ({"image": PICTURE, "upscale": "2", "upscaler": "latent"}, BadValue, "`Latent` enlarges while it draws"),
        ({"image": picture(2000, 3000), "upscale": "4"}, BadValue, "would have 8000x12000 pixels; up to 16.8 megapix"),
        ({"hires": "4", "size": "1024x512"}, BadValue, "`hires` would make it 4096x2048 pixels; at most 2048"),
        ({"hires": "2", "upscaler": "9x-gone"}, UnknownModel, "no upscaler called `9x-gone`"),
        ({"upscaler": "Lanczos"}, BadValue, "it needs `hires` or `upscale`"),
        ({"rng": "gpu"}, BadValue, "`rng` must be cpu or nv, not `gpu`"),
        ({"tile": "perhaps"}, BadValue, "`tile` must be yes or no, not `perhaps`"),
        ({"vary": "1.5"}, BadValue, "from 0 to 1"),
        ({"xy": "steps:5", "count": "2"}, BadValue, "draws one sheet"),
        ({"prompt": "a <lora:storm:0.8> cat"}, UnknownModel, "no LoRA called `storm`"),
        ({"negative": "<lyco:x>"}, BadPrompt, "belong into the prompt, not into the negative one: `x`."),
        ({"prompt": "a <lora:../../x:1>"}, BadPrompt, "can not be the name of a LoRA"),
        ({"prompt": "a" + "<lora:x:1>" * 500}, BadPrompt, "more than 20"),
    ],
)
def test_what_can_not_be_is_refused_with_a_sentence(
    form: dict[str, object], error: type[RequestError], words: str
) -> None:
    with pytest.raises(error, match=words):
        asked(**form)
