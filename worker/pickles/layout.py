"""Lays out what a trainer nested, as a flat file of named tensors that says the same.

Embeddings and hypernetworks get the names that `worker/networks/` reads; of checkpoints, VAEs, LoRAs, ControlNets and
upscalers the state dict is taken out of whatever stands around it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from easel.errors import ModelUnusable
from easel.identify.header import MAX_TENSORS
from worker.pickles.stand_ins import Inert, Lazy

Flat = dict[str, Lazy]
Layout = tuple[Flat, dict[str, str]]
"""The tensors, and what is to stand in the metadata."""

WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model")
"""What trainers put around the weights; of several the first is the best."""

_TRAINING = frozenset({"optimizer", "optimizers", "optimizer_states", "lr_schedulers", "callbacks", "loops"})
_FACTS = (
    "name", "step", "global_step", "epoch", "sd_checkpoint", "sd_checkpoint_name", "layer_structure", "is_layer_norm",
    "weight_initialization", "use_dropout", "dropout_structure", "last_layer_dropout", "optional_info",
)  # fmt: skip
"""What trainers save beside the weights and people may want to read; none of it changes how they work."""

_MAX_FACT = 10_000
"""Characters of JSON."""
_MAX_NODES = 200_000
"""A checkpoint with all the states of its optimizer has about 20,000."""
_MAX_DEPTH = 20
_MAX_NAME = 500


def laid_out(tree: Any) -> Layout:
    """Return what is to be written for what a pickle held; raises ModelUnusable with a sentence."""
    content = tree if isinstance(tree, dict) else {}
    if any(type(key) is int and isinstance(pair, list | tuple) for key, pair in content.items()):
        tensors, told = _hypernetwork(content)
    elif "string_to_param" in content:
        tensors, told = _one(_flat(content["string_to_param"])), {}
    else:
        tensors, told = _state(tree), {}
    if not any(tensor.numbers.dtype.startswith(("F", "BF")) for tensor in tensors.values()):
        raise ModelUnusable("It holds no weights that anything can be calculated with.")
    return tensors, _facts(content) | told


def _one(flat: Flat) -> Flat:
    if len(flat) != 1:
        raise ModelUnusable("It holds several embeddings, or none, and a file can be used for one.")
    return {"emb_params": next(iter(flat.values()))}


def _hypernetwork(content: Mapping[Any, Any]) -> Layout:
    """Lay out A1111's `{width: (keys, values)}` (modules/hypernetworks/hypernetwork.py, `Hypernetwork.save`)."""
    pairs = {
        width: pair[:2] for width, pair in content.items() if type(width) is int and isinstance(pair, list | tuple)
    }
    activation = content.get("activation_func")
    told = {
        "activation_func": activation if isinstance(activation, str) else "linear",
        # Files from before A1111 could say so mean yes.
        "activate_output": json.dumps(bool(content.get("activate_output", True))),
    }
    return _flat(pairs), told


def _state(tree: Any) -> Flat:
    node = tree
    while wrapper := _wrapper(node):
        node = node[wrapper]
    if isinstance(node, dict):
        node = {key: value for key, value in node.items() if key not in _TRAINING}
    flat = {"": node} if isinstance(node, Lazy) else _flat(node)
    if all(name.startswith("module.") for name in flat):
        flat = {name.removeprefix("module."): tensor for name, tensor in flat.items()}
    if "decoder.conv_in.weight" in flat:
        # What a VAE was taught by; some of it is larger than the VAE.
        flat = {name: tensor for name, tensor in flat.items() if not name.startswith("loss.")}
    # diffusers calls an embedding by its word, and some trainers save the bare vectors.
    alone = len(flat) == 1 and len(next(iter(flat.values())).shape) <= 2
    return _one(flat) if alone else flat


def _wrapper(node: Any) -> str:
    """Return under which key of `node` the weights are, empty where they are not further in."""
    if not isinstance(node, dict):
        return ""
    return next((name for name in WRAPPERS if isinstance(node.get(name), dict) and _flat(node[name])), "")


def _flat(node: Any) -> Flat:
    """Return all tensors in `node`, their names joined by dots as state dicts do."""
    flat: Flat = {}
    for nodes, (name, found) in enumerate(_walk(node, (), 0)):
        if nodes > _MAX_NODES:
            raise ModelUnusable("It is nested deeper than any model.")
        if isinstance(found, Lazy):
            if name in flat or len(name) > _MAX_NAME or len(flat) >= MAX_TENSORS:
                raise ModelUnusable("It has more weights, or other names for them, than any model has.")
            flat[name] = found
    return flat


def _walk(node: Any, names: tuple[str, ...], depth: int) -> Iterator[tuple[str, Any]]:
    if depth > _MAX_DEPTH:
        raise ModelUnusable("It is nested deeper than any model.")
    yield ".".join(names), node
    for key, inner in _inside(node):
        if type(key) in {str, int}:
            yield from _walk(inner, (*names, str(key)), depth + 1)


def _inside(node: Any) -> Iterator[tuple[Any, Any]]:
    match node:
        case dict():
            yield from node.items()
        case list() | tuple():
            yield from enumerate(node)
        case Inert(state=dict() as state) if "_parameters" in state:
            # A module that was pickled as a whole.
            for part in ("_parameters", "_buffers", "_modules"):
                yield from _inside(state.get(part))


def _facts(content: Mapping[Any, Any]) -> dict[str, str]:
    return {fact: text for fact in _FACTS if (text := _text(content.get(fact)))}


def _text(value: Any) -> str:
    """Return `value` as it stands in the metadata; empty where it is nothing that belongs there."""
    if value is None:
        return ""
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return ""
    return text if len(text) <= _MAX_FACT else ""
