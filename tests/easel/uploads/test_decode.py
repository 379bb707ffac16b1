"""Strangers' pictures made clean, each in a child process of its own."""

import asyncio
import io
import os
import stat
import sys
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from easel.errors import BadValue
from easel.infotext import files
from easel.uploads import decode
from easel.uploads.decode import Prepared, prepare, prepare_now
from tests.fakes.hostile_pictures import RGBA, blank_png, bombs, chunk, chunks, encoded, noise, png

INFOTEXT = "a cat, 猫 😀\nNegative prompt: a dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 24x16"
PRIVATE = b"52.5200N 13.4050E, home"


def opened(prepared: Prepared) -> Image.Image:
    return Image.open(io.BytesIO(prepared.png))


def private_exif() -> bytes:
    """Notes of a camera: orientation 6, a description, a place and a thumbnail."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = PRIVATE.decode()
    exif.get_ifd(0x8825)[0x001D] = PRIVATE.decode()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + PRIVATE
    thumbnail = encoded(noise(16, 16), "JPEG", comment=PRIVATE)
    return exif.tobytes() + thumbnail


def with_notes(kind: str) -> bytes:
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + PRIVATE + b"</x:xmpmeta>"
    options: dict[str, object] = {"exif": private_exif(), "icc_profile": PRIVATE * 9}
    if kind != "PNG":
        return encoded(noise(), kind, xmp=xmp, **options)
    file = encoded(noise(), "PNG", dpi=(72, 72), **options)
    notes = (
        chunk(b"tEXt", b"Comment\0" + PRIVATE)
        + chunk(b"zTXt", b"Raw\0\0" + zlib.compress(PRIVATE))
        + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
        + chunk(b"tIME", b"\x07\xe8\1\1\1\1\1")
        + chunk(b"prVt", PRIVATE)
    )
    return file[:33] + notes + file[33:-12] + chunk(b"tEXt", b"Late\0" + PRIVATE) + file[-12:]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_nothing_that_a_camera_noted_is_left(kind: str) -> None:
    file = with_notes(kind)
    assert PRIVATE in file

    prepared = prepare_now(file)

    assert (prepared.width, prepared.height) == (16, 24), "turned upright before the note about it was dropped"
    assert prepared.infotext is None
    assert {name for name, _ in chunks(prepared.png)} == {b"IHDR", b"IDAT", b"IEND"}
    assert PRIVATE not in prepared.png
    assert opened(prepared).info == {}


@pytest.mark.parametrize("tail", [b"PK\3\4" + bytes(100), b"<html><script>alert(1)</script>", b"\0" * 5])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_what_hangs_on_behind_a_picture_is_cut_off(kind: str, tail: bytes) -> None:
    prepared = prepare_now(encoded(noise(), kind) + tail)

    assert [name for name, _ in chunks(prepared.png)][-1] == b"IEND"
    assert tail not in prepared.png


@pytest.mark.parametrize("kind", files.KINDS)
def test_an_infotext_is_kept_apart_from_the_picture(kind: files.Kind) -> None:
    prepared = prepare_now(files.encode(noise(), kind, INFOTEXT))

    assert prepared.infotext == INFOTEXT
    assert files.read(prepared.png) is None


def test_an_infotext_out_of_all_proportion_is_left_behind() -> None:
    prepared = prepare_now(files.encode(noise(), "PNG", INFOTEXT + ", x" * 100_000))

    assert prepared.infotext is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_picture_is_refused(kind: str, share: float) -> None:
    file = encoded(noise(200, 100), kind)

    with pytest.raises(BadValue, match="damaged"):
        prepare_now(file[: int(len(file) * share)])


def test_a_progressive_jpeg_that_lacks_its_end_is_refused() -> None:
    file = encoded(noise(200, 100), "JPEG", progressive=True)

    with pytest.raises(BadValue, match="damaged"):
        prepare_now(file[: len(file) // 2])


@pytest.mark.parametrize("name", [b"IHDR", b"tEXt", b"IDAT", b"IEND"])
def test_a_broken_checksum_is_refused(name: bytes) -> None:
    file = bytearray(png(24, 16, noise().tobytes(), chunk(b"tEXt", b"a\0b")))
    at = file.index(name)
    length = int.from_bytes(file[at - 4 : at], "big")
    file[at + 4 + length] ^= 1

    if name == b"IEND":  # nothing is left that it could be wrong about
        assert prepare_now(bytes(file)).width == 24
    else:
        with pytest.raises(BadValue, match="damaged"):
            prepare_now(bytes(file))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_the_first_picture_of_a_film_is_taken(kind: str) -> None:
    first = Image.new("RGB", (32, 32), "red")
    film = encoded(first, kind, save_all=True, append_images=[Image.new("RGB", (32, 32), "blue")] * 3, lossless=True)

    prepared = prepare_now(film)

    assert opened(prepared).convert("RGB").getpixel((5, 5)) == (255, 0, 0)


@pytest.mark.parametrize("name", bombs())
def test_a_bomb_ends_in_a_sentence_or_in_a_small_picture(name: str, caplog: pytest.LogCaptureFixture) -> None:
    start = time.monotonic()

    if name in {"surplus pixels", "as large as can be"}:
        assert len(prepare_now(bombs()[name]).png) < 2**20
    else:
        with pytest.raises(BadValue, match="damaged"):
            prepare_now(bombs()[name])

    assert time.monotonic() - start < 40
    assert not caplog.records, "no child died of it"


def test_a_file_that_is_no_picture_costs_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent")

    with pytest.raises(BadValue, match="a web page, not a picture"):
        prepare_now(b"<!doctype html>")
    with pytest.raises(BadValue, match="make it smaller"):
        prepare_now(blank_png(5000, 5000))


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let the child be a shell script instead of Python."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(program))


def test_the_child_is_told_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "secret")
    stand_in(tmp_path, monkeypatch, f'env > {tmp_path}/seen; echo "$@" >> {tmp_path}/seen')

    with pytest.raises(BadValue, match="can not be opened here"):
        prepare_now(encoded(noise(), "PNG"))

    seen = (tmp_path / "seen").read_text()
    assert "PYTHONPATH=" in seen
    assert "easel.uploads.child" in seen
    assert "secret" not in seen


def test_a_child_that_dies_early_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "kill -9 $$")
    open_files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    for _ in range(3):
        with pytest.raises(BadValue, match="can not be opened here"):
            prepare_now(encoded(noise(1000, 1000), "PNG"))

    assert len(os.listdir("/proc/self/fd")) == open_files  # noqa: PTH208


def test_a_child_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(decode, "SECONDS", 0.2)
    start = time.monotonic()

    with pytest.raises(BadValue, match="can not be opened here"):
        prepare_now(encoded(noise(), "PNG"))

    assert time.monotonic() - start < 40


def test_a_child_that_writes_rubbish_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "cat > /dev/null; echo rubbish")

    with pytest.raises(BadValue, match="can not be opened here"):
        prepare_now(encoded(noise(), "PNG"))


async def test_several_pictures_are_prepared_side_by_side() -> None:
    pictures = [noise(24 + n, 16, "RGBA") for n in range(4)]

    prepared = await asyncio.gather(*(prepare(encoded(picture, "PNG")) for picture in pictures))

    for one, picture in zip(prepared, pictures, strict=True):
        assert opened(one).tobytes() == picture.tobytes()
        assert (one.width, one.height, one.has_alpha) == (*picture.size, True)


async def test_what_waits_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    file = encoded(noise(), "PNG")
    monkeypatch.setattr(decode, "MAX_WAITING", 3 * len(file))

    outcomes = await asyncio.gather(*(prepare(file) for _ in range(5)), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [Prepared] * 3 + [BadValue] * 2
    assert "again in a minute" in str(outcomes[-1])
    assert (await prepare(file)).width == 24, "there is room again"


async def test_somebody_who_leaves_gives_their_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    file = encoded(noise(), "PNG")
    monkeypatch.setattr(decode, "MAX_WAITING", 2 * len(file))
    waiting = [asyncio.create_task(prepare(file)) for _ in range(2)]
    await asyncio.sleep(0)

    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)

    async with asyncio.timeout(10):
        while True:
            try:
                assert (await prepare(file)).width == 24
                break
            except BadValue:
                await asyncio.sleep(0.01)


async def test_the_event_loop_goes_on_while_twenty_bombs_arrive() -> None:
    arriving = (list(bombs().values()) * 3)[:20]
    lags: list[float] = []
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            # What the loop's own thread computes meanwhile: other programs may keep it waiting as long as they like.
            start = time.thread_time()
            await asyncio.sleep(0.002)
            lags.append(time.thread_time() - start)

    watcher = asyncio.create_task(watch())
    outcomes = await asyncio.gather(*(prepare(bomb) for bomb in arriving), return_exceptions=True)
    done.set()
    await watcher

    assert {type(outcome) for outcome in outcomes} == {Prepared, BadValue}
    p99 = sorted(lags)[int(len(lags) * 0.99)]
    assert p99 <= 0.05, f"{p99 * 1000:.1f} ms over {len(lags)} looks"


def test_an_opaque_alpha_channel_is_no_transparency() -> None:
    opaque = noise(mode="RGB").convert("RGBA")

    prepared = prepare_now(encoded(opaque, "PNG"))

    assert not prepared.has_alpha
    assert opened(prepared).mode == "RGB"


def test_the_colours_under_transparency_stay() -> None:
    rows = bytes([200, 100, 50, 0]) * 16 * 16

    prepared = prepare_now(png(16, 16, rows, colour=RGBA))

    assert opened(prepared).tobytes() == rows
