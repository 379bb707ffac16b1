"""VAEs that lie beside the checkpoints: loaded by themselves, and the ones used last kept on the device."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from safetensors import SafetensorError

from easel.catalog import Base, ModelCard, ModelKind
from easel.errors import BadValue, ModelUnusable, OutOfMemory
from easel.identify.file import identify
from worker.checkpoints.build import load_vae_part
from worker.checkpoints.checkpoint import Checkpoint
from worker.checkpoints.parts import Stamp, stamp_of
from worker.checkpoints.single_file import read_vae_file
from worker.engine.memory import ran_out

MOST = 3
"""VAEs kept; one takes 170 MB in half precision."""

Locate = Callable[[ModelCard], Path]

_BROKEN = (OSError, ValueError, RuntimeError, TypeError, KeyError, IndexError, SafetensorError, MemoryError)


def load_vae(path: Path, base: Base, device: torch.device, dtype: torch.dtype) -> AutoencoderKL:
    """Load a VAE from a safetensors file, under whichever names; raises ModelUnusable, OutOfMemory.

    How its latents are scaled is not in the file: `base` says it.
    """
    what = f"The VAE `{path.stem}`"
    seen = identify(path, ModelKind.VAE)
    if seen.problem or seen.pickled or seen.kind is not ModelKind.VAE:
        reason = seen.problem or ("It is an old pickle, a format that can run code." if seen.pickled else "It is none.")
        raise ModelUnusable(f"{what} can not be used. {reason}")
    try:
        return cast("AutoencoderKL", load_vae_part(read_vae_file(path, base), base, device, dtype, what))
    except _BROKEN as error:
        if ran_out(error):
            raise OutOfMemory(f"{what} does not fit into the memory of this worker.") from error
        raise ModelUnusable(f"{what} can not be used: it is damaged or of another kind.") from error


class VaeCache:
    """Belongs to whoever holds the lock under which models are loaded."""

    def __init__(self, locate: Locate, *, device: torch.device) -> None:
        self._locate = locate
        self._device = device
        self._kept: OrderedDict[tuple[str, Base, torch.dtype, Stamp], AutoencoderKL] = OrderedDict()

    def get(self, card: ModelCard, checkpoint: Checkpoint) -> AutoencoderKL:
        """Return the card's VAE for a checkpoint; raises BadValue where they do not fit, ModelUnusable, OutOfMemory."""
        if not card.fits(ModelCard(name=checkpoint.name, kind=ModelKind.CHECKPOINT, base=checkpoint.base)):
            raise _foreign(card, checkpoint)
        path = self._locate(card)
        try:
            key = (card.name, checkpoint.base, checkpoint.dtype, stamp_of(path))
        except OSError as error:
            raise ModelUnusable(f"The VAE `{card.name}` can not be read: {error.strerror}.") from error
        vae = self._kept.get(key) or load_vae(path, checkpoint.base, self._device, checkpoint.dtype)
        if _shape(vae) != _shape(checkpoint.vae):
            raise _foreign(card, checkpoint)
        self._kept[key] = vae
        self._kept.move_to_end(key)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return vae

    def clear(self) -> None:
        self._kept.clear()


def own_vae(checkpoint: Checkpoint) -> AutoencoderKL:
    """Return what the checkpoint brought along; raises ModelUnusable where that is nothing."""
    if not checkpoint.has_vae:
        raise ModelUnusable(
            f"The checkpoint `{checkpoint.name}` comes without a VAE. Please choose one with the `vae` option, "
            f"or name one for it in models.yaml: `defaults: {{vae: NAME}}`."
        )
    return checkpoint.vae


def _shape(vae: Any) -> tuple[int, int]:
    """Return the channels of its latents, and how often it halves a picture."""
    config = vae.config
    return config.latent_channels, len(config.block_out_channels)


def _foreign(card: ModelCard, checkpoint: Checkpoint) -> BadValue:
    return BadValue(f"The VAE `{card.name}` was not made for checkpoints like `{checkpoint.name}`.")
