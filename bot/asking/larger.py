"""What makes a picture larger: a second pass of drawing, or an upscaler alone."""

from collections.abc import Mapping
from typing import Any

from bot.asking.pictures import Opened
from bot.sizes import HIGH
from easel.catalog import Catalog, ModelKind
from easel.errors import BadValue, UnknownModel
from easel.jobs import HiresFix, Upscale

MOST_ENLARGED = 2**24
"""Pixels of a picture that is only enlarged: no network takes larger files."""

_LATENT = ("antialiased", "bicubic", "bicubic antialiased", "nearest", "nearest-exact")
BUILT_IN = ("Lanczos", "Latent", *(f"Latent ({kind})" for kind in _LATENT))
"""What enlarges without a model; A1111 has several ways to do so with latents."""


def second_pass(
    values: Mapping[str, Any], fields: Mapping[str, Any], catalog: Catalog, left_out: list[str]
) -> dict[str, Any]:
    """Return `hires_fix`, in which every part that is not typed is as the text tells."""
    parts: dict[str, Any] = dict(fields.get("hires_fix") or {})
    if "hires" in values:
        parts["scale"] = values["hires"]
    # A part of a picture is painted at one size.
    in_part = bool(fields.get("mask")) or fields.get("canvas") is not None
    if parts.get("scale", 1) == 1 or in_part or "upscale" in values:
        return {"hires_fix": None}
    if "upscaler" in values:
        parts["upscaler"] = _upscaler(values["upscaler"], catalog)
    elif "upscaler" in parts:
        try:
            parts["upscaler"] = _upscaler(parts["upscaler"], catalog)
        except UnknownModel as error:
            left_out.append(f"{error} `Latent` takes its place.")
            del parts["upscaler"]
    if "strength" in values and "image" not in values:
        parts["denoising_strength"] = values["strength"]
    sides = [round(fields[side] * parts["scale"]) for side in ("width", "height")]
    if max(sides) > HIGH:
        raise BadValue(f"`hires` would make it {sides[0]}x{sides[1]} pixels; at most {HIGH} each way can be drawn.")
    return {"hires_fix": HiresFix.model_validate(parts)}


def _upscaler(name: str, catalog: Catalog) -> str:
    """Return its name as the worker knows it; raises UnknownModel."""
    for one in BUILT_IN:
        if name.casefold() == one.casefold():
            return one
    return catalog.model(ModelKind.UPSCALER, name).name


def enlarging(values: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Return what enlarges the picture without drawing."""
    picture, scale = values["image"], values["upscale"]
    if isinstance(picture, Opened) and picture.width * picture.height * scale**2 > MOST_ENLARGED:
        width, height = round(picture.width * scale), round(picture.height * scale)
        raise BadValue(
            f"Enlarged it would have {width}x{height} pixels; up to {MOST_ENLARGED / 1e6:.1f} megapixels are possible."
        )
    installed = [card.name for card in catalog.cards(ModelKind.UPSCALER) if card.installed]
    name = _upscaler(values["upscaler"], catalog) if "upscaler" in values else (*installed, "Lanczos")[0]
    if name in BUILT_IN[1:]:
        raise BadValue(f"`{name}` enlarges while it draws; for `upscale` please take another `upscaler`.")
    return {"init_image": "image", "upscale": Upscale(scale=scale, upscaler=name), "batch_size": 1}
