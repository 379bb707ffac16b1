from typing import Any

import numpy as np
import pytest
from PIL import Image

from easel.errors import BadValue, RequestError, UnknownModel, UnknownSampler
from easel.jobs import ImageRequest, Plot
from tests.fakes.workshop import Workshop, asked, bytes_of, difference, photo
from worker.operations.plot import cells


def axis(field: str, *values: str) -> dict[str, Any]:
    return {"field": field, "values": values}


def planned(
    workshop: Workshop, x: dict[str, Any], y: dict[str, Any] | None = None, **changes: Any
) -> list[list[ImageRequest]]:
    return cells(asked(**changes), Plot.model_validate({"x": x, "y": y}), workshop.models.card)


def drawn_cells(sheet: Image.Image, across: int, down: int, side: int = 64) -> list[Image.Image]:
    """Cut the cells out of the sheet's right lower corner, row by row."""
    step = side + 4
    left, top = sheet.width - across * step + 4, sheet.height - down * step + 4
    boxes = [(left + x * step, top + y * step) for y in range(down) for x in range(across)]
    return [sheet.crop((x, y, x + side, y + side)) for x, y in boxes]


def test_the_cells_are_the_pictures_each_would_be_alone(workshop: Workshop) -> None:
    plot = {"x": axis("steps", "2", "4"), "y": axis("sampler", "DDIM", "Euler a")}

    drawn = workshop.draw(asked(plot=plot, batch_size=3))

    (sheet,) = drawn.images
    found = drawn_cells(sheet, 2, 2)
    single = [
        workshop.draw(asked(steps=steps, sampler=sampler)).images[0]
        for sampler in ("DDIM", "Euler a")
        for steps in (2, 4)
    ]
    assert [difference(*pair) <= 1 for pair in zip(found, single, strict=True)] == [True] * 4
    assert difference(found[0], found[3]) > 10
    # All four share their calls.
    assert drawn.calls == 4


def test_second_passes_share_their_calls_too(workshop: Workshop) -> None:
    plot = {"x": axis("cfg_scale", "2", "4", "8")}

    drawn = workshop.draw(asked(plot=plot, steps=2, hires_fix={"scale": 1.5}))

    alone = workshop.draw(asked(cfg_scale=8, steps=2, hires_fix={"scale": 1.5}))
    assert drawn.calls == alone.calls == 4
    assert difference(drawn_cells(drawn.images[0], 3, 1, 96)[2], alone.images[0]) <= 1


def test_checkpoints_are_drawn_one_after_the_other(workshop: Workshop) -> None:
    plot = {"x": axis("checkpoint", "tiny", "other"), "y": axis("seed", "1", "2")}

    drawn = workshop.draw(asked(plot=plot, steps=2))

    assert [one.request.checkpoint for one in drawn.passes] == ["tiny", "tiny", "other", "other"]
    assert drawn.calls == 4
    found = drawn_cells(drawn.images[0], 2, 2)
    assert difference(found[1], workshop.draw(asked(checkpoint="other", steps=2)).images[0]) <= 1
    assert difference(found[2], workshop.draw(asked(seed=2, steps=2)).images[0]) <= 1


def test_cells_are_enlarged_and_the_labels_are_not(workshop: Workshop) -> None:
    plain = workshop.draw(asked(plot={"x": axis("seed", "1", "2")}, steps=1)).images[0]

    large = workshop.draw(asked(plot={"x": axis("seed", "1", "2")}, steps=1, enlarge=4)).images[0]

    assert large.width == 2 * 256 + 4
    assert plain.width == 2 * 64 + 4
    assert (bytes_of(large)[0] == 255).all()


def test_a_plot_can_start_from_a_picture(workshop: Workshop) -> None:
    plot = {"x": axis("denoising_strength", "0", "0.8")}
    request = asked(plot=plot, steps=5, init_image=workshop.keep(photo()))

    found = drawn_cells(workshop.draw(request).images[0], 2, 1)

    assert difference(found[1], workshop.draw(request.changed(plot=None, denoising_strength=0.8)).images[0]) <= 1


def test_the_denoising_strength_of_a_hires_fix_is_meant_where_there_is_one(workshop: Workshop) -> None:
    ((one, other),) = planned(workshop, axis("denoising_strength", "0.3", "0.6"), hires_fix={"scale": 2})

    assert one.hires_fix is not None
    assert other.hires_fix is not None
    assert (one.hires_fix.denoising_strength, other.hires_fix.denoising_strength) == (0.3, 0.6)
    assert other.hires_fix.scale == 2


def test_samplers_are_read_as_people_write_them(workshop: Workshop) -> None:
    ((one, two, three),) = planned(workshop, axis("sampler", " dpm++ 2m karras", "k_euler_a", "ddim"), schedule="Beta")

    assert (one.sampler, one.schedule) == ("DPM++ 2M", "Karras")
    assert (two.sampler, two.schedule) == ("Euler a", "Beta")
    # DDIM has no such schedule.
    assert (three.sampler, three.schedule) == ("DDIM", "Automatic")


def test_an_axis_of_schedules_has_the_last_word(workshop: Workshop) -> None:
    rows = planned(workshop, axis("schedule", "Beta", "karras"), axis("sampler", "DPM++ 2M Exponential", "Euler"))

    assert [[cell.schedule for cell in row] for row in rows] == [["Beta", "Karras"], ["Beta", "Karras"]]
    assert [row[0].sampler for row in rows] == ["DPM++ 2M", "Euler"]


MANY = tuple(str(n) for n in range(1, 8))


@pytest.mark.parametrize(
    ("x", "y", "error", "words"),
    [
        (axis("steps", *MANY), axis("seed", *MANY), BadValue, "49 pictures; 36 are the most"),
        (axis("steps", "1"), axis("steps", "2"), BadValue, "Both directions"),
        (axis("steps", "many"), None, BadValue, "`many` is not a number"),
        (axis("steps", "2.5"), None, BadValue, "`2.5` is not a number"),
        (axis("steps", "0"), None, BadValue, "steps.*greater than or equal to 1"),
        (axis("cfg_scale", "nan"), None, BadValue, "cfg_scale"),
        (axis("seed", "-1"), None, BadValue, "seed"),
        (axis("sampler", "Eular"), None, UnknownSampler, "`Euler"),
        (axis("schedule", "Karas"), None, UnknownSampler, "`Karras`"),
        (axis("schedule", "Karras"), None, BadValue, "`DDIM` can not follow"),
        (axis("checkpoint", "tinny"), None, UnknownModel, "`tiny`"),
        (axis("denoising_strength", "0.5"), None, BadValue, "Without a picture"),
    ],
)
def test_what_can_not_be_drawn_is_said_before_anything_is(
    workshop: Workshop, x: dict[str, Any], y: dict[str, Any] | None, error: type[RequestError], words: str
) -> None:
    with pytest.raises(error, match=words):
        planned(workshop, x, y)


def test_upscaling_has_nothing_to_plot(workshop: Workshop) -> None:
    with pytest.raises(BadValue, match="nothing that a plot could change"):
        planned(workshop, axis("steps", "1"), upscale={}, init_image="one")


def test_six_by_six_is_allowed(workshop: Workshop) -> None:
    rows = planned(workshop, axis("steps", *MANY[:6]), axis("seed", *MANY[:6]))

    assert np.array([[cell.steps for cell in row] for row in rows]).shape == (6, 6)
    assert {cell.batch_size for row in rows for cell in row} == {1}
