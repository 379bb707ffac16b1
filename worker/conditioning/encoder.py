"""The encoder of one checkpoint: from a request's prompts to the plan of what the UNet is told at each step."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor

from easel.catalog import Base
from easel.errors import BadPrompt
from easel.jobs import ImageRequest
from easel.prompt.compose import split_and
from easel.prompt.networks import extract_networks
from easel.prompt.schedule import Stage, schedule
from easel.prompt.text import clean
from worker.checkpoints.checkpoint import Checkpoint
from worker.conditioning.chunks import Chunk, Chunker
from worker.conditioning.embeddings import CHUNK, NO_EMBEDDINGS, Embeddings
from worker.conditioning.plan import Conditioning, PromptPlan, Track
from worker.conditioning.text_model import TextModel
from worker.networks.outfit import NOTHING, Outfit

MAX_CHUNKS = 20
"""Of one text. Each one makes every step slower, and a prompt of ordinary words never has so many."""

MAX_ENCODINGS = 320
"""Chunks of one plan, all its texts together; they are encoded before the first step."""

Columns = tuple[tuple[Chunk, ...], ...]
"""The chunks of one text, per text encoder."""

Encoded = tuple[Tensor, Tensor | None]

Manner = tuple[int, Outfit]
"""The clip skip, and what the text encoders wear."""


class Encoder:
    """Encodes prompts as A1111 does; at weight 1 the result equals that of the diffusers pipelines.

    Where they differ, A1111 is followed: on SDXL an empty negative prompt is all zeros (in diffusers only None is), and
    there and on SD 2 `!` is a word (diffusers takes it for padding).
    Belongs to the thread that owns the checkpoint.
    """

    def __init__(self, checkpoint: Checkpoint, *, cache_size: int = 256) -> None:
        pairs = zip(checkpoint.text_encoders, checkpoint.tokenizers, strict=True)
        self._checkpoint = checkpoint
        self._models = [TextModel(model, tokenizer, checkpoint.base) for model, tokenizer in pairs]
        self._cache: OrderedDict[Hashable, Encoded] = OrderedDict()
        self._cache_size = cache_size

    def plan(
        self,
        request: ImageRequest,
        *,
        first_pass_steps: int | None = None,
        embeddings: Embeddings = NO_EMBEDDINGS,
        outfit: Outfit = NOTHING,
    ) -> PromptPlan:
        """Encode all that the prompts say over `request.steps`, the text encoders wearing `outfit`.

        In the second pass of a hires fix, what is edited follows on `first_pass_steps`. The `embeddings` fit this
        checkpoint. Raises BadPrompt, BadValue for the clip skip, and ModelUnusable.
        """
        stages_of = partial(schedule, steps=request.steps, first_pass_steps=first_pass_steps)
        parts = [(stages_of(part), weight) for part, weight in split_and(_words(request.prompt))]
        negative = stages_of(_words(request.negative_prompt))
        texts = {stage.text for stages in (*(stages for stages, _ in parts), negative) for stage in stages}
        said = self._encode_all(sorted(texts), (request.clip_skip, outfit), embeddings)
        denied = said
        if self._checkpoint.base is Base.SDXL:
            denied = {text: said[text] if text.strip() else _silence(said[text]) for text in texts}
        return PromptPlan(tuple((_track(stages, said), weight) for stages, weight in parts), _track(negative, denied))

    def forget(self) -> None:
        """Drop what is cached, as after the text encoders' weights were changed."""
        self._cache.clear()

    def _encode_all(self, texts: list[str], manner: Manner, embeddings: Embeddings) -> dict[str, Conditioning]:
        """Encode texts to one common length, the shorter ones filled up with empty chunks."""
        chunkers = [Chunker(tokenizer, embeddings) for tokenizer in self._checkpoint.tokenizers]
        columns = {text: tuple(tuple(chunker.chunks(text)) for chunker in chunkers) for text in texts}
        length = _common_length(columns.values())
        return {text: self._encode(column, length, manner) for text, column in columns.items()}

    def _encode(self, columns: Columns, length: int, manner: Manner) -> Conditioning:
        encoded = [
            [self._chunk(index, chunk, manner) for chunk in (*chunks, *[()] * (length - len(chunks)))]
            for index, chunks in enumerate(columns)
        ]
        embeds = torch.cat([torch.cat([hidden for hidden, _ in column], dim=1) for column in encoded], dim=-1)
        pooled = encoded[-1][0][1]
        # Where memory is short the text encoders stand elsewhere than the UNet.
        device, dtype = self._checkpoint.device, self._checkpoint.dtype
        return Conditioning(embeds.to(device, dtype), None if pooled is None else pooled.to(device, dtype))

    def _chunk(self, index: int, chunk: Chunk, manner: Manner) -> Encoded:
        """Encode one chunk by itself, so that no result depends on what happened to be encoded along with it."""
        clip_skip, outfit = manner
        key = (index, chunk, clip_skip, outfit.words)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        with outfit.speaking(self._checkpoint):
            encoded = self._models[index].encode(chunk, clip_skip)
        self._cache[key] = encoded
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return encoded


def _words(prompt: str) -> str:
    # Networks are the business of others; their tags say nothing to the text encoder.
    words, _ = extract_networks(clean(prompt))
    return words


def _track(stages: tuple[Stage, ...], said: Mapping[str, Conditioning]) -> Track:
    return Track(tuple(stage.until_step - 1 for stage in stages), tuple(said[stage.text] for stage in stages))


def _silence(like: Conditioning) -> Conditioning:
    """Return zeros. Padded with zeros, they tell the UNet what one zero chunk does, whatever their number."""
    pooled = None if like.pooled is None else torch.zeros_like(like.pooled)
    return Conditioning(torch.zeros_like(like.embeds), pooled)


def _common_length(texts: Iterable[Columns]) -> int:
    """Return the number of chunks all texts are brought to; raises BadPrompt where that is too much."""
    lengths = [max(map(len, columns)) for columns in texts]
    longest = max(lengths)
    if longest > MAX_CHUNKS:
        raise BadPrompt(
            f"The prompt is too long: it fills {longest} chunks of {CHUNK} tokens, and {MAX_CHUNKS} fit. "
            "Please shorten it, or use fewer BREAKs."
        )
    if longest * len(lengths) > MAX_ENCODINGS:
        raise BadPrompt(
            f"The prompt changes too often for its length: {len(lengths)} texts of {longest} chunks. "
            "Please shorten it, or use fewer alternatives."
        )
    return longest
