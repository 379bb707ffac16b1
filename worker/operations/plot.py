"""Plots: one request under changing settings, drawn side by side and laid out as one labelled sheet."""

from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image
from pydantic import ValidationError

from easel.catalog import ModelCard
from easel.errors import BadValue
from easel.jobs import Axis, ImageRequest, Plot, PlotField
from easel.pictures import MOST_SHEET_PIXELS, at_most, labelled_grid
from easel.samplers import AUTOMATIC, SAMPLERS, check_pair, parse_sampler, parse_schedule
from worker.operations.operation import Operation, together
from worker.operations.paint import paint
from worker.operations.tools import Tools

MOST_CELLS = 36

NAMES: Mapping[PlotField, str] = {
    "steps": "Steps",
    "cfg_scale": "CFG scale",
    "seed": "Seed",
    "sampler": "Sampler",
    "schedule": "Schedule",
    "checkpoint": "Checkpoint",
    "clip_skip": "Clip skip",
    "denoising_strength": "Denoising strength",
}

_WHOLE = {"steps", "seed", "clip_skip"}

FindCard = Callable[[str], ModelCard]
"""Finds a checkpoint by name; raises `UnknownModel`."""


def plot(request: ImageRequest, axes: Plot, tools: Tools) -> Operation:
    """Draw every cell and return one sheet; cells of one checkpoint share their UNet calls."""
    rows = cells(request, axes, tools.card)
    requests = [cell for row in rows for cell in row]
    drawn: dict[int, Image.Image] = {}
    # One checkpoint after the other: together they might not fit into memory.
    for checkpoint in dict.fromkeys(cell.checkpoint for cell in requests):
        chosen = [n for n, cell in enumerate(requests) if cell.checkpoint == checkpoint]
        operations = [_small(paint(requests[n], tools), MOST_SHEET_PIXELS // len(requests)) for n in chosen]
        for n, images in zip(chosen, (yield from together(operations)), strict=True):
            drawn[n] = images[0]
        tools.let_go()
    width = len(rows[0])
    tools.check()
    return [
        labelled_grid(
            [[drawn[y * width + x] for x in range(width)] for y in range(len(rows))],
            columns=_labels(axes.x),
            rows=_labels(axes.y) if axes.y else [],
        )
    ]


def _small(operation: Operation, pixels: int) -> Operation:
    """Return the operation with its pictures no larger than fits on a sheet."""
    images = yield from operation
    return [at_most(image, pixels) for image in images]


def cells(request: ImageRequest, axes: Plot, find: FindCard) -> list[list[ImageRequest]]:
    """Return one request for each cell, row by row; raises `RequestError` for values that can not be."""
    across, down = axes.x.values, axes.y.values if axes.y else ("",)
    if len(across) * len(down) > MOST_CELLS:
        raise BadValue(
            f"This plot would have {len(across) * len(down)} pictures; {MOST_CELLS} are the most. "
            "Please name fewer values."
        )
    if axes.y and axes.y.field == axes.x.field:
        raise BadValue(f"Both directions of the plot change `{NAMES[axes.x.field]}`. Please choose another for one.")
    if request.upscale is not None:
        raise BadValue("Upscaling has nothing that a plot could change.")
    one = request.changed(plot=None, batch_size=1)
    rows = []
    for y in down:
        chosen = [{axes.x.field: x} | ({axes.y.field: y} if axes.y else {}) for x in across]
        rows.append([_cell(one, values, find) for values in chosen])
    return rows


def _cell(request: ImageRequest, values: Mapping[PlotField, str], find: FindCard) -> ImageRequest:
    changes: dict[str, Any] = {}
    for field, text in values.items():
        changes |= _read(request, field, text.strip(), find)
    # An axis of schedules has the last word over what a sampler's old name implies.
    if "schedule" in values:
        changes["schedule"] = parse_schedule(values["schedule"])
    try:
        cell = request.changed(**changes)
    except ValidationError as error:
        place, problem = str(error.errors()[0]["loc"][0]), error.errors()[0]["msg"]
        raise BadValue(
            f"`{', '.join(values.values())[:80]}` can not be drawn in a plot: {place}, {problem}."
        ) from error
    check_pair(cell.sampler, cell.schedule)
    return cell


def _read(request: ImageRequest, field: PlotField, text: str, find: FindCard) -> dict[str, Any]:
    """Return the changes that one value makes to the request."""
    match field:
        case "sampler":
            sampler, schedule = parse_sampler(text)
            follows = request.schedule in SAMPLERS[sampler].schedules
            return {"sampler": sampler, "schedule": schedule or (request.schedule if follows else AUTOMATIC)}
        case "schedule":
            return {"schedule": parse_schedule(text)}
        case "checkpoint":
            return {"checkpoint": find(text).name}
        case "denoising_strength" if not request.init_image:
            if request.hires_fix is None:
                raise BadValue("Without a picture to start from, the denoising strength changes nothing.")
            return {"hires_fix": request.hires_fix.model_dump() | {"denoising_strength": _number(field, text)}}
        case _:
            return {field: _number(field, text)}


def _number(field: PlotField, text: str) -> float | int:
    try:
        return int(text) if field in _WHOLE else float(text)
    except ValueError as error:
        raise BadValue(f"`{text[:40]}` is not a number that `{NAMES[field]}` could be in a plot.") from error


def _labels(axis: Axis) -> list[str]:
    return [f"{NAMES[axis.field]}: {value}" for value in axis.values]
