"""Models of the wrong base, kept models, and checkpoints that only repaint, refused before anything is queued."""

import pytest

from bot.asking.draft import draft
from bot.asking.place import NOWHERE, OWN, Catalogs, Place
from easel.errors import BadValue, UnknownModel
from easel.jobs import ImageRequest
from tests.fakes.wardrobe import KEPT_CHAT, KEPT_ROLE, wardrobe
from tests.fakes.wishes import attached, picture

CATALOG = wardrobe()


def asked(place: Place = OWN, **form: object) -> ImageRequest:
    return draft({"prompt": "a cat"} | form, Catalogs().of(CATALOG, place)).request


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (
            {"prompt": "a cat <lora:xl-film:0.5>"},
            "for SDXL, and the checkpoint `coast` is SD 1.5. What fits: `a:b` or `add_detail` or `film`.",
        ),
        (
            {"prompt": "a <lora:film:1> cat", "checkpoint": "dreamy-xl"},
            "made for SD 1.5, and the checkpoint `dreamy-xl` is SDXL. What fits: `xl-film`.",
        ),
        (
            {"prompt": "a <hypernet:gold:1> cat", "checkpoint": "dreamy-xl"},
            "`dreamy-xl` is SDXL. It goes with the checkpoint `bare` or `coast` or `hills`.",
        ),
        ({"prompt": "a cat, XL-Glow"}, "The embedding `xl-glow` was made for SDXL"),
        ({"negative": "(xl-glow:1.2)"}, "The embedding `xl-glow` was made for SDXL"),
        ({"vae": "xl-vae"}, "The VAE `xl-vae` was made for SDXL"),
        ({"lora": "film", "xy": "checkpoint:coast,dreamy-xl"}, "The LoRA `film` was made for SD 1.5"),
    ],
)
def test_the_wrong_base_is_refused_with_what_fits(form: dict[str, str], words: str) -> None:
    with pytest.raises(BadValue) as refused:
        asked(**form)

    assert words in str(refused.value)


def test_a_plot_checks_networks_with_the_checkpoints_that_it_draws_with() -> None:
    request = asked(prompt="a <lora:xl-film:1>", xy="checkpoint:dreamy-xl steps:5,10")

    assert request.networks[0].name == "xl-film"
    assert asked(checkpoint="dreamy-xl", xy="checkpoint:dreamy-xl,coast").vae == ""


def test_a_word_inside_of_another_names_no_embedding() -> None:
    assert asked(prompt="a cat with xl-glowing eyes").prompt.endswith("eyes")


@pytest.mark.parametrize(
    ("form", "fine"),
    [
        ({}, False),
        ({"image": picture()}, False),
        ({"image": attached(b"?")}, True),
        ({"image": picture(has_holes=True)}, True),
        ({"image": picture(), "mask": picture()}, True),
        ({"image": picture(), "zoom": "1.5"}, True),
        ({"image": picture(), "upscale": "2"}, True),
        ({"checkpoint": "coast", "xy": "checkpoint:coast,mender"}, False),
    ],
)
def test_a_checkpoint_that_only_repaints_needs_something_to_repaint(form: dict[str, object], fine: bool) -> None:
    form = {"checkpoint": "mender"} | form
    if fine:
        assert asked(**form)
        return

    with pytest.raises(BadValue, match="`mender` only repaints: it needs a picture and a mask, or another checkpoint"):
        asked(**form)


HERE = Place("discord", frozenset({"1", KEPT_CHAT}))
MEMBER = Place("discord", frozenset({"1"}), frozenset({KEPT_ROLE}))


@pytest.mark.parametrize(
    ("form", "open_to", "closed_to", "words"),
    [
        ({"lora": "secret"}, HERE, MEMBER, "The LoRA `secret` is kept for other chats."),
        ({"prompt": "<lora:members:1>"}, MEMBER, HERE, "is kept for people with a role that you do not have"),
        ({"checkpoint": "bare"}, Place("discord", nsfw=True), HERE, "is for age-restricted channels"),
        ({"prompt": "a bare-word"}, Place("discord", nsfw=True), NOWHERE, "The embedding `bare-word` is for age"),
        ({"prompt": "a bare-word"}, OWN, Place("telegram", frozenset({"5"})), "lists in EASEL_NSFW_CHATS"),
    ],
)
def test_a_model_that_is_kept_for_some_is_nobody_elses(
    form: dict[str, str], open_to: Place, closed_to: Place, words: str
) -> None:
    assert asked(open_to, **form)

    with pytest.raises(BadValue, match=words):
        asked(closed_to, **form)


def test_a_kept_model_is_not_offered_where_somebody_mistypes() -> None:
    with pytest.raises(UnknownModel) as refused:
        asked(HERE, lora="member")

    assert "members" not in str(refused.value)


def test_chats_of_the_settings_are_for_everything() -> None:
    listed = Place("telegram", frozenset({"-100"}))

    assert listed.opened(["telegram:-100"]).nsfw
    assert listed.opened(["telegram:all"]).nsfw
    assert not listed.opened(["discord:-100", "discord:all", "telegram:-1001"]).nsfw


def test_the_part_of_a_place_is_made_once_and_anew_when_the_catalog_changes() -> None:
    catalogs, other = Catalogs(), wardrobe()

    first = catalogs.of(CATALOG, HERE)

    assert catalogs.of(CATALOG, Place("discord", frozenset({KEPT_CHAT}))) is first
    assert catalogs.of(CATALOG, OWN) is CATALOG
    assert catalogs.of(other, HERE) is not first
