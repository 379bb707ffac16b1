"""From latents to pixels, on good days and on bad ones."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from easel.errors import BlackPicture, OutOfMemory
from tests.fakes.engine_jobs import tiny
from worker.engine.decode import decode

LATENTS = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def vae() -> Any:
    """A VAE that a test may spoil."""
    return copy.deepcopy(tiny().vae)


def overflowing(vae: Any) -> None:
    """Make numbers large inside, as SDXL's VAE has them: beyond half precision, and scaled back at the end."""

    def swollen(_: object, __: object, output: Tensor) -> Tensor:
        return output * 1e4 * 1e4

    def shrunk(_: object, args: tuple[Tensor]) -> tuple[Tensor]:
        return (args[0] / 1e4 / 1e4,)

    vae.decoder.conv_in.register_forward_hook(swollen)
    vae.decoder.mid_block.register_forward_pre_hook(shrunk)


class Small:
    """Memory that holds only so many latents at once."""

    def __init__(self, vae: Any, most: int, fault: Exception | None = None) -> None:
        self.sizes: list[int] = []
        self._fault = fault or RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"
        )
        self._most = most
        vae.decoder.register_forward_pre_hook(self._enter)

    def _enter(self, _: object, args: tuple[Tensor, ...]) -> None:
        self.sizes.append(args[0].shape[-2] * args[0].shape[-1] * len(args[0]))
        if self.sizes[-1] > self._most:
            raise self._fault


def test_pixels_are_those_of_diffusers(vae: Any) -> None:
    pixels = decode(vae, LATENTS)

    with torch.no_grad():
        expected = (vae.decode(LATENTS / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)
    assert pixels.shape == (2, 3, 128, 128)
    assert pixels.dtype == torch.float32
    assert torch.allclose(pixels, expected, atol=1e-5)


def test_pictures_are_decoded_one_at_a_time(vae: Any) -> None:
    memory = Small(vae, 10**9)

    decode(vae, LATENTS)

    assert memory.sizes == [256, 256]


def test_an_overflow_is_mended_with_more_precision_and_remembered(vae: Any) -> None:
    expected = decode(vae, LATENTS)
    vae.to(torch.float16)
    overflowing(vae)

    first = decode(vae, LATENTS)

    assert (first - expected).abs().max() < 0.02
    assert vae.dtype == torch.float32


def test_half_precision_stays_where_it_is_enough(vae: Any) -> None:
    expected = decode(vae, LATENTS)
    vae.to(torch.bfloat16)

    pixels = decode(vae, LATENTS)

    assert (pixels - expected).abs().max() < 0.1
    assert vae.dtype == torch.bfloat16


def test_a_vae_that_fails_in_full_precision_too_makes_a_black_picture(vae: Any) -> None:
    torch.nn.init.constant_(vae.decoder.conv_out.bias, float("nan"))

    with pytest.raises(BlackPicture, match="came out black"):
        decode(vae, LATENTS)


def test_latents_that_are_no_numbers_do_not_cost_the_vae_its_precision(vae: Any) -> None:
    vae.to(torch.bfloat16)

    with pytest.raises(BlackPicture):
        decode(vae, LATENTS * float("nan"))

    assert vae.dtype == torch.bfloat16


@pytest.mark.parametrize("tiling", [False, True])
def test_what_does_not_fit_is_decoded_in_pieces(vae: Any, tiling: bool) -> None:
    latents = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(5))
    expected = decode(vae, latents, tiling=tiling)
    memory = Small(vae, 300)

    pixels = decode(vae, latents, tiling=tiling)

    assert memory.sizes[0] == 1024
    assert max(memory.sizes[1:]) == 256
    assert (vae.tile_latent_min_size, vae.tile_sample_min_size) == (8, 64)
    assert pixels.shape == expected.shape
    # Pieces have their own mean and spread inside; the picture remains that picture.
    assert torch.corrcoef(torch.stack([pixels.flatten(), expected.flatten()]))[0, 1] > 0.9


@pytest.mark.parametrize("fault", [None, torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_pieces_get_smaller_until_they_fit(vae: Any, fault: Exception | None) -> None:
    memory = Small(vae, 300, fault)

    decode(vae, torch.zeros(1, 4, 16, 64))

    assert list(dict.fromkeys(memory.sizes))[:3] == [1024, 512, 256]
    assert len(memory.sizes) > 4


def test_what_does_not_fit_in_pieces_either_is_told_with_advice(vae: Any) -> None:
    Small(vae, 10)

    with pytest.raises(OutOfMemory, match="ask for a smaller one"):
        decode(vae, LATENTS)


def test_other_faults_are_not_mistaken_for_want_of_memory(vae: Any) -> None:
    with pytest.raises(RuntimeError, match="channels"):
        decode(vae, torch.zeros(1, 5, 8, 8))
