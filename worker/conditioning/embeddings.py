"""Embeddings: words whose vectors were learned, found in the text by their names."""

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

CHUNK = 75
"""Words of a prompt that CLIP reads at a time, beside start and end."""


class Embeddings:
    """The embeddings that fit one checkpoint, by name; case does not count, and a name is never found inside a word.

    `vectors` maps a name to its vectors per text encoder width: {768: (n, 768)} for SD 1.5, {768: …, 1280: …} for SDXL.
    What lacks one of the `widths` was made for another base and is left out, as A1111 does.
    """

    def __init__(self, vectors: Mapping[str, Mapping[int, Tensor]], widths: tuple[int, ...]) -> None:
        fitting = {name.casefold(): _fitting(rows, widths) for name, rows in vectors.items() if name}
        self._vectors = {name: rows for name, rows in fitting.items() if rows}
        # The longest first: `bad hands 5` is not `bad hands` and a 5.
        names = sorted(self._vectors, key=len, reverse=True)
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)", re.IGNORECASE)

    def vector(self, name: str, row: int, width: int) -> Tensor:
        """Return one (width,) vector; `name` as `split` gave it."""
        return self._vectors[name][width][row]

    def split(self, text: str) -> Iterator[tuple[str, int]]:
        """Yield the text in pieces: (words, 0), or (name, its number of vectors)."""
        if not self._vectors:
            yield text, 0
            return
        end = 0
        for match in self._pattern.finditer(text):
            rows = self._vectors.get(match[0].casefold())
            # Matching without case and casefold() differ on a few letters of other scripts.
            if rows is None:
                continue
            yield text[end : match.start()], 0
            yield match[0].casefold(), len(next(iter(rows.values())))
            end = match.end()
        yield text[end:], 0


def _fitting(rows: Mapping[int, Tensor], widths: tuple[int, ...]) -> dict[int, Tensor]:
    """Return the vectors for these widths, as many for each; empty where they do not fit."""
    wanted = {width: rows[width] for width in widths if width in rows}
    shapes = {width: (len(one), width) == tuple(one.shape) for width, one in wanted.items()}
    counts = {len(one) for one in wanted.values()}
    fits = len(wanted) == len(widths) and all(shapes.values()) and len(counts) == 1 and 1 <= counts.pop() <= CHUNK
    return wanted if fits else {}
