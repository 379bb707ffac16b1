"""The names of a ControlNet's weights: as they were first published, turned into those of diffusers.

Source of the layout: https://github.com/lllyasviel/ControlNet, cldm/cldm.py.
"""

import re
from collections.abc import Callable, Mapping

from torch import Tensor

PREFIXES = ("model.control_model.", "control_model.")
"""Stand before every name where the file holds a checkpoint as well."""

_MARK = "zero_convs.0.0.weight"

_PLAIN = (
    (r"time_embed\.0\.", "time_embedding.linear_1."),
    (r"time_embed\.2\.", "time_embedding.linear_2."),
    (r"label_emb\.0\.0\.", "add_embedding.linear_1."),
    (r"label_emb\.0\.2\.", "add_embedding.linear_2."),
    (r"input_blocks\.0\.0\.", "conv_in."),
    (r"zero_convs\.(\d+)\.0\.", r"controlnet_down_blocks.\1."),
    (r"middle_block_out\.0\.", "controlnet_mid_block."),
    (r"middle_block\.0\.", "mid_block.resnets.0."),
    (r"middle_block\.1\.", "mid_block.attentions.0."),
    (r"middle_block\.2\.", "mid_block.resnets.1."),
)
_IN_RESNETS = (
    ("in_layers.0.", "norm1."),
    ("in_layers.2.", "conv1."),
    ("out_layers.0.", "norm2."),
    ("out_layers.3.", "conv2."),
    ("emb_layers.1.", "time_emb_proj."),
    ("skip_connection.", "conv_shortcut."),
)


def with_diffusers_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the ControlNet among `weights` under diffusers' names, which it may have already; what is none stays as it is."""
    for prefix in PREFIXES:
        inside = {name.removeprefix(prefix): one for name, one in weights.items() if name.startswith(prefix)}
        if inside:
            weights = inside
            break
    if _MARK not in weights:
        return dict(weights)
    rename = _renamer(weights)
    return {rename(name): weight for name, weight in weights.items()}


def _renamer(weights: Mapping[str, Tensor]) -> Callable[[str], str]:
    blocks = 1 + max(_numbers(r"input_blocks\.(\d+)\.", weights), default=0)
    # The first place of a block's last layer, which halves the picture; where there is one block only, it has none.
    per_block = min(_numbers(r"input_blocks\.(\d+)\.0\.op\.", weights), default=blocks)
    last_hint = max(_numbers(r"input_hint_block\.(\d+)\.", weights), default=0)

    def down(match: re.Match[str]) -> str:
        block, place = divmod(int(match[1]) - 1, per_block)
        if match[2] == "0.op.":
            return f"down_blocks.{block}.downsamplers.0.conv."
        return f"down_blocks.{block}.{'resnets' if match[2] == '0.' else 'attentions'}.{place}."

    def hint(match: re.Match[str]) -> str:
        # Between two layers stands their activation, which has no weights.
        place = int(match[1])
        layer = "conv_in" if place == 0 else "conv_out" if place == last_hint else f"blocks.{place // 2 - 1}"
        return f"controlnet_cond_embedding.{layer}."

    def rename(name: str) -> str:
        for pattern, replacement in _PLAIN:
            name = re.sub(rf"^{pattern}", replacement, name)
        name = re.sub(r"^input_hint_block\.(\d+)\.", hint, name)
        name = re.sub(r"^input_blocks\.(\d+)\.(0\.op\.|[01]\.)", down, name)
        if ".resnets." in name:
            for old, new in _IN_RESNETS:
                name = name.replace(old, new)
        return name

    return rename


def _numbers(pattern: str, weights: Mapping[str, Tensor]) -> list[int]:
    return [int(match[1]) for name in weights if (match := re.match(pattern, name))]
