"""How LoRAs and their kin change a weight: the formulas of each training method, in float32.

Names and formulas are LyCORIS's (docs/Algo-Details.md there), which A1111 and ComfyUI read the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
from torch import Tensor


class Change(Protocol):
    """What one training run learned about one weight."""

    def fits(self, shape: Sequence[int]) -> bool:
        """Tell whether a weight of this shape can be changed so."""
        ...

    def of(self, weight: Tensor, ranks: int | None = None) -> Tensor:
        """Return what is added at strength 1 to `weight`, which is float32, in its shape and on its device.

        Of changes of low rank only the first `ranks` count, None being all.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A matrix as files keep it; the kernel of a convolution counts among its columns."""

    pieces: tuple[Tensor, ...]
    """Whole, (rows, columns); two narrow ones, (rows, r) and (r, columns); or two and a core that holds the kernel
    (Tucker): (r, rows), (r, columns / kernel) and (r, r, *kernel)."""

    @property
    def shape(self) -> tuple[int, int]:
        match self.pieces:
            case (first, second, core):
                return first.shape[1], second.shape[1] * prod(core.shape[2:])
            case _:
                return self.pieces[0].shape[0], self.pieces[-1].shape[1]

    def at(self, weight: Tensor, ranks: int | None = None) -> Tensor:
        """Return it whole, on the device and in the dtype of `weight`; ranks beyond the first `ranks` are left out."""
        match [piece.to(weight) for piece in self.pieces]:
            case (first, second, core):
                return torch.einsum("ij...,ip,jq->pq...", core, first, second).flatten(1)
            case (first, second):
                return first[:, :ranks] @ second[:ranks]
            case pieces:
                return pieces[0]

    def fits(self, shape: Sequence[int]) -> bool:
        return len(shape) >= 2 and self.shape == (shape[0], prod(shape[1:]))


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """LoRA and LoCon."""

    matrix: Matrix
    scale: float

    def fits(self, shape: Sequence[int]) -> bool:
        return self.matrix.fits(shape)

    def of(self, weight: Tensor, ranks: int | None = None) -> Tensor:
        change = self.matrix.at(weight, ranks).reshape(weight.shape)
        return change if self.scale == 1 else change.mul_(self.scale)


@dataclass(frozen=True, slots=True, eq=False)
class Hadamard:
    """LoHa: two matrices of low rank, multiplied number by number."""

    first: Matrix
    second: Matrix
    scale: float

    def fits(self, shape: Sequence[int]) -> bool:
        return self.first.fits(shape) and self.second.fits(shape)

    def of(self, weight: Tensor, ranks: int | None = None) -> Tensor:
        return (self.first.at(weight) * self.second.at(weight)).reshape(weight.shape) * self.scale


@dataclass(frozen=True, slots=True, eq=False)
class Kronecker:
    """LoKr: the Kronecker product of two matrices."""

    small: Matrix
    large: Matrix
    scale: float

    def fits(self, shape: Sequence[int]) -> bool:
        sides = [one * other for one, other in zip(self.small.shape, self.large.shape, strict=True)]
        return len(shape) >= 2 and sides == [shape[0], prod(shape[1:])]

    def of(self, weight: Tensor, ranks: int | None = None) -> Tensor:
        return torch.kron(self.small.at(weight), self.large.at(weight)).reshape(weight.shape) * self.scale


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """Full training: the difference itself, of weights, biases and norms."""

    difference: Tensor

    def fits(self, shape: Sequence[int]) -> bool:
        return self.difference.numel() == prod(shape)

    def of(self, weight: Tensor, ranks: int | None = None) -> Tensor:
        return self.difference.to(weight).reshape(weight.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Generalised:
    """GLoRA: one matrix is multiplied with the weight, another one added."""

    inward: Matrix
    """(in, in)"""
    outward: Matrix
    scale: float

    def fits(self, shape: Sequence[int]) -> bool:
        return self.outward.fits(shape) and self.inward.shape == (shape[1], shape[1])

    def of(self, weight: Tensor, ranks: int | None = None) -> Tensor:
        turned = torch.einsum("oi...,ij->oj...", weight, self.inward.at(weight))
        return (turned + self.outward.at(weight).reshape(weight.shape)) * self.scale


@dataclass(frozen=True, slots=True, eq=False)
class Rescaling:
    """(IA)³: each channel that comes in, or goes out, is multiplied."""

    factors: Tensor
    """(channels,), 0 leaving a channel as it is."""
    inward: bool

    def fits(self, shape: Sequence[int]) -> bool:
        return len(shape) >= 2 and self.factors.numel() == shape[1 if self.inward else 0]

    def of(self, weight: Tensor, ranks: int | None = None) -> Tensor:
        return weight * _along(weight, self.factors, outward=not self.inward)


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """OFT: blocks of outputs are rotated, once (diagonal) or in stages that mix over ever wider distances (butterfly)."""

    blocks: Tensor
    """(stages, n, b, b); each less its transpose is what Cayley's formula makes a rotation of."""
    butterfly: bool
    rescale: Tensor | None
    """(out,)"""
    constraint: float
    """The greatest norm of all blocks together, per output; 0 is none."""

    def fits(self, shape: Sequence[int]) -> bool:
        stages, count, side, _ = self.blocks.shape
        # The last stage mixes outputs that lie 2^stages half blocks apart.
        reach = side // 2 * 2**stages if self.butterfly else side
        fits = len(shape) >= 2 and count * side == shape[0] and shape[0] % reach == 0
        return fits and (self.rescale is None or self.rescale.numel() == shape[0])

    def of(self, weight: Tensor, ranks: int | None = None) -> Tensor:
        rotations = self._rotations(weight)
        if self.butterfly:
            rotated = weight
            for stage, rotation in enumerate(rotations):
                rotated = _mixed(rotated, rotation, rotation.shape[-1] // 2 * 2**stage)
        else:
            blocks = weight.reshape(*rotations.shape[1:3], *weight.shape[1:])
            rotated = torch.einsum("knm,kn...->km...", rotations[0], blocks).reshape(weight.shape)
        if self.rescale is not None:
            rotated = rotated * _along(weight, self.rescale, outward=True)
        return rotated - weight

    def _rotations(self, weight: Tensor) -> Tensor:
        blocks = self.blocks.to(weight)
        skewed = blocks - blocks.transpose(-1, -2)
        most, norm = self.constraint * weight.shape[0], skewed.norm() + 1e-8
        if most > 0:
            skewed = skewed * torch.clamp(most / norm, max=1.0)
        one = torch.eye(skewed.shape[-1], device=weight.device)
        rotations: Tensor = torch.linalg.solve(one - skewed, one + skewed, left=False)
        return rotations


@dataclass(frozen=True, slots=True, eq=False)
class Decomposed:
    """DoRA: another change gives the directions, and how long each of them is was learned by itself."""

    directions: Change
    lengths: Tensor
    """One for each output, or for each input."""
    outward: bool

    def fits(self, shape: Sequence[int]) -> bool:
        axis = 0 if self.outward else 1
        return self.directions.fits(shape) and len(shape) >= 2 and self.lengths.numel() == shape[axis]

    def of(self, weight: Tensor, ranks: int | None = None) -> Tensor:
        turned = weight + self.directions.of(weight, ranks)
        others = [axis for axis in range(turned.ndim) if axis != (0 if self.outward else 1)]
        norms: Tensor = torch.linalg.vector_norm(turned, dim=others, keepdim=True) + torch.finfo(torch.float32).eps
        return turned * (_along(weight, self.lengths, outward=self.outward) / norms) - weight


def _along(weight: Tensor, factors: Tensor, *, outward: bool) -> Tensor:
    """Return one number for each output or input, so that it multiplies a weight."""
    rest = (1,) * (weight.ndim - 2)
    return factors.to(weight).reshape(-1, 1, *rest) if outward else factors.to(weight).reshape(1, -1, *rest)


def _mixed(weight: Tensor, rotation: Tensor, reach: int) -> Tensor:
    """Rotate blocks (n, b, b) of outputs that lie `reach` apart."""
    inner = weight.shape[1:]
    blocks = weight.reshape(-1, 2, reach, *inner).transpose(1, 2).reshape(*rotation.shape[:2], *inner)
    turned = torch.einsum("bij,bj...->bi...", rotation, blocks)
    return turned.reshape(-1, reach, 2, *inner).transpose(1, 2).reshape(weight.shape)
