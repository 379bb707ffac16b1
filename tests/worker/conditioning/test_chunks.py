import pytest
import torch

from worker.checkpoints.vocabulary import clip_tokenizer
from worker.conditioning.chunks import Chunker
from worker.conditioning.embeddings import Embedding, Embeddings


def chunks(text: str, *, vectors: int = 0) -> list[list[tuple[str, float]]]:
    """Cut `text` and return (word, weight) of each token; `neon` is an embedding if it has vectors."""
    neon = Embedding("neon", {4: torch.zeros(vectors, 4)})
    known = Embeddings({"neon": neon} if vectors else {})
    tokenizer = clip_tokenizer()
    return [
        [
            (
                f"{token.learned[0].name}{token.learned[1]}" if token.learned else str(tokenizer.decode([token.id])),
                token.weight,
            )
            for token in chunk
        ]
        for chunk in Chunker(tokenizer, known).chunks(text)
    ]


def words(text: str, *, vectors: int = 0) -> list[list[str]]:
    return [[word for word, _ in chunk] for chunk in chunks(text, vectors=vectors)]


def test_an_empty_text_is_one_empty_chunk() -> None:
    assert chunks("") == [[]]


def test_every_token_has_the_weight_of_its_brackets() -> None:
    (chunk,) = chunks("a (red:1.3) [cat]")

    assert chunk == [("a", 1), ("red", 1.3), ("cat", pytest.approx(1 / 1.1))]


def test_break_ends_a_chunk() -> None:
    assert words("a red BREAK cat") == [["a", "red"], ["cat"]]


def test_break_at_the_start_leaves_an_empty_chunk_as_in_a1111() -> None:
    assert words("BREAK cat") == [[], ["cat"]]


def test_the_seventy_sixth_token_opens_the_next_chunk() -> None:
    assert [len(chunk) for chunk in words("cat " * 75)] == [75]
    assert [len(chunk) for chunk in words("cat " * 76)] == [75, 1]


def test_a_phrase_is_not_cut_if_its_comma_is_near() -> None:
    near = "cat " * 60 + ", " + "dog " * 20

    assert [len(chunk) for chunk in words(near)] == [61, 20]


def test_a_phrase_is_cut_if_its_comma_is_more_than_twenty_tokens_back() -> None:
    far = "cat " * 54 + ", " + "dog " * 30

    assert [len(chunk) for chunk in words(far)] == [75, 10]


def test_the_comma_of_an_earlier_chunk_does_not_count() -> None:
    text = "cat " * 60 + ", " + "dog " * 14 + "BREAK " + "cow " * 76

    assert [len(chunk) for chunk in words(text)] == [75, 75, 1]


def test_a_comma_that_is_the_seventy_sixth_token_opens_the_next_chunk() -> None:
    assert [chunk[:1] for chunk in words("cat " * 75 + ", dog")] == [["cat"], [","]]


def test_an_embedding_is_never_torn_apart() -> None:
    first, second = words("cat " * 74 + "neon dog", vectors=3)

    assert len(first) == 74
    assert second == ["neon0", "neon1", "neon2", "dog"]


def test_the_vectors_of_an_embedding_share_its_weight() -> None:
    assert chunks("(neon:1.5)", vectors=2) == [[("neon0", 1.5), ("neon1", 1.5)]]


@pytest.mark.parametrize("pad", ["<|endoftext|>", "!"])
def test_an_exclamation_mark_is_a_word_for_every_encoder(pad: str) -> None:
    (chunk,) = Chunker(clip_tokenizer(pad), Embeddings()).chunks("wow!")

    assert [token.id for token in chunk] == [2781, 256]


def test_an_end_mark_typed_into_the_prompt_ends_nothing() -> None:
    tokenizer = clip_tokenizer()

    (chunk,) = Chunker(tokenizer, Embeddings()).chunks("a <|endoftext|> cat")

    assert tokenizer.eos_token_id not in [token.id for token in chunk]
