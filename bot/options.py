"""The one table of what `/imagine` can be asked, from which forms, flags, help and completion are generated."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from easel.errors import BadValue

Kind = Literal["text", "integer", "number", "switch", "picture"]
Suggest = Literal[
    "checkpoint", "sampler", "schedule", "size", "style", "controlnet", "lora", "embedding", "hypernetwork", "vae",
    "kind", "model",
]  # fmt: skip

YES, NO = ("yes", "on", "true", "1"), ("no", "off", "false", "0")


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command, whichever door it comes through."""

    name: str
    help: str
    """At most 100 characters: Discord shows it beside the field."""
    kind: Kind = "text"
    flags: tuple[str, ...] = ()
    """Other spellings, after `--name`."""
    low: float | None = None
    high: float | None = None
    suggest: Suggest | None = None
    several: bool = False
    """It takes a list, parted by commas, whose last element is completed."""
    required: bool = False
    choices: tuple[str, ...] = ()
    """All that a text may be, in lower case; empty is anything."""
    bare: str = ""
    """What the flag means without a value; empty where it needs one."""
    sample: str = ""
    """A value as somebody would type it."""
    rare: bool = False
    """Only a flag at the end of the words: Discord shows no more than 25 fields."""

    def value(self, text: object) -> str | int | float:
        """Read what somebody typed; raise `BadValue` with the range. A switch is a bool; a picture is none of ours."""
        if self.kind == "text":
            return self._text(str(text).strip())
        if self.kind == "switch":
            return self._switch(str(text).strip().lower())
        number = self._number(str(text).strip())
        if number is None or not (self.low or 0) <= number <= (self.high or 0):
            raise BadValue(f"`{self.name}` must be {self._range()}, not `{str(text)[:40]}`.")
        return number

    def _text(self, text: str) -> str:
        if not self.choices:
            return text
        if text.lower() not in self.choices:
            raise BadValue(f"`{self.name}` must be {' or '.join(self.choices)}, not `{text[:40]}`.")
        return text.lower()

    def _switch(self, text: str) -> bool:
        if text not in YES + NO:
            raise BadValue(f"`{self.name}` must be yes or no, not `{text[:40]}`.")
        return text in YES

    def _number(self, text: str) -> float | int | None:
        # int() would take "１２", "1_0" and "٣"; a person who typed that meant something else.
        plain = text.replace("\u2212", "-").replace(",", ".")
        if not plain.isascii() or "_" in plain:
            return None
        try:
            return int(plain) if self.kind == "integer" else float(plain)
        except ValueError:
            return None

    def _range(self) -> str:
        noun = "a whole number" if self.kind == "integer" else "a number"
        return f"{noun} from {self.low:g} to {self.high:.12g}"


IMAGINE: tuple[Option, ...] = (
    Option("prompt", "What the picture should show", required=True),
    Option("negative", "What it should not show", flags=("neg", "no", "negative_prompt")),
    Option("checkpoint", "Which model draws it", flags=("model", "m"), suggest="checkpoint"),
    Option("size", "Size: 512x768, or a shape such as 3:2", flags=("ar", "aspect"), suggest="size", sample="512x768"),
    Option(
        "lora", "LoRAs: name or name:weight, with commas between", flags=("loras", "lyco"), suggest="lora", several=True,
        sample="name:0.8",
    ),
    Option(
        "embedding", "Embeddings: name, or -name to keep it out", flags=("embeddings", "ti"),
        suggest="embedding", several=True, sample="name",
    ),
    Option(
        "hypernetwork", "Hypernetworks: name or name:weight", flags=("hypernetworks", "hypernet"), suggest="hypernetwork",
        several=True, sample="name:0.8",
    ),
    Option("vae", "What decodes; none is the checkpoint's own", suggest="vae", sample="none"),
    Option("steps", "How many steps; more is slower", "integer", flags=("t",), low=1, high=150),
    Option("cfg", "How closely it follows the prompt", "number", flags=("c", "cfg_scale"), low=1, high=30),
    Option("sampler", "The sampling method", flags=("r",), suggest="sampler", sample="Euler a"),
    Option("schedule", "How noise falls", flags=("scheduler",), suggest="schedule", sample="Karras"),
    Option(
        "seed", "The same number draws the same picture; -1 is random", "integer", flags=("s",), low=-1, high=2**32 - 1
    ),
    Option("count", "How many pictures", "integer", flags=("repeat", "n", "o"), low=1, high=10),
    Option("clip_skip", "Skip the text encoder's last layers; 1 skips none", "integer", flags=("clip",), low=1, high=12),
    Option(
        "image", "A picture to start from; without words: drawn as it says it was", "picture",
        flags=("img", "init_image"), sample="https://example.com/cat.png",
    ),
    Option(
        "mask", "White is repainted, black stays; else what is transparent in the picture", "picture",
        flags=("inpaint",), sample="https://example.com/mask.png",
    ),
    Option(
        "strength", "How much of the picture changes; 0 nothing, 1 all", "number",
        flags=("denoise", "denoising_strength"), low=0, high=1, sample="0.5",
    ),
    Option("hires", "Draw it this much larger in a second pass", "number", flags=("hr",), low=1, high=4, bare="2"),
    Option("style", "A ready-made piece of prompt", suggest="style"),
    Option(
        "control", "ControlNet that follows the picture: name:preprocessor:weight", flags=("controlnet", "cn"),
        suggest="controlnet",
    ),
    Option("upscale", "Only enlarge the picture", "number", low=2, high=4, bare="2"),
    Option("zoom", "Paint around the picture, shrunk by this", "number", low=1, high=4, bare="2"),
    Option("extend", "Paint more at its sides: left,right or left:128,top:64", flags=("outpaint",), sample="left:128,top:64", rare=True),
    Option("upscaler", "What enlarges for hires and upscale", sample="Lanczos", rare=True),
    Option("tile", "Opposite edges fit together", "switch", flags=("tiling",), bare="yes", rare=True),
    Option("vary", "How far to leave the picture of the seed", "number", flags=("variation",), low=0, high=1, bare="0.2", rare=True),
    Option("rng", "Where noise comes from; nv is as on NVIDIA cards", choices=("cpu", "nv"), sample="nv", rare=True),
    Option("xy", "A sheet that compares settings: steps:5,10,20 cfg:2,4,8", flags=("plot",), sample="steps:5,10,20 cfg:2,4,8", rare=True),
)  # fmt: skip

SHOW: tuple[Option, ...] = (Option("picture", "The picture that you want to know about", "picture", required=True),)

MODELS: tuple[Option, ...] = (
    Option("search", "Part of a name", suggest="model"),
    Option("kind", "Only these: checkpoints, LoRAs, …", flags=("type",), suggest="kind", sample="lora"),
)


def by_name(options: tuple[Option, ...]) -> Mapping[str, Option]:
    """Map every spelling, without dashes, to its option."""
    return {spelling: option for option in options for spelling in (option.name, *option.flags)}


def find(options: tuple[Option, ...], spelling: str) -> Option:
    """Return the option behind `--spelling`; raise `BadValue` with the nearest one."""
    known = by_name(options)
    if found := known.get(spelling.lower().replace("-", "_")):
        return found
    nearest = get_close_matches(spelling.lower(), known, n=1, cutoff=0.5)
    hint = f"Did you mean `--{nearest[0]}`?" if nearest else "Send /help for the list."
    raise BadValue(f"There is no option `--{spelling[:40]}`. {hint}")
