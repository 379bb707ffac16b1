"""Enlarges one picture, piece by piece, so that memory does not depend on its size."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from easel.errors import BadValue, BlackPicture, Cancelled, OutOfMemory
from worker.engine.memory import make_room, ran_out
from worker.upscale.rrdbnet import RRDBNet

TILE = 256
"""Pixels a side of what is enlarged at once; with its margin that takes a network of 64 features 1 GB in float32."""
SMALLEST_TILE = 32
MARGIN = 16
"""Pixels around a piece that the network sees too, so that no seam shows; like TILE, a multiple of what it unshuffles."""
PASSES = 3
"""How often a network may follow itself to reach the wanted size."""
MOST_PIXELS = 2**27
"""Of a picture that a network makes: 400 MB."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""


@torch.inference_mode()
def upscale(
    image: Image.Image,
    scale: float,
    upscaler: RRDBNet | None,
    device: torch.device,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> Image.Image:
    """Return the picture in RGB at `scale` times its size: from the network that lies on `device`, or by Lanczos alone.

    A network is asked until its picture is large enough; what is too much is taken off by Lanczos. A network whose
    half precision overflows is in float32 from then on. Raises BadValue, BlackPicture, OutOfMemory, and Cancelled as
    soon as `cancelled` says so.
    """
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.convert("RGB")
    if upscaler is not None:
        for _ in range(PASSES):
            image = _enlarged(image, upscaler, device, cancelled)
            if upscaler.scale == 1 or (image.width >= size[0] and image.height >= size[1]):
                break
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _enlarged(image: Image.Image, network: RRDBNet, device: torch.device, cancelled: Callable[[], bool]) -> Image.Image:
    """Return what the network makes of the whole picture; pieces that do not fit into memory are cut smaller."""
    factor = network.scale
    if image.width * image.height * factor**2 > MOST_PIXELS:
        raise BadValue(
            "The picture is too large for this upscaler. Please choose a smaller picture or another upscaler."
        )
    canvas = np.empty((image.height * factor, image.width * factor, 3), np.uint8)
    tile = TILE
    waiting = list(_pieces((0, 0, *image.size), tile))
    while waiting:
        if cancelled():
            raise Cancelled("Cancelled.")
        box = waiting.pop()
        larger = _unless_full(network, image, box, device)
        if larger is not None:
            left, top, right, bottom = (side * factor for side in box)
            canvas[top:bottom, left:right] = larger
        elif tile == SMALLEST_TILE:
            raise OutOfMemory("There is not enough memory here to enlarge this picture. Please try again later.")
        else:
            tile //= 2
            waiting = [piece for whole in (*waiting, box) for piece in _pieces(whole, tile)]
    return Image.fromarray(canvas)


def _pieces(box: Box, tile: int) -> Iterator[Box]:
    left, top, right, bottom = box
    for y in range(top, bottom, tile):
        for x in range(left, right, tile):
            yield x, y, min(x + tile, right), min(y + tile, bottom)


def _unless_full(network: RRDBNet, image: Image.Image, box: Box, device: torch.device) -> np.ndarray | None:
    """Return the piece enlarged, (height, width, 3), None where memory ran out."""
    try:
        return _piece(network, image, box, device)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    make_room(device)
    return None


def _piece(network: RRDBNet, image: Image.Image, box: Box, device: torch.device) -> np.ndarray:
    left, top, right, bottom = box
    seen = (
        max(0, left - MARGIN),
        max(0, top - MARGIN),
        min(image.width, right + MARGIN),
        min(image.height, bottom + MARGIN),
    )
    pixels = torch.from_numpy(np.array(image.crop(seen))).permute(2, 0, 1)[None].to(device)
    larger = _finite(network, pixels.float() / 255)
    x, y = ((inner - outer) * network.scale for inner, outer in zip(box, seen[:2], strict=False))
    width, height = ((stop - start) * network.scale for start, stop in ((left, right), (top, bottom)))
    cut = larger[0, :, y : y + height, x : x + width]
    bytes_ = (cut.clamp(0, 1) * 255).round().to(torch.uint8)
    return bytes_.permute(1, 2, 0).cpu().numpy()


def _finite(network: RRDBNet, pixels: Tensor) -> Tensor:
    larger: Tensor = network(pixels.to(network.dtype))
    if not torch.isfinite(larger).all() and network.dtype != torch.float32:
        network.float()
        larger = network(pixels)
    if not torch.isfinite(larger).all():
        raise BlackPicture("The upscaler made a black picture of this one. Please choose another upscaler.")
    return larger.float()
