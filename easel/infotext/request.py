"""From infotext to a request: what a pasted text or a picture asks for, under the names of `ImageRequest`."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from easel.errors import BadPrompt, RequestError, UnknownSampler
from easel.infotext.reread import read_operations
from easel.infotext.slip import Slip
from easel.infotext.text import parse, printable
from easel.jobs import ImageRequest
from easel.samplers import check_pair, parse_sampler, parse_schedule

_WORDS = {"Model": "checkpoint", "VAE": "vae"}
_WHOLE = {"Steps": "steps", "Seed": "seed", "Clip skip": "clip_skip", "Variation seed": "variation_seed"}
_REAL = {
    "CFG scale": "cfg_scale",
    "Variation seed strength": "variation_strength",
    "Denoising strength": "denoising_strength",
    "CFG Rescale": "guidance_rescale",
}
_HASH = re.compile(r"[0-9A-Fa-f]{6,64}")
_MAX_HASHES = 100


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text asks for, and what of it could not be used."""

    fields: dict[str, Any]
    """Values for `ImageRequest` under its names; only what the text says, or means by not saying it."""
    hashes: dict[str, str]
    """Hex digits by `model`, `vae`, `lora:NAME` and `embed:NAME`, for models that are named differently here."""
    unknown: dict[str, str]
    """Settings Easel has no word for, as they stood."""
    notes: tuple[str, ...]
    """A sentence for each setting that was left out because it can not be."""


def to_fields(text: str) -> Reading:
    """Read a text that anyone may have written; one without settings yields its prompts and nothing else.

    Raises BadPrompt for a text or a prompt that is too long.
    """
    info = parse(text)
    slip = Slip(info)
    fields: dict[str, Any] = {
        "prompt": printable(info.prompt) + _hypernetwork(slip),
        "negative_prompt": printable(info.negative_prompt),
    }
    for name, value in fields.items():
        if problem := _problem(name, value):
            raise BadPrompt(f"The {name.replace('_', ' ')} of this text can not be used: {problem}.")
    hashes = _hashes(slip)
    if info.settings:
        fields |= _settings(slip)
    slip.left.pop("Version", None)
    return Reading(fields, hashes, slip.left, tuple(slip.notes))


def _settings(slip: Slip) -> dict[str, Any]:
    fields: dict[str, Any] = {field: slip.word(name) for name, field in _WORDS.items()}
    fields |= {field: slip.whole(name) for name, field in _WHOLE.items()}
    fields |= {field: slip.real(name) for name, field in _REAL.items()}
    fields |= {"rng": _rng(slip), **_sampler(slip)}
    if slip.left.get("Tiling") == "True":
        del slip.left["Tiling"]
        fields["tiling"] = True
    fields |= read_operations(slip)
    for field, value in fields.items():
        if value is not None and (problem := _problem(field, value)):
            slip.note(f"{field.replace('_', ' ')} {value}", problem)
            fields[field] = None
    fields |= _sizes(slip, fields)
    return {field: value for field, value in fields.items() if value is not None}


def _problem(field: str, value: object) -> str:
    """Return what `ImageRequest` says against a value, or an empty string."""
    if field == "denoising_strength" and isinstance(value, float) and not 0 <= value <= 1:
        return "it should be from 0 to 1"
    if field not in ImageRequest.model_fields:
        return ""
    try:
        ImageRequest.model_validate({field: value})
    except ValidationError as error:
        problems = [one["msg"] for one in error.errors() if one["loc"][:1] == (field,)]
        return problems[0][:1].lower() + problems[0][1:] if problems else ""
    return ""


def _rng(slip: Slip) -> str | None:
    """Return whose noise it was; A1111 writes nothing when it drew on the graphics card, ComfyUI draws on the CPU."""
    if "RNG" in slip.silent and slip.left.get("Version", "").startswith("ComfyUI"):
        del slip.left["RNG"]
        return "cpu"
    rng = {"CPU": "cpu", "NV": "nv", "GPU": "nv"}.get(slip.left["RNG"].strip().upper())
    if rng:
        del slip.left["RNG"]
    return rng


def _sampler(slip: Slip) -> dict[str, str | None]:
    """Return both under our names; a joined name such as `DPM++ 2M Karras` wins over "Schedule type", as in A1111."""
    sampler, schedule = slip.word("Sampler"), slip.word("Schedule type")
    joined = None
    try:
        if sampler:
            sampler, joined = parse_sampler(sampler)
    except UnknownSampler as error:
        slip.notes.append(f"{error} It was left out.")
        sampler = None
    try:
        schedule = joined or (schedule and parse_schedule(schedule))
        if sampler and schedule:
            check_pair(sampler, schedule)
    except RequestError as error:
        slip.notes.append(f"{error} It was left out.")
        schedule = None
    return {"sampler": sampler, "schedule": schedule}


def _hypernetwork(slip: Slip) -> str:
    """Return the prompt tag for the fields in which A1111 kept a hypernetwork before there were tags."""
    name = slip.word("Hypernet")
    if name is None:
        return ""
    strength = slip.real("Hypernet strength")
    return f"<hypernet:{re.sub('[<>:]', '', name)}:{1.0 if strength is None else strength:g}>"


def _sizes(slip: Slip, fields: dict[str, Any]) -> dict[str, Any]:
    """Return width and height and, where a second pass was made, `hires_fix`, to which the strength then belongs."""
    size = slip.size("Size")
    if size is None:
        return {}
    first, final = slip.size("First pass size"), slip.size("Hires resize")
    if first:  # in 2022 "Size" was the finished picture's
        size, final = first if all(first) else _first_pass(size), size
    if problem := _problem("width", size[0]) or _problem("height", size[1]):
        slip.note(f"size {size[0]}x{size[1]}", problem)
        return {}
    sides: dict[str, Any] = {"width": size[0], "height": size[1]}
    scale = slip.real("Hires upscale") or (max(final[0] / size[0], final[1] / size[1]) if final else 0)
    if not scale:
        return sides
    sides["denoising_strength"] = None
    if not 1 <= scale <= 4:
        slip.note(f"hires upscale {scale:g}", "it should be from 1 to 4")
        return sides
    pieces = {
        "scale": round(scale, 3),
        "steps": slip.whole("Hires steps"),
        "denoising_strength": fields["denoising_strength"],
        "upscaler": slip.word("Hires upscaler"),
    }
    hires = {name: piece for name, piece in pieces.items() if piece is not None}
    if problem := _problem("hires_fix", hires):
        slip.note("hires fix", problem)
        return sides
    return {**sides, "hires_fix": hires}


def _first_pass(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size A1111 chose for a first pass of 0x0: about 512 x 512 pixels, in steps of 64."""
    factor = math.sqrt(512 * 512 / max(size[0] * size[1], 1))
    return math.ceil(factor * size[0] / 64) * 64, math.ceil(factor * size[1] / 64) * 64


def _hashes(slip: Slip) -> dict[str, str]:
    found = {"model": slip.left.pop("Model hash", ""), "vae": slip.left.pop("VAE hash", "")}
    for prefix, name in (("lora", "Lora hashes"), ("embed", "TI hashes")):
        for pair in slip.left.pop(name, "").split(",")[:_MAX_HASHES]:
            model, _, value = pair.rpartition(":")
            found[f"{prefix}:{model.strip()}"] = value.strip()
    try:
        resources = json.loads(slip.left.get("Hashes", ""))
    except (ValueError, RecursionError):
        resources = None
    if isinstance(resources, dict):
        del slip.left["Hashes"]
        found |= {
            printable(key): value for key, value in list(resources.items())[:_MAX_HASHES] if isinstance(value, str)
        }
    return {key: value.lower() for key, value in found.items() if _HASH.fullmatch(value)}
