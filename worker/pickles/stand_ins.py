"""What stands in for the things that a pickle names: tensors without their numbers, and nothing that does anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from easel.errors import ModelUnusable

SIZES: Mapping[str, int] = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""Bytes of one number, by safetensors' names."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A type of numbers, as torch's storages and dtypes name it."""

    dtype: str

    @property
    def size(self) -> int:
        return SIZES[self.dtype]


@dataclass(frozen=True, slots=True)
class Storage:
    """A row of numbers somewhere in the file."""

    key: str
    numbers: Numbers
    count: int
    start: int = 0
    """In numbers, where it is a part of a longer row."""

    @property
    def nbytes(self) -> int:
        return self.count * self.numbers.size


@dataclass(frozen=True, slots=True)
class Lazy:
    """A tensor whose numbers are still in the file; all counts are numbers, not bytes."""

    storage: Storage
    numbers: Numbers
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def count(self) -> int:
        count = 1
        for side in self.shape:
            count *= side
        return count

    @property
    def nbytes(self) -> int:
        return self.count * self.numbers.size

    @property
    def span(self) -> int:
        """From its first number to its last."""
        reach = sum((side - 1) * step for side, step in zip(self.shape, self.stride, strict=True))
        return reach + 1 if self.count else 0

    @property
    def in_order(self) -> bool:
        """Whether its numbers lie one behind the other."""
        expected = 1
        for side, step in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if side != 1 and step != expected:
                return False
            expected *= side
        return True


class Inert:
    """Stands in for whatever we do not know: it takes anything and does nothing."""

    def __init__(self, *_args: Any, **_options: Any) -> None:
        self.state: Any = None

    def __call__(self, *_args: Any, **_options: Any) -> "Inert":
        return Inert()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, _key: Any, _value: Any) -> None:
        pass

    def append(self, _item: Any) -> None:
        pass

    def extend(self, _items: Any) -> None:
        pass

    def add(self, _item: Any) -> None:
        pass


class Ordered(dict[Any, Any]):
    """An OrderedDict, whose notes about itself are left out."""

    def __setstate__(self, _state: Any) -> None:
        pass


class Defaulting(Ordered):
    """A defaultdict, which is never asked for what it does not have."""

    def __init__(self, _factory: Any = None, *items: Any) -> None:
        super().__init__(*items)


def inert(*_args: Any) -> Inert:
    return Inert()


def tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_rest: Any) -> Lazy:
    """Stand in for `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`."""
    numbers = storage.numbers if isinstance(storage, Storage) else None
    return typed_tensor(storage, offset, shape, stride, None, None, numbers)


def typed_tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, numbers: Any, *_rest: Any
) -> Lazy:
    """Stand in for `torch._utils._rebuild_tensor_v3`, whose storage is bytes; raises ModelUnusable."""
    if not isinstance(storage, Storage) or not isinstance(numbers, Numbers):
        raise ModelUnusable("It holds a tensor of a kind that is not known here.")
    sides, steps = tuple(shape), tuple(stride)
    counts = (offset, *sides, *steps)
    if len(sides) != len(steps) or len(sides) > 16 or any(type(one) is not int or one < 0 for one in counts):
        raise ModelUnusable("It is damaged: the shape of a tensor is wrong.")
    made = Lazy(storage, numbers, offset, sides, steps)
    if max((offset + made.span) * numbers.size, made.nbytes) > storage.nbytes:
        raise ModelUnusable("It is damaged: a tensor is larger than what is stored of it.")
    return made


def parameter(data: Any, *_rest: Any) -> Any:
    """Stand in for `torch._utils._rebuild_parameter`."""
    return data


def subclass(build: Any, _type: Any, args: Any, _state: Any) -> Any:
    """Stand in for `torch._tensor._rebuild_from_type_v2`; what builds can only be a stand-in, too."""
    return build(*args)


def size(sides: Any = ()) -> tuple[Any, ...]:
    """Stand in for `torch.Size`."""
    return tuple(sides)
