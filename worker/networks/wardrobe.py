"""What one checkpoint has on, and how LoRA files fit it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

from torch import nn
from torch.nn import Parameter

from easel.errors import ModelUnusable
from worker.networks.algorithms import Change
from worker.networks.keys import Place, modules_by_place
from worker.networks.lora_file import Lesson, LoraFile
from worker.networks.patches import Layer, Layers, Patches
from worker.recent import Recent

FITTED = 16
"""Files whose places are remembered."""

Side = Literal["unet", "text"]

_ENTRANCE = (Place("unet", "conv_in"), Place("unet", "input_blocks_0_0"))
"""Wider in checkpoints that only repaint; what was learned for others is left out there."""


class Figure(Protocol):
    """A checkpoint, as far as LoRAs are concerned."""

    @property
    def unet(self) -> Any: ...
    @property
    def text_encoders(self) -> tuple[nn.Module, ...]: ...


class Worn(NamedTuple):
    """A LoRA as one side of a checkpoint has it on."""

    lora: LoraFile
    strength: float
    ranks: int | None = None
    """Only its first so many count; None is all."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """Which weights of a checkpoint a file changes, and how."""

    changes: Mapping[Side, tuple[tuple[Parameter, Change], ...]]
    foreign: int
    """Modules that the checkpoint does not have."""


class Wardrobe:
    """One checkpoint's; belongs to the thread that owns its device.

    What was put on last stays on until something else is asked for: whoever uses a module asks before every use.
    """

    def __init__(self) -> None:
        self._places: dict[Place, nn.Module] = {}
        self._fitted: Recent[Fitting] = Recent(FITTED)
        self._patches: dict[Side, Patches] = {"unet": Patches(), "text": Patches()}
        self._on: dict[Side, tuple[Worn, ...]] = {}

    def fit(self, lora: LoraFile, figure: Figure) -> Fitting:
        """Find the weights that a file changes; raises ModelUnusable unless it was made for a checkpoint like this."""
        if not self._places:
            self._places = modules_by_place(figure.unet, figure.text_encoders)
        return self._fitted.get(lora, partial(_fit, lora, self._places))

    def on(self, side: Side) -> tuple[Worn, ...]:
        return self._on.get(side, ())

    def wear(self, side: Side, worn: tuple[Worn, ...], figure: Figure) -> None:
        """Have exactly these on; after any error nothing is. What is on already costs nothing."""
        if self.on(side) == worn:
            return
        layers = self._layers(side, worn, figure)
        self._on.pop(side, None)
        self._patches[side].wear(layers)
        self._on[side] = worn

    def take_off(self) -> None:
        """Have nothing on: every weight is, bit for bit, what was loaded."""
        self._on.clear()
        for patches in self._patches.values():
            patches.take_off()

    def to_ram(self) -> bool:
        """Move what it keeps to put weights back from to where it is not missed; False if that frees nothing."""
        moved = [patches.to_ram() for patches in self._patches.values()]
        return any(moved)

    def _layers(self, side: Side, worn: tuple[Worn, ...], figure: Figure) -> Layers:
        layers: dict[Parameter, tuple[Layer, ...]] = {}
        for lora, strength, ranks in worn:
            for weight, change in self.fit(lora, figure).changes[side]:
                layers[weight] = (*layers.get(weight, ()), Layer(change, strength, ranks))
        return layers


def _fit(lora: LoraFile, places: Mapping[Place, nn.Module]) -> Fitting:
    changes: dict[Side, list[tuple[Parameter, Change]]] = {"unet": [], "text": []}
    foreign = 0
    for lesson in lora.lessons:
        side: Side = "unet" if lesson.place.part == "unet" else "text"
        pairs = list(_pairs(lesson, places.get(lesson.place)))
        fits = all(change.fits(weight.shape) for weight, change in pairs)
        if not fits and lesson.place in _ENTRANCE:
            pairs, fits = [], True
        changes[side] += pairs
        foreign += not pairs
        if not fits:
            raise ModelUnusable(
                f"The LoRA `{lora.name}` was made for another kind of checkpoint: it does not fit this one."
            )
    if not any(changes.values()):
        raise ModelUnusable(
            f"The LoRA `{lora.name}` was made for another kind of checkpoint: nothing in it means a part of this one."
        )
    return Fitting({side: tuple(pairs) for side, pairs in changes.items()}, foreign)


def _pairs(lesson: Lesson, module: nn.Module | None) -> Iterator[tuple[Parameter, Change]]:
    weight, bias = (getattr(module, name, None) for name in ("weight", "bias"))
    if lesson.weight is not None and isinstance(weight, Parameter):
        yield weight, lesson.weight
    if lesson.bias is not None and isinstance(bias, Parameter):
        yield bias, lesson.bias
