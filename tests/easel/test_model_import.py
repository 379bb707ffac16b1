"""Files brought into the models folders: told by content, whole or not at all, never over another."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from easel.catalog import ModelKind
from easel.errors import ModelUnusable
from easel.model_import import import_model
from tests.fakes.weight_files import checkpoint, lora, safetensors

KINDS: dict[str, dict[str, tuple[int, ...]]] = {
    "Stable-diffusion": checkpoint("sd15"),
    "Lora": lora("sdxl", "lokr"),
    "embeddings": {"emb_params": (2, 768)},
    "VAE": {"decoder.conv_in.weight": (8, 4, 3, 3)},
    "ControlNet": {"control_model.out.weight": (1,)},
    "ESRGAN": {"conv_first.weight": (8, 3, 3, 3)},
    "hypernetworks": {"768.0.linear.0.weight": (8, 8)},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture(params=["links", "copies", "a disk without links"])
def disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the disks can do: two of them, as `os.link` would tell."""
    real = os.link

    def link(source: Path, target: Path, **options: Any) -> None:
        if request.param != "links" and (request.param != "copies" or not source.name.endswith(".part")):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(source, target, **options)

    monkeypatch.setattr(os, "link", link)
    return str(request.param)


@pytest.mark.parametrize(("folder", "shapes"), KINDS.items(), ids=KINDS)
def test_each_kind_goes_where_it_belongs(
    root: Path, tmp_path: Path, folder: str, shapes: dict[str, tuple[int, ...]]
) -> None:
    imported = import_model(safetensors(tmp_path / "new.safetensors", shapes), root)

    assert imported.path == root / folder / "new.safetensors"
    assert imported.notes == ()


def test_nothing_is_written_over_and_nothing_is_left_behind(root: Path, tmp_path: Path, disk: str) -> None:
    there = safetensors(root / "Lora" / "ink.safetensors", lora("sd15"))
    old = there.read_bytes()
    source = safetensors(tmp_path / "ink.safetensors", lora("sdxl"))
    new = source.read_bytes()
    (tmp_path / "ink.civitai.info").write_text("{}")

    imported = import_model(source, root, move=True)

    assert imported.path == root / "Lora" / "ink-2.safetensors"
    assert (there.read_bytes(), imported.path.read_bytes()) == (old, new)
    assert sorted(file.name for file in root.rglob("*.*")) == [
        "ink-2.civitai.info",
        "ink-2.safetensors",
        "ink.safetensors",
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["models"]
    assert disk


def test_a_folder_is_imported_whole(root: Path, tmp_path: Path) -> None:
    demo = Path(__file__).parents[2] / "models" / "Stable-diffusion" / "easel-demo"

    imported = import_model(demo, root)

    assert imported.path == root / "Stable-diffusion" / "easel-demo"
    assert sum(file.stat().st_size for file in imported.path.rglob("*")) >= 44_000_000
    assert import_model(demo, root).path.name == "easel-demo-2"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.safetensors", b"", "empty"),
        ("a.safetensors", b"<html>" + bytes(60), "web page"),
        ("notes.txt", b"hello, this is no model", "not a whole safetensors file"),
        ("a.ckpt", b"\x80\x02}.", "Only its folder could tell"),
        ("a.pt", b"", "Only its folder could tell"),
    ],
)
def test_a_stranger_is_refused_with_the_reason(
    root: Path, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ModelUnusable, match=reason):
        import_model(tmp_path / name, root, move=True)

    assert (tmp_path / name).exists()
    assert list(root.iterdir()) == []


def test_a_kind_counts_only_where_nothing_else_tells(root: Path, tmp_path: Path) -> None:
    (tmp_path / "sepia.pt").write_bytes(b"\x80\x02}.")
    ink = safetensors(tmp_path / "ink.safetensors", lora("sd15"))

    sepia = import_model(tmp_path / "sepia.pt", root, kind=ModelKind.HYPERNETWORK)
    told = import_model(ink, root, kind=ModelKind.VAE)

    assert sepia.path == root / "hypernetworks" / "sepia.pt"
    assert "pickle" in sepia.notes[0]
    assert told.path == root / "Lora" / "ink.safetensors"
    assert told.notes == ("It is no VAE, but a LoRA, and lies where those do.",)


def test_what_lies_there_or_nowhere_or_has_no_room_is_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = safetensors(root / "Lora" / "ink.safetensors", lora("sd15"))
    demo = Path(__file__).parents[2] / "models" / "Stable-diffusion" / "easel-demo"

    with pytest.raises(ModelUnusable, match="in the models folders already"):
        import_model(there, root)
    with pytest.raises(ModelUnusable, match="can not be read: No such file"):
        import_model(tmp_path / "gone.safetensors", root)
    monkeypatch.setattr("easel.model_import._SPARE", 2**60)
    with pytest.raises(ModelUnusable, match="There is no room for it: 0"):
        import_model(demo, root)
    assert not list((root / "Stable-diffusion").iterdir())


def test_a_folder_called_as_another_program_does_is_used(root: Path, tmp_path: Path) -> None:
    (root / "loras").mkdir()

    assert import_model(safetensors(tmp_path / "x.safetensors", lora("sd15")), root).path.parent == root / "loras"
