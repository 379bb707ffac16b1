"""A1111's "parameters" text: written so that every common reader agrees on it, and read back whoever wrote it.

    a lighthouse, <lora:storm:0.8>
    Negative prompt: blurry
    Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model hash: 0a1b2c3d4e, Model: coast

The format and its reading rules are those of stable-diffusion-webui, `modules/processing.py` and
`modules/infotext_utils.py`. Three habits of ours keep sd-parsers, sd-prompt-reader and Civitai from stumbling where
A1111 does not; each leaves the text the same to A1111 and to CLIP:

* a quoted value holds no bare comma, colon or quotation mark (they are JSON escapes), because those readers cut there;
* words that part the text (`Negative prompt:`, a line that begins with `Steps:`) get a space before the colon when they
  stand in a prompt, which makes the same tokens;
* prompt lines are stripped as A1111's reader strips them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from easel.errors import BadPrompt
from easel.infotext.operations import Value, denoising_strength, operation_settings
from easel.jobs import ImageRequest

MAX_TEXT = 2**20
"""Characters; what people share stays below 20,000."""

MAX_SETTINGS = 1000
"""Settings in the last line; A1111 with every extension writes about 100."""

MISSING = {"Clip skip": "1", "Schedule type": "Automatic", "RNG": "GPU"}
"""What it means when a setting is not there: A1111 writes these only when they differ."""

_LISTINGS = {"Lora hashes", "TI hashes"}
_SIZE = re.compile(r"(\d+)x(\d+)")
_RUN = re.compile(r"([\w \-/]++)(:?)")
_QUOTED = re.compile(r'\s*+("[^"\\]*+(?:\\.[^"\\]*+)*+")(?:,|$)')
_UNQUOTED = re.compile(r"\s*+([^,]*+),?")
_OBJECT = re.compile(r"\s*+(\{[^{}]*+\})\s*+(?:,|$)")
_PARTING = re.compile(r'[,:"\\\x00-\x1f\x7f-\x9f]')
_NEEDS_QUOTES = re.compile(r'[,:"\x00-\x1f\x7f-\x9f]|^\s|\s$')
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Civitai's reader also drops lines that begin with these two templates of another extension.
_MARKER = re.compile(r"(Negative prompt|^(?:Steps|Template|Negative Template)):", re.MULTILINE)
_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x20), *map(ord, '",:{}\\'), *range(0x7F, 0xA0))}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the infotext says about the files that were used; an unknown hash is an empty string."""

    checkpoint: str
    checkpoint_hash: str = ""
    """The first 10 hex digits of the file's SHA-256, which Civitai calls AutoV2."""
    vae: str = ""
    vae_hash: str = ""
    lora_hashes: Mapping[str, str] = field(default_factory=dict)
    """12 hex digits by LoRA name."""
    embedding_hashes: Mapping[str, str] = field(default_factory=dict)
    version: str = ""


@dataclass(frozen=True, slots=True)
class Infotext:
    """A text taken apart; `settings` holds the last line, unquoted, in its order."""

    prompt: str
    negative_prompt: str
    settings: Mapping[str, str]

    def as_a1111(self) -> dict[str, str]:
        """Return the settings as A1111 hands them to its forms: sizes as `Size-1` and `Size-2`, `MISSING` filled in."""
        found = dict(MISSING)
        for name, value in self.settings.items():
            size = _SIZE.fullmatch(value)
            found |= {f"{name}-1": size[1], f"{name}-2": size[2]} if size else {name: value}
        return found


def describe(request: ImageRequest, facts: ModelFacts) -> str:
    """Return the infotext of a request's first picture, its settings in A1111's order."""
    varied = request.variation_strength > 0
    settings: dict[str, Value] = {
        "Steps": request.steps,
        "Sampler": request.sampler,
        "Schedule type": request.schedule,
        "CFG scale": request.cfg_scale,
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model hash": facts.checkpoint_hash,
        "Model": facts.checkpoint,
        "VAE hash": facts.vae_hash,
        "VAE": facts.vae,
        "Variation seed": request.variation_seed if varied else None,
        "Variation seed strength": request.variation_strength if varied else None,
        "Denoising strength": denoising_strength(request),
        "Clip skip": request.clip_skip if request.clip_skip > 1 else None,
        "RNG": request.rng.upper(),  # A1111's own words: CPU, NV, and GPU when nothing is said
        "Tiling": "True" if request.tiling else None,
        "CFG Rescale": request.guidance_rescale or None,
        **operation_settings(request),
    }
    taken = {*settings, "ENSD", "Hashes", "Version"}
    settings |= {
        "Lora hashes": _listing(facts.lora_hashes, taken),
        "TI hashes": _listing(facts.embedding_hashes, taken),
        "Hashes": _resources(facts),
        "Version": facts.version,
    }
    return write(request.prompt, request.negative_prompt, settings)


def write(prompt: str, negative_prompt: str, settings: Mapping[str, Value]) -> str:
    """Return the text, with `settings` in their order; those that are None or empty are left out."""
    negative = tidy(negative_prompt)
    lines = [tidy(prompt), f"Negative prompt: {negative}"] if negative else [tidy(prompt)]
    lines.append(
        ", ".join(f"{name}: {_value(name, value)}" for name, value in settings.items() if value not in ("", None))
    )
    return "\n".join(lines).strip()


def tidy(prompt: str) -> str:
    """Return a prompt as every reader will find it again."""
    lines = printable(prompt.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    return _MARKER.sub(r"\1 :", "\n".join(line.strip() for line in lines).strip("\n"))


def printable(text: str) -> str:
    """Return `text` with control characters but line breaks and tabs turned to spaces."""
    return _CONTROL.sub(" ", sound(text))


def sound(text: str) -> str:
    """Return `text` without half surrogate pairs, which no file or socket takes."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def parse(text: str) -> Infotext:
    """Take a text apart by A1111's rules, in time linear in its length.

    A last line with fewer than three settings belongs to the prompt. The one thing beyond A1111 is that `Hashes`, the
    bare JSON that Civitai reads, comes out whole. Raises BadPrompt for a text that is out of all proportion.
    """
    if len(text) > MAX_TEXT:
        raise BadPrompt(f"That text is {len(text):,} characters long; generation parameters have at most {MAX_TEXT:,}.")
    *lines, last = text.strip().split("\n")
    settings = list(_settings(last))
    if len(settings) < 3:
        lines.append(last)
        settings = []
    prompt, negative = _prompts(lines)
    return Infotext(prompt, negative, dict(settings))


def _prompts(lines: list[str]) -> tuple[str, str]:
    prompt: list[str] = []
    negative: list[str] = []
    block = prompt
    for raw in lines:
        line = raw.strip()
        if line.startswith("Negative prompt:"):
            block = negative
            line = line.removeprefix("Negative prompt:").strip()
        if line or block:  # A1111 forgets empty lines at the top of a block, and only those
            block.append(line)
    return "\n".join(prompt), "\n".join(negative)


def _settings(line: str) -> Iterator[tuple[str, str]]:
    """Yield name and unquoted value, as A1111's regular expression finds them.

    That expression restarts at every character, which takes quadratic time on a long run of letters; here each run of
    name characters is looked at once. A name ends at a colon and starts at the first letter of the run before it.
    """
    position, count = 0, 0
    hashes: str | None = None
    while run := _RUN.search(line, position):
        position = run.end()
        name = run[1].lstrip(" -/")
        if not run[2] or len(name) < 2:
            continue
        count += 1
        if count > MAX_SETTINGS:
            raise BadPrompt(f"That does not look like generation parameters: more than {MAX_SETTINGS} settings.")
        if name == "Hashes" and hashes is None:
            hashes, position = _bare_json(line, position)
            if hashes:
                yield name, hashes
                continue
        value = _QUOTED.match(line, position) or _UNQUOTED.match(line, position)
        assert value, "an unquoted value may be empty, so one of the two matches"
        position = value.end()
        yield name, _unquoted(value[1])


def _unquoted(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _bare_json(line: str, position: int) -> tuple[str, int]:
    """Return a flat JSON object that ends its setting and where it ends, or an empty string and the same position."""
    found = _OBJECT.match(line, position)
    if not found:
        return "", position
    try:
        json.loads(found[1])
    except (ValueError, RecursionError):
        return "", position
    return found[1], found.end()


def _value(name: str, value: Value) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = sound(str(value))
    if name == "Hashes":
        return text
    if name in _LISTINGS:  # Civitai takes these apart at the bare commas and colons
        return json.dumps(text, ensure_ascii=False)
    return f'"{text.translate(_ESCAPES)}"' if _NEEDS_QUOTES.search(text) else text


def _listing(hashes: Mapping[str, str], taken: set[str]) -> str:
    """Return `name: hash, name: hash`, names without what parts them, as A1111 writes it.

    A name that is also a setting's is left to `Hashes`: sd-parsers would take its hash for the setting.
    """
    named = {_PARTING.sub("", sound(name)).strip(): value for name, value in hashes.items()}
    return ", ".join(f"{name}: {value}" for name, value in named.items() if name and value and name not in taken)


def _resources(facts: ModelFacts) -> str:
    """Return what Civitai links models by: flat JSON of hashes, or an empty string when no hash is known."""
    hashes = {"model": facts.checkpoint_hash, "vae": facts.vae_hash}
    hashes |= {f"lora:{_escaped(name)}": value for name, value in facts.lora_hashes.items()}
    hashes |= {f"embed:{_escaped(name)}": value for name, value in facts.embedding_hashes.items()}
    pairs = ", ".join(f'"{key}": "{_escaped(value)}"' for key, value in hashes.items() if value)
    return f"{{{pairs}}}" if pairs else ""


def _escaped(name: str) -> str:
    return sound(name).translate(_ESCAPES)
