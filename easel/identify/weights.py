"""The names and shapes of a file's tensors, ready to be asked."""

import re

from easel.catalog import Base
from easel.identify.header import Header, Tensor

CONTEXTS = {768: Base.SD15, 1024: Base.SD2, 2048: Base.SDXL}
"""Width of the prompt vectors that a UNet attends to, in the published models."""


class Weights:
    def __init__(self, header: Header) -> None:
        self.header = header
        self._names = "\n" + "\n".join(header.tensors) + "\n"

    def starts(self, *prefixes: str) -> bool:
        """Tell whether a name begins with one of `prefixes`."""
        return any(f"\n{prefix}" in self._names for prefix in prefixes)

    def holds(self, *pieces: str) -> bool:
        """Tell whether a name contains one of `pieces`."""
        return any(piece in self._names for piece in pieces)

    def first(self, pattern: str) -> Tensor | None:
        """Return the first tensor with `pattern` in its name, None where there is none."""
        match = re.search(pattern, self._names, re.MULTILINE)
        if match is None:
            return None
        start, end = self._names.rfind("\n", 0, match.start() + 1), self._names.find("\n", match.end())
        return self.header.tensors.get(self._names[start + 1 : end])

    def side(self, pattern: str, axis: int) -> int:
        """Return the length of one axis of the first tensor with `pattern` in its name, 0 where there is none."""
        tensor = self.first(pattern)
        return tensor.shape[axis] if tensor and len(tensor.shape) > axis else 0

    def rank(self, pattern: str) -> int:
        """Return the number of axes of the first tensor with `pattern` in its name, 0 where there is none."""
        tensor = self.first(pattern)
        return len(tensor.shape) if tensor else 0

    @property
    def only(self) -> Tensor | None:
        """The tensor, where there is just one."""
        return next(iter(self.header.tensors.values())) if len(self.header.tensors) == 1 else None
