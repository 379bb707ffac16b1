"""What an infotext says of how a picture was made beside its sampling: under the names of A1111 and its extensions."""

import re
from collections.abc import Mapping

from easel.jobs import Axis, Control, ImageRequest

Value = str | int | float | None

_PARTING = re.compile(r'[,:"\\\x00-\x1f\x7f-\x9f]')

MODULES: Mapping[str, str] = {
    "canny": "canny",
    "scribble": "scribble_xdog",
    "tile": "tile_resample",
    "invert": "invert (from white bg & black line)",
}
"""Preprocessors as sd-webui-controlnet calls them."""

AXES: Mapping[str, str] = {
    "steps": "Steps",
    "cfg_scale": "CFG Scale",
    "seed": "Seed",
    "sampler": "Sampler",
    "schedule": "Schedule type",
    "checkpoint": "Checkpoint name",
    "clip_skip": "Clip skip",
    "denoising_strength": "Denoising",
}
"""As A1111's script "X/Y/Z plot" calls them."""


def denoising_strength(request: ImageRequest) -> float | None:
    """Return the strength that counted, as A1111 writes a single one; None where there was none."""
    if request.hires_fix is not None:
        return request.hires_fix.denoising_strength
    return request.denoising_strength if request.init_image and request.upscale is None else None


def operation_settings(request: ImageRequest) -> dict[str, Value]:
    """Return the settings of the request's operation in A1111's order; those that do not apply are None."""
    hires, padding = request.hires_fix, request.mask_padding
    masked = bool(request.mask) or request.canvas is not None
    only_masked = request.canvas is None and bool(request.init_image) and padding is not None
    upscaled = request.upscale is not None
    return {
        "Mask blur": request.mask_blur if masked and not upscaled else None,
        "Inpaint area": "Only masked" if only_masked and not upscaled else None,
        "Masked area padding": padding if only_masked and not upscaled else None,
        "Hires upscale": hires.scale if hires else None,
        "Hires steps": hires.steps or None if hires else None,
        "Hires upscaler": hires.upscaler if hires else None,
        "ControlNet 0": _control(request.control) if request.control and not upscaled else None,
        **_plot(request),
        **_enlarged(request),
    }


def _control(control: Control) -> str:
    """Return what sd-webui-controlnet takes apart at commas and colons again."""
    said: dict[str, str] = {
        "Module": MODULES.get(control.preprocessor, "none"),
        "Model": _PARTING.sub("", control.model),
        "Weight": f"{control.weight:g}",
        "Resize Mode": "Crop and Resize",
        "Guidance Start": f"{control.start:g}",
        "Guidance End": f"{control.end:g}",
        "Control Mode": "Balanced",
    }
    return ", ".join(f"{name}: {value}" for name, value in said.items())


def _plot(request: ImageRequest) -> dict[str, Value]:
    if request.plot is None:
        return {}
    said: dict[str, Value] = {"Script": "X/Y/Z plot", **_axis("X", request.plot.x)}
    return said | (_axis("Y", request.plot.y) if request.plot.y else {})


def _axis(letter: str, axis: Axis) -> dict[str, Value]:
    return {f"{letter} Type": AXES[axis.field], f"{letter} Values": ", ".join(axis.values)}


def _enlarged(request: ImageRequest) -> dict[str, Value]:
    if request.upscale is not None:
        return {
            "Postprocess upscale by": request.upscale.scale,
            "Postprocess upscaler": request.upscale.upscaler,
        }
    if request.enlarge == 1:
        return {}
    return {"Postprocess upscale by": request.enlarge, "Postprocess upscaler": "Lanczos"}
