import copy
from typing import Any

import pytest
import torch

from easel.errors import BlackPicture, OutOfMemory
from tests.fakes.engine_jobs import tiny, unlikeness
from tests.fakes.workshop import photo
from worker.operations.encode import encode, pixels_of


def a_vae() -> Any:
    return copy.deepcopy(tiny().vae)


def test_pictures_are_encoded_to_the_mean_of_what_the_vae_says() -> None:
    vae = a_vae()
    images = [photo(seed=1), photo(seed=2)]

    latents = encode(vae, pixels_of(images))

    with torch.no_grad():
        expected = vae.encode(pixels_of(images)).latent_dist.mean * vae.config.scaling_factor
    assert latents.shape == (2, 4, 8, 8)
    assert unlikeness(latents, expected) < 5e-5


def full_above(vae: Any, side: int, error: Exception) -> None:
    """Let the encoder run out of memory for anything larger than `side` pixels."""
    encoder = vae.encoder.forward

    def forward(sample: torch.Tensor) -> Any:
        if max(sample.shape[-2:]) > side:
            raise error
        return encoder(sample)

    vae.encoder.forward = forward


def test_without_memory_for_the_whole_it_is_encoded_in_pieces() -> None:
    vae, pixels = a_vae(), pixels_of([photo(512, 512)])
    whole = encode(vae, pixels)
    full_above(vae, 256, torch.OutOfMemoryError("CUDA out of memory"))

    pieces = encode(vae, pixels)

    assert pieces.shape == whole.shape
    assert float((pieces - whole).abs().mean() / whole.abs().mean()) < 0.2
    assert not vae.use_tiling


def test_with_memory_for_nothing_it_says_so() -> None:
    vae = a_vae()
    full_above(vae, 1, torch.OutOfMemoryError("CUDA out of memory"))

    with pytest.raises(OutOfMemory, match="ask for a smaller one"):
        encode(vae, pixels_of([photo(256, 256)]))


def test_another_fault_is_not_taken_for_want_of_memory() -> None:
    vae = a_vae()
    full_above(vae, 1, RuntimeError("shapes differ"))

    with pytest.raises(RuntimeError, match="shapes differ"):
        encode(vae, pixels_of([photo()]))


def test_half_precision_that_overflows_is_given_up() -> None:
    vae = a_vae().half()
    with torch.no_grad():
        vae.encoder.conv_out.weight.mul_(1e4)
        vae.encoder.conv_out.bias.fill_(60000)

    latents = encode(vae, pixels_of([photo()]))

    assert vae.dtype is torch.float32
    assert torch.isfinite(latents).all()


def test_what_is_no_number_in_full_precision_either_is_a_black_picture() -> None:
    vae = a_vae()
    with torch.no_grad():
        vae.encoder.conv_out.bias.fill_(float("nan"))

    with pytest.raises(BlackPicture):
        encode(vae, pixels_of([photo()]))
