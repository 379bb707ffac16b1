from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from easel.catalog import Base
from tests.fakes.prompts import checkpoint, only, plan, pooled, request, same, widths
from tests.fakes.tiny_models import as_pipeline, tiny_checkpoint
from worker.conditioning.encoder import Encoder


def vectors(base: Base, count: int) -> Mapping[int, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {width: torch.randn(count, width, generator=generator) for width in widths(base)}


@pytest.mark.parametrize("base", [Base.SD15, Base.SD2])
@pytest.mark.parametrize("count", [1, 3])
def test_an_embedding_equals_that_of_diffusers(base: Base, count: int) -> None:
    learned = vectors(base, count)
    own = Encoder(checkpoint(base), embeddings={"mytok": learned}).plan(request("a photo of MyTok cat"))
    # A copy of its own, as diffusers changes the tokenizer and the encoder.
    with_diffusers = as_pipeline(tiny_checkpoint(base))
    with_diffusers.tokenizer = type(with_diffusers.tokenizer)(
        vocab=with_diffusers.tokenizer.get_vocab(),
        merges=with_diffusers.tokenizer._merges,
        pad_token=with_diffusers.tokenizer.pad_token,
        model_max_length=77,
    )
    with_diffusers.load_textual_inversion(next(iter(learned.values())), token="mytok")

    with torch.no_grad():
        positive, _ = with_diffusers.encode_prompt(
            "a photo of mytok cat", device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )

    assert torch.allclose(only(own).embeds, positive, atol=1e-6)


def test_an_embedding_goes_to_both_encoders_of_sdxl() -> None:
    encoder = Encoder(checkpoint(Base.SDXL), embeddings={"neon": vectors(Base.SDXL, 2)})

    with_it = only(encoder.plan(request("a neon cat")))

    without = only(plan(Base.SDXL, "a neon cat"))
    assert not torch.allclose(with_it.embeds[..., :32], without.embeds[..., :32])
    assert not torch.allclose(with_it.embeds[..., 32:], without.embeds[..., 32:])
    assert not torch.allclose(pooled(with_it), pooled(without))


def test_an_embedding_is_gone_after_its_chunk() -> None:
    encoder = Encoder(checkpoint(Base.SD15), embeddings={"neon": vectors(Base.SD15, 2)})

    told = encoder.plan(request("a neon cat", "a red cat"))

    assert same(told.at(0)[1], only(plan(Base.SD15, "a red cat")))
    model: Any = checkpoint(Base.SD15).text_encoders[0]
    assert not model.get_input_embeddings()._forward_hooks


def test_an_embedding_of_another_base_is_read_as_words() -> None:
    encoder = Encoder(checkpoint(Base.SD15), embeddings={"neon": {768: torch.ones(1, 768)}})

    assert same(only(encoder.plan(request("a neon cat"))), only(plan(Base.SD15, "a neon cat")))
