"""What single files and diffusers call the same weights, told in both directions.

Single files keep the names of https://github.com/CompVis/latent-diffusion (UNet and VAE) and
https://github.com/mlfoundations/open_clip (the text encoders of SD 2 and the second one of SDXL).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

Pairs = Iterator[tuple[str, str]]

_UNET_ENDS = (
    ("time_embed.0", "time_embedding.linear_1"),
    ("time_embed.2", "time_embedding.linear_2"),
    ("label_emb.0.0", "add_embedding.linear_1"),
    ("label_emb.0.2", "add_embedding.linear_2"),
    ("input_blocks.0.0", "conv_in"),
    ("middle_block.0", "mid_block.resnets.0"),
    ("middle_block.1", "mid_block.attentions.0"),
    ("middle_block.2", "mid_block.resnets.1"),
    ("out.0", "conv_norm_out"),
    ("out.2", "conv_out"),
)
_UNET_RESNET = (
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
)
_VAE_RESNET = (("nin_shortcut", "conv_shortcut"),)
_VAE_ATTENTION = (("norm", "group_norm"), ("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0"))
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

_OPEN_CLIP_LAYER = (
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
    ("attn.out_proj", "self_attn.out_proj"),
)
OPEN_CLIP_ENDS: Mapping[str, str] = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
QUERY_KEY_VALUE = ("q_proj", "k_proj", "v_proj")
"""What OpenCLIP has as one `in_proj`, from top to bottom."""

_LAYER = re.compile(r"(?:transformer\.resblocks|encoder\.layers)\.(\d+)\.(.+)\.(weight|bias)$")


class Names:
    """Modules under two names; what is below a module is called the same on both sides unless it is listed too."""

    def __init__(self, pairs: Pairs) -> None:
        self._diffusers = dict(pairs)
        self._file = {diffusers: file for file, diffusers in self._diffusers.items()}

    def diffusers(self, name: str) -> str | None:
        """Return diffusers' name for a file's, None where it has none."""
        return _looked_up(self._diffusers, name)

    def file(self, name: str) -> str | None:
        """Return a file's name for diffusers', None where it has none."""
        return _looked_up(self._file, name)


def _looked_up(table: Mapping[str, str], name: str) -> str | None:
    head = name
    while head:
        if head in table:
            return table[head] + name[len(head) :]
        head = head.rpartition(".")[0]
    return None


def unet_names(attends: Sequence[bool], layers: int) -> Names:
    """Return the names of a UNet whose levels, the finest first, hold attention or not, and `layers` blocks each."""
    last = len(attends) - 1
    return Names(
        chain(
            _UNET_ENDS,
            _resnets(("middle_block.0", "middle_block.2")),
            _down(attends, layers, last),
            _up(attends[::-1], layers, last),
        )
    )


def _down(attends: Sequence[bool], layers: int, last: int) -> Pairs:
    number = 1
    for level, attending in enumerate(attends):
        for layer in range(layers):
            yield from _block(f"input_blocks.{number}", f"down_blocks.{level}", layer, attending=attending)
            number += 1
        if level < last:
            yield f"input_blocks.{number}.0.op", f"down_blocks.{level}.downsamplers.0.conv"
            number += 1


def _up(attends: Sequence[bool], layers: int, last: int) -> Pairs:
    number = 0
    for level, attending in enumerate(attends):
        for layer in range(layers + 1):
            yield from _block(f"output_blocks.{number}", f"up_blocks.{level}", layer, attending=attending)
            if layer == layers and level < last:
                place = 2 if attending else 1
                yield f"output_blocks.{number}.{place}.conv", f"up_blocks.{level}.upsamplers.0.conv"
            number += 1


def _block(file: str, diffusers: str, layer: int, *, attending: bool) -> Pairs:
    yield from ((f"{file}.0.{one}", f"{diffusers}.resnets.{layer}.{other}") for one, other in _UNET_RESNET)
    if attending:
        yield f"{file}.1", f"{diffusers}.attentions.{layer}"


def _resnets(places: Sequence[str]) -> Pairs:
    ends = dict(_UNET_ENDS)
    for place in places:
        yield from ((f"{place}.{one}", f"{ends[place]}.{other}") for one, other in _UNET_RESNET)


def vae_names(levels: int, layers: int) -> Names:
    """Return the names of a VAE with as many levels, and `layers` blocks to each in the encoder."""
    return Names(chain(_vae_pairs(levels, layers), (("quant_conv", "quant_conv"), ("post_quant_conv",) * 2)))


def _vae_pairs(levels: int, layers: int) -> Pairs:
    for side in ("encoder", "decoder"):
        for place in ("conv_in", "conv_out"):
            yield f"{side}.{place}", f"{side}.{place}"
        yield f"{side}.norm_out", f"{side}.conv_norm_out"
        yield f"{side}.mid.block_1", f"{side}.mid_block.resnets.0"
        yield f"{side}.mid.block_2", f"{side}.mid_block.resnets.1"
        attention = f"{side}.mid_block.attentions.0"
        yield from ((f"{side}.mid.attn_1.{one}", f"{attention}.{other}") for one, other in _VAE_ATTENTION)
    for level in range(levels):
        yield f"encoder.down.{level}.downsample.conv", f"encoder.down_blocks.{level}.downsamplers.0.conv"
        # The decoder's are counted from the other end.
        up = levels - 1 - level
        yield f"decoder.up.{level}.upsample.conv", f"decoder.up_blocks.{up}.upsamplers.0.conv"
        for layer in range(layers + 1):
            yield from _vae_block(f"encoder.down.{level}", f"encoder.down_blocks.{level}", layer)
            yield from _vae_block(f"decoder.up.{level}", f"decoder.up_blocks.{up}", layer)


def _vae_block(file: str, diffusers: str, layer: int) -> Pairs:
    file, diffusers = f"{file}.block.{layer}", f"{diffusers}.resnets.{layer}"
    yield file, diffusers
    yield from ((f"{file}.{one}", f"{diffusers}.{other}") for one, other in _VAE_RESNET)


def modern_attention(name: str) -> str:
    """Return today's name of a weight that diffusers has renamed since the VAEs of SD 1 were published."""
    head, _, last = name.rpartition(".")
    stem, _, old = head.rpartition(".")
    return f"{stem}.{_OLD_ATTENTION[old]}.{last}" if old in _OLD_ATTENTION and "attentions." in stem else name


def open_clip_to_clip(name: str) -> tuple[str, ...]:
    """Return the names that a weight of OpenCLIP has in transformers: three for a joined projection, none for others."""
    if name in OPEN_CLIP_ENDS:
        return (OPEN_CLIP_ENDS[name],)
    if match := re.fullmatch(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)", name):
        layer, kind = match.groups()
        return tuple(f"encoder.layers.{layer}.self_attn.{one}.{kind}" for one in QUERY_KEY_VALUE)
    if (match := _LAYER.match(name)) and (inner := dict(_OPEN_CLIP_LAYER).get(match[2])):
        return (f"encoder.layers.{match[1]}.{inner}.{match[3]}",)
    return ()


def clip_to_open_clip(name: str) -> str | None:
    """Return OpenCLIP's name for a weight of transformers; for the query's that of the joined projection.

    None for what goes with another: keys, values.
    """
    ends = {clip: file for file, clip in OPEN_CLIP_ENDS.items()}
    if name in ends:
        return ends[name]
    match = _LAYER.match(name)
    if match is None:
        return None
    layer, inner, kind = match.groups()
    if inner == "self_attn.q_proj":
        return f"transformer.resblocks.{layer}.attn.in_proj_{kind}"
    names = {clip: file for file, clip in _OPEN_CLIP_LAYER}
    return f"transformer.resblocks.{layer}.{names[inner]}.{kind}" if inner in names else None
