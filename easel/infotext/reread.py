"""What an infotext says of masks, ControlNets, plots and enlarging, read back; no text carries the pictures they take."""

import re
from typing import Any

from easel.infotext.operations import AXES, MODULES
from easel.infotext.slip import Slip

USUAL_PADDING = 32
"""What A1111 keeps around a mask where nothing else is said."""
MOST_SHOWN = 200
"""Characters of an option that a note tells to type."""

_OPTIONS = {"cfg_scale": "cfg", "denoising_strength": "strength"}
"""Options that are not called as the field they set."""
_PIECE = re.compile(r"([A-Za-z/][A-Za-z/ ]{0,40}): ?(\([^()]*+\)|[^,]*+)(?:, ?|$)")
_HASH_BEHIND = re.compile(r" \[[0-9A-Fa-f]{4,64}\]$")


def read_operations(slip: Slip) -> dict[str, Any]:
    """Take what concerns the operations: fields of the request, and notes where a picture is missing for them."""
    _note_control(slip)
    _note_plot(slip)
    return _mask(slip) | _enlarged(slip)


def _mask(slip: Slip) -> dict[str, Any]:
    fields = {"mask_blur": slip.whole("Mask blur")}
    area, padding = slip.word("Inpaint area"), slip.whole("Masked area padding")
    if area == "Only masked":
        fields["mask_padding"] = USUAL_PADDING if padding is None else padding
    return fields


def _enlarged(slip: Slip) -> dict[str, Any]:
    upscaler = slip.word("Postprocess upscaler")
    if upscaler == "Lanczos":
        return {"enlarge": slip.whole("Postprocess upscale by")}
    if upscaler:
        slip.left.pop("Postprocess upscale by", None)
        slip.note(f"Upscaler {upscaler}", "ask for it with the picture that comes")
    return {}


def _note_control(slip: Slip) -> None:
    """Say how to ask for the first ControlNet again, whose text is sd-webui-controlnet's, of 2023 or later."""
    said = {name.strip().lower(): value.strip() for name, value in _PIECE.findall(slip.left.pop("ControlNet 0", ""))}
    model = _HASH_BEHIND.sub("", said.get("model", ""))
    if not model:
        return
    module = said.get("module", said.get("preprocessor", ""))
    preprocessor = next((ours for ours, theirs in MODULES.items() if module in {ours, theirs}), "none")
    option = f"{model}:{preprocessor}:{said.get('weight') or '1'}"[:MOST_SHOWN]
    slip.note("ControlNet", f"it takes the picture that it followed. Send that along with `--control {option}`")


def _note_plot(slip: Slip) -> None:
    if slip.left.get("Script") != "X/Y/Z plot":
        return
    del slip.left["Script"]
    fields = {theirs: ours for ours, theirs in AXES.items()}
    axes = []
    for letter in "XY":
        kind, values = slip.left.pop(f"{letter} Type", ""), slip.left.pop(f"{letter} Values", "")
        if kind in fields and values:
            axes.append(f"{_OPTIONS.get(fields[kind], fields[kind])}:{values}")
    asking = f". Ask for it with `--xy {' '.join(axes)[:MOST_SHOWN]}`" if axes else ""
    slip.note("X/Y plot", f"this draws one picture of it{asking}")
