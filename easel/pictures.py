"""Small things done to finished pictures without torch: enlarging, grids."""

import io
from collections.abc import Sequence
from math import ceil, sqrt

from PIL import Image


def grid(pictures: Sequence[bytes], *, gap: int = 4) -> bytes:
    """Lay PNG pictures of one size out as one PNG, as square as possible, `gap` pixels apart."""
    images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    columns = ceil(sqrt(len(images)))
    rows = ceil(len(images) / columns)
    width, height = images[0].size
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for n, image in enumerate(images):
        sheet.paste(image, (n % columns * (width + gap), n // columns * (height + gap)))
    out = io.BytesIO()
    sheet.save(out, "PNG", compress_level=3)
    return out.getvalue()


def enlarged(image: Image.Image, factor: int) -> Image.Image:
    """Return `image` at `factor` times its size (Lanczos); the image itself when the factor is 1."""
    if factor == 1:
        return image
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.LANCZOS)
