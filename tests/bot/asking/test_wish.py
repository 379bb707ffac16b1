"""One form may make several requests: braces, styles, wildcards, and how many are too many."""

from pathlib import Path

import pytest

from bot.asking.wish import MOST, Wish, make_wish, pictures_of, renamed, resolved
from easel.errors import BadPrompt, BadValue, UnknownModel
from easel.jobs import Control
from easel.prompt.wildcards import Wildcards
from tests.fakes.jobs import a_request
from tests.fakes.wardrobe import wardrobe
from tests.fakes.wishes import INFOTEXT, STYLES, a_catalog, picture

CATALOG = a_catalog()


def wished(**form: object) -> Wish:
    return make_wish({"prompt": "a cat"} | form, CATALOG, STYLES)


def prompts(wish: Wish) -> list[str]:
    return [request.prompt for request in wish.requests]


def test_braces_make_a_request_each_with_a_seed_of_its_own() -> None:
    wish = wished(prompt="a {red, green} {bird, cat}")

    assert prompts(wish) == ["a red bird", "a red cat", "a green bird", "a green cat"]
    assert len({request.seed for request in wish.requests}) == 4
    assert wish.several
    assert not wished().several


def test_braces_work_in_every_option() -> None:
    wish = wished(steps="{5, 10}", size="{64x64, 128x64}", seed="7")

    assert [(r.width, r.steps, r.seed) for r in wish.requests] == [(64, 5, 7), (128, 5, 7), (64, 10, 7), (128, 10, 7)]


@pytest.mark.parametrize("form", [{"prompt": "{a,b}" * 1000}, {"prompt": "{a,b}{a,b}{a,b}{a,b}"}, {"negative": "{1,2,3,4,5,6,7,8,9,10,11}"}])  # fmt: skip
def test_too_many_are_counted_and_not_made(form: dict[str, object]) -> None:
    with pytest.raises(BadPrompt, match=rf"at most {MOST} are made at once"):
        wished(**form)


def test_too_many_by_a_style_are_refused_too() -> None:
    assert len(wished(prompt="{a, b, c}", style="both").requests) == 6
    with pytest.raises(BadPrompt, match="make 12 prompts"):
        wished(prompt="{a, b, c, d, e, f}", style="both")


def test_a_brace_that_means_both_is_explained() -> None:
    with pytest.raises(BadPrompt, match=r"has both `,` and `|`"):
        wished(prompt="a {red, green|blue} cat")


def test_a_style_stands_around_or_behind_the_words() -> None:
    oil, sharp = wished(style="Oil").requests[0], wished(style="sharp", negative="fog").requests[0]

    assert (oil.prompt, oil.negative_prompt) == ("oil painting of a cat", "photo")
    assert (sharp.prompt, sharp.negative_prompt) == ("a cat, sharp focus", "fog")
    assert wished(style="oil", negative="fog").requests[0].negative_prompt == "fog, photo"
    assert wished(style="sharp").requests[0].negative_prompt == "ugly"
    assert prompts(wished(style="{oil, sharp}")) == ["oil painting of a cat", "a cat, sharp focus"]


def test_an_unknown_style_names_the_nearest() -> None:
    with pytest.raises(UnknownModel, match=r"no style called `olé`. Did you mean `oil`"):
        wished(style="olé")
    with pytest.raises(UnknownModel, match=r"no style called `oil`. There is no style installed yet"):
        make_wish({"prompt": "a cat", "style": "oil"}, CATALOG, {})


def test_a_pasted_text_stays_as_it_is() -> None:
    text = INFOTEXT.replace("a lighthouse", "a {red, blue} {lighthouse|house} __x__")

    wish = wished(prompt=text)

    assert prompts(resolved(wish, Wildcards(Path("nowhere")), CATALOG)) == [
        "a {red, blue} {lighthouse|house} __x__, (storm:1.2)"
    ]
    with pytest.raises(BadValue, match="please leave `style` out"):
        wished(prompt=text, style="oil")


def test_choices_at_random_follow_the_seed(tmp_path: Path) -> None:
    (tmp_path / "animals.txt").write_text("cat\ndog\nowl\n# a comment\n")
    wildcards = Wildcards(tmp_path)
    wish = wished(prompt="a {red|green|blue} __animals__", negative="{fog|rain}", seed="5")

    first, second = (resolved(wish, wildcards, CATALOG).requests[0] for _ in range(2))

    assert first == second
    assert first.prompt.split()[1] in {"red", "green", "blue"}
    assert first.prompt.split()[2] in {"cat", "dog", "owl"}
    assert first.negative_prompt in {"fog", "rain"}
    assert len({resolved(wished(prompt="{1|2|3|4|5|6|7|8|9}", seed=str(n)), wildcards, CATALOG).requests[0].prompt for n in range(40)}) > 4  # fmt: skip


@pytest.mark.parametrize("name", ["gone", "../../etc/passwd", "loop"])
def test_a_wildcard_that_can_not_be_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.txt").write_text("__loop__ __loop__\n")

    with pytest.raises(BadPrompt):
        resolved(wished(prompt=f"a __{name}__"), Wildcards(tmp_path), CATALOG)


def test_a_network_out_of_a_wildcard_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "sneaky.txt").write_text("<lora:storm:1>\n")
    (tmp_path / "loras.txt").write_text("add_detail\n")
    wildcards = Wildcards(tmp_path)

    with pytest.raises(UnknownModel, match="no LoRA called `storm`"):
        resolved(wished(prompt="a __sneaky__"), wildcards, CATALOG)
    drawn = resolved(make_wish({"prompt": "a <lora:__loras__:{0.5|0.5}>"}, wardrobe(), STYLES), wildcards, wardrobe())

    assert prompts(drawn) == ["a <lora:add_detail:0.5>"]
    with pytest.raises(BadValue, match="`xl-film` was made for SDXL"):
        resolved(make_wish({"prompt": "<lora:{xl-film|xl-film}:1>"}, wardrobe(), STYLES), wildcards, wardrobe())


def test_a_name_that_looks_like_a_choice_stays_whole(tmp_path: Path) -> None:
    wish = make_wish({"prompt": "a {cat|cat} <lora:ink__wash__v2:0.5>", "lora": "ink__wash__v2"}, wardrobe(), STYLES)

    drawn = resolved(wish, Wildcards(tmp_path), wardrobe())

    assert prompts(drawn) == ["a cat <lora:ink__wash__v2:0.5> <lora:ink__wash__v2:1>"]


def test_only_pictures_that_are_used_are_carried_along() -> None:
    told, mask = picture(infotext=INFOTEXT), picture()

    assert wished(prompt="", image=told).pictures == {}
    assert wished(image=told).pictures == {"image": told.png}
    assert wished(image=told, mask=mask).pictures == {"image": told.png, "mask": mask.png}
    assert wished(image=told, control="control_canny").pictures == {"image": told.png}


def test_pictures_are_renamed_wherever_they_stand() -> None:
    control = Control(model="c", image="image").model_dump()
    request = a_request(init_image="image", mask="mask", control=control)

    other = renamed(request, {"image": "job.1", "mask": "job.2"})

    assert pictures_of(request) == {"image", "mask"}
    assert pictures_of(other) == {"job.1", "job.2"}
    assert (other.init_image, other.mask, other.control and other.control.image) == ("job.1", "job.2", "job.1")
    assert renamed(a_request(), {"image": "job.1"}) == a_request()


@pytest.mark.parametrize(
    "form",
    [
        {"checkpoint": "dreamy-xl", "size": "2048x2048", "steps": "150", "count": "10"},
        {"checkpoint": "dreamy-xl", "steps": "52", "count": "10", "sampler": "Euler"},
        {"checkpoint": "dreamy-xl", "steps": "30", "count": "10", "sampler": "Heun"},
        {"checkpoint": "dreamy-xl", "steps": "30", "count": "10", "hires": "2"},
        {"checkpoint": "dreamy-xl", "steps": "30", "xy": "seed:1,2,3,4,5,6 cfg:2,3,4,5,6,7"},
        {"checkpoint": "dreamy-xl", "xy": "steps:150,1,2,3"},
        {"checkpoint": "dreamy-xl", "prompt": "{1,2,3,4,5,6,7,8,9,10}", "steps": "60"},
    ],
)
def test_too_much_work_is_refused_before_anything_is_queued(form: dict[str, object]) -> None:
    with pytest.raises(BadValue, match=r"times as much work as I do for one request. Please ask for fewer or smaller"):
        wished(**form)


def test_what_people_usually_ask_for_is_not_too_much() -> None:
    assert wished(checkpoint="dreamy-xl", steps="50", count="10").requests
    assert wished(checkpoint="dreamy-xl", size="1216x832", steps="30", hires="1.5", count="4").requests
    assert wished(checkpoint="coast", size="512x512", steps="50", xy="seed:1,2,3,4,5,6 cfg:2,3,4,5,6,7").requests
