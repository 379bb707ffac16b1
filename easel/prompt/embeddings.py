"""Embeddings named in a prompt: by their bare words, whatever the case, and never inside another word."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from easel.catalog import ModelCard, ModelKind
from easel.prompt.networks import extract_networks

# A name is made of whole words and of single signs, and so is a text.
_PIECE = re.compile(r"\w+|\W")
_ESCAPE = re.compile(r"\\(?=[()\[\]\\])")

_END = ""
"""Under this key, which no piece has, a branch of the tree holds the name that ends there."""

Words = Mapping[str, tuple[ModelCard, ...]]
"""What a prompt may say, without case, and whom it means: the likeliest first."""


class Lexicon:
    """Names that are looked for in texts; the time to look does not depend on how many they are."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._tree: dict[str, Any] = {}
        for name in names:
            branch = self._tree
            for piece in _PIECE.findall(name):
                branch = branch.setdefault(piece.casefold(), {})
            if branch is not self._tree:
                branch.setdefault(_END, name)

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield start, end and name, as it was given, of all that `text` names; of two that begin alike the longer."""
        places = [match.span() for match in _PIECE.finditer(text)] if self._tree else []
        pieces = [text[start:end].casefold() for start, end in places]
        at = 0
        while at < len(pieces):
            after, name = self._longest(pieces, at)
            if name:
                yield places[at][0], places[after - 1][1], name
            at = max(after, at + 1)

    def _longest(self, pieces: list[str], at: int) -> tuple[int, str]:
        """Return the piece behind the longest name that begins here, and the name; `at` and "" where none does."""
        branch, found = self._tree, (at, "")
        for index in range(at, len(pieces)):
            if pieces[index] not in branch:
                break
            branch = branch[pieces[index]]
            found = (index + 1, branch[_END]) if _END in branch else found
        return found


def named_embeddings(text: str, names: Iterable[str] | Lexicon) -> tuple[str, ...]:
    """Return those of `names` that a prompt uses, as they were given, in its order and each once.

    What stands in a `<lora:…>` is no word of the prompt. Raises BadPrompt where such a tag is wrong.
    """
    lexicon = names if isinstance(names, Lexicon) else Lexicon(names)
    words = _ESCAPE.sub("", extract_networks(text)[0])
    return tuple(dict.fromkeys(name for _, _, name in lexicon.find(words)))


def embedding_words(cards: Iterable[ModelCard]) -> Words:
    """Return what names each of the installed embeddings among `cards`: its name, its aliases, the name of its file.

    A file's name may stand for several, which then were made for different bases.
    """
    here = [card for card in cards if card.kind is ModelKind.EMBEDDING and card.installed]
    names = ((card.name, card) for card in here)
    aliases = ((alias, card) for card in here for alias in card.aliases)
    files = ((PurePosixPath(card.path).stem, card) for card in here)
    words: dict[str, dict[str, ModelCard]] = {}
    for spelling, card in chain(names, aliases, files):
        if word := spelling.strip().casefold():
            words.setdefault(word, {}).setdefault(card.name, card)
    return {word: tuple(own.values()) for word, own in words.items()}


def meant(cards: Iterable[ModelCard], checkpoint: ModelCard) -> ModelCard:
    """Return the one of `cards`, at least one, that a prompt for this checkpoint means: the first that fits, or the first."""
    cards = tuple(cards)
    return next((card for card in cards if card.fits(checkpoint)), cards[0])
