"""Small things done to finished pictures without torch: enlarging, grids, labelled sheets."""

import io
from collections.abc import Sequence
from math import ceil, sqrt

from PIL import Image, ImageDraw, ImageFont

MOST_SHEET_PIXELS = 2**24
"""Of the pictures on a labelled sheet, all together; larger ones are made smaller."""

LABEL = 1000
"""Characters of a label; what is cut off after that ends in three points."""


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


def at_most(image: Image.Image, pixels: int) -> Image.Image:
    """Return the image, made smaller (Lanczos) if it has more pixels than that."""
    scale = sqrt(pixels / (image.width * image.height))
    if scale >= 1:
        return image
    size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def labelled_grid(
    images: Sequence[Sequence[Image.Image]], *, columns: Sequence[str], rows: Sequence[str] = (), gap: int = 4
) -> Image.Image:
    """Lay rows of pictures of one size out as one sheet with a label above each column and, if any, before each row.

    Labels are wrapped until they are whole, however small the pictures.
    """
    most = MOST_SHEET_PIXELS // (len(images) * len(images[0]))
    images = [[at_most(image, most) for image in line] for line in images]
    width, height = images[0][0].size
    size = min(48, max(12, width // 16))
    heads = [_Label(text, width, size) for text in columns]
    sides = [_Label(text, max(width // 2, 6 * size), size) for text in rows]
    left = max((one.width + 2 * size for one in sides), default=0)
    top = max(one.height for one in heads) + size
    tall = max(height, *(one.height for one in sides)) if sides else height
    sheet = Image.new(
        "RGB", (left + len(images[0]) * (width + gap) - gap, top + len(images) * (tall + gap) - gap), "white"
    )
    draw = ImageDraw.Draw(sheet)
    for x, head in enumerate(heads):
        head.write(draw, left + x * (width + gap) + width // 2, top // 2)
    for y, line in enumerate(images):
        if sides:
            sides[y].write(draw, left // 2, top + y * (tall + gap) + tall // 2)
        for x, image in enumerate(line):
            sheet.paste(image, (left + x * (width + gap), top + y * (tall + gap) + (tall - height) // 2))
    return sheet


class _Label:
    """A text in lines of at most `most` pixels, measured and ready to be written."""

    def __init__(self, text: str, most: int, size: int) -> None:
        self._font = ImageFont.load_default(size)
        self._lines = "\n".join(_lines(text, most, self._font))
        left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox(
            (0, 0), self._lines, self._font
        )
        self.width, self.height = ceil(right - left), ceil(bottom - top)

    def write(self, draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
        """Write it with its middle at a point."""
        draw.multiline_text((x, y), self._lines, "black", self._font, anchor="mm", align="center")


def _lines(text: str, most: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Break at spaces, and inside a word where even that is too long."""
    text = " ".join(text.split())
    text = text if len(text) <= LABEL else text[: LABEL - 1] + "…"
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}".strip()
        if font.getlength(joined) <= most:
            lines[-1] = joined
            continue
        pieces = _pieces(word, most, font)
        lines = [*lines, *pieces] if lines[-1] else pieces
    return lines


def _pieces(word: str, most: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    pieces = [""]
    for sign in word:
        if pieces[-1] and font.getlength(pieces[-1] + sign) > most:
            pieces.append("")
        pieces[-1] += sign
    return pieces
