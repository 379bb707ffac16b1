"""From text to chunks: at most 75 weighted tokens each, cut where A1111 cuts them."""

from collections.abc import Iterator
from typing import NamedTuple, cast

from transformers import CLIPTokenizer

from easel.prompt.attention import BREAK, parse_attention
from worker.conditioning.embeddings import CHUNK, Embedding, Embeddings

COMMA_REACH = 20
"""A phrase that a chunk's end would cut moves on whole, if its comma is at most this many tokens back."""


class Token(NamedTuple):
    id: int
    weight: float
    learned: tuple[Embedding, int] | None = None
    """The embedding that stands here instead of the id, and which of its vectors."""


Chunk = tuple[Token, ...]


class Chunker:
    """Cuts texts for one text encoder (A1111, `sd_hijack_clip.tokenize_line`)."""

    def __init__(self, tokenizer: CLIPTokenizer, embeddings: Embeddings) -> None:
        self._tokenizer = tokenizer
        self._embeddings = embeddings
        self._comma = cast("int", tokenizer.convert_tokens_to_ids(",</w>"))

    def chunks(self, text: str) -> list[Chunk]:
        """Return at least one chunk, which is empty where the text is."""
        cutter = _Cutter(self._comma)
        for part in parse_attention(text):
            if part == BREAK:
                cutter.next_chunk()
                continue
            for piece in self._pieces(part.text, part.weight):
                cutter.add(piece)
        return cutter.finish()

    def _pieces(self, text: str, weight: float) -> Iterator[Chunk]:
        """Yield what may not be torn apart: single tokens, and whole embeddings."""
        for words, embedding in self._embeddings.split(text):
            if embedding is not None:
                yield tuple(Token(0, weight, (embedding, row)) for row in range(len(embedding)))
                continue
            # Written out, special words are ordinary text; `!`, which pads on SD 2 and SDXL, among them.
            ids = self._tokenizer(words, add_special_tokens=False, split_special_tokens=True, verbose=False).input_ids
            yield from ((Token(number, weight),) for number in ids)


class _Cutter:
    def __init__(self, comma: int) -> None:
        self._comma = comma
        self._done: list[Chunk] = []
        self._open: list[Token] = []
        self._last_comma = -1

    def add(self, piece: Chunk) -> None:
        if piece[0].learned is None and piece[0].id == self._comma:
            self._last_comma = len(self._open)
        elif len(self._open) == CHUNK and self._last_comma >= 0 and CHUNK - self._last_comma <= COMMA_REACH:
            phrase = self._open[self._last_comma + 1 :]
            del self._open[self._last_comma + 1 :]
            self.next_chunk()
            self._open = phrase
        if len(self._open) + len(piece) > CHUNK:
            self.next_chunk()
        self._open.extend(piece)

    def next_chunk(self) -> None:
        self._done.append(tuple(self._open))
        self._open = []
        self._last_comma = -1

    def finish(self) -> list[Chunk]:
        if self._open or not self._done:
            self.next_chunk()
        return self._done
