from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from easel.catalog import Base
from easel.errors import BadPrompt, BadValue
from tests.fakes.prompts import checkpoint, only, plan, pooled, request, same, widths
from tests.fakes.tiny_models import as_pipeline
from worker.conditioning.encoder import Encoder

BASES = list(Base)


def encode_with_diffusers(base: Base, prompt: str, negative_prompt: str) -> list[Tensor]:
    """Return positive, negative and on SDXL both pooled vectors."""
    with torch.no_grad():
        encoded = as_pipeline(checkpoint(base)).encode_prompt(
            prompt,
            device="cpu",
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt=negative_prompt,
        )
    return list(encoded)


@contextmanager
def counted_calls(base: Base) -> Iterator[list[int]]:
    """Count the calls of the (last) text encoder."""
    calls: list[int] = []
    hook = checkpoint(base).text_encoders[-1].register_forward_hook(lambda *_: calls.append(1))
    try:
        yield calls
    finally:
        hook.remove()


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("prompt", ["a photo of a red cat, best quality", "", "Ein Schloß, 日本 🎨", "cat " * 75])
def test_at_weight_one_the_result_equals_that_of_diffusers(base: Base, prompt: str) -> None:
    positive, negative, *vectors_of_both = encode_with_diffusers(base, prompt, "bad, ugly")

    told = plan(base, prompt, "bad, ugly")

    _, denied = told.at(0)
    assert torch.equal(only(told).embeds, positive)
    assert torch.equal(denied.embeds, negative)
    if base is Base.SDXL:
        assert torch.equal(pooled(only(told)), vectors_of_both[0])
        assert torch.equal(pooled(denied), vectors_of_both[1])


@pytest.mark.parametrize("base", BASES)
def test_weights_multiply_the_words_and_the_mean_stays(base: Base) -> None:
    plain = only(plan(base, "a red cat")).embeds
    weights = torch.ones(77)
    weights[2] = 1.5

    weighted = only(plan(base, "a (red:1.5) cat")).embeds

    splits = [torch.split(embeds, widths(base), -1) for embeds in (plain, weighted)]
    for before, after in zip(*splits, strict=True):
        by_hand = before * weights[None, :, None]
        assert torch.allclose(after, by_hand * (before.mean() / by_hand.mean()), rtol=1e-4, atol=1e-6)
        assert not torch.allclose(after, before)


def test_weights_leave_the_pooled_vector_alone() -> None:
    weighted, plain = (only(plan(Base.SDXL, prompt)) for prompt in ("a (red:1.5) cat", "a red cat"))

    assert torch.equal(pooled(weighted), pooled(plain))


def test_extreme_weights_still_give_numbers() -> None:
    assert only(plan(Base.SD15, "(cat:-10) (dog:10) [[[bird]]]")).embeds.isfinite().all()


@pytest.mark.parametrize("base", BASES)
def test_a_long_prompt_is_its_chunks_in_a_row(base: Base) -> None:
    told = plan(base, "red cat BREAK blue dog BREAK green bird")

    alone = [only(plan(base, text)) for text in ("red cat", "blue dog", "green bird")]
    assert told.chunks == 3
    assert torch.equal(only(told).embeds, torch.cat([one.embeds for one in alone], 1))
    if base is Base.SDXL:
        assert torch.equal(pooled(only(told)), pooled(alone[0]))


def test_each_chunk_keeps_its_own_mean() -> None:
    told = plan(Base.SD15, "red cat BREAK (blue:1.4) dog")

    assert torch.equal(only(told).embeds[:, :77], only(plan(Base.SD15, "red cat")).embeds)
    assert torch.equal(only(told).embeds[:, 77:], only(plan(Base.SD15, "(blue:1.4) dog")).embeds)


def test_the_shorter_prompt_is_filled_up_with_empty_chunks() -> None:
    empty = only(plan(Base.SD15, "")).embeds

    _, denied = plan(Base.SD15, "red BREAK cat BREAK dog", "bad").at(0)

    assert torch.equal(denied.embeds[:, :77], only(plan(Base.SD15, "bad")).embeds)
    assert torch.equal(denied.embeds[:, 77:], torch.cat([empty, empty], 1))


def test_a_long_negative_prompt_makes_the_positive_longer() -> None:
    told = plan(Base.SDXL, "cat", "bad BREAK ugly")

    assert only(told).embeds.shape == told.at(0)[1].embeds.shape == (1, 154, 96)


def test_an_empty_negative_prompt_is_all_zeros_on_sdxl() -> None:
    for prompt, negative in (("cat", ""), ("red BREAK cat", " "), ("cat", "<lora:x:1>")):
        _, denied = plan(Base.SDXL, prompt, negative).at(0)

        assert not denied.embeds.any()
        assert not pooled(denied).any()


def test_zeros_of_two_chunks_tell_the_sdxl_unet_what_those_of_one_do() -> None:
    unet: Any = checkpoint(Base.SDXL).unet
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    added = {"text_embeds": torch.zeros(1, 64), "time_ids": torch.zeros(1, 6)}

    with torch.no_grad():
        one, two = (
            unet(noise, 500, torch.zeros(1, 77 * chunks, 96), added_cond_kwargs=added).sample for chunks in (1, 2)
        )

    assert torch.allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("base", [Base.SD15, Base.SD2])
def test_an_empty_negative_prompt_is_encoded_before_sdxl(base: Base) -> None:
    _, denied = plan(base, "cat").at(0)

    assert same(denied, only(plan(base, "")))


def test_an_empty_positive_prompt_is_encoded_on_sdxl() -> None:
    assert only(plan(Base.SDXL, "")).embeds.any()


def test_network_tags_say_nothing() -> None:
    told = plan(Base.SD15, "a cat<lora:pencil sketch:0.8> <hypernet:sepia:0.5>", "bad<lora:x:1>")

    assert same(only(told), only(plan(Base.SD15, "a cat")))
    assert same(told.at(0)[1], only(plan(Base.SD15, "bad")))


def test_what_was_encoded_is_not_encoded_again() -> None:
    encoder = Encoder(checkpoint(Base.SD15))

    with counted_calls(Base.SD15) as calls:
        first = encoder.plan(request("red cat BREAK dog", "bad"))
        counts = [len(calls)]
        second = encoder.plan(request("dog BREAK red cat", "bad", seed=7))
        counts.append(len(calls))
        encoder.forget()
        encoder.plan(request("dog"))
        counts.append(len(calls))

    # cat, dog, bad and the empty chunk; nothing; dog and the empty negative
    assert counts == [4, 4, 6]
    assert same(first.at(0)[1], second.at(0)[1])


def test_the_cache_lets_the_oldest_go() -> None:
    encoder = Encoder(checkpoint(Base.SD15), cache_size=2)

    with counted_calls(Base.SD15) as calls:
        for prompt in ("cat", "dog", "dog", "cat"):
            encoder.plan(request(prompt, prompt))

    assert len(calls) == 2
    with counted_calls(Base.SD15) as calls:
        for prompt in ("bird", "cat", "dog"):
            encoder.plan(request(prompt, prompt))

    assert len(calls) == 2


def test_a_clip_skip_is_remembered_apart() -> None:
    encoder = Encoder(checkpoint(Base.SD15))

    one, two = (only(encoder.plan(request("cat", clip_skip=skip))) for skip in (1, 2))

    assert not torch.allclose(one.embeds, two.embeds)


def test_a_prompt_of_too_many_chunks_is_refused() -> None:
    with pytest.raises(BadPrompt, match="fills 21 chunks of 75 tokens, and 20 fit"):
        plan(Base.SD15, "cat" + " BREAK cat" * 20)


def test_a_long_prompt_with_too_many_alternatives_is_refused() -> None:
    alternatives = "|".join(str(number) for number in range(40))

    # The empty negative prompt is the forty-first.
    with pytest.raises(BadPrompt, match="41 texts of 10 chunks"):
        plan(Base.SD15, f"{'cat BREAK ' * 9}[{alternatives}]", steps=40)


def test_a_clip_skip_beyond_the_encoder_is_refused() -> None:
    with pytest.raises(BadValue, match="at most 4"):
        plan(Base.SD15, "cat", clip_skip=5)
