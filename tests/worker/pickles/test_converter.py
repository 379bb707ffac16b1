"""Old pickles are converted once, in a child that runs nothing of theirs, and what is wrong with them is remembered."""

import io
import json
import pickle
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from easel.catalog import ModelKind
from easel.errors import ModelUnusable
from easel.identify.header import read_header
from tests.fakes.pickled import payloads, saved
from worker.pickles.converter import Converter

UPSCALER = {"conv_first.weight": torch.rand(8, 3, 3, 3)}


@pytest.fixture
def converter(tmp_path: Path) -> Converter:
    return Converter(tmp_path / "data")


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in (folder / "data" / "converted").iterdir() if not file.name.startswith("."))


def test_a_pickle_is_converted_once_and_says_where_it_came_from(
    converter: Converter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "4x.pth", saved({"params": UPSCALER}))

    verdict = converter(path, ModelKind.UPSCALER)
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    copy = written(tmp_path, "copy.pth", path.read_bytes())

    assert verdict.problem == ""
    assert converter(path, ModelKind.UPSCALER) == verdict
    assert converter(copy, ModelKind.UPSCALER).sha256 == verdict.sha256
    assert files(tmp_path) == [f"{verdict.sha256}.safetensors", "index.json"]
    made = tmp_path / "data" / "converted" / f"{verdict.sha256}.safetensors"
    assert torch.equal(load_file(made)["conv_first.weight"], UPSCALER["conv_first.weight"])
    metadata = read_header(made).metadata
    assert (metadata["easel.file"], metadata["easel.kind"]) == ("4x.pth", "upscaler")


def test_code_in_a_pickle_never_runs_and_is_not_tried_again(
    converter: Converter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mark = tmp_path / "ran"
    paths = {name: written(tmp_path, f"{name}.pt", content) for name, content in payloads(mark).items()}

    problems = {name: converter(path, ModelKind.UPSCALER).problem for name, path in paths.items()}

    assert {name: problem for name, problem in problems.items() if "may be meant to run code" not in problem} == {}
    assert len(problems) == 10
    assert not mark.exists()
    assert files(tmp_path) == ["index.json"]
    assert "posix.system" in caplog.text

    monkeypatch.setattr(sys, "executable", "/nonexistent")
    again = {name: Converter(tmp_path / "data")(path, ModelKind.UPSCALER).problem for name, path in paths.items()}

    assert again == problems

    monkeypatch.undo()
    paths["eval"].write_bytes(saved(UPSCALER))
    assert converter(paths["eval"], ModelKind.UPSCALER).problem == ""


def test_the_payloads_would_run_where_pickles_are_trusted(tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    pickle.loads(payloads(mark)["bare pickle"])

    assert mark.exists()


def deflated(size: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", bytes(size))
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (deflated(50 * 2**20), "may be a bomb"),
        # A memory of what was seen, in the slot of a number near 2**31.
        (b"\x80\x02}r\xff\xff\xff\x7f.", "may be a bomb"),
        # Built in place: a bytearray of 2**40 bytes is only ever a stand-in.
        (pickle.dumps(bytearray, protocol=2)[:-1] + b"\x8a\x06\0\0\0\0\0\x01\x85R.", "not written by PyTorch"),
        (saved(UPSCALER)[:-100], "damaged"),
        (saved({"something": torch.ones(3, 3)}), "looks like a model"),
        (b"\x80\x02" + b"(" * 2_000_000, "damaged"),
    ],
    ids=["zip bomb", "memo bomb", "bytearray", "cut off", "no model", "open tuples"],
)
def test_a_bomb_or_a_wreck_costs_little_and_is_refused(
    content: bytes, words: str, converter: Converter, tmp_path: Path
) -> None:
    started = time.monotonic()

    problem = converter(written(tmp_path, "bad.ckpt", content), ModelKind.UPSCALER).problem

    assert words in problem
    assert time.monotonic() - started < 10
    assert files(tmp_path) == ["index.json"]


def test_a_child_that_dies_or_hangs_is_a_reason_to_refuse(
    converter: Converter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = written(tmp_path, "python", b"#!/bin/sh\nexec sleep 60\n")
    shell.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(shell))
    monkeypatch.setattr("worker.pickles.converter.SECONDS", 0.2)

    problem = converter(written(tmp_path, "slow.pt", saved(UPSCALER)), ModelKind.UPSCALER).problem

    assert "more time or memory" in problem


def test_what_a_child_claims_to_have_written_is_not_believed(
    converter: Converter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'printf rubbish > "$5"; printf \'{"problem": ""}\''
    shell = written(tmp_path, "python", f"#!/bin/sh\ncat > /dev/null\n{script}\n".encode())
    shell.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(shell))

    problem = converter(written(tmp_path, "odd.pt", saved(UPSCALER)), ModelKind.UPSCALER).problem

    assert "not a whole safetensors file" in problem
    assert files(tmp_path) == ["index.json"]


def test_a_full_disk_is_no_fault_of_the_file(
    converter: Converter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "4x.pth", saved(UPSCALER))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))

    with pytest.raises(ModelUnusable, match=r"no room left .* `4x\.pth`"):
        converter(path, ModelKind.UPSCALER)

    monkeypatch.undo()
    assert converter(path, ModelKind.UPSCALER).problem == ""


def test_no_version_of_torch_ever_sees_a_pickle() -> None:
    program = "import json, sys, worker.pickles.child\nprint(json.dumps(sorted(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert not {"torch", "numpy", "redis"} & set(json.loads(done.stdout))


def test_what_nothing_needs_any_more_is_deleted(converter: Converter, tmp_path: Path) -> None:
    first = written(tmp_path, "a.pth", saved({"params": UPSCALER}))
    away = tmp_path / "share"
    away.mkdir()
    kept = converter(written(away, "b.pth", saved(UPSCALER)), ModelKind.UPSCALER)
    gone = converter(first, ModelKind.UPSCALER)
    away.rename(tmp_path / "unmounted")
    first.unlink()

    last = converter(written(tmp_path, "c.pth", saved({"state_dict": UPSCALER})), ModelKind.UPSCALER)

    assert files(tmp_path) == sorted([f"{kept.sha256}.safetensors", f"{last.sha256}.safetensors", "index.json"])
    assert gone.sha256 not in (tmp_path / "data" / "converted" / "index.json").read_text()


def test_a_damaged_index_costs_only_another_look(converter: Converter, tmp_path: Path) -> None:
    path = written(tmp_path, "a.pth", saved({"params": UPSCALER}))
    verdict = converter(path, ModelKind.UPSCALER)

    (tmp_path / "data" / "converted" / "index.json").write_text('{"files": {"a": 1}}')

    assert converter(path, ModelKind.UPSCALER) == verdict
