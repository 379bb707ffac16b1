"""Small pictures laid out as one, numbered as the models beside it are."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

COLUMNS, TILE, GAP = 3, 256, 6
EMPTY = "#d5d8dc"
INK, PAPER = "#ffffff", "#23272b"


def sheet(pictures: Sequence[bytes | None]) -> bytes:
    """Return a JPEG with a tile for each JPEG, an empty one where there is none."""
    columns = min(COLUMNS, max(1, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    image = Image.new("RGB", (columns * (TILE + GAP) - GAP, rows * (TILE + GAP) - GAP), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(28)
    for n, picture in enumerate(pictures):
        x, y = n % columns * (TILE + GAP), n // columns * (TILE + GAP)
        image.paste(_tile(picture), (x, y))
        draw.rectangle((x, y, x + 38, y + 38), fill=PAPER)
        draw.text((x + 19, y + 19), str(n + 1), INK, font, anchor="mm")
    return _jpeg(image)


def nothing(word: str) -> bytes:
    """Return a JPEG for a model without a preview; `word` is plain ASCII."""
    image = Image.new("RGB", (2 * TILE, TILE), EMPTY)
    ImageDraw.Draw(image).text((TILE, TILE // 2), word, PAPER, ImageFont.load_default(40), anchor="mm")
    return _jpeg(image)


def _tile(picture: bytes | None) -> Image.Image:
    if picture is None:
        return Image.new("RGB", (TILE, TILE), EMPTY)
    with Image.open(io.BytesIO(picture), formats=["JPEG"]) as image:
        return ImageOps.fit(image.convert("RGB"), (TILE, TILE), Image.Resampling.LANCZOS, centering=(0.5, 0.3))


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()
