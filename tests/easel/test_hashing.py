"""Hashes computed in the background: right, gentle, remembered, and never of what has changed."""

import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from easel.catalog import ModelKind
from easel.hashing import Hasher
from easel.library import WatchedLibrary
from easel.model_hashes import CHUNK, FILE, hash_file
from tests.fakes.model_place import Place
from tests.fakes.weight_files import checkpoint, lora, safetensors


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def hasher(library: WatchedLibrary, place: Place, *, busy: bool = False) -> Hasher:
    place.data.mkdir(exist_ok=True)
    return Hasher(library, place.data, busy=lambda: busy, start_s=0.0)


@pytest.mark.parametrize("more", [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK + 5])
def test_both_hashes_are_those_of_a1111(tmp_path: Path, more: int) -> None:
    header = json.dumps({"x": {"dtype": "U8", "shape": [more], "data_offsets": [0, more]}}).encode()
    body = os.urandom(more)
    file = tmp_path / "x.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + body)
    heard: list[int] = []

    hashed = hash_file(file, ModelKind.LORA, heard.append)

    assert hashed.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert hashed.autov3 == hashlib.sha256(body).hexdigest()[:12]
    assert sum(heard) == file.stat().st_size
    assert hash_file(file, ModelKind.CHECKPOINT).autov3 == ""


def test_cards_show_hashes_once_computed_in_every_process_of_the_machine(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    large = safetensors(place.models / "Stable-diffusion" / "photo.safetensors", checkpoint("sd15"))
    small = safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    safetensors(place.models / "Lora" / "flux.safetensors", {"double_blocks.0.x": (1,)})
    painting, asking = WatchedLibrary(place.settings()), WatchedLibrary(place.settings())

    with caplog.at_level(logging.INFO):
        hasher(painting, place).catch_up()

    asking.glance()
    for library in (painting, asking, WatchedLibrary(place.settings())):
        cards = {card.name: card for card in library.catalog.all}
        assert cards["photo"].sha256 == hashlib.sha256(large.read_bytes()).hexdigest()
        assert (cards["photo"].autov3, len(cards["ink"].autov3)) == ("", 12)
        assert library.unhashed() == []
    told = [record.getMessage() for record in caplog.records if record.name == "easel.hashing"]
    assert told == ["hashing 2 model files, 0.0 GB, in the background", "hashed 2 model files"]
    assert small.stat().st_size < large.stat().st_size


def test_what_changed_is_hashed_again_and_what_is_gone_forgotten(place: Place) -> None:
    ink = safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    gone = safetensors(place.models / "Lora" / "gone.safetensors", lora("sd2"))
    library = WatchedLibrary(place.settings())
    hasher(library, place).catch_up()
    safetensors(ink, lora("sdxl"))
    gone.unlink()
    library.refresh()
    assert [path for path, _ in library.unhashed()] == [ink]

    hasher(library, place).catch_up()

    assert library.catalog.all[0].sha256 == hashlib.sha256(ink.read_bytes()).hexdigest()
    assert list(json.loads((place.data / FILE).read_text())["files"]) == [str(ink)]


def test_a_file_that_changes_meanwhile_is_left_for_later(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ink = safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    library = WatchedLibrary(place.settings())
    one = hasher(library, place)
    monkeypatch.setattr(one, "_rest", lambda _: os.utime(ink, (1, 1)))

    one.catch_up()

    assert library.catalog.all[0].sha256 == ""


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 1}', '{"version": 1, "files": {"a": [1, 2, "x", ""]}}', '{"version":1,"files":[1]}']
)
def test_damaged_hashes_are_forgotten(place: Place, text: str) -> None:
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    place.data.mkdir()
    (place.data / FILE).write_text(text)
    library = WatchedLibrary(place.settings())

    hasher(library, place).catch_up()

    assert library.catalog.all[0].sha256


def test_the_owner_is_told_of_a_hash_that_is_not_the_files(place: Place) -> None:
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))
    place.says(f"models:\n  ink: {{kind: lora, sha256: {'0' * 64}}}\n")
    library = WatchedLibrary(place.settings())
    assert library.catalog.all[0].sha256 == "0" * 64

    hasher(library, place).catch_up()

    assert library.catalog.all[0].sha256 != "0" * 64
    assert "it is another version, or damaged" in library.problems[0]


def test_a_thread_of_its_own_hashes_what_comes_and_ends_when_told(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("easel.hashing.LOOK_S", 0.02)
    monkeypatch.setattr("easel.library.GLANCE", 0.02)
    library = WatchedLibrary(place.settings())
    one = hasher(library, place, busy=True)
    one.start()
    safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15"))

    deadline = time.monotonic() + 60
    while not any(card.sha256 for card in library.catalog.all):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    one.close()

    assert library.unhashed() == []


PROGRAM = """
import sys
from pathlib import Path
from easel.hashing import Hasher
from easel.library import WatchedLibrary
from tests.fakes.model_place import Place
place = Place(Path(sys.argv[1]))
hasher = Hasher(WatchedLibrary(place.settings()), place.data, busy=lambda: False, start_s=0.0)
import easel.hashing as room
real = room.hash_file
room.hash_file = lambda path, *more: (print(path.name, flush=True), real(path, *more))[1]
hasher._ended.wait = lambda seconds: room.LOOK_S == seconds
hasher.run()
"""


def test_two_processes_share_the_work(place: Place) -> None:
    for number in range(4):
        safetensors(place.models / "Lora" / f"{number}.safetensors", lora("sd15") | {f"x{number}": (number + 1,)})
    place.data.mkdir()
    command = [sys.executable, "-c", PROGRAM, str(place.models.parent)]
    root = Path(__file__).parents[2]

    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(2)]
    outputs = [child.communicate(timeout=60)[0].split() for child in children]

    assert sorted(outputs[0] + outputs[1]) == [f"{number}.safetensors" for number in range(4)]
    assert [child.returncode for child in children] == [0, 0]


def test_hashes_outlive_a_disk_that_is_away_for_a_while(place: Place, tmp_path: Path) -> None:
    mount, away = tmp_path / "mount", tmp_path / "away"
    place.roots.append(mount)
    safetensors(mount / "Lora" / "ink.safetensors", lora("sd15"))
    safetensors(place.models / "Lora" / "own.safetensors", lora("sd15"))
    hasher(WatchedLibrary(place.settings()), place).catch_up()

    mount.rename(away)
    mount.mkdir()
    library = WatchedLibrary(place.settings())
    library.save_hashes()
    mount.rmdir()
    away.rename(mount)

    assert WatchedLibrary(place.settings()).unhashed() == []
    assert [card.name for card in library.catalog.all] == ["own"]
