"""Wildcards: what is read from the folder, and nothing outside it."""

import os
from pathlib import Path

import pytest

from easel.errors import BadPrompt
from easel.prompt.wildcards import MAX_BYTES, Wildcards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "wildcards"
    (folder / "animals").mkdir(parents=True)
    (folder / "colours.txt").write_text("# warm\nred\n\n  orange \n#yellow\ngreen # not blue\n", encoding="utf-8")
    (folder / "animals" / "birds.txt").write_text("owl\r\nwren\r\n", encoding="utf-8-sig")
    (folder / "v1.5.txt").write_text("old", encoding="utf-8")
    (folder / "notes.md").write_text("private", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("token", encoding="utf-8")
    return folder


def test_a_line_is_a_choice_and_a_comment_is_none(folder: Path) -> None:
    assert Wildcards(folder).lines("colours") == ("red", "orange", "green # not blue")


def test_a_file_in_a_sub_folder_is_named_with_it(folder: Path) -> None:
    assert Wildcards(folder).lines("animals/birds") == ("owl", "wren")
    assert Wildcards(folder).lines("v1.5") == ("old",)
    assert Wildcards(folder).names() == ("animals/birds", "colours", "v1.5")


def test_an_unknown_wildcard_names_the_nearest_one(folder: Path) -> None:
    with pytest.raises(BadPrompt, match=r"no wildcard called `colors`. Did you mean `colours`\?"):
        Wildcards(folder).lines("colors")
    with pytest.raises(BadPrompt, match=r"no wildcard called `notes`\. To write the underscores"):
        Wildcards(folder).lines("notes")


def test_without_a_folder_every_wildcard_is_unknown(tmp_path: Path) -> None:
    none = Wildcards(tmp_path / "nowhere")

    assert none.names() == ()
    with pytest.raises(BadPrompt, match="no wildcard called `colours`"):
        none.lines("colours")


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "animals/../../secret",
        "..",
        ".",
        "",
        "/etc/hostname",
        "a//b",
        "a\\b",
        "a\0b",
        "C:x",
        "./colours",
        "*",
    ],
)
def test_a_name_does_not_lead_out_of_the_folder(folder: Path, name: str) -> None:
    with pytest.raises(BadPrompt, match="can not be the name of a wildcard"):
        Wildcards(folder).lines(name)


def test_a_link_out_of_the_folder_is_not_followed(folder: Path) -> None:
    (folder / "out.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "up").symlink_to(folder.parent, target_is_directory=True)
    (folder / "in.txt").symlink_to(folder / "colours.txt")

    assert Wildcards(folder).lines("in")
    for name in ("out", "up/secret"):
        with pytest.raises(BadPrompt, match="no wildcard called"):
            Wildcards(folder).lines(name)


def test_what_is_no_file_is_unknown(folder: Path) -> None:
    (folder / "circle.txt").symlink_to(folder / "circle.txt")
    (folder / "folder.txt").mkdir()
    os.mkfifo(folder / "pipe.txt")

    for name in ("circle", "folder", "pipe", "é" * 100 + "/" + "é" * 200):
        with pytest.raises(BadPrompt, match="no wildcard called"):
            Wildcards(folder).lines(name)


def test_a_file_too_large_is_not_read(folder: Path) -> None:
    (folder / "large.txt").write_bytes(b"a\n" * (MAX_BYTES // 2))
    (folder / "larger.txt").write_bytes(b"a\n" * (MAX_BYTES // 2) + b"b")

    assert len(Wildcards(folder).lines("large")) == MAX_BYTES // 2
    with pytest.raises(BadPrompt, match="larger than 1 MiB"):
        Wildcards(folder).lines("larger")


def test_a_wrong_byte_costs_one_character(folder: Path) -> None:
    (folder / "latin.txt").write_bytes(b"caf\xe9\na\0b\n")

    assert Wildcards(folder).lines("latin") == ("caf\ufffd", "a\ufffdb")
