import pytest

from bot.asking.plot import plot
from easel.errors import BadValue, RequestError, UnknownModel, UnknownSampler
from easel.jobs import Axis, Plot
from tests.fakes.jobs import a_request
from tests.fakes.wishes import a_catalog

CATALOG = a_catalog()


def test_two_axes_are_read() -> None:
    found = plot("steps:5,10,20 cfg: 2, 4,8", a_request(), CATALOG)

    assert found == Plot(
        x=Axis(field="steps", values=("5", "10", "20")), y=Axis(field="cfg_scale", values=("2", "4", "8"))
    )


@pytest.mark.parametrize(
    ("text", "field", "values"),
    [
        ("sampler:euler A, dpm++ 2m karras", "sampler", ("Euler a", "DPM++ 2M Karras")),
        ("schedule:karras", "schedule", ("Karras",)),
        ("checkpoint:Coast", "checkpoint", ("coast",)),
        ("model:coast,easel demo", "checkpoint", ("coast", "easel-demo")),
        ("seed:4294967295", "seed", ("4294967295",)),
        ("clip:1,2", "clip_skip", ("1", "2")),
    ],
)
def test_values_are_written_as_they_are_carried_out(text: str, field: str, values: tuple[str, ...]) -> None:
    assert plot(text, a_request(sampler="DPM++ 2M"), CATALOG).x == Axis.model_validate(
        {"field": field, "values": values}
    )


def test_a_random_seed_is_drawn_at_once() -> None:
    (first, second) = plot("seed:-1,-1", a_request(), CATALOG).x.values

    assert first != second
    assert int(first) >= 0


def test_strength_is_compared_where_it_means_something() -> None:
    hires = {"scale": 2.0}

    assert plot("strength:0.3", a_request(init_image="x"), CATALOG).x.field == "denoising_strength"
    assert plot("strength:0.3", a_request(hires_fix=hires), CATALOG).x.values == ("0.3",)
    with pytest.raises(BadValue, match="only where there is a picture to start from"):
        plot("strength:0.3", a_request(), CATALOG)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("5,10", BadValue, "must look like steps:5,10,20 cfg:2,4,8"),
        ("draw steps:5", BadValue, "must look like"),
        ("steps:5 cfg:2 seed:3", BadValue, "must look like"),
        ("steps:", BadValue, "takes 1 to 10 values of steps, not 0"),
        (f"steps:{','.join(map(str, range(1, 12)))}", BadValue, "takes 1 to 10 values of steps, not 11"),
        ("steps:1,2,3,4,5,6,7 cfg:1,2,3,4,5,6", BadValue, "would draw 42 pictures; at most 36"),
        ("steps:5 steps:6", BadValue, "the same setting twice"),
        ("steps:0", BadValue, "from 1 to 150"),
        ("size:512x512", BadValue, "can compare steps, cfg, .*; not size"),
        ("stpes:5", BadValue, "Did you mean `--steps`"),
        ("sampler:Eular a", UnknownSampler, "Did you mean"),
        ("checkpoint:cost", UnknownModel, "Did you mean `coast`"),
        ("sampler:DDIM,Euler schedule:Karras", BadValue, "`DDIM` can not follow"),
    ],
)
def test_what_can_not_be_drawn_is_refused(text: str, error: type[RequestError], words: str) -> None:
    with pytest.raises(error, match=words):
        plot(text, a_request(), CATALOG)


def test_several_pictures_are_not_several_sheets() -> None:
    with pytest.raises(BadValue, match="draws one sheet; please leave `count` out"):
        plot("steps:5", a_request(batch_size=2), CATALOG)
