"""The pictures that come with a request: fetched, opened, made clean, and made no larger than they can be used."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from PIL import Image

from bot.options import IMAGINE, SHOW
from easel.errors import BadValue
from easel.uploads.decode import Prepared, prepare
from easel.uploads.mask import alpha_mask
from easel.uploads.sniff import MAX_BYTES
from easel.web import fetch

FETCH_S = 30.0
"""What a network may take to hand over a file."""
LARGEST = 2048
"""Pixels a side: as large as the largest picture that is drawn."""
ALIKE = 0.02
"""By so much the shape of a mask may differ from that of its picture, which rounding did."""

PICTURES = frozenset(option.name for option in (*IMAGINE, *SHOW) if option.kind == "picture")


@dataclass(frozen=True, slots=True)
class Attached:
    """A file that lies with a network or on the disk, not yet read."""

    read: Callable[[], Awaitable[bytes]]
    """Raises BadValue."""
    size: int = 0
    """Bytes; 0 while unknown."""
    buttons: tuple[str, ...] = ()
    """The ids of the buttons under its message, which may be ours and name the job it came from."""
    infotext: str = ""
    """What that job says it was made from: more reliable than a file that a network has changed."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A picture that is fit for use."""

    png: bytes = field(repr=False)
    width: int
    height: int
    infotext: str = ""
    """What it says it was made from."""
    has_holes: bool = False
    """It is transparent somewhere, which the worker paints."""


def has_pictures(form: Mapping[str, object]) -> bool:
    return any(form.get(name) for name in PICTURES)


async def open_pictures(form: Mapping[str, object], private_hosts: frozenset[str]) -> dict[str, object]:
    """Return the form with every picture in it opened, and its mask as large as the picture; raises BadValue."""
    # What is only enlarged keeps its size.
    whole = "upscale" in form
    opened = {
        name: await _opened(value, private_hosts, whole=whole)
        for name, value in form.items()
        if name in PICTURES and isinstance(value, Attached | str) and value
    }
    if "mask" in opened and "image" in opened:
        opened["mask"] = await asyncio.to_thread(_fitted, opened["mask"], opened["image"])
    return {**form, **opened}


async def _opened(value: Attached | str, private_hosts: frozenset[str], *, whole: bool) -> Opened:
    data = await _read(value) if isinstance(value, Attached) else await fetch(value, allow_private_hosts=private_hosts)
    prepared = await prepare(data)
    opened = await asyncio.to_thread(_finished, prepared, whole=whole)
    return replace(opened, infotext=value.infotext) if isinstance(value, Attached) and value.infotext else opened


async def _read(attached: Attached) -> bytes:
    if attached.size > MAX_BYTES:
        raise BadValue(
            f"That file has {attached.size / 2**20:,.1f} MB; a picture may have up to {MAX_BYTES // 2**20} MB."
        )
    try:
        async with asyncio.timeout(FETCH_S):
            return await attached.read()
    except TimeoutError as error:
        raise BadValue("That picture did not arrive in time; please send it again.") from error


def _finished(prepared: Prepared, *, whole: bool) -> Opened:
    png, width, height = prepared.png, prepared.width, prepared.height
    if max(width, height) > LARGEST and not whole:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
            png, (width, height) = _png(image), image.size
    return Opened(png, width, height, prepared.infotext or "", prepared.has_alpha)


def _fitted(mask: Opened, picture: Opened) -> Opened:
    """Return the mask in grey at the size of its picture; where it is transparent it counts as white."""
    if abs(mask.width * picture.height / (mask.height * picture.width) - 1) > ALIKE:
        raise BadValue(
            f"The mask has {mask.width}x{mask.height} pixels and the picture {picture.width}x{picture.height}, "
            "which is another shape. Please give both the same size."
        )
    with Image.open(io.BytesIO(alpha_mask(mask.png) if mask.has_holes else mask.png), formats=["PNG"]) as image:
        grey = image.convert("L").resize((picture.width, picture.height), Image.Resampling.BILINEAR)
    if not grey.getbbox():
        raise BadValue("The mask is black all over, so nothing would be repainted. Paint white what should change.")
    return Opened(_png(grey), *grey.size)


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()
