"""Composition: the prompts joined by `AND`, each with its share of the guidance."""

import math
import re

from easel.errors import BadPrompt
from easel.prompt.attention import MAX_WEIGHT

MAX_PROMPTS = 10
"""Each one costs a pass of the UNet at every step."""

_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"[+-]?(?:\d++\.?|\d*\.\d++)")


def split_and(text: str) -> tuple[tuple[str, float], ...]:
    """Return (text, weight) for each prompt, one at least, cut like A1111: what stands before it keeps its spaces."""
    prompts = _AND.split(text)
    if len(prompts) > MAX_PROMPTS:
        raise BadPrompt(f"`AND` joins {len(prompts)} prompts here; at most {MAX_PROMPTS} can be joined.")
    return tuple(_weighed(prompt) for prompt in prompts)


def _weighed(prompt: str) -> tuple[str, float]:
    text, colon, number = prompt.rpartition(":")
    if not colon or not _WEIGHT.fullmatch(number.strip()) or not math.isfinite(weight := float(number)):
        return prompt.rstrip(), 1.0
    return text.rstrip(), min(max(weight, -MAX_WEIGHT), MAX_WEIGHT)
