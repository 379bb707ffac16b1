from typing import Any

import pytest
import torch

from easel.catalog import Base
from tests.fakes.prompts import checkpoint, only, plan, pooled, request, same, widths
from tests.fakes.tiny_models import as_pipeline, tiny_checkpoint
from worker.conditioning.embeddings import Embedding, Embeddings
from worker.conditioning.encoder import Encoder
from worker.conditioning.plan import PromptPlan


def learned(base: Base, count: int) -> Embedding:
    generator = torch.Generator().manual_seed(3)
    return Embedding("neon", {width: torch.randn(count, width, generator=generator) for width in widths(base)})


def plan_with(embedding: Embedding, base: Base, prompt: str, negative_prompt: str = "") -> PromptPlan:
    known = Embeddings({"neon": embedding, "mytok": embedding})
    return Encoder(checkpoint(base)).plan(request(prompt, negative_prompt), embeddings=known)


def pipeline_that_knows(embedding: Embedding, base: Base) -> Any:
    """Return a pipeline with copies of its own, as diffusers changes tokenizers and encoders, and takes no known word."""
    pipeline = as_pipeline(tiny_checkpoint(base))
    for end, vectors in zip(("", "_2"), embedding.vectors.values(), strict=False):
        shared = getattr(pipeline, f"tokenizer{end}")
        tokenizer = type(shared)(
            vocab=shared.get_vocab(), merges=shared._merges, pad_token=shared.pad_token, model_max_length=77
        )
        setattr(pipeline, f"tokenizer{end}", tokenizer)
        encoder = getattr(pipeline, f"text_encoder{end}")
        pipeline.load_textual_inversion(vectors, token="mytok", tokenizer=tokenizer, text_encoder=encoder)
    return pipeline


@pytest.mark.parametrize("base", Base)
@pytest.mark.parametrize("count", [1, 3])
def test_an_embedding_equals_that_of_diffusers(base: Base, count: int) -> None:
    embedding = learned(base, count)
    with torch.no_grad():
        wanted = pipeline_that_knows(embedding, base).encode_prompt(
            "a photo of mytok cat", device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )

    own = only(plan_with(embedding, base, "a photo of MyTok cat"))

    assert torch.allclose(own.embeds, wanted[0], atol=1e-6)
    if base is Base.SDXL:
        assert torch.allclose(pooled(own), wanted[2], atol=1e-6)


def test_an_embedding_goes_to_both_encoders_of_sdxl() -> None:
    with_it = only(plan_with(learned(Base.SDXL, 2), Base.SDXL, "a neon cat"))

    without = only(plan(Base.SDXL, "a neon cat"))
    assert not torch.allclose(with_it.embeds[..., :32], without.embeds[..., :32])
    assert not torch.allclose(with_it.embeds[..., 32:], without.embeds[..., 32:])
    assert not torch.allclose(pooled(with_it), pooled(without))


def test_an_embedding_is_gone_after_its_chunk() -> None:
    told = plan_with(learned(Base.SD15, 2), Base.SD15, "a neon cat", "a red cat")

    assert same(told.at(0)[1], only(plan(Base.SD15, "a red cat")))
    model: Any = checkpoint(Base.SD15).text_encoders[0]
    assert not model.get_input_embeddings()._forward_hooks


def test_what_was_encoded_with_an_embedding_is_not_taken_for_another_of_its_name() -> None:
    encoder = Encoder(checkpoint(Base.SD15))
    asked = request("a neon cat")
    old, new = learned(Base.SD15, 1), Embedding("neon", {32: torch.ones(1, 32)})

    first = only(encoder.plan(asked, embeddings=Embeddings({"neon": old})))
    changed = only(encoder.plan(asked, embeddings=Embeddings({"neon": new})))
    without = only(encoder.plan(asked))
    again = only(encoder.plan(asked, embeddings=Embeddings({"neon": old})))

    assert not torch.allclose(first.embeds, changed.embeds)
    assert same(without, only(plan(Base.SD15, "a neon cat")))
    assert same(first, again)
