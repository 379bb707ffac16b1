"""The signing key that is made when none is set."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from easel.errors import SettingsError
from easel.key_file import kept_key
from easel.settings import load_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: empty, so without a `.env`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_key_is_made_once_and_for_us_alone(folder: Path) -> None:
    settings = load_settings({})

    key = settings.signing_key()

    file = folder / "data" / "easel.key"
    assert len(key) == 64
    assert load_settings({}).signing_key() == key
    assert file.stat().st_mode & 0o777 == 0o600
    assert [file] == list((folder / "data").iterdir())
    assert load_settings({"EASEL_KEY": file.read_text()}).signing_key() == key


def test_those_that_start_together_agree_on_one_key(folder: Path) -> None:
    starters = 8
    gate = Barrier(starters)

    def start(number: int) -> bytes:
        gate.wait()
        return kept_key(folder / f"round-{number}" / "easel.key")

    with ThreadPoolExecutor(starters) as pool:
        for number in range(20):
            keys = set(pool.map(start, [number] * starters))

            assert keys == {(folder / f"round-{number}" / "easel.key").read_bytes().strip()}


def test_a_key_that_can_not_be_kept_is_answered_with_what_to_do(folder: Path) -> None:
    (folder / "data").write_text("a file, not a folder")

    with pytest.raises(
        SettingsError, match=r"^EASEL_KEY is unset and .*; set EASEL_KEY, or EASEL_DATA_DIR to a folder"
    ):
        load_settings({}).signing_key()


def test_half_a_key_is_refused(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "easel.key").write_text("abc")

    with pytest.raises(SettingsError, match=r"easel\.key does not hold a key of at least 32 characters"):
        load_settings({}).signing_key()
