"""Embeddings: words whose vectors were learned, found in the text by their names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from easel.prompt.embeddings import Lexicon

CHUNK = 75
"""Words of a prompt that CLIP reads at a time, beside start and end."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """What stands for a word; equal only to itself, so that whatever was encoded with it holds while it is in use."""

    name: str
    vectors: Mapping[int, Tensor]
    """Per text encoder width: {768: (n, 768)} for SD 1.5, {768: …, 1280: …} for SDXL."""

    def __len__(self) -> int:
        """Return how many places of the prompt it takes."""
        return len(next(iter(self.vectors.values())))

    def fits(self, widths: tuple[int, ...]) -> bool:
        """Tell whether it holds vectors for encoders of these widths; what lacks one was made for another base."""
        return all(width in self.vectors for width in widths)


class Embeddings:
    """What a text may name; case does not count, and a name is never found inside a word."""

    def __init__(self, known: Mapping[str, Embedding] | None = None) -> None:
        self._known = dict(known or {})
        self._lexicon = Lexicon(self._known)

    def split(self, text: str) -> Iterator[tuple[str, Embedding | None]]:
        """Yield the text in pieces: (words, None), or (words, the embedding that they name)."""
        end = 0
        for start, after, name in self._lexicon.find(text):
            yield text[end:start], None
            yield text[start:after], self._known[name]
            end = after
        yield text[end:], None


NO_EMBEDDINGS = Embeddings()
