"""Hypernetworks: small networks that bend what the attention's keys and values are made from, put on with hooks.

After A1111, modules/hypernetworks/hypernetwork.py: `x + strength * network(x)`, several one after the other.

In a file a tensor is called `{width}.{side}.{name}`: the width of what the attention looks at (768, 320, …), side 0 for
keys and 1 for values, and A1111's own name for the weight, such as `linear.0.weight`. The number in it is a place among
all that A1111 builds, of which activations and dropouts hold no weights. Of the metadata, which are A1111's own words,
two change what the weights mean: `activation_func`, and `activate_output`, whether the last layer has one too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from easel.errors import ModelUnusable
from easel.identify.header import read_header
from worker.weights_file import read_weights

Networks = tuple[nn.Sequential, ...]
"""For keys, for values."""
Worn = Sequence[tuple["Hypernetwork", float]]
"""Hypernetworks and their strengths, in the order in which they work."""

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leakyrelu": nn.LeakyReLU,
    "elu": nn.ELU,
    # A1111's name for it: not the swish of others, which is SiLU.
    "swish": nn.Hardswish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "celu": nn.CELU,
    "gelu": nn.GELU,
    "hardshrink": nn.Hardshrink,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "hardtanh": nn.Hardtanh,
    "logsigmoid": nn.LogSigmoid,
    "mish": nn.Mish,
    "relu6": nn.ReLU6,
    "rrelu": nn.RReLU,
    "selu": nn.SELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softshrink": nn.Softshrink,
    "softsign": nn.Softsign,
    "tanhshrink": nn.Tanhshrink,
}
"""Those of A1111 that work on each number alone and hold no weights."""

_SIDES = ("0", "1")
_NONE = frozenset({"", "linear", "identity"})
_OLD_NAMES = {"linear1": "linear.0", "linear2": "linear.1"}
_PLACES = ("attn1", "attn2")

_projections_of: "WeakKeyDictionary[nn.Module, list[tuple[nn.Linear, int]]]" = WeakKeyDictionary()


class Hypernetwork:
    """One hypernetwork, held on the CPU; what a device was once given is kept for the next time."""

    def __init__(self, name: str, networks: Mapping[int, Networks]) -> None:
        self.name = name
        self._networks = networks
        self._placed: tuple[torch.device, torch.dtype, Mapping[int, Networks]] | None = None

    @property
    def widths(self) -> frozenset[int]:
        """Of what it bends: the prompt's vectors, and the UNet's own."""
        return frozenset(self._networks)

    @property
    def nbytes(self) -> int:
        weights = (weight for pair in self._networks.values() for network in pair for weight in network.parameters())
        return sum(weight.numel() * weight.element_size() for weight in weights)

    def on(self, device: torch.device, dtype: torch.dtype) -> Mapping[int, Networks]:
        """Return its networks by width, on this device."""
        if self._placed is None or self._placed[:2] != (device, dtype):
            placed = {
                width: tuple(_placed(network, device, dtype) for network in pair)
                for width, pair in self._networks.items()
            }
            self._placed = device, dtype, placed
        return self._placed[2]


def read_hypernetwork(path: Path, name: str) -> Hypernetwork:
    """Read a hypernetwork from a safetensors file; raises ModelUnusable."""
    what = f"The hypernetwork `{name}`"
    weights = read_weights(path, what)
    try:
        return Hypernetwork(name, _networks(weights, read_header(path).metadata))
    except (ModelUnusable, OSError) as error:
        raise ModelUnusable(f"{what} can not be used: {error} Please install another version.") from error


def bends(unet: Any, hypernetwork: Hypernetwork) -> bool:
    """Tell whether the UNet has anything of a width that the hypernetwork knows; else it would do nothing."""
    return any(projection.in_features in hypernetwork.widths for projection, _ in _projections(unet))


@contextmanager
def attached(unet: Any, worn: Worn) -> Iterator[None]:
    """Let the hypernetworks work inside the block; afterwards the UNet is as it was, whatever happened."""
    at_work = [(one, strength) for one, strength in worn if strength]
    hooks = []
    try:
        if at_work:
            weight = next(unet.parameters())
            placed = [(one.on(weight.device, weight.dtype), strength) for one, strength in at_work]
            for projection, side in _projections(unet):
                width = projection.in_features
                chain = [(networks[width][side], strength) for networks, strength in placed if width in networks]
                if chain:
                    hooks.append(projection.register_forward_pre_hook(partial(_bend, chain)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _placed(network: nn.Sequential, device: torch.device, dtype: torch.dtype) -> nn.Sequential:
    weight = next(network.parameters())
    return network if (weight.device, weight.dtype) == (device, dtype) else deepcopy(network).to(device, dtype)


def _bend(chain: Sequence[tuple[nn.Sequential, float]], _module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    context: Tensor = inputs[0]
    for network, strength in chain:
        context = context + network(context) * strength
    return (context, *inputs[1:])


def _projections(unet: nn.Module) -> list[tuple[nn.Linear, int]]:
    """Return what makes keys and values, and which of the two, remembered as hooks come and go at each step."""
    if unet not in _projections_of:
        attentions: list[Any] = [one for name, one in unet.named_modules() if name.rpartition(".")[2] in _PLACES]
        _projections_of[unet] = [
            (projection, side) for one in attentions for side, projection in enumerate((one.to_k, one.to_v))
        ]
    return _projections_of[unet]


def _networks(weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[int, Networks]:
    """Build the networks by width; raises ModelUnusable where names or shapes are not a hypernetwork's."""
    sorted_out: dict[int, list[dict[str, Tensor]]] = {}
    for name, weight in weights.items():
        width, side, rest = [*name.split(".", 2), "", ""][:3]
        if not width.isdecimal() or side not in _SIDES:
            raise ModelUnusable("it holds weights of something else.")
        sorted_out.setdefault(int(width), [{} for _ in _SIDES])[int(side)][rest] = weight
    return {width: tuple(_network(width, named, metadata) for named in sides) for width, sides in sorted_out.items()}


def _network(width: int, named: Mapping[str, Tensor], metadata: Mapping[str, str]) -> nn.Sequential:
    layers = _layers(named)
    linears = [place for place, layer in layers.items() if isinstance(layer, nn.Linear)]
    activation = metadata.get("activation_func", "").strip().lower()
    # Files from before A1111 could say so mean yes.
    output = metadata.get("activate_output", "true").strip().lower() != "false"
    if not linears or next(iter(layers)) != linears[0]:
        raise ModelUnusable(_WRONG)
    if not activation and linears[-1] - linears[0] > len(layers) - 1:
        raise ModelUnusable("it does not say which activation stands between its layers.")
    if activation not in _NONE and activation not in ACTIVATIONS:
        raise ModelUnusable(f"its activation `{activation[:40]}` is none that Easel knows.")
    activated = set() if activation in _NONE else set(linears if output else linears[:-1])
    modules: list[nn.Module] = []
    for place, layer in layers.items():
        modules.append(layer)
        if place in activated:
            modules.append(ACTIVATIONS[activation]())
    _check(width, list(layers.values()))
    return nn.Sequential(*modules).eval().requires_grad_(False)


def _layers(named: Mapping[str, Tensor]) -> dict[int, nn.Linear | nn.LayerNorm]:
    """Return the layers that hold weights by their places, in order.

    Dropouts and activations hold none but take up places, so these are read and never counted.
    """
    parts: dict[int, dict[str, Tensor]] = {}
    for name, weight in named.items():
        stem, _, part = name.rpartition(".")
        stem, _, place = _OLD_NAMES.get(stem, stem).rpartition(".")
        if stem != "linear" or not place.isdecimal() or part not in {"weight", "bias"}:
            raise ModelUnusable(_WRONG)
        parts.setdefault(int(place), {})[part] = weight
    return {place: _layer(parts[place]) for place in sorted(parts)}


def _layer(parts: Mapping[str, Tensor]) -> nn.Linear | nn.LayerNorm:
    weight, bias = parts.get("weight"), parts.get("bias")
    if weight is None or bias is None or bias.shape != weight.shape[:1] or weight.ndim not in {1, 2}:
        raise ModelUnusable(_WRONG)
    if not weight.is_floating_point() or not bias.is_floating_point():
        raise ModelUnusable("its weights are of a kind that nothing can be calculated with.")
    if not torch.isfinite(weight.float()).all() or not torch.isfinite(bias.float()).all():
        raise ModelUnusable("it holds values that are not numbers.")
    layer: nn.Linear | nn.LayerNorm
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[-1], len(weight)) if weight.ndim == 2 else nn.LayerNorm(len(weight))
    # Copies, as the file may be replaced while it is still mapped into memory.
    layer.weight, layer.bias = (nn.Parameter(one.to(torch.float32, copy=True)) for one in (weight, bias))
    return layer


def _check(width: int, layers: Sequence[nn.Linear | nn.LayerNorm]) -> None:
    """Raise ModelUnusable unless each layer takes what the one before gives, from `width` back to `width`."""
    ends = [layer.weight.shape for layer in layers]
    for before, after in pairwise([(width,), *ends, (width, width)]):
        if before[0] != after[-1]:
            raise ModelUnusable(_WRONG)


_WRONG = "its layers are not those of a hypernetwork, or some are missing."
