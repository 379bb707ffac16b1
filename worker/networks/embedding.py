"""Embeddings: read from their files, and kept as what prompts say by name while files come, change and go."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from easel.catalog import ModelCard, ModelKind
from easel.errors import ModelUnusable
from easel.library import Library
from easel.prompt.embeddings import Lexicon, Words, embedding_words, meant, named_embeddings
from worker.conditioning.embeddings import CHUNK, Embedding, Embeddings
from worker.recent import Recent
from worker.weights_file import read_weights

KEPT = 256
"""Embeddings held in memory; one of SD 1.5 has a few kB, the largest of SDXL 0.6 MB."""

_HALVES = ({"clip_l", "clip_g"}, {"text_encoders_0", "text_encoders_1"})
"""What trainers call the two of SDXL; the second is diffusers' pivotal tuning. One alone may have any name."""


def read_embedding(path: Path, name: str) -> Mapping[int, Tensor]:
    """Return the vectors per text encoder width, each (n, width) float32 with the same n; raises ModelUnusable."""
    what = f"The embedding `{name}`"
    weights = read_weights(path, what)
    if set(weights) not in _HALVES and len(weights) != 1:
        raise ModelUnusable(
            f"{what} can not be used: it holds {len(weights)} tensors, and one embedding is one or two."
        )
    vectors = [_vectors(one, what) for one in weights.values()]
    by_width = {one.shape[1]: one for one in vectors}
    counts = {len(one) for one in vectors}
    if len(by_width) != len(vectors) or len(counts) != 1:
        raise ModelUnusable(f"{what} can not be used: its two halves do not belong together.")
    if max(counts) > CHUNK:
        raise ModelUnusable(f"{what} can not be used: it takes {max(counts)} words of a prompt, and {CHUNK} fit.")
    return by_width


@dataclass(frozen=True, slots=True)
class Heard:
    """What a request's prompts say to one checkpoint by naming embeddings."""

    embeddings: Embeddings
    cards: tuple[ModelCard, ...] = ()
    """Of those that are used, in the prompts' order."""
    notes: tuple[str, ...] = ()
    """A sentence for each that is named and can not be used; its name is read as plain words."""


class Vocabulary:
    """The embeddings of one machine; any thread may ask."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._lock = threading.Lock()
        self._names: tuple[tuple[ModelCard, ...], Words, Lexicon] = ((), {}, Lexicon())
        self._kept: Recent[Embedding | str] = Recent(KEPT)

    def heard(self, texts: Iterable[str], checkpoint: ModelCard, widths: tuple[int, ...]) -> Heard:
        """Load what the texts name; `widths` are those of the checkpoint's text encoders. Raises BadPrompt."""
        with self._lock:
            words, lexicon = self._current()
            named = dict.fromkeys(name for text in texts for name in named_embeddings(text, lexicon))
            used: dict[str, Embedding] = {}
            cards: dict[ModelCard, None] = {}
            notes: dict[str, None] = {}
            for name in named:
                card = meant(words[name], checkpoint)
                loaded = self._loaded(card)
                if isinstance(loaded, str):
                    notes[f"{loaded} Its name was read as plain words."] = None
                elif card.fits(checkpoint) and loaded.fits(widths):
                    used[name] = loaded
                    cards[card] = None
                else:
                    notes[_foreign(card, checkpoint)] = None
        return Heard(Embeddings(used), tuple(cards), tuple(notes))

    def _current(self) -> tuple[Words, Lexicon]:
        cards = self._library.catalog.cards(ModelKind.EMBEDDING)
        if cards is not self._names[0]:
            words = embedding_words(cards)
            self._names = cards, words, Lexicon(words)
        return self._names[1:]

    def _loaded(self, card: ModelCard) -> Embedding | str:
        """Return an embedding, the same object until its file changes, or the sentence that says why there is none."""
        try:
            path = self._library.path(card)
            state = path.stat()
        except ModelUnusable as error:
            return str(error)
        except OSError:
            return f"The file of the embedding `{card.name}` is gone."
        return self._kept.get((path, state.st_size, state.st_mtime_ns), partial(_read, path, card.name))


def _read(path: Path, name: str) -> Embedding | str:
    try:
        return Embedding(name, read_embedding(path, name))
    except ModelUnusable as error:
        return str(error)


def _vectors(tensor: Tensor, what: str) -> Tensor:
    vectors = tensor[None] if tensor.ndim == 1 else tensor
    if vectors.ndim != 2 or not vectors.numel():
        raise ModelUnusable(f"{what} can not be used: its tensors are not laid out as an embedding's vectors.")
    if not vectors.is_floating_point():
        raise ModelUnusable(f"{what} can not be used: its vectors are of a kind that nothing can be calculated with.")
    # A copy, as the file may be replaced.
    vectors = vectors.to(torch.float32, copy=True)
    if not torch.isfinite(vectors).all():
        raise ModelUnusable(f"{what} can not be used: it holds values that are not numbers. Please install it again.")
    return vectors


def _foreign(card: ModelCard, checkpoint: ModelCard) -> str:
    return (
        f"The embedding `{card.name}` was not made for checkpoints like `{checkpoint.name}`. "
        "Its name was read as plain words."
    )
