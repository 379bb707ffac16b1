import pytest

from bot.asking.redraw import again, upscale, vary
from easel.errors import BadValue
from easel.jobs import MAX_SEED, HiresFix, Upscale
from tests.fakes.jobs import a_request

SHEET = {"x": {"field": "steps", "values": ("1", "2")}}


def test_again_changes_the_seed_alone() -> None:
    request = a_request(seed=1, batch_size=3)

    drawn = again(request, 2)

    assert drawn.seed != 1
    assert drawn.changed(seed=1) == request


def test_a_variation_stays_with_the_seed_of_its_picture() -> None:
    request = a_request(seed=MAX_SEED, batch_size=4)

    varied = vary(request, 2)

    assert (varied.seed, varied.variation_strength, varied.batch_size) == (1, 0.2, 4)
    assert vary(request, 2).variation_seed != varied.variation_seed


def test_a_variation_of_a_variation_is_a_sister() -> None:
    request = a_request(seed=5, variation_seed=9, variation_strength=0.2, batch_size=2)

    varied = vary(request, 1)

    assert varied.seed == 5
    assert varied.variation_seed != 10


def test_a_picture_is_enlarged_by_drawing_it_again() -> None:
    request = a_request(seed=5, batch_size=4)

    large = upscale(request, 3)

    hires = HiresFix(scale=2.0, upscaler="Lanczos", denoising_strength=0.35)
    assert large == request.changed(seed=8, batch_size=1, hires_fix=hires.model_dump())


def test_a_variation_is_enlarged_as_itself() -> None:
    large = upscale(a_request(seed=5, variation_seed=9, variation_strength=0.2, batch_size=2), 1)

    assert (large.seed, large.variation_seed, large.batch_size) == (5, 10, 1)


@pytest.mark.parametrize(
    ("width", "height", "before", "after"),
    [(512, 512, None, 2.0), (1280, 832, None, 1.6), (512, 512, 1.5, 3.0), (512, 512, 3.0, 4.0), (768, 512, 2.0, 8 / 3)],
)
def test_it_grows_as_far_as_can_be_drawn(width: int, height: int, before: float | None, after: float) -> None:
    hires = None if before is None else {"scale": before, "upscaler": "Latent"}

    large = upscale(a_request(width=width, height=height, hires_fix=hires), 0).hires_fix

    assert large is not None
    assert large.scale == pytest.approx(after)
    assert large.upscaler == ("Latent" if before else "Lanczos")


def test_what_was_only_enlarged_is_enlarged_more() -> None:
    request = a_request(init_image="x", upscale={"scale": 2.0, "upscaler": "4x-crisp"})

    assert upscale(request, 0).upscale == Upscale(scale=4.0, upscaler="4x-crisp")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 2048}, "as large as I can draw it"),
        ({"hires_fix": {"scale": 4.0}}, "as large as I can draw it"),
        ({"init_image": "x", "upscale": {"scale": 3.0}}, "enlarged already"),
        ({"plot": SHEET}, "A sheet can not be enlarged"),
        ({"init_image": "x", "mask": "y"}, "repainted in part"),
        ({"init_image": "x", "canvas": {"left": 8}}, "repainted in part"),
    ],
)
def test_what_can_not_be_enlarged_is_said(changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadValue, match=words):
        upscale(a_request(**changes), 0)


@pytest.mark.parametrize("changes", [{"plot": SHEET}, {"init_image": "x", "upscale": {"scale": 2.0}}])
def test_what_has_no_seed_of_its_own_can_not_be_varied(changes: dict[str, object]) -> None:
    with pytest.raises(BadValue, match="nothing to vary"):
        vary(a_request(**changes), 0)


def test_there_is_no_fifth_picture_of_four() -> None:
    with pytest.raises(BadValue, match="no such picture"):
        upscale(a_request(batch_size=4), 4)
