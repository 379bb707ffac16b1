"""The pictures beside the models' files: read inside the models folders alone, opened in a child process, made small."""

import asyncio
import io
import logging
import stat
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from easel.catalog import ModelCard
from easel.errors import BadValue
from easel.model_folders import inside
from easel.uploads.decode import prepare
from easel.uploads.sniff import MAX_BYTES

log = logging.getLogger(__name__)

SIDE = 640
"""Pixels, at most."""
KEPT = 128
"""Small pictures in memory, of about 60 KB each."""

Stamp = tuple[str, int, int]


class Previews:
    def __init__(self, models_dirs: Sequence[Path]) -> None:
        self._models_dirs = models_dirs
        self._small: OrderedDict[Stamp, bytes | None] = OrderedDict()
        self._opening: dict[Stamp, asyncio.Task[bytes | None]] = {}

    async def small(self, card: ModelCard) -> bytes | None:
        """Return the preview of a card as a small JPEG; None where there is none, or it is no good."""
        file = await asyncio.to_thread(self._file, card)
        if file is None:
            return None
        path, stamp = file
        if stamp in self._small:
            self._small.move_to_end(stamp)
            return self._small[stamp]
        if stamp not in self._opening:
            self._opening[stamp] = asyncio.create_task(self._open(path, stamp))
        # Others may wait for the same picture when one of them hangs up.
        return await asyncio.shield(self._opening[stamp])

    async def _open(self, path: Path, stamp: Stamp) -> bytes | None:
        try:
            found = self._small[stamp] = await _shrunk(path)
        finally:
            del self._opening[stamp]
        while len(self._small) > KEPT:
            self._small.popitem(last=False)
        return found

    def _file(self, card: ModelCard) -> tuple[Path, Stamp] | None:
        """Return where the picture really lies, links followed, and what changes when it does."""
        if not card.preview or not card.root or int(card.root) >= len(self._models_dirs):
            return None
        path = self._models_dirs[int(card.root)] / card.preview
        if not inside(path, self._models_dirs):
            return None
        try:
            real = path.resolve(strict=True)
            state = real.stat()
        except OSError:
            return None
        if not stat.S_ISREG(state.st_mode) or not 0 < state.st_size <= MAX_BYTES:
            return None
        return real, (str(real), state.st_mtime_ns, state.st_size)


async def _shrunk(path: Path) -> bytes | None:
    try:
        data = await asyncio.to_thread(path.read_bytes)
        return await asyncio.to_thread(_jpeg, (await prepare(data)).png)
    except (OSError, BadValue) as error:
        log.info("the preview %s can not be shown: %s", path.name, error)
        return None


def _jpeg(png: bytes) -> bytes:
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        flat = Image.new("RGB", image.size, "white")
        flat.paste(image, mask=image if image.mode == "RGBA" else None)
    out = io.BytesIO()
    flat.save(out, "JPEG", quality=85)
    return out.getvalue()
