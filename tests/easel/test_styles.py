"""The owner's styles, as A1111 keeps them."""

from pathlib import Path

import pytest

from easel import styles
from easel.styles import Style, WatchedStyles, read_styles


def test_a1111s_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "styles.csv"
    file.write_text(
        "\ufeffname,prompt,negative_prompt\r\n"
        "None,,\r\n"
        'Oil,"oil painting of {prompt}, ""thick"" paint",photo\r\n'
        "Bad,,\"blurry,\nugly\"\r\n"
        "Short,ink\r\n"
        " Long ,ink,none,more,columns\r\n"
        ",nameless,\r\n",
        encoding="utf-8",
    )  # fmt: skip

    assert read_styles(file) == {
        "Oil": Style('oil painting of {prompt}, "thick" paint', "photo"),
        "Bad": Style("", "blurry,\nugly"),
        "Short": Style("ink"),
        "Long": Style("ink", "none"),
    }


def test_the_columns_of_2022_are_read(tmp_path: Path) -> None:
    file = tmp_path / "styles.csv"
    file.write_text("name,text\nOil,oil painting\n")

    assert read_styles(file) == {"Oil": Style("oil painting")}


def test_no_file_is_no_styles(tmp_path: Path) -> None:
    assert read_styles(tmp_path / "styles.csv") == {}
    assert WatchedStyles(tmp_path / "styles.csv").current() == {}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfe\x00n", "no CSV file in UTF-8"),
        (b"a,b\n1,2\n", "its first line must be name,prompt,negative_prompt"),
        (b"name,prompt\nx," + b"y" * 200_000, "no CSV file"),
        (b"name,prompt\n" + b"x,y\n" * 300_000, "larger than 1 MiB"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "styles.csv"
    file.write_bytes(data)

    with pytest.raises(ValueError, match=words):
        read_styles(file)


def test_a_folder_in_its_place_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can not be read"):
        read_styles(tmp_path)


def test_a_changed_file_is_read_again_and_a_broken_one_leaves_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(styles, "EVERY", 0.0)
    file = tmp_path / "styles.csv"
    watched = WatchedStyles(file)
    before = watched.current()

    file.write_text("name,prompt\nOil,oil\n")
    first = watched.current()
    file.write_bytes(b"\xff broken")
    second, third = watched.current(), watched.current()
    file.unlink()

    assert (before, first) == ({}, {"Oil": Style("oil")})
    assert second is third is first
    assert caplog.text.count("styles.csv is not used: it is no CSV file") == 1
    assert watched.current() == {}


def test_the_file_is_not_looked_at_with_every_key(tmp_path: Path) -> None:
    file = tmp_path / "styles.csv"
    watched = WatchedStyles(file)
    watched.current()

    file.write_text("name,prompt\nOil,oil\n")

    assert watched.current() == {}
