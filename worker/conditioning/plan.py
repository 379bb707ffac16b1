"""What the UNet is told at each step of one job."""

from bisect import bisect_left
from dataclasses import dataclass

from torch import Tensor

Told = tuple[tuple[tuple["Conditioning", float], ...], "Conditioning"]
"""The positives with their AND weights, and the negative."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """One encoded text, of k chunks."""

    embeds: Tensor
    """(1, 77 * k, dim), in the UNet's dtype, on its device."""
    pooled: Tensor | None = None
    """(1, 1280) on SDXL, from the first chunk."""


@dataclass(frozen=True, slots=True)
class Track:
    """What one prompt says while the steps go by: entry n holds through step `until[n]`, the last one to the end."""

    until: tuple[int, ...]
    """Counted from 0, rising."""
    texts: tuple[Conditioning, ...]

    @classmethod
    def constant(cls, conditioning: Conditioning) -> "Track":
        return cls((0,), (conditioning,))

    def at(self, step: int) -> Conditioning:
        return self.texts[min(bisect_left(self.until, step), len(self.texts) - 1)]


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """What the UNet is told at each step of one job; all texts of a plan have the same number of chunks."""

    positives: tuple[tuple[Track, float], ...]
    """The parts joined by AND, each with its weight."""
    negative: Track

    @classmethod
    def constant(cls, positive: Conditioning, negative: Conditioning) -> "PromptPlan":
        """Say the same at every step."""
        return cls(((Track.constant(positive), 1.0),), Track.constant(negative))

    @property
    def chunks(self) -> int:
        """How many chunks of 77 tokens every text has."""
        return self.negative.texts[0].embeds.shape[1] // 77

    def at(self, step: int) -> Told:
        """Return ((positive, AND weight), ...) and the negative; steps count from 0."""
        return tuple((track.at(step), weight) for track, weight in self.positives), self.negative.at(step)
