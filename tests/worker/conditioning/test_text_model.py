from typing import Any

import pytest
import torch

from easel.catalog import Base
from easel.errors import BadValue
from tests.fakes.prompts import checkpoint
from worker.conditioning.chunks import Chunker, Token
from worker.conditioning.embeddings import Embedding, Embeddings
from worker.conditioning.text_model import TextModel


def text_model(base: Base) -> TextModel:
    loaded = checkpoint(base)
    return TextModel(loaded.text_encoders[0], loaded.tokenizers[0], base)


def hidden_states(base: Base, text: str) -> tuple[Any, Any]:
    """Return the encoder and what each of its layers gives, the last one at the end."""
    encoder: Any = checkpoint(base).text_encoders[0]
    ids = checkpoint(base).tokenizers[0](text, padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        return encoder, encoder(ids, output_hidden_states=True).hidden_states


# The last layer's name in each base's original counting is 1; SD 2 is published without it, SDXL never reads it.
@pytest.mark.parametrize(
    ("base", "clip_skip", "layer", "normed"),
    [
        (Base.SD15, 1, -1, True),
        (Base.SD15, 2, -2, True),
        (Base.SD15, 4, -4, True),
        (Base.SD2, 1, -1, True),
        (Base.SD2, 2, -1, True),
        (Base.SD2, 3, -2, True),
        (Base.SDXL, 1, -2, False),
        (Base.SDXL, 2, -2, False),
        (Base.SDXL, 3, -3, False),
    ],
)
def test_clip_skip_counts_layers_as_a1111_does(base: Base, clip_skip: int, layer: int, normed: bool) -> None:
    encoder, states = hidden_states(base, "a red cat")
    (chunk,) = Chunker(checkpoint(base).tokenizers[0], Embeddings()).chunks("a red cat")

    hidden, _ = text_model(base).encode(chunk, clip_skip)

    with torch.no_grad():
        wanted = encoder.final_layer_norm(states[layer]) if normed else states[layer]
    assert torch.equal(hidden, wanted)


@pytest.mark.parametrize(("base", "most"), [(Base.SD15, 4), (Base.SD2, 5), (Base.SDXL, 4)])
def test_the_deepest_clip_skip_is_the_first_layer(base: Base, most: int) -> None:
    text_model(base).encode((), most)

    with pytest.raises(BadValue, match=f"at most {most}"):
        text_model(base).encode((), most + 1)


def test_an_encoder_that_fails_leaves_no_hook_behind() -> None:
    loaded = checkpoint(Base.SD15)
    encoder: Any = loaded.text_encoders[0]
    neon = Embedding("neon", {32: torch.ones(1, 32)})
    model = TextModel(encoder, loaded.tokenizers[0], Base.SD15)

    with pytest.raises(IndexError):
        model.encode((Token(10**6, 1.0), Token(0, 1.0, (neon, 0))), 1)

    assert not encoder.get_input_embeddings()._forward_hooks
