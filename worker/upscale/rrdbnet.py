"""The network of ESRGAN and Real-ESRGAN, and the names its weights have had.

Architecture: Wang et al. 2018 (arXiv:1809.00219) and 2021 (arXiv:2107.10833).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from easel.errors import ModelUnusable
from worker.weights_file import fill, move, read_weights

SLOPE = 0.2
"""Of the leaky rectifiers."""
RESIDUAL = 0.2
"""The share of what a block finds that is added to what it was given."""

_RENAMED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        # Before 2019 everything was one nested sequence; what follows the trunk is named in `_heads`.
        (r"^model\.0\.", "conv_first."),
        (r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
        (r"^model\.1\.sub\.\d+\.(weight|bias)$", r"conv_body.\1"),
        # The first rewriting, between the old names and today's.
        (r"^RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
        (r"^trunk_conv\.", "conv_body."),
        (r"^(?:upconv|conv_up)(\d)\.", r"conv_up.\1."),
        (r"^HRconv\.", "conv_hr."),
    )
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What tells one of these networks from another; read off its weights."""

    features: int
    growth: int
    """Features that each layer of a dense block adds."""
    blocks: int
    doublings: int
    """How often the features are enlarged by two, after the trunk."""
    unshuffle: int = 1
    """The side of the squares of pixels that become one before the trunk; those that enlarge by 2 or 1 have it."""

    @property
    def scale(self) -> int:
        return (1 << self.doublings) // self.unshuffle


class _DenseBlock(nn.Module):
    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.conv1 = _conv(features, growth)
        self.conv2 = _conv(features + growth, growth)
        self.conv3 = _conv(features + 2 * growth, growth)
        self.conv4 = _conv(features + 3 * growth, growth)
        self.conv5 = _conv(features + 4 * growth, features)

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen = torch.cat([seen, _active(layer(seen))], dim=1)
        found: Tensor = self.conv5(seen)
        return x + RESIDUAL * found


class _Block(nn.Module):
    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = _DenseBlock(features, growth)
        self.rdb2 = _DenseBlock(features, growth)
        self.rdb3 = _DenseBlock(features, growth)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return x + RESIDUAL * found


class RRDBNet(nn.Module):
    """Enlarges pictures, (n, 3, h, w) between 0 and 1, by `shape.scale`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        features = shape.features
        self.shape = shape
        self.conv_first = _conv(3 * shape.unshuffle**2, features)
        self.body = nn.Sequential(*(_Block(features, shape.growth) for _ in range(shape.blocks)))
        self.conv_body = _conv(features, features)
        self.conv_up = nn.ModuleDict({str(n + 1): _conv(features, features) for n in range(shape.doublings)})
        self.conv_hr = _conv(features, features)
        self.conv_last = _conv(features, 3)

    @property
    def scale(self) -> int:
        return self.shape.scale

    @property
    def device(self) -> torch.device:
        return self.conv_last.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.conv_last.weight.dtype

    def forward(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[-2:]
        side = self.shape.unshuffle
        if side > 1:
            padded = functional.pad(pixels, (0, -width % side, 0, -height % side), mode="replicate")
            pixels = functional.pixel_unshuffle(padded, side)
        x = self.conv_first(pixels)
        x = x + self.conv_body(self.body(x))
        for layer in self.conv_up.values():
            x = _active(layer(functional.interpolate(x, scale_factor=2, mode="nearest")))
        larger: Tensor = self.conv_last(_active(self.conv_hr(x)))
        return larger[..., : height * self.scale, : width * self.scale]


def load_upscaler(path: Path, *, name: str, device: torch.device, dtype: torch.dtype) -> RRDBNet:
    """Load a file of any of the three generations of names; raises ModelUnusable or OutOfMemory."""
    what = f"The upscaler `{name}`"
    weights = _renamed(read_weights(path, what))
    with torch.device("meta"):
        network = RRDBNet(_shape(weights, what))
    fill(network, weights, what)
    move(network, device, dtype, what)
    return network


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)


def _active(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, SLOPE)


def _renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under today's names; those of other networks keep theirs."""
    heads = _heads(weights)
    renamed = {}
    for name, weight in weights.items():
        new = name
        for pattern, replacement in _RENAMED:
            new = pattern.sub(replacement, new)
        layer, _, rest = new.rpartition(".")
        renamed[f"{heads[layer]}.{rest}" if layer in heads else new] = weight
    return renamed


def _heads(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Tell what the layers behind the trunk are in the oldest layout, where only their order says it."""
    places = {int(match[1]) for name in weights if (match := re.match(r"model\.(\d+)\.weight$", name))}
    layers = [f"model.{place}" for place in sorted(places - {0})]
    names = [*(f"conv_up.{n + 1}" for n in range(len(layers) - 2)), "conv_hr", "conv_last"]
    return dict(zip(layers, names[-len(layers) :], strict=True)) if layers else {}


def _shape(weights: Mapping[str, Tensor], what: str) -> Shape:
    def size(name: str, axis: int) -> int:
        weight = weights.get(f"{name}.weight")
        return weight.shape[axis] if weight is not None and weight.ndim == 4 else 0

    features, growth = size("conv_first", 0), size("body.0.rdb1.conv1", 0)
    # Reading 3, 12 or 48 channels, that is squares of 1, 2 or 4 pixels a side.
    unshuffle = {3: 1, 12: 2, 48: 4}.get(size("conv_first", 1), 0)
    if not (features and growth and unshuffle and size("conv_last", 0) == 3):
        raise ModelUnusable(
            f"{what} is of a kind that can not be used: only ESRGAN and Real-ESRGAN networks (RRDBNet) for colour "
            "pictures can. Please choose another one."
        )
    blocks = {name.split(".")[1] for name in weights if name.startswith("body.")}
    doublings = {name.split(".")[1] for name in weights if name.startswith("conv_up.")}
    if 2 ** len(doublings) % unshuffle:
        raise ModelUnusable(f"{what} can not be used: it would make pictures smaller.")
    return Shape(features, growth, len(blocks), len(doublings), unshuffle)
