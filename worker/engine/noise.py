"""Where a picture's noise comes from: one source per picture, so that a picture never depends on its neighbours."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from easel.jobs import MAX_SEED, ImageRequest

Rng = Literal["cpu", "nv"]

_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF


class Philox:
    """Normal numbers as torch draws them on an NVIDIA card: Philox 4x32-10 (Salmon et al. 2011) and Box-Muller.

    Like A1111's "NV" source it follows the card for as many numbers as it has threads, which any latent is within.
    """

    def __init__(self, seed: int) -> None:
        self._key = (seed & _MASK, seed >> 32 & _MASK)
        self._draws = 0

    def randn(self, shape: Sequence[int]) -> Tensor:
        """Return the next float32 numbers of that shape, on the CPU."""
        count = int(np.prod(shape))
        x, y = _philox(self._draws, count, self._key)
        self._draws += 1
        uniform = (x + 0.5) * 2.0**-32
        angle = (y + 0.5) * (2.0 * np.pi * 2.0**-32)
        normal = np.sqrt(-2.0 * np.log(uniform)) * np.sin(angle)
        return torch.from_numpy(normal.astype(np.float32).reshape(tuple(shape)))


def _philox(draw: int, count: int, key: tuple[int, int]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the first two of the four 32-bit words that each of `count` threads draws."""
    a, b, d = (np.full(count, word, dtype=np.uint64) for word in (draw, 0, 0))
    c = np.arange(count, dtype=np.uint64)
    first, second = key
    for _ in range(_ROUNDS):
        left, right = a * np.uint64(_MULTIPLIERS[0]), c * np.uint64(_MULTIPLIERS[1])
        a, b, c, d = (
            right >> np.uint64(32) ^ b ^ np.uint64(first),
            right & np.uint64(_MASK),
            left >> np.uint64(32) ^ d ^ np.uint64(second),
            left & np.uint64(_MASK),
        )
        first, second = (first + _WEYL[0]) & _MASK, (second + _WEYL[1]) & _MASK
    return a, b


class Noise:
    """One picture's stream of noise: first the noise it starts from, then what its sampler adds step by step."""

    def __init__(self, seed: int, rng: Rng = "cpu") -> None:
        self._rng = rng
        self._draw = _stream(seed, rng)

    def draw(self, shape: Sequence[int]) -> Tensor:
        """Return the stream's next numbers: float32, on the CPU."""
        return self._draw(shape)

    @contextmanager
    def feeding(self, device: torch.device) -> Iterator[None]:
        """Answer every `torch.randn` of a scheduler's step from this stream, without making the device wait."""
        with _Feeding(self._draw, self._rng, device):
            yield


class _Feeding(TorchFunctionMode):
    def __init__(self, draw: Callable[[Sequence[int]], Tensor], rng: Rng, device: torch.device) -> None:
        self._draw = draw
        self._rng = rng
        self._device = device

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is not torch.randn:
            return func(*args, **kwargs)
        # A generator comes from torchsde, whose tree draws each of its nodes from a seed of its own.
        generator = kwargs.get("generator")
        draw = self._draw if generator is None else _stream(generator.initial_seed(), self._rng)
        noise = draw(args[0] if args else kwargs["size"])
        if self._device.type == "cuda":
            noise = noise.pin_memory()
        return noise.to(self._device, non_blocking=True)


def _stream(seed: int, rng: Rng) -> Callable[[Sequence[int]], Tensor]:
    if rng == "nv":
        return Philox(seed).randn
    generator = torch.Generator("cpu").manual_seed(seed)
    return lambda shape: torch.randn(tuple(shape), generator=generator, dtype=torch.float32)


def brownian(scheduler: Any, like: Tensor, seed: int) -> Any:
    """Return what DPM++ SDE draws from: diffusers' own tree, asked within its bounds however the sigmas are rounded."""
    low, high = float(scheduler.sigmas[scheduler.sigmas > 0].min()), float(scheduler.sigmas.max())
    # The tree rounds its bounds to six digits, and complains of what lies outside.
    bounds = {"min": round(low, 6), "max": round(high, 6)}

    def within(sigma: Any) -> Any:
        return torch.as_tensor(sigma).double().clamp(**bounds)

    return BrownianTreeNoiseSampler(like, low, high, seed=[seed], transform=within)


def seeds(request: ImageRequest, index: int) -> tuple[int, int]:
    """Return the seed and the variation seed of a job's picture, as A1111 counts: only one of the two moves on."""
    if request.variation_strength:
        return request.seed, (request.variation_seed + index) % (MAX_SEED + 1)
    return (request.seed + index) % (MAX_SEED + 1), request.variation_seed


def first_noise(request: ImageRequest, index: int, shape: Sequence[int]) -> tuple[Tensor, Noise]:
    """Return what picture `index` starts from, of `shape` (4, h, w), and the stream that goes on from there."""
    seed, variation = seeds(request, index)
    noise = Noise(seed, request.rng)
    first = noise.draw(shape)
    if request.variation_strength:
        first = slerp(request.variation_strength, first, Noise(variation, request.rng).draw(shape))
    return first, noise


def slerp(share: float, low: Tensor, high: Tensor) -> Tensor:
    """Turn `low` towards `high`, both (4, h, w), by `share` of the angle between them, column by column as A1111 does."""
    unit_low, unit_high = (x / x.norm(dim=1, keepdim=True) for x in (low, high))
    dot = (unit_low * unit_high).sum(1, keepdim=True)
    # Nearly parallel: the sine below would be nothing.
    if dot.mean() > 0.9995:
        return low * (1 - share) + high * share
    angle = torch.acos(dot)
    return (torch.sin((1 - share) * angle) * low + torch.sin(share * angle) * high) / torch.sin(angle)
