"""What people ask with: a catalog of every kind, styles and wildcards, pictures as they send them and as they are opened."""

import io
from pathlib import Path

from PIL import Image

from bot.asking.pictures import Attached, Opened
from bot.asking.sources import Sources
from easel.catalog import Base, Catalog, Defaults, ModelCard, ModelKind
from easel.infotext.files import encode
from easel.prompt.wildcards import Wildcards
from easel.styles import Style

INFOTEXT = """\
a lighthouse, (storm:1.2)
Negative prompt: blurry
Steps: 12, Sampler: Euler a, CFG scale: 6, Seed: 77, Size: 192x128, Model hash: 0123456789, Model: somebody's, \
Clip skip: 2, ENSD: 31337"""
"""As A1111 writes it; the hash is that of `coast`."""

STYLES = {
    "oil": Style("oil painting of {prompt}", "photo"),
    "sharp": Style("sharp focus"),
    "both": Style("{day, night}, {prompt}"),
}


def a_catalog() -> Catalog:
    return Catalog(
        [
            ModelCard(
                name="easel-demo",
                kind=ModelKind.CHECKPOINT,
                base=Base.SD15,
                enlarge=4,
                defaults=Defaults(
                    width=128, height=128, steps=20, cfg_scale=4, sampler="DPM++ 2M", schedule="SGM Uniform",
                    negative_prompt="ugly",
                ),
            ),
            ModelCard(name="coast", kind=ModelKind.CHECKPOINT, base=Base.SD15, sha256="0123456789" + "a" * 54),
            ModelCard(name="dreamy-xl", kind=ModelKind.CHECKPOINT, base=Base.SDXL),
            ModelCard(name="control_canny", kind=ModelKind.CONTROLNET, base=Base.SD15),
            ModelCard(name="xl-depth", kind=ModelKind.CONTROLNET, base=Base.SDXL),
            ModelCard(name="4x-crisp", kind=ModelKind.UPSCALER, path="ESRGAN/4x-crisp.pth", root="0"),
        ],
        default="easel-demo",
    )  # fmt: skip


def sources(folder: Path, hosts: frozenset[str] = frozenset()) -> Sources:
    return Sources(lambda: STYLES, Wildcards(folder), hosts)


def png(width: int = 96, height: int = 64, mode: str = "RGB", color: object = "teal", infotext: str = "") -> bytes:
    """Return a PNG file; RGBA with a colour of four numbers is transparent."""
    image = Image.new(mode, (width, height), color)  # type: ignore[arg-type]
    return encode(image, "PNG", infotext)


def picture(width: int = 96, height: int = 64, *, infotext: str = "", has_holes: bool = False) -> Opened:
    return Opened(png(width, height), width, height, infotext, has_holes)


def attached(data: bytes, size: int | None = None, buttons: tuple[str, ...] = ()) -> Attached:
    async def read() -> bytes:
        return data

    return Attached(read, len(data) if size is None else size, buttons)


def size_of(file: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(file)) as image:
        return image.size
