"""Finds things by what people type: exact, by prefix, by word, by piece, or merely alike."""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

MAX_NAME = 200
"""Characters; what is typed is cut there before it is looked up."""

MAX_COMPARED = 40
"""Things compared letter by letter, at about 50 us each: all of a short list, the likeliest of a long one."""

_SEPARATORS = re.compile(r"[\s_\-.,:()\[\]]+")


def folded(text: str) -> str:
    """Return `text` as it is compared: case, width and kind of separator do not count."""
    return _SEPARATORS.sub(" ", unicodedata.normalize("NFKC", text[:MAX_NAME]).casefold()).strip()


class Names:
    """The spellings of numbered things; thing n is known by `spellings[n]`, its name first."""

    def __init__(self, spellings: Sequence[Sequence[str]]) -> None:
        self._folds = [tuple(filter(None, map(folded, own))) for own in spellings]
        self._exact: dict[str, int] = {}
        # Whichever thing comes first, a name beats an alias: so all first spellings go in before any second one.
        for place in range(max(map(len, spellings), default=0)):
            for index, own in enumerate(spellings):
                if place < len(own) and own[place]:
                    self._exact.setdefault(own[place], index)
        self._folded: dict[str, int] = {}
        for spelling, index in self._exact.items():
            self._folded.setdefault(folded(spelling), index)
        self._folded.pop("", None)
        # "\n" stands around a spelling and " " before a word, so that one `in` tells the match classes apart.
        self._hay = ["\n" + "".join(f"{fold}\n" for fold in own) for own in self._folds]
        self._grams: dict[str, list[int]] = {}
        for index, hay in enumerate(self._hay):
            for gram in _grams(hay):
                self._grams.setdefault(gram, []).append(index)

    def find(self, typed: str) -> int | None:
        """Return the thing that is called so, as typed or else folded; None where there is none."""
        return self._exact.get(typed, self._folded.get(folded(typed)))

    def matches(self, typed: str) -> list[tuple[int, int]]:
        """Return (class, thing): 0 whole, 1 prefix, 2 start of a word, 3 inside; only where there is none of these, 4 alike."""
        fold = folded(typed)
        words = fold.split()
        whole, prefix, word = f"\n{fold}\n", f"\n{fold}", f" {fold}"
        found = [
            (0 if whole in hay else 1 if prefix in hay else 2 if word in hay else 3, index)
            for index, hay in enumerate(self._hay)
            if fold in hay or (len(words) > 1 and all(part in hay for part in words))
        ]
        return found or [(4, index) for index in self._alike(fold)]

    def nearest(self, typed: str, count: int = 3) -> list[int]:
        """Return up to `count` things, the likest first; any rather than none."""
        fold = folded(typed)
        pool = (
            [index for _, index in self.matches(typed)] if len(self._folds) > MAX_COMPARED else range(len(self._folds))
        )
        likely = self._by_likeness(fold, pool)
        close = [index for likeness, index in likely if likeness >= 0.5]
        return (close or [index for _, index in likely] or list(range(len(self._folds))))[:count]

    def _alike(self, fold: str) -> list[int]:
        # The eight rarest pieces decide: common ones would make every keystroke walk the whole list.
        known = sorted(_grams(f"\n{fold}") & self._grams.keys(), key=lambda gram: (len(self._grams[gram]), gram))[:8]
        shared: Counter[int] = Counter()
        for gram in known:
            shared.update(self._grams[gram])
        enough = max(1, len(known) // 2)
        best = [index for index, count in shared.most_common(MAX_COMPARED) if count >= enough]
        return [index for _, index in self._by_likeness(fold, best)]

    def _by_likeness(self, fold: str, pool: Sequence[int]) -> list[tuple[float, int]]:
        # SequenceMatcher prepares its second text once, for all that are compared with it.
        matcher = difflib.SequenceMatcher(b=fold[:50], autojunk=False)
        likely = []
        for index in pool[:MAX_COMPARED]:
            likeness = 0.0
            for own in self._folds[index]:
                matcher.set_seq1(own[:50])
                likeness = max(likeness, matcher.ratio())
            likely.append((likeness, index))
        return sorted(likely, key=lambda one: (-one[0], one[1]))


def _grams(text: str) -> set[str]:
    return {text[at : at + 3] for at in range(len(text) - 2)}
