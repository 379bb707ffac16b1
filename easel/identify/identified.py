"""What a weights file turned out to be, and the words by which a file, a site or a trainer names a base or a family."""

import re
from typing import Literal

from easel.catalog import Base, ModelKind
from easel.jobs import Frozen

Family = Literal["", "pony", "illustrious", "noobai", "turbo", "lightning", "lcm"]
Algorithm = Literal["", "lora", "locon", "loha", "lokr", "glora", "ia3", "dora", "oft", "full"]
Prediction = Literal["", "epsilon", "v_prediction"]


class Identified(Frozen):
    """The facts that a file tells about itself; with a `problem` it can not be used, and the rest is what was seen."""

    kind: ModelKind | None = None
    base: Base | None = None
    hinted: bool = False
    """Whether the base is only what a name or a trainer said, and not shown by the weights."""
    family: Family = ""
    prediction_type: Prediction = ""
    zero_snr: bool = False
    """Whether it was trained down to pure noise."""
    in_channels: Literal[4, 9] = 4
    context_dim: int = 0
    """Width of the prompt vectors; 0 where the file does not show it."""
    algorithm: Algorithm = ""
    """How a LoRA changes weights."""
    native_side: int = 0
    """Pixels of the pictures that it was trained on, 0 where the file does not say."""
    vectors: int = 0
    """Places in the prompt that an embedding takes."""
    title: str = ""
    trigger_words: tuple[str, ...] = ()
    pickled: bool = False
    """Only its folder says what it is, because looking inside would run it."""
    problem: str = ""
    """Why it can not be used, in a sentence."""


# Distilled ones come first: a wrong step count spoils the picture, a missing prompt habit only dulls it.
_FAMILIES: tuple[tuple[Family, re.Pattern[str]], ...] = (
    ("lightning", re.compile(r"lightning", re.I)),
    ("lcm", re.compile(r"(?<![a-z])lcm(?![a-z])", re.I)),
    ("turbo", re.compile(r"(?<![A-Za-z])turbo|Turbo|TURBO")),
    ("noobai", re.compile(r"noob[ _-]?ai|noob[ _-]?xl", re.I)),
    ("illustrious", re.compile(r"illustrious|(?<![a-z])(?:ilxl|illu)(?![a-z])", re.I)),
    ("pony", re.compile(r"(?<![a-z])pony|Pony")),
)

_BASES: tuple[tuple[Base, re.Pattern[str]], ...] = (
    (Base.SDXL, re.compile(r"sdxl|stable-diffusion-xl|(?<![a-z])xl(?![a-z])|pony|illustrious|noob[ _-]?ai", re.I)),
    (Base.SD2, re.compile(r"sd[ _-]?v?2(?:[._-]?[01])?(?!\d)|stable-diffusion-v?2|v2-[01]_(?:512|768)", re.I)),
    (
        Base.SD15,
        re.compile(r"sd[ _-]?v?1(?:[._-]?[45])?(?!\d)|stable-diffusion-v?1|v1-[45]|ft-(?:mse|ema)|kl-f8", re.I),
    ),
)

_SDXL_ONLY = frozenset({"pony", "illustrious", "noobai"})


def family_of(text: str, base: Base | None = None) -> Family:
    """Return the family that a file name or a site's words hint at, "" for none or one that the base does not have."""
    for family, pattern in _FAMILIES:
        if pattern.search(text) and not (family in _SDXL_ONLY and base not in {Base.SDXL, None}):
            return family
    return ""


def base_of(text: str) -> Base | None:
    """Return the base that a file name, a site's or a trainer's words name."""
    return next((base for base, pattern in _BASES if pattern.search(text)), None)
