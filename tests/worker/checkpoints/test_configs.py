"""The real checkpoints at full size, without their weights: names, sizes and options."""

import pytest
import torch

from easel.catalog import Base
from tests.fakes.full_size import full_size
from worker.checkpoints.configs import text_config, unet_config, vae_config
from worker.checkpoints.keys import UNET, VAE, dotted
from worker.checkpoints.parts import Part
from worker.checkpoints.skeleton import empty_module, same_options
from worker.checkpoints.writing import file_weights

CPU = torch.device("cpu")

# Counted in the published files: parameters, and how many tensors the UNet has there.
PUBLISHED = {
    Base.SD15: ((859_520_964, 83_653_863, 123_060_480), 686),
    Base.SD2: ((865_910_724, 83_653_863, 340_387_840), 686),
    Base.SDXL: ((2_567_463_684, 83_653_863, 123_060_480, 694_659_840), 1680),
}


def shapes(part: Part) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in part.weights.items()}


@pytest.mark.parametrize("base", Base)
def test_the_options_of_the_real_checkpoints_are_told_from_their_weights(base: Base) -> None:
    parts = full_size(base)

    weights = file_weights(parts)

    sizes, tensors = PUBLISHED[base]
    assert tuple(sum(one.numel() for one in part.weights.values()) for _, part in parts.modules) == sizes
    unet = {name.removeprefix(UNET): tuple(one.shape) for name, one in weights.items() if name.startswith(UNET)}
    assert len(unet) == tensors
    assert sum(name.startswith(VAE) for name in weights) == 248
    told = {"unet": unet_config(base, unet, 1280)[0], "vae": vae_config(base, shapes(parts.vae))}
    for number, text in enumerate(parts.text_encoders):
        told[("text_encoder", "text_encoder_2")[number]] = text_config(base, number, shapes(text))
    for part, content in parts.modules:
        assert same_options(part, told[part], empty_module(base, part, content.config, CPU)), part


def test_the_dots_of_every_averaged_weight_are_found_again() -> None:
    names = [name.removeprefix(UNET) for name in file_weights(full_size(Base.SDXL)) if name.startswith(UNET)]
    names += [name.removeprefix(UNET) for name in file_weights(full_size(Base.SD15)) if name.startswith(UNET)]

    assert [dotted(name.replace(".", "")) for name in names] == names
    assert dotted("model_ema.decay") == ""
