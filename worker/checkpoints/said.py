"""What our own single files say about themselves beside the weights: the few options that weights can not show.

A published model needs none of it. A small one with other heads, or with a vocabulary of its own, does.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.checkpoints.configs import BETAS
from worker.checkpoints.vocabulary import read_words, words_of

KEY = "easel.config"
"""In the metadata of the file."""

_MOST = 8 * 2**20
"""Characters."""


def _count(value: object) -> bool:
    return type(value) is int and 1 <= value <= 4096


def _counts(value: object) -> bool:
    return _count(value) or (isinstance(value, list) and 1 <= len(value) <= 8 and all(map(_count, value)))


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _word(*words: str) -> Callable[[object], bool]:
    return lambda value: value in words


_MODULE: Mapping[str, Callable[[object], bool]] = {
    "attention_head_dim": _counts,
    "norm_num_groups": _count,
    "sample_size": _count,
    "upcast_attention": _flag,
    "addition_time_embed_dim": _count,
    "scaling_factor": _number,
    "force_upcast": _flag,
    "num_attention_heads": _count,
    "hidden_act": _word("gelu", "quick_gelu"),
}
_SCHEDULER: Mapping[str, Callable[[object], bool]] = {
    "beta_start": _number,
    "beta_end": _number,
    "beta_schedule": _word("linear", "scaled_linear", "squaredcos_cap_v2"),
    "num_train_timesteps": _count,
    "steps_offset": lambda value: value in (0, 1),
    "prediction_type": _word("epsilon", "v_prediction"),
    "timestep_spacing": _word("leading", "trailing", "linspace"),
    "rescale_betas_zero_snr": _flag,
    "set_alpha_to_one": _flag,
}


@dataclass(frozen=True, slots=True)
class Said:
    """What a file says; empty where it says nothing."""

    modules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By part: options that replace those told by the weights."""
    scheduler: Mapping[str, Any] = field(default_factory=dict)
    tokenizers: Sequence[Any] = ()
    """One for each text encoder, None for CLIP's own."""


def read_said(metadata: Mapping[str, str], pads: Sequence[str]) -> Said:
    """Read what the writer said, one padding word for each text encoder; raises ValueError, TypeError, KeyError."""
    text = metadata.get(KEY, "")
    if not text:
        return Said(tokenizers=[None] * len(pads))
    if len(text) > _MOST:
        raise ValueError("the options are too long")
    said = json.loads(text)
    parts = {part: _allowed(said.get(part, {}), _MODULE) for part in ("unet", "vae", "text_encoder", "text_encoder_2")}
    words = said.get("tokenizers", [None] * len(pads))
    tokenizers = [None if one is None else read_words(one, pad) for one, pad in zip(words, pads, strict=True)]
    return Said(parts, _allowed(said.get("scheduler", {}), _SCHEDULER), tokenizers)


def write_said(
    options: Mapping[str, Mapping[str, Any]],
    told: Mapping[str, Mapping[str, Any]],
    scheduler: Mapping[str, Any],
    tokenizers: Sequence[Any],
) -> dict[str, str]:
    """Return the metadata for what `options`, by part, have otherwise than what weights have told; {} where nothing is."""
    said: dict[str, Any] = {}
    for part, config in options.items():
        own = {key: config[key] for key in _MODULE if key in config and key in told[part]}
        own = {key: _plain(value) for key, value in own.items() if _plain(value) != _plain(told[part][key])}
        if own:
            said[part] = own
    said |= {"scheduler": own} if (own := _otherwise(scheduler)) else {}
    words = [words_of(one) for one in tokenizers]
    if any(one is not None for one in words):
        said["tokenizers"] = words
    return {KEY: json.dumps(said, separators=(",", ":"))} if said else {}


def _otherwise(scheduler: Mapping[str, Any]) -> dict[str, Any]:
    usual = {"timestep_spacing": "leading", "rescale_betas_zero_snr": False, "set_alpha_to_one": False, **BETAS}
    return {
        key: scheduler[key]
        for key, allowed in _SCHEDULER.items()
        if key in scheduler and scheduler[key] != usual[key] and allowed(scheduler[key])
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _allowed(said: Any, table: Mapping[str, Callable[[object], bool]]) -> dict[str, Any]:
    if not isinstance(said, dict) or any(key not in table or not table[key](value) for key, value in said.items()):
        raise ValueError("an option is unknown or out of its range")
    return said
