"""Permutations: `{red, green} bird` is two prompts, as in Midjourney; counted before any is written."""

from itertools import product
from math import prod

from easel.errors import BadPrompt
from easel.prompt.braces import Option, read_braces, resolve

DEFAULT_LIMIT = 40

_TOO_MANY_TO_SAY = 10**6


def count_permutations(text: str) -> int:
    """Return how many prompts the braces of `text` make, 1 if there are none."""
    return _count(read_braces(text, ","))


def permutations(text: str, limit: int = DEFAULT_LIMIT) -> tuple[str, ...]:
    """Return every prompt, the leftmost brace changing slowest; raises BadPrompt if there are more than `limit`."""
    tree = read_braces(text, ",")
    count = _count(tree)
    if count > limit:
        said = str(count) if count <= _TOO_MANY_TO_SAY else f"more than {_TOO_MANY_TO_SAY}"
        raise BadPrompt(f"The braces make {said} prompts; at most {limit} are made at once. Please list fewer options.")
    return tuple(_texts(tree))


def _count(option: Option) -> int:
    return prod(sum(map(_count, piece.options)) for piece in option if not isinstance(piece, str))


def _texts(option: Option) -> list[str]:
    choices = (
        [piece] if isinstance(piece, str) else [resolve(piece, text) for own in piece.options for text in _texts(own)]
        for piece in option
    )
    return ["".join(chosen) for chosen in product(*choices)]
