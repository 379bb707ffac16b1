"""A sheet that compares settings, as it is asked for: `steps:5,10,20 cfg:2,4,8`."""

import re
from collections.abc import Mapping
from itertools import product

from bot.options import IMAGINE, Option, find
from easel.catalog import Catalog
from easel.errors import BadValue
from easel.jobs import Axis, ImageRequest, Plot, PlotField, new_seed
from easel.samplers import check_pair, parse_sampler, parse_schedule

MOST_CELLS, MOST_VALUES = 36, 10

FIELDS: Mapping[str, PlotField] = {
    "steps": "steps",
    "cfg": "cfg_scale",
    "seed": "seed",
    "sampler": "sampler",
    "schedule": "schedule",
    "checkpoint": "checkpoint",
    "clip_skip": "clip_skip",
    "strength": "denoising_strength",
}
"""What can be compared, by the option that sets it."""

_AXIS = re.compile(r"(?:^|(?<=\s))([A-Za-z][A-Za-z_-]*):")


def plot(text: str, request: ImageRequest, catalog: Catalog) -> Plot:
    """Read one axis or two for `request`, every value as it will be carried out; raises RequestError."""
    marks = list(_AXIS.finditer(text))
    if not 1 <= len(marks) <= 2 or text[: marks[0].start()].strip():
        raise BadValue(f"`xy` must look like steps:5,10,20 cfg:2,4,8, not `{text[:40]}`.")
    if request.batch_size > 1:
        raise BadValue("`xy` draws one sheet; please leave `count` out.")
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    axes = [_axis(mark[1], text[mark.end() : end], request, catalog) for mark, end in zip(marks, ends, strict=True)]
    cells = len(axes[0].values) * (len(axes[1].values) if len(axes) > 1 else 1)
    if cells > MOST_CELLS:
        raise BadValue(f"`xy` would draw {cells} pictures; at most {MOST_CELLS} fit on a sheet.")
    if len({axis.field for axis in axes}) < len(axes):
        raise BadValue("`xy` compares the same setting twice. Please name two different ones.")
    _check_pairs(axes, request)
    return Plot(x=axes[0], y=axes[1] if len(axes) > 1 else None)


def _axis(word: str, text: str, request: ImageRequest, catalog: Catalog) -> Axis:
    option = find(IMAGINE, word)
    if option.name not in FIELDS:
        raise BadValue(f"`xy` can compare {', '.join(FIELDS)}; not {option.name}.")
    if option.name == "strength" and not request.init_image and request.hires_fix is None:
        raise BadValue("`xy` can compare strength only where there is a picture to start from, or `hires`.")
    values = [_value(option, value.strip(), catalog) for value in text.split(",") if value.strip()]
    if not 1 <= len(values) <= MOST_VALUES:
        raise BadValue(f"`xy` takes 1 to {MOST_VALUES} values of {option.name}, not {len(values)}.")
    return Axis(field=FIELDS[option.name], values=tuple(values))


def _value(option: Option, text: str, catalog: Catalog) -> str:
    value = option.value(text)
    match option.name:
        case "checkpoint":
            return catalog.checkpoint(text).name
        case "schedule":
            return parse_schedule(text)
        case "sampler":
            return " ".join(filter(None, parse_sampler(text)))
        case "seed":
            return str(new_seed() if value == -1 else value)
        case _:
            return f"{value:g}"


def _check_pairs(axes: list[Axis], request: ImageRequest) -> None:
    """Raise BadValue where a schedule is named that one of the samplers can not follow."""
    by_field = {axis.field: axis.values for axis in axes}
    samplers = by_field.get("sampler", (request.sampler,))
    for sampler, schedule in product(samplers, by_field.get("schedule", ())):
        check_pair(parse_sampler(sampler)[0], schedule)
