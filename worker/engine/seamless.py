"""Seamless pictures: what leaves on one side comes in on the other, in the UNet and in the VAE."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def seamless(*modules: nn.Module) -> Iterator[None]:
    """Let every convolution wrap around the edges, and put each back exactly as it was."""
    convolutions = [
        layer
        for module in modules
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros"
    ]
    for layer in convolutions:
        layer.padding_mode = "circular"
    try:
        yield
    finally:
        for layer in convolutions:
            layer.padding_mode = "zeros"
