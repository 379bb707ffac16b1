"""One CLIP text encoder: a chunk goes in, what the UNet reads comes out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from easel.catalog import Base
from easel.errors import BadValue
from worker.conditioning.chunks import Chunk
from worker.conditioning.embeddings import CHUNK


class TextModel:
    """A text encoder with its tokenizer, at one base's layer."""

    def __init__(self, model: nn.Module, tokenizer: CLIPTokenizer, base: Base) -> None:
        self._model: Any = model
        self._tokenizer = tokenizer
        self._base = base

    @torch.no_grad()
    def encode(self, chunk: Chunk, clip_skip: int) -> tuple[Tensor, Tensor | None]:
        """Return (1, 77, width), and (1, projection) where the encoder has one; raises BadValue past the last layer."""
        layer = self._layer(clip_skip)
        with self._learned(chunk):
            output = self._model(input_ids=self._ids(chunk), output_hidden_states=layer is not None)
        if layer is None:
            hidden: Tensor = output.last_hidden_state
        else:
            hidden = output.hidden_states[layer]
            if self._base is not Base.SDXL:
                # transformers 5.6 took the inner `text_model` away from CLIPTextModel.
                hidden = getattr(self._model, "text_model", self._model).final_layer_norm(hidden)
        return _weighted(hidden, chunk), getattr(output, "text_embeds", None)

    def _layer(self, clip_skip: int) -> int | None:
        """Return which hidden states to take, counted from the end; None is the encoder's own output.

        SD 2 and SDXL were trained on the last layer but one, so that clip skip 1 and 2 are the same there; SD 2's
        encoder is published without the layer that is never used.
        """
        layers: int = self._model.config.num_hidden_layers
        unused = 1 if self._base is Base.SD2 else 0
        if clip_skip > layers + unused:
            raise BadValue(
                f"Clip skip {clip_skip} is more than this checkpoint's text encoder has layers. "
                f"Please take at most {layers + unused}."
            )
        if self._base is Base.SDXL:
            return -max(clip_skip, 2)
        skip = max(clip_skip - unused, 1)
        return None if skip == 1 else -skip

    def _ids(self, chunk: Chunk) -> Tensor:
        tokenizer = self._tokenizer
        padding = [tokenizer.pad_token_id] * (CHUNK - len(chunk))
        ids = [tokenizer.bos_token_id, *(token.id for token in chunk), tokenizer.eos_token_id, *padding]
        return torch.tensor([ids], device=self._model.device)

    @contextmanager
    def _learned(self, chunk: Chunk) -> Iterator[None]:
        """Write the chunk's learned vectors over those of its stand-in tokens, for one call of the encoder."""
        rows = [(at, token.learned) for at, token in enumerate(chunk, start=1) if token.learned]
        if not rows:
            yield
            return

        width = self._model.config.hidden_size

        def write(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            output = output.clone()
            for at, (embedding, row) in rows:
                output[0, at] = embedding.vectors[width][row].to(output)
            return output

        hook = self._model.get_input_embeddings().register_forward_hook(write)
        try:
            yield
        finally:
            hook.remove()


def _weighted(hidden: Tensor, chunk: Chunk) -> Tensor:
    """Multiply each token by its weight and restore the mean of the whole (A1111's emphasis "Original")."""
    if all(token.weight == 1 for token in chunk):
        return hidden
    weights = [1.0, *(token.weight for token in chunk), *[1.0] * (CHUNK + 1 - len(chunk))]
    # The mean of many halves overflows, and a mean near zero has no digits to lose.
    exact = hidden.float()
    weighted = exact * torch.tensor(weights, device=hidden.device)[None, :, None]
    restored = weighted * torch.nan_to_num(exact.mean() / weighted.mean(), nan=1.0, posinf=1.0, neginf=1.0)
    return restored.to(hidden.dtype)
