"""What one job's operation works with: pictures from the result store, and the models of the device."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence

import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from easel.catalog import ModelCard
from easel.errors import BadValue, Cancelled
from easel.jobs import Control, ImageRequest
from worker.checkpoints.checkpoint import Checkpoint
from worker.control.steering import Steering, steering
from worker.develop import develop
from worker.models import Models
from worker.operations.encode import encode, pixels_of
from worker.operations.frame import Size
from worker.upscale.upscale import upscale

MOST_PIXELS = 2**26
"""Of a picture that is opened, or made without diffusion: 8192x8192."""

LANCZOS = "lanczos"

Fetch = Callable[[str], bytes]
"""Returns what the result store keeps under a name; raises `Expired`."""

_DAMAGED = (OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError, Warning)


class Tools:
    """One job's, used by one thread at a time. Once the job is cancelled nearly every call raises `Cancelled`."""

    def __init__(self, models: Models, fetch: Fetch, cancelled: Callable[[], bool] = lambda: False) -> None:
        self._models = models
        self._fetch = fetch
        self._cancelled = cancelled
        self._checkpoints: dict[str, Checkpoint] = {}
        self._vaes: dict[tuple[str, str], AutoencoderKL] = {}

    def check(self) -> None:
        """Raise `Cancelled` once the job is."""
        if self._cancelled():
            raise Cancelled("Cancelled.")

    def picture(self, name: str) -> Image.Image:
        """Open a picture from the result store; raises `Expired` or `BadValue`."""
        self.check()
        return opened(self._fetch(name))

    def card(self, name: str) -> ModelCard:
        """Find a checkpoint; raises `UnknownModel`."""
        return self._models.card(name)

    def checkpoint(self, request: ImageRequest) -> Checkpoint:
        """Return the request's checkpoint, the same object throughout the job; raises what loading one does."""
        self.check()
        if request.checkpoint not in self._checkpoints:
            self._checkpoints[request.checkpoint] = self._models.checkpoint(request.checkpoint)
        checkpoint = self._checkpoints[request.checkpoint]
        # At once: that it can not be had should not be told after all the work.
        if self.kept_vae(request) is None:
            self._vaes[request.checkpoint, request.vae] = self._models.vae(request, checkpoint)
        return checkpoint

    def vae(self, request: ImageRequest) -> AutoencoderKL:
        """Return the VAE that the request names, or its checkpoint's; raises what loading either does."""
        self.checkpoint(request)
        return self._vaes[request.checkpoint, request.vae]

    def kept_vae(self, request: ImageRequest) -> AutoencoderKL | None:
        """Return the request's VAE if the job has it already; any thread may ask."""
        return self._vaes.get((request.checkpoint, request.vae))

    def let_go(self) -> None:
        """Forget the checkpoints that the job had, so that there is room for the next one."""
        self._checkpoints.clear()
        self._vaes.clear()

    def encode(self, request: ImageRequest, pictures: Sequence[Image.Image] | Tensor) -> Tensor:
        """Return (n, 4, h, w) latents of pictures, or of pixels between -1 and 1, (n, 3, height, width)."""
        vae = self.vae(request)
        pixels = pictures if isinstance(pictures, Tensor) else pixels_of(pictures)
        with self._models.working:
            return encode(vae, pixels, tiling=request.tiling)

    def develop(self, request: ImageRequest, latents: Tensor) -> list[Image.Image]:
        """Return one RGB picture for each of (n, 4, h, w)."""
        vae = self.vae(request)
        images: list[Image.Image] = []
        for one in torch.split(latents, 1):
            self.check()
            with self._models.working:
                images += develop(vae, one, tiling=request.tiling)
        return images

    def upscaled(self, image: Image.Image, scale: float, upscaler: str) -> Image.Image:
        """Return an RGB picture enlarged by `Lanczos`, or by the network of that name in the catalog."""
        self.check()
        if round(image.width * scale) * round(image.height * scale) > MOST_PIXELS:
            raise BadValue(
                f"The picture would become {round(image.width * scale)}x{round(image.height * scale)}, which is too "
                "large. Please choose a smaller scale."
            )
        network = None if upscaler.casefold() == LANCZOS else self._models.upscaler(upscaler)
        with self._models.working:
            return upscale(image, scale, network, self._models.device, cancelled=self._cancelled)

    def steering(self, request: ImageRequest, control: Control, shown: Image.Image, size: Size) -> Steering:
        """Return what steers the request's pictures of `size` after a picture; raises what loading a ControlNet does."""
        controlnet = self._models.controlnet(control.model, self.checkpoint(request))
        return steering(controlnet, control, shown, size)


def opened(data: bytes) -> Image.Image:
    """Open a PNG as our own doors and workers store them; raises BadValue for anything else."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise BadValue(f"That picture is too large: {image.width}x{image.height}. Please send a smaller one.")
            image.load()
            return image.copy()
    except _DAMAGED as error:
        raise BadValue("That picture can not be opened. Please send it again.") from error
