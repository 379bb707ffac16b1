"""Which weights of a single file are which part, under the many names that trainers, mergers and leaks gave them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from easel.catalog import Base

UNET = "model.diffusion_model."
EMA = "model_ema."
VAE = "first_stage_model."
_UNET_HEADS = ("input_blocks.", "middle_block.", "output_blocks.", "time_embed.", "label_emb.", "out.0.", "out.2.")
_VAE_HEADS = (VAE, "vae.")

TEXT: Mapping[Base, tuple[str, ...]] = {
    Base.SD15: ("cond_stage_model.",),
    Base.SD2: ("cond_stage_model.",),
    Base.SDXL: ("conditioner.embedders.0.", "conditioner.embedders.1."),
}
"""Where the text encoders of a base stand."""
CLIP, OPEN_CLIP = "transformer.text_model.", "model."
"""What follows there, in the names of transformers or of OpenCLIP."""

ONLY_EMA = "It holds only the averaged (EMA) weights of the UNet, so those are used."

# Without its dots, in which EMA copies are written, a name can be read in one way only.
_WORD = re.compile(
    r"(?P<block>(?:in|out)put_blocks)(?P<number>\d+)(?P<place>\d)"
    r"|(?P<layer>transformer_blocks)(?P<count>\d+)"
    r"|(?P<label>label_emb)00|(?P<label2>label_emb)02"
    r"|middle_block|time_embed|in_layers|emb_layers|out_layers|skip_connection|proj_in|proj_out"
    r"|attn[12]|norm[123]?|to_[qkv]|to_out|ff|net|proj|op|conv|out|weight|bias|\d"
)

Names = Mapping[str, str]
"""From a name as latent-diffusion has it, without the part's own prefix, to the name in the file."""


class TextNames(NamedTuple):
    names: Names
    open_clip: bool
    """Whether in the names of OpenCLIP; else in those of transformers."""


@dataclass(frozen=True, slots=True)
class Split:
    """The names of a file, by part; an empty one is not there."""

    unet: Names
    vae: Names
    texts: tuple[TextNames, ...]
    notes: tuple[str, ...] = ()
    """What the asker should know."""


def split(names: Iterable[str], base: Base) -> Split:
    """Sort a file's names; what belongs to no part is left out: optimizers, schedules, other copies."""
    names = list(names)
    unet = unet_part(names)
    notes: tuple[str, ...] = ()
    if not unet and (unet := _averaged(names)):
        notes = (ONLY_EMA,)
    return Split(unet, vae_part(names, loose=False), tuple(_text_part(names, place) for place in TEXT[base]), notes)


def unet_part(names: Iterable[str]) -> Names:
    """Return the UNet's weights, which some files have without their prefix."""
    whole = list(names)
    found = _below(UNET, whole)
    return found or {name: name for name in whole if name.startswith(_UNET_HEADS)}


def vae_part(names: Iterable[str], *, loose: bool) -> Names:
    """Return the VAE's weights; `loose` ones may stand without a prefix, as in a file that is nothing else."""
    whole = list(names)
    for head in _VAE_HEADS:
        if found := _below(head, whole):
            return found
    kept = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
    return {name: name for name in whole if name.startswith(kept)} if loose else {}


def _text_part(names: Iterable[str], place: str) -> TextNames:
    found = _below(place, names)
    if open_clip := _below(OPEN_CLIP, found):
        return TextNames({name: found[OPEN_CLIP + name] for name in open_clip}, open_clip=True)
    # The files of 2022 know no `text_model`.
    old = "transformer."
    inner = _below(CLIP, found) or _below(old, found)
    renamed = {name: found[inside] for name, inside in inner.items()}
    # A projection stands beside the model, not in it.
    if (projection := f"{old}text_projection.weight") in found:
        renamed["text_projection.weight"] = found[projection]
    return TextNames(renamed, open_clip=False)


def _averaged(names: Iterable[str]) -> Names:
    found = {name: dotted(name.removeprefix(EMA + "diffusion_model")) for name in names if name.startswith(EMA)}
    return {told: name for name, told in found.items() if told}


def dotted(name: str) -> str:
    """Put the dots back into a UNet's weight as EMA copies have it; empty where it is none."""
    words: list[str] = []
    at = 0
    while at < len(name):
        match = _WORD.match(name, at)
        if match is None:
            return ""
        at = match.end()
        if match["block"]:
            words += [match["block"], match["number"], match["place"]]
        elif match["layer"]:
            words += [match["layer"], match["count"]]
        elif match["label"] or match["label2"]:
            words += ["label_emb", "0", "0" if match["label"] else "2"]
        else:
            words.append(match[0])
    return ".".join(words)


def _below(prefix: str, names: Iterable[str]) -> dict[str, str]:
    return {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
