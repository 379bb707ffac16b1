"""Pictures and files at the command line."""

from pathlib import Path

import pytest

from bot.asking.pictures import Attached, open_pictures
from bot.local import _unused, with_files
from easel.errors import BadValue
from tests.fakes.wishes import png


async def test_a_path_is_read_and_an_address_stays(tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(png())

    form = with_files({"prompt": str(file), "image": str(file), "mask": "HTTPS://example.com/x.png", "tile": True})

    assert isinstance(form["image"], Attached)
    assert form | {"image": ""} == {
        "prompt": str(file), "image": "", "mask": "HTTPS://example.com/x.png", "tile": True,
    }  # fmt: skip
    assert await form["image"].read() == png()


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"The file `.*gone.png` can not be read: No such file or directory"):
        await open_pictures(with_files({"image": str(tmp_path / "gone.png")}), frozenset())


def test_no_picture_is_written_over(tmp_path: Path) -> None:
    file = tmp_path / "20260101-000000-5.png"
    names = []
    for _ in range(3):
        free = _unused(file)
        free.write_bytes(b"")
        names.append(free.name)

    assert names == ["20260101-000000-5.png", "20260101-000000-5-2.png", "20260101-000000-5-3.png"]
