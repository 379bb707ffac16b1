"""Pictures on their way in: from files and addresses, made clean, small enough, and masks that fit them."""

import asyncio
import io
from collections.abc import AsyncIterator

import pytest
from PIL import Image

from bot.asking import pictures
from bot.asking.pictures import Attached, Opened, open_pictures
from easel.errors import BadValue
from tests.fakes.hostile_pictures import blank_png, bombs
from tests.fakes.internet import Server, serve
from tests.fakes.wishes import INFOTEXT, attached, png, size_of

NOBODY: frozenset[str] = frozenset()
LOCAL = frozenset({"127.0.0.1"})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    body = png(infotext=INFOTEXT)
    server, socket = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    yield server
    socket.close()


async def opened(value: object, **form: object) -> Opened:
    found = (await open_pictures({"image": value} | form, NOBODY))["image"]
    assert isinstance(found, Opened)
    return found


async def test_a_file_is_opened_and_the_rest_of_the_form_stays() -> None:
    form = await open_pictures({"prompt": "a cat", "image": attached(png(infotext=INFOTEXT)), "steps": 5}, NOBODY)

    picture = form.pop("image")
    assert isinstance(picture, Opened)
    assert (picture.width, picture.height, picture.infotext, picture.has_holes) == (96, 64, INFOTEXT, False)
    assert b"lighthouse" not in picture.png
    assert form == {"prompt": "a cat", "steps": 5}


async def test_a_form_without_pictures_stays_as_it_is() -> None:
    assert await open_pictures({"prompt": "a cat", "image": ""}, NOBODY) == {"prompt": "a cat", "image": ""}


async def test_an_address_is_fetched_where_the_owner_allows_it(server: Server) -> None:
    form = await open_pictures({"image": server.url}, LOCAL)

    assert isinstance(form["image"], Opened)
    assert form["image"].infotext == INFOTEXT


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x.png", "file:///etc/passwd", "cat.png", "http://169.254.169.254/", "data:image/png,"]
)
async def test_an_address_that_is_not_public_is_refused(server: Server, url: str) -> None:
    for one in (url, server.url):
        with pytest.raises(BadValue):
            await open_pictures({"image": one}, NOBODY)
    assert server.connections == 0


async def test_what_our_own_job_says_counts_more_than_the_file() -> None:
    async def read() -> bytes:
        return png(infotext="changed on the way\nSteps: 1, Seed: 2, Size: 1x1")

    assert (await opened(Attached(read, infotext=INFOTEXT))).infotext == INFOTEXT


async def test_a_photo_is_made_as_small_as_can_be_used_unless_it_is_only_enlarged() -> None:
    photo = png(3000, 2000)

    small, whole = await opened(attached(photo)), await opened(attached(photo), upscale="2")

    assert (small.width, small.height) == size_of(small.png) == (2048, 1365)
    assert (whole.width, whole.height) == (3000, 2000)


async def test_transparency_is_noticed() -> None:
    assert (await opened(attached(png(mode="RGBA", color=(1, 2, 3, 0))))).has_holes
    assert not (await opened(attached(png(mode="RGBA", color=(1, 2, 3, 255))))).has_holes


async def test_a_mask_becomes_grey_and_as_large_as_its_picture() -> None:
    mask = Image.new("RGB", (48, 32), "black")
    mask.paste("white", (0, 0, 24, 32))
    file = io.BytesIO()
    mask.save(file, "PNG")

    form = await open_pictures({"image": attached(png()), "mask": attached(file.getvalue())}, NOBODY)

    fitted = form["mask"]
    assert isinstance(fitted, Opened)
    with Image.open(io.BytesIO(fitted.png)) as image:
        assert (image.mode, image.size) == ("L", (96, 64))
        assert (image.getpixel((5, 5)), image.getpixel((90, 60))) == (255, 0)


async def test_a_transparent_mask_is_white_where_nothing_is() -> None:
    mask = Image.new("RGBA", (96, 64), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 48, 64))
    file = io.BytesIO()
    mask.save(file, "PNG")

    form = await open_pictures({"image": attached(png()), "mask": attached(file.getvalue())}, NOBODY)

    assert isinstance(form["mask"], Opened)
    with Image.open(io.BytesIO(form["mask"].png)) as image:
        assert (image.getpixel((5, 5)), image.getpixel((90, 60))) == (255, 0)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (png(64, 64, color="white"), "64x64 pixels and the picture 96x64, which is another shape"),
        (png(color="black"), "black all over"),
    ],
)
async def test_a_mask_that_makes_no_sense_is_refused(mask: bytes, words: str) -> None:
    with pytest.raises(BadValue, match=words):
        await open_pictures({"image": attached(png()), "mask": attached(mask)}, NOBODY)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello", "only PNG, JPEG and WebP"),
        (b"<html>", "web page"),
        (b"GIF89a", "a GIF"),
        (png()[:200], "damaged"),
        (blank_png(20_000, 20_000), "make it smaller"),
        (bombs()["second header"], "damaged"),
    ],
)
async def test_a_file_that_is_no_good_is_refused_with_a_sentence(data: bytes, words: str) -> None:
    with pytest.raises(BadValue, match=words):
        await opened(attached(data))


async def test_a_file_that_is_said_to_be_too_large_is_not_even_read() -> None:
    async def read() -> bytes:
        raise AssertionError

    with pytest.raises(BadValue, match=r"has 21.0 MB; a picture may have up to 20 MB"):
        await opened(Attached(read, 21 * 2**20))


async def test_a_file_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "FETCH_S", 0.05)

    async def read() -> bytes:
        await asyncio.Event().wait()
        return b""

    with pytest.raises(BadValue, match="did not arrive in time"):
        await opened(Attached(read))
