"""The mask that a picture carries in its own transparency."""

import io

from PIL import Image, ImageOps


def alpha_mask(png: bytes) -> bytes:
    """Return a grey PNG of the same size: white, to be repainted, where a prepared picture is transparent.

    What is half transparent is half white; a picture without transparency gives a black mask.
    """
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        alpha = image.getchannel("A") if image.mode == "RGBA" else Image.new("L", image.size, 255)
    out = io.BytesIO()
    ImageOps.invert(alpha).save(out, "PNG", compress_level=1)
    return out.getvalue()
