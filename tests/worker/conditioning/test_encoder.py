from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from easel.catalog import Base
from easel.errors import BadPrompt, BadValue
from easel.jobs import ImageRequest
from tests.fakes.tiny_models import as_pipeline, tiny_checkpoint
from worker.checkpoints.checkpoint import Checkpoint
from worker.conditioning.encoder import Encoder
from worker.conditioning.plan import Conditioning, PromptPlan

BASES = list(Base)


@cache
def checkpoint(base: Base) -> Checkpoint:
    return tiny_checkpoint(base)


def request(prompt: str, negative_prompt: str = "", **changes: Any) -> ImageRequest:
    plain = ImageRequest(
        prompt=prompt,
        negative_prompt=negative_prompt,
        checkpoint="tiny",
        width=64,
        height=64,
        steps=10,
        cfg_scale=7,
        sampler="Euler",
        schedule="Normal",
        seed=1,
    )
    return plain.changed(**changes)


def plan(base: Base, prompt: str, negative_prompt: str = "", **changes: Any) -> PromptPlan:
    return Encoder(checkpoint(base)).plan(request(prompt, negative_prompt, **changes))


def only(told: PromptPlan, step: int = 0) -> Conditioning:
    ((positive, weight),), _ = told.at(step)
    assert weight == 1
    return positive


def pooled(conditioning: Conditioning) -> Tensor:
    assert conditioning.pooled is not None
    return conditioning.pooled


def same(one: Conditioning, other: Conditioning) -> bool:
    return torch.equal(one.embeds, other.embeds)


def widths(base: Base) -> list[int]:
    encoders: tuple[Any, ...] = checkpoint(base).text_encoders
    return [encoder.config.hidden_size for encoder in encoders]


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


def test_editing_changes_the_text_after_its_step() -> None:
    told = plan(Base.SD15, "a [cat:dog:0.4]", steps=5)

    cat, dog = only(plan(Base.SD15, "a cat")), only(plan(Base.SD15, "a dog"))
    assert [same(only(told, step), cat) for step in range(5)] == [True, True, False, False, False]
    assert [same(only(told, step), dog) for step in range(5)] == [False, False, True, True, True]


def test_alternation_takes_turns() -> None:
    told = plan(Base.SD15, "a [cat|dog]", steps=4)

    cat = only(plan(Base.SD15, "a cat"))
    assert [same(only(told, step), cat) for step in range(4)] == [True, False, True, False]


def test_the_negative_prompt_can_be_edited_too() -> None:
    told = plan(Base.SDXL, "cat", "[bad:2]", steps=4)

    assert [bool(told.at(step)[1].embeds.any()) for step in range(4)] == [False, False, True, True]


def test_all_texts_of_a_plan_have_the_same_length() -> None:
    told = plan(Base.SD15, "[cat:red BREAK cat:2] AND dog", "bad", steps=4)

    lengths = {
        text.embeds.shape[1]
        for step in range(4)
        for text in (*(positive for positive, _ in told.at(step)[0]), told.at(step)[1])
    }
    assert lengths == {154}


def test_prompts_joined_by_and_keep_their_weights() -> None:
    told = plan(Base.SD15, "a cat AND a dog :0.5 AND red:-1")

    positives, _ = told.at(0)
    assert [weight for _, weight in positives] == [1.0, 0.5, -1.0]
    assert same(positives[1][0], only(plan(Base.SD15, "a dog")))


def test_and_is_a_word_of_the_negative_prompt() -> None:
    told = plan(Base.SD15, "cat", "red AND blue")

    assert same(told.at(0)[1], only(plan(Base.SD15, "red and blue")))


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
