"""From the pieces that a file keeps for one module to the change that they are together."""

from collections.abc import Callable, Mapping
from typing import NoReturn

from torch import Tensor

from worker.networks.algorithms import (
    Change,
    Decomposed,
    Difference,
    Generalised,
    Hadamard,
    Kronecker,
    LowRank,
    Matrix,
    Rescaling,
    Rotation,
)

Pieces = Mapping[str, Tensor]
"""By the names that `keys.split` gives them."""

MISMATCHED = (ValueError, IndexError, KeyError, RuntimeError)
"""What pieces of wrong shapes, or too few of them, lead to."""


def weight_change(pieces: Pieces) -> Change | None:
    """Return what is done to the module's weight, None where that is nothing; raises one of `MISMATCHED`."""
    make = next((make for mark, make in _MAKERS if mark in pieces), None)
    return None if make is None else _decomposed(pieces, make(pieces))


def bias_change(pieces: Pieces) -> Change | None:
    """Return what is done to the module's bias, None where that is nothing."""
    found = pieces.get("diff_b", pieces.get("b_norm"))
    return None if found is None else Difference(found)


def _decomposed(pieces: Pieces, change: Change) -> Change:
    if "lengths" in pieces:
        # PEFT knows only the lengths of outputs, which for convolutions it writes as (1, out, 1, 1).
        return Decomposed(change, pieces["lengths"].flatten(), outward=True)
    if "dora_scale" not in pieces:
        return change
    lengths = pieces["dora_scale"]
    return Decomposed(change, lengths.flatten(), outward=lengths.ndim < 2 or lengths.shape[0] == lengths.numel())


def _low_rank(pieces: Pieces) -> Change:
    up, down, core = pieces.get("up"), pieces.get("down"), pieces.get("core")
    if up is None or down is None:
        _unpaired()
    if core is None:
        return LowRank(_narrow(up, down), _scale(pieces, down.shape[0]))
    return LowRank(_with_core(up.flatten(1).T, down.flatten(1), core), _scale(pieces, down.shape[0]))


def _hadamard(pieces: Pieces) -> Change:
    first, second = (_hadamard_factor(pieces, number) for number in (1, 2))
    return Hadamard(first, second, _scale(pieces, pieces["hada_w1_b"].shape[0]))


def _hadamard_factor(pieces: Pieces, number: int) -> Matrix:
    a, b, core = (pieces.get(f"hada_{name}") for name in (f"w{number}_a", f"w{number}_b", f"t{number}"))
    if a is None or b is None:
        _unpaired()
    return _narrow(a, b) if core is None else _with_core(a, b, core)


def _kronecker(pieces: Pieces) -> Change:
    small, large = _kronecker_factor(pieces, 1), _kronecker_factor(pieces, 2)
    # Only what is of low rank has a rank to scale by; LyCORIS gives both factors the same.
    ranks = [pieces[name].shape[0] for name in ("lokr_w1_b", "lokr_w2_b") if name in pieces]
    return Kronecker(small, large, _scale(pieces, ranks[0]) if ranks else 1.0)


def _kronecker_factor(pieces: Pieces, number: int) -> Matrix:
    whole, a, b, core = (pieces.get(f"lokr_{name}{number}{side}") for name, side in _KRONECKER)
    if whole is not None:
        return Matrix((whole.flatten(1),))
    if a is None or b is None:
        _unpaired()
    return _narrow(a, b) if core is None else _with_core(a, b, core)


_KRONECKER = (("w", ""), ("w", "_a"), ("w", "_b"), ("t", ""))


def _difference(pieces: Pieces) -> Change:
    return Difference(pieces["diff"] if "diff" in pieces else pieces["w_norm"])


def _rotation(pieces: Pieces) -> Change:
    blocks, rescale = pieces["oft_blocks"], pieces.get("rescale")
    if blocks.ndim not in {3, 4} or blocks.shape[-1] != blocks.shape[-2] or blocks.shape[-1] < 1:
        raise ValueError("the blocks are not square")
    butterfly = blocks.ndim == 4
    if butterfly and blocks.shape[-1] % 2:
        raise ValueError("the blocks of a butterfly have two halves")
    constraint = float(pieces["alpha"]) if "alpha" in pieces else 0.0
    lengths = None if rescale is None else rescale.flatten()
    return Rotation(blocks if butterfly else blocks[None], butterfly, lengths, constraint)


def _rescaling(pieces: Pieces) -> Change:
    if "weight" not in pieces:
        _unpaired()
    return Rescaling(pieces["weight"].flatten(), inward=bool(pieces["on_input"].any()))


def _generalised(pieces: Pieces) -> Change:
    a1, a2, b1, b2 = (pieces[f"{name}.weight"].flatten(1) for name in ("a1", "a2", "b1", "b2"))
    if len(a1) < a1.shape[1]:
        # Before LyCORIS 2 the narrow ones came first.
        a1, a2, b1, b2 = a2, a1, b2, b1
    return Generalised(_narrow(a1, a2), _narrow(b1, b2), _scale(pieces, len(a2)))


_MAKERS: tuple[tuple[str, Callable[[Pieces], Change]], ...] = (
    ("down", _low_rank),
    ("up", _low_rank),
    ("hada_w1_a", _hadamard),
    ("lokr_w1", _kronecker),
    ("lokr_w1_a", _kronecker),
    ("oft_blocks", _rotation),
    ("a1.weight", _generalised),
    ("on_input", _rescaling),
    ("diff", _difference),
    ("w_norm", _difference),
)
"""Which piece only one method has."""


def _scale(pieces: Pieces, rank: int) -> float:
    alpha = float(pieces["alpha"]) if "alpha" in pieces else 0.0
    # Trainers write 0 for "not scaled".
    return alpha / rank if alpha and rank else 1.0


def _narrow(first: Tensor, second: Tensor) -> Matrix:
    if first.ndim < 2 or second.ndim < 2 or first.flatten(1).shape[1] != second.shape[0]:
        _unpaired()
    return Matrix((first.flatten(1), second.flatten(1)))


def _with_core(first: Tensor, second: Tensor, core: Tensor) -> Matrix:
    if first.ndim != 2 or second.ndim != 2 or core.ndim < 3 or core.shape[:2] != (first.shape[0], second.shape[0]):
        _unpaired()
    return Matrix((first, second, core))


def _unpaired() -> NoReturn:
    raise ValueError("pieces that belong together are missing or do not match")
