"""One request in the making: what was typed outweighs what a text tells, and that what the checkpoint wants."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bot.asking.canvas import canvas
from bot.asking.control import control
from bot.asking.fitting import check_models, check_negative, check_repainting
from bot.asking.larger import enlarging, second_pass
from bot.asking.pictures import PICTURES, Opened
from bot.asking.plot import plot
from bot.asking.told import Told, parted, told_by
from bot.asking.vae import vae
from bot.asking.worn import joined, worn
from bot.options import IMAGINE
from bot.sizes import native_size, parse_size, size_like
from easel.catalog import Catalog, ModelCard
from easel.errors import BadPrompt, BadValue
from easel.jobs import ImageRequest, Plot, new_seed
from easel.prompt.text import clean
from easel.samplers import AUTOMATIC, check_pair, parse_sampler, parse_schedule

MAX_PROMPT = 6000

FILLED = 0.8
"""Denoising strength where something is missing: the worker fills it with the colours around, which guide it a little."""

_PLAIN = {
    "steps": "steps",
    "cfg": "cfg_scale",
    "clip_skip": "clip_skip",
    "count": "batch_size",
    "rng": "rng",
    "tile": "tiling",
}
"""Options that are a field of the request as they stand."""
_CHANGING = ("strength", "mask", "zoom", "extend")
"""What is only asked for with a picture to start from."""


@dataclass(frozen=True, slots=True)
class Drafted:
    """A request whose pictures are still named by the option that brought them: `image`, `mask`."""

    request: ImageRequest
    notes: tuple[str, ...]
    verbatim: bool
    """Its prompts came from an infotext, in which no choice is left to make."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    typed: Mapping[str, Any]
    told: Told
    worded: bool
    """Somebody wrote or pasted words: they are not merely those that the picture tells."""
    card: ModelCard
    catalog: Catalog

    @property
    def negative_prompt(self) -> str:
        """The one that counts where none is typed."""
        return str(self.told.fields.get("negative_prompt", self.card.defaults.negative_prompt or ""))

    @property
    def starts_from_picture(self) -> bool:
        """Whether the picture is what is drawn upon; else it is followed, enlarged, or merely tells its infotext."""
        changed = any(name in self.typed for name in _CHANGING)
        return "image" in self.typed and (changed or (self.worded and "control" not in self.typed))


def typed(form: Mapping[str, object]) -> dict[str, Any]:
    """Read every option that was filled in; raises BadValue."""
    values: dict[str, Any] = {}
    for option in IMAGINE:
        value = form.get(option.name)
        if option.name in PICTURES and value:
            values[option.name] = value
        elif option.name not in PICTURES and value is not None and str(value).strip():
            values[option.name] = option.value(value)
    return values


def draft(form: Mapping[str, object], catalog: Catalog) -> Drafted:
    """Check a filled form and fill every gap; raises RequestError. A picture that is not opened yet may be anything."""
    values = typed(form)
    _check_together(values)
    worded = bool(values.get("prompt"))
    told = _told(values, catalog)
    named = values.get("checkpoint")
    card = catalog.checkpoint(named) if named else told.card or catalog.default_checkpoint
    wanted = _Wanted(values, told, worded, card, catalog)
    left_out: list[str] = []
    fields = _defaults(card) | dict(told.fields) | {_PLAIN[name]: values[name] for name in _PLAIN if name in values}
    fields |= _words(wanted) | _sampler(wanted) | _size(wanted) | _seed(wanted, fields)
    fields |= _picture(wanted, fields, left_out)
    fields |= second_pass(values, fields, catalog, left_out)
    fields["vae"] = vae(values, told.fields, card, catalog, left_out)
    request = _checked(fields)
    if "xy" in values:
        request = _plotted(request, plot(values["xy"], request, catalog), keeps_vae="vae" in values)
    _check_models(request, wanted)
    return Drafted(request, (*told.notes, *left_out), verbatim=bool(told.fields))


def _plotted(request: ImageRequest, sheet: Plot, *, keeps_vae: bool) -> ImageRequest:
    """Return the request of a sheet; where checkpoints are compared each has its own VAE, unless one is asked for."""
    compared = "checkpoint" in {axis.field for axis in (sheet.x, sheet.y) if axis is not None}
    return request.changed(plot=sheet.model_dump(), vae="" if compared and not keeps_vae else request.vae)


def _check_models(request: ImageRequest, wanted: _Wanted) -> None:
    """Raise RequestError where models are missing or do not go together, as far as choices at random allow."""
    verbatim, picture = bool(wanted.told.fields), wanted.typed.get("image")
    check_models(request, wanted.catalog, chosen=verbatim)
    if not verbatim:
        check_negative(request)
    # A picture that is not opened yet may be transparent.
    holes = not isinstance(picture, Opened) or picture.has_holes
    check_repainting(request, wanted.catalog, holes=holes)


def _check_together(values: Mapping[str, Any]) -> None:
    """Refuse what needs a picture without one, and what does not go together."""
    for name in ("mask", "zoom", "extend", "control", "upscale", "strength"):
        alone = name == "strength" and "hires" in values
        if name in values and "image" not in values and not alone:
            raise BadValue(f"`{name}` needs a picture: send one along, or give its address with `--image https://…`.")
    pairs = [("upscale", name) for name in (*_CHANGING, "hires", "control", "xy")]
    pairs += [("mask", "zoom"), ("mask", "extend"), *(("hires", name) for name in ("mask", "zoom", "extend"))]
    for first, second in pairs:
        if first in values and second in values:
            raise BadValue(f"`{first}` and `{second}` do not go together. Please ask for one after the other.")
    if "upscaler" in values and not {"upscale", "hires"} & values.keys():
        raise BadValue("`upscaler` says what enlarges: it needs `hires` or `upscale`.")


def _told(values: dict[str, Any], catalog: Catalog) -> Told:
    """Read the pasted text, or without any words the one in the picture, into the place of the prompt."""
    text, picture = values.get("prompt", ""), values.get("image")
    if pasted := parted(text):
        prompts, settings = pasted
        first_line, _, _ = settings.partition("\n")
        text = f"{prompts}\n{first_line}"
    elif not text and isinstance(picture, Opened) and picture.infotext and "upscale" not in values:
        text = picture.infotext
    else:
        return Told()
    told = told_by(text, catalog, named="checkpoint" in values)
    values["prompt"] = told.fields["prompt"]
    return told


def _defaults(card: ModelCard) -> dict[str, Any]:
    wanted = card.defaults
    return {
        "checkpoint": card.name,
        "negative_prompt": wanted.negative_prompt or "",
        "steps": wanted.steps or 25,
        "cfg_scale": wanted.cfg_scale or 7.0,
        "clip_skip": wanted.clip_skip or 1,
        "enlarge": card.enlarge,
    }


def _words(wanted: _Wanted) -> dict[str, Any]:
    values = wanted.typed
    prompt = _short_enough("prompt", clean(values.get("prompt", "")))
    if not prompt.strip() and "upscale" not in values:
        _check_wordless(values.get("image"))
    behind, behind_negative = worn(values, wanted.catalog)
    words = {"prompt": _short_enough("prompt", joined(prompt, behind))}
    if "negative" in values:
        words["negative_prompt"] = _short_enough("negative", clean(values["negative"]))
    if behind_negative:
        usual = words.get("negative_prompt", wanted.negative_prompt)
        words["negative_prompt"] = _short_enough("negative", joined(usual, f", {behind_negative}"))
    return words


def _check_wordless(picture: object) -> None:
    """Raise BadPrompt unless a picture comes along that may yet tell what it was made from."""
    if picture is None:
        raise BadPrompt("Please say what the picture should show, for example `/imagine a red apple`.")
    if isinstance(picture, Opened):
        raise BadPrompt(
            "That picture does not tell how it was made, so please say what the new one should show. "
            "Telegram and others strip it from photos; a file keeps it."
        )


def _short_enough(name: str, text: str) -> str:
    if len(text) > MAX_PROMPT:
        raise BadValue(f"`{name}` has {len(text)} characters; at most {MAX_PROMPT} are possible.")
    return text


def _sampler(wanted: _Wanted) -> dict[str, Any]:
    """Return both; a schedule is kept only with the sampler it was said for."""
    values, told, defaults = wanted.typed, wanted.told.fields, wanted.card.defaults
    if "sampler" in values:
        sampler, implied = parse_sampler(values["sampler"])
        schedule = implied or AUTOMATIC
    elif "sampler" in told:
        sampler, schedule = told["sampler"], told.get("schedule", AUTOMATIC)
    else:
        sampler = defaults.sampler or "Euler a"
        schedule = defaults.schedule or AUTOMATIC
    if "schedule" in values:
        schedule = parse_schedule(values["schedule"])
    check_pair(sampler, schedule)
    return {"sampler": sampler, "schedule": schedule}


def _size(wanted: _Wanted) -> dict[str, Any]:
    values, told = wanted.typed, wanted.told.fields
    picture = values.get("image")
    follows = wanted.starts_from_picture or "control" in values
    if "size" in values:
        width, height = parse_size(values["size"], wanted.card)
    elif "width" in told:
        width, height = told["width"], told["height"]
    elif isinstance(picture, Opened) and follows:
        width, height = size_like(picture.width, picture.height, wanted.card)
    else:
        width, height = native_size(wanted.card)
    return {"width": width, "height": height}


def _seed(wanted: _Wanted, fields: Mapping[str, Any]) -> dict[str, Any]:
    seed = wanted.typed.get("seed", fields.get("seed", -1))
    drawn: dict[str, Any] = {"seed": new_seed() if seed == -1 else seed}
    if "vary" in wanted.typed:
        drawn |= {"variation_strength": wanted.typed["vary"], "variation_seed": new_seed()}
    return drawn


def _picture(wanted: _Wanted, fields: Mapping[str, Any], left_out: list[str]) -> dict[str, Any]:
    """Return what is done with the picture, if there is one."""
    values, picture = wanted.typed, wanted.typed.get("image")
    if "upscale" in values:
        return enlarging(values, wanted.catalog)
    if "control" in values:
        steering = {"control": control(values["control"], wanted.card, wanted.catalog, image="image")}
    else:
        steering = {}
    if not wanted.starts_from_picture:
        if "denoising_strength" in wanted.told.fields:
            left_out.append("Denoising strength was left out: it takes the picture that this one was made from.")
        return {**steering, "denoising_strength": ImageRequest.model_fields["denoising_strength"].default}
    around = values.get("zoom", 1) > 1 or "extend" in values
    empty = around or (isinstance(picture, Opened) and picture.has_holes and "mask" not in values)
    if empty and "hires" in values:
        raise BadValue(
            "`hires` does not go together with painting what is missing. Please ask for one after the other."
        )
    usual = FILLED if empty else ImageRequest.model_fields["denoising_strength"].default
    started = {
        **steering,
        "init_image": "image",
        "mask": "mask" if "mask" in values else "",
        "denoising_strength": values.get("strength", fields.get("denoising_strength", usual)),
    }
    if around:
        size = (fields["width"], fields["height"])
        started["canvas"] = canvas(values.get("zoom", 1.0), values.get("extend", ""), size)
    return started


def _checked(fields: Mapping[str, Any]) -> ImageRequest:
    try:
        return ImageRequest.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadValue(f"`{where}` can not be used so: {first['msg'].lower()}.") from error
