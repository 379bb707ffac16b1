"""How whoever runs a worker wants it to work."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Habits:
    dtype: str = "auto"
    """As torch calls it; `auto` chooses by the device."""
    ram_gb: float | None = None
    """For checkpoints that are read ahead; None takes a share of what there is."""
    compiled: bool = False
    """Compile the UNet where that pays."""
    previews: bool = True


USUAL = Habits()
