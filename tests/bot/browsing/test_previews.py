"""Previews: read inside the models folders alone, opened elsewhere, made small, and never in the way."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from bot.browsing.previews import KEPT, SIDE, Previews
from bot.browsing.sheet import nothing, sheet
from easel.catalog import ModelCard, ModelKind
from tests.fakes.wardrobe import card
from tests.fakes.wishes import png, size_of


def with_preview(path: str, **facts: object) -> ModelCard:
    return card("film", ModelKind.LORA, preview=path, **facts)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    (folder / "Lora").mkdir(parents=True)
    (folder / "Lora/film.png").write_bytes(png(1600, 800, "RGBA", (255, 0, 0, 0)))
    (tmp_path / "secret.png").write_bytes(png())
    return folder


async def test_a_preview_is_made_small_and_opened_once(models: Path) -> None:
    previews = Previews([models])

    first = await previews.small(with_preview("Lora/film.png"))
    again = await previews.small(with_preview("Lora/film.png"))

    assert first is not None
    assert first is again
    assert size_of(first) == (SIDE, SIDE // 2)
    with Image.open(io.BytesIO(first)) as image:
        assert (image.format, image.getpixel((5, 5))) == ("JPEG", (255, 255, 255))


async def test_a_preview_that_changed_is_opened_again(models: Path) -> None:
    previews, file = Previews([models]), models / "Lora/film.png"
    await previews.small(with_preview("Lora/film.png"))

    file.write_bytes(png(100, 100))

    changed = await previews.small(with_preview("Lora/film.png"))
    assert changed is not None
    assert size_of(changed) == (100, 100)


@pytest.mark.parametrize("what", ["link out", "missing", "damaged", "pipe", "folder", "no root", "other machine"])
async def test_what_is_no_picture_inside_the_folders_is_none(models: Path, what: str) -> None:
    file = models / "Lora/odd.png"
    facts: dict[str, object] = {}
    match what:
        case "link out":
            file.symlink_to(models.parent / "secret.png")
        case "damaged":
            file.write_bytes(png()[:60])
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case "no root":
            facts["root"] = ""
        case "other machine":
            facts["root"] = "7"

    assert await Previews([models]).small(with_preview("Lora/odd.png", **facts)) is None


async def test_memory_stays_bounded(models: Path) -> None:
    previews = Previews([models])
    previews._small.update({(str(n), 0, 0): b"" for n in range(KEPT)})

    await previews.small(with_preview("Lora/film.png"))

    assert len(previews._small) == KEPT


def test_a_sheet_has_a_tile_for_each_and_empty_ones() -> None:
    red = io.BytesIO()
    Image.new("RGB", (30, 90), "red").save(red, "JPEG")

    with Image.open(io.BytesIO(sheet([red.getvalue(), None, None, None]))) as image:
        pixel = image.convert("RGB").getpixel((200, 200))
        empty = image.convert("RGB").getpixel((500, 200))
        size = image.size

    assert size == (3 * 262 - 6, 2 * 262 - 6)
    assert isinstance(pixel, tuple)
    assert isinstance(empty, tuple)
    assert pixel == pytest.approx((254, 0, 0), abs=6)
    assert empty == pytest.approx((213, 216, 220), abs=3)
    assert size_of(nothing("LoRA")) == (512, 256)
