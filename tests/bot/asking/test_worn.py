"""Networks asked for by options, and which VAE decodes."""

import pytest

from bot.asking.draft import draft
from bot.flags import parse
from bot.options import IMAGINE
from easel.catalog import Base, Defaults, ModelKind
from easel.errors import BadPrompt, BadValue, RequestError, UnknownModel
from easel.jobs import ImageRequest
from tests.fakes.wardrobe import card, wardrobe

CATALOG = wardrobe()


def asked(**form: object) -> ImageRequest:
    return draft({"prompt": "a cat"} | form, CATALOG).request


@pytest.mark.parametrize(
    ("form", "prompt", "negative"),
    [
        ({"lora": "add_detail"}, "a cat <lora:add_detail:1>", ""),
        ({"lora": "Detail Tweaker:0.6, film:-.5"}, "a cat <lora:add_detail:0.6> <lora:film:-0.5>", ""),
        ({"lora": " film : 0.5 : 0.8 ,, "}, "a cat <lora:film:0.5:0.8>", ""),
        ({"lora": "film:\u22121"}, "a cat <lora:film:-1>", ""),
        (
            {"lora": "film, ink, wash:0.5, add_detail"},
            "a cat <lora:film:1> <lora:ink, wash:0.5> <lora:add_detail:1>",
            "",
        ),
        ({"lora": "a:b:0.5"}, "a cat <lora:a_b:0.5>", ""),
        ({"hypernetwork": "gold:0.7"}, "a cat <hypernet:gold:0.7>", ""),
        ({"embedding": "bad-hands"}, "a cat, bad-hands", ""),
        ({"prompt": "a cat AND rain:0.5", "embedding": "bad-hands"}, "a cat AND rain, bad-hands:0.5", ""),
        ({"embedding": "-bad-hands:1.2", "lora": "film"}, "a cat <lora:film:1>", "(bad-hands:1.2)"),
        ({"embedding": "-bad-hands", "negative": "fog"}, "a cat", "fog, bad-hands"),
    ],
)
def test_options_are_written_into_the_prompts(form: dict[str, str], prompt: str, negative: str) -> None:
    request = asked(**form)

    assert (request.prompt, request.negative_prompt) == (prompt, negative)


def test_a_flag_of_networks_may_stand_several_times() -> None:
    form = parse("a cat --lora film:0.5 --lora add_detail --hypernet gold", IMAGINE)

    assert asked(**form).prompt == "a cat <lora:film:0.5> <lora:add_detail:1> <hypernet:gold:1>"


@pytest.mark.parametrize(
    ("form", "error", "words"),
    [
        ({"lora": "add_detial"}, UnknownModel, "no LoRA called `add_detial`. Did you mean `add_detail`"),
        ({"lora": "film:11"}, BadValue, "weights from -10 to 10; not `film:11`"),
        ({"hypernetwork": "gold:1:1"}, BadValue, "takes name:weight"),
        ({"lora": "film:x"}, UnknownModel, "no LoRA called `film:x`"),
        ({"lora": "../../etc/passwd"}, UnknownModel, "no LoRA called"),
        ({"lora": ", ".join(["film"] * 21)}, BadPrompt, "more than 20"),
        ({"lora": "gone"}, BadValue, "`gone` is in the list, but its file is not here"),
        ({"vae": "none such"}, UnknownModel, "no VAE called `none such`"),
    ],
)
def test_what_can_not_be_worn_is_refused(form: dict[str, str], error: type[RequestError], words: str) -> None:
    with pytest.raises(error, match=words):
        asked(**form)


@pytest.mark.parametrize(
    ("form", "vae"),
    [
        ({}, ""),
        ({"vae": "clear"}, "clear"),
        ({"checkpoint": "hills"}, "hills.vae"),
        ({"checkpoint": "hills", "vae": "None"}, ""),
        ({"checkpoint": "hills", "vae": "automatic"}, "hills.vae"),
        ({"checkpoint": "dreamy-xl"}, "xl-vae"),
    ],
)
def test_a_vae_is_chosen_or_belongs_to_the_checkpoint(form: dict[str, str], vae: str) -> None:
    assert asked(**form).vae == vae


def test_a_vae_of_the_owner_that_is_not_there_is_told() -> None:
    catalog = wardrobe(card("odd", ModelKind.CHECKPOINT, defaults=Defaults(vae="lost")))

    drafted = draft({"prompt": "a cat", "checkpoint": "odd"}, catalog)

    assert (drafted.request.vae, drafted.notes) == (
        "",
        ("The VAE `lost`, which belongs to `odd`, can not be used here.",),
    )


def test_sd2_kept_the_vae_of_sd1() -> None:
    catalog = wardrobe(card("old", ModelKind.CHECKPOINT, Base.SD2))

    assert draft({"prompt": "a cat", "checkpoint": "old", "vae": "clear"}, catalog).request.vae == "clear"
