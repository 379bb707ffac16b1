"""What part of a picture is drawn, and at which size: cropping, views of a part, and the way back."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from easel.errors import BadValue

Size = tuple[int, int]
"""Width and height."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""

MOST_PIXELS = 2**24
"""Of a picture on its way to a smaller one."""

SMOOTH = Image.Resampling.LANCZOS
PLAIN = Image.Resampling.BILINEAR
"""For masks: what is black stays black, while Lanczos would ring."""


def cropped_to(image: Image.Image, size: Size, resample: Image.Resampling = SMOOTH) -> Image.Image:
    """Resize and crop around the middle, to the pixel as A1111's "Crop and resize" does; a fitting picture stays as it is."""
    if image.size == size:
        return image
    width, height = size
    wider = width / height > image.width / image.height
    inner = (
        width if wider else image.width * height // image.height,
        image.height * width // image.width if wider else height,
    )
    if inner[0] * inner[1] > MOST_PIXELS:
        # A long strip would be enlarged by its length, only to be thrown away.
        return ImageOps.fit(image, size, resample)
    left, top = inner[0] // 2 - width // 2, inner[1] // 2 - height // 2
    return image.resize(inner, resample).crop((left, top, left + width, top + height))


def same_shape(mask: Image.Image, size: Size) -> Image.Image:
    """Return a mask at the size of its picture; raises BadValue where it is of another shape."""
    if abs(mask.width * size[1] - mask.height * size[0]) > 0.02 * mask.height * size[0]:
        raise BadValue(
            f"The mask is {mask.width}x{mask.height}, but the picture {size[0]}x{size[1]}: "
            "please send a mask of the picture's shape."
        )
    return mask if mask.size == size else mask.resize(size, PLAIN)


def region_around(mask: Image.Image, size: Size, padding: int) -> Box:
    """Return the part of the picture that holds all of the mask, `padding` pixels around it, in the shape of `size`.

    As A1111's `get_crop_region` and `expand_crop_region`; where the picture ends the shape is another. The mask must
    not be empty.
    """
    box = mask.getbbox()
    assert box, "an empty mask has no surroundings"
    left, top = max(box[0] - padding, 0), max(box[1] - padding, 0)
    right, bottom = min(box[2] + padding, mask.width), min(box[3] + padding, mask.height)
    shape = size[0] / size[1]
    if (right - left) / (bottom - top) > shape:
        top, bottom = _stretched(top, bottom, int((right - left) / shape), mask.height)
    else:
        left, right = _stretched(left, right, int((bottom - top) * shape), mask.width)
    return left, top, right, bottom


def _stretched(start: int, stop: int, length: int, limit: int) -> tuple[int, int]:
    more = max(0, length - (stop - start))
    start, stop = start - more // 2, stop + more - more // 2
    if stop > limit:
        start, stop = start - (stop - limit), limit
    if start < 0:
        start, stop = 0, min(stop - start, limit)
    return start, stop


@dataclass(frozen=True, slots=True)
class View:
    """A part of a picture as it is drawn: `region` of the picture lies at `inner` of a frame of `size`."""

    region: Box
    size: Size
    inner: Box

    @classmethod
    def of(cls, region: Box, size: Size) -> "View":
        """Show a region as large as the frame allows; what is left of the frame continues its edges."""
        width, height = region[2] - region[0], region[3] - region[1]
        scale = min(size[0] / width, size[1] / height)
        inner = (min(size[0], max(1, round(width * scale))), min(size[1], max(1, round(height * scale))))
        left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
        return cls(region, size, (left, top, left + inner[0], top + inner[1]))

    def look(self, image: Image.Image, resample: Image.Resampling = SMOOTH) -> Image.Image:
        """Return what the frame shows of a picture or a mask."""
        left, top, right, bottom = self.inner
        part = image.crop(self.region)
        if part.size != (right - left, bottom - top):
            part = part.resize((right - left, bottom - top), resample)
        if part.size == self.size:
            return part
        around = ((top, self.size[1] - bottom), (left, self.size[0] - right), (0, 0))
        pixels = np.asarray(part)
        return Image.fromarray(np.pad(pixels, around[: pixels.ndim], mode="edge"))

    def put_back(self, painted: Image.Image, picture: Image.Image) -> Image.Image:
        """Return the picture with the frame's content in its place."""
        part = painted.crop(self.inner)
        size = (self.region[2] - self.region[0], self.region[3] - self.region[1])
        whole = picture.copy()
        whole.paste(part if part.size == size else part.resize(size, SMOOTH), self.region)
        return whole
