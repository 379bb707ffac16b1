import pytest

from bot.asking.control import control
from easel.errors import BadValue, UnknownModel
from easel.jobs import Control
from tests.fakes.wishes import a_catalog

CATALOG = a_catalog()


def read(text: str, checkpoint: str = "easel-demo") -> Control:
    return control(text, CATALOG.checkpoint(checkpoint), CATALOG, image="image")


@pytest.mark.parametrize(
    ("text", "preprocessor", "weight"),
    [
        ("control_canny", "canny", 1.0),
        ("control canny", "canny", 1.0),
        ("control_canny:none", "none", 1.0),
        ("control_canny:Scribble:0,8", "scribble", 0.8),
        ("control_canny:1.5", "canny", 1.5),
        ("control_canny : tile : .5", "tile", 0.5),
    ],
)
def test_a_name_a_preprocessor_and_a_weight_are_told_apart(text: str, preprocessor: str, weight: float) -> None:
    expected = {"model": "control_canny", "image": "image", "preprocessor": preprocessor, "weight": weight}

    assert read(text) == Control.model_validate(expected)


def test_a_model_that_is_named_after_no_preprocessor_is_shown_the_picture_itself() -> None:
    assert read("xl-depth", "dreamy-xl").preprocessor == "none"


def test_an_unknown_one_names_the_nearest() -> None:
    with pytest.raises(UnknownModel, match=r"no ControlNet called `control_cany`. Did you mean `control_canny`"):
        read("control_cany:canny")


def test_one_for_another_base_is_refused() -> None:
    with pytest.raises(BadValue, match="`xl-depth` was not made for checkpoints like `easel-demo`"):
        read("xl-depth")


def test_a_weight_has_bounds() -> None:
    with pytest.raises(BadValue, match="from 0 to 2, not 3"):
        read("control_canny:3")
