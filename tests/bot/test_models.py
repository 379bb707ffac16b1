"""`easel models` at the command line: list, info, verify, import."""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from bot.cli import main
from easel.settings import Settings
from easel.shared_library import SharedLibrary
from tests.fakes.library_peer import CatalogBoard
from tests.fakes.model_place import Place
from tests.fakes.weight_files import checkpoint, lora, safetensors

Easel = Callable[..., tuple[int, str, str]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def easel(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Easel:
    """Run one command in the place; return (status, output, complaints)."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("EASEL_", "REDIS_"))]:
        monkeypatch.delenv(name)

    def run(*argv: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["easel", "models", *argv])
        with pytest.raises(SystemExit) as ended:
            main()
        out = capsys.readouterr()
        return int(ended.value.code or 0), out.out, out.err

    return run


def test_the_list_shows_what_can_be_used_and_says_what_can_not(place: Place, easel: Easel) -> None:
    safetensors(place.models / "Stable-diffusion" / "photo.safetensors", checkpoint("sdxl", channels=9))
    safetensors(place.models / "Lora" / "a [bold]ink.safetensors", lora("sd15"), {"modelspec.trigger_phrase": "ink"})
    safetensors(place.models / "Lora" / "flux.safetensors", {"double_blocks.0.x": (1,)})

    status, out, _ = easel("list")

    assert status == 0
    photo, ink = (next(line for line in out.splitlines() if name in line) for name in ("photo", "a [bold]ink"))
    assert photo.split() == ["photo", "checkpoint", "SDXL", "40", "kB", "inpainting"]
    assert "LoRA" in ink
    assert ink.rstrip().endswith("ink")
    assert "Lora/flux.safetensors can not be used. This is made for Flux" in out
    assert "photo" not in easel("list", "ink")[1]
    assert "ink" not in easel("list", "--kind", "checkpoint")[1]
    assert easel("list", "--kind", "virus")[::2] == (
        1,
        "`virus` is no kind of model; there are checkpoint, lora, embedding, vae, hypernetwork, controlnet, upscaler.\n",
    )


def test_the_list_shows_what_other_machines_have(place: Place, easel: Easel, redis_url: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"REDIS_URL={redis_url}\nEASEL_KEY={'k' * 32}\n")
    (tmp_path / ".env").chmod(0o600)
    far = Place(tmp_path / "far")
    safetensors(far.models / "Lora" / "ink.safetensors", lora("sd15"))
    with Redis.from_url(redis_url) as connection:
        worker = SharedLibrary(far.settings(), CatalogBoard(connection, key=b"k" * 32), role="worker")
        worker.look()

    assert worker.machine in easel("list")[1]
    assert "Lora/ink.safetensors (not here)" in easel("info", "ink")[1]


def test_info_tells_everything_and_verify_computes_what_is_missing(place: Place, easel: Easel) -> None:
    file = safetensors(place.models / "Lora" / "ink.safetensors", lora("sd15", "loha"), {"modelspec.title": "Ink"})
    place.says("models:\n  ink: {kind: lora, aliases: [wash], source: 'https://example.org', roles: [12]}\n")

    assert "not computed yet" in easel("info", "wash")[1]
    assert easel("verify")[:2] == (0, "Lora/ink.safetensors: whole\n1 file, 0 damaged.\n")

    data = file.read_bytes()
    body = data[8 + int.from_bytes(data[:8], "little") :]
    lines = dict(line.split(maxsplit=1) for line in easel("info", "ink")[1].splitlines())
    assert lines["SHA-256"].strip() == hashlib.sha256(data).hexdigest()
    assert lines["AutoV2"].strip() == hashlib.sha256(data).hexdigest()[:10]
    assert lines["AutoV3"].strip() == hashlib.sha256(body).hexdigest()[:12]
    assert lines["kind"].strip() == "LoRA (loha)"
    assert lines["title"].strip() == "Ink"
    assert lines["source"].strip() == "https://example.org"
    assert easel("info", "inc")[::2] == (1, "There is no model called `inc`. Did you mean `ink`?\n")


def test_verify_finds_damage_of_every_sort(place: Place, easel: Easel) -> None:
    cut = safetensors(place.models / "Lora" / "cut.safetensors", lora("sd15"))
    cut.write_bytes(cut.read_bytes()[:-1])
    rotten = safetensors(place.models / "Lora" / "rotten.safetensors", lora("sd15"))
    safetensors(place.models / "Lora" / "other.safetensors", lora("sd15"))
    safetensors(place.models / "Lora" / "flux.safetensors", {"double_blocks.0.x": (1,)})
    place.says(f"models:\n  other: {{kind: lora, sha256: {'0' * 64}}}\n")
    assert easel("verify", "rotten")[0] == 0
    state = rotten.stat()
    with rotten.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    os.utime(rotten, ns=(state.st_atime_ns, state.st_mtime_ns))

    status, out, _ = easel("verify")

    assert status == 1
    said = dict(line.split(": ", 1) for line in out.splitlines()[:-1])
    assert "still being copied" in said["Lora/cut.safetensors"]
    assert "computed before, though its date is the same" in said["Lora/rotten.safetensors"]
    assert "hash in models.yaml" in said["Lora/other.safetensors"]
    assert said["Lora/flux.safetensors"].startswith("whole, but not used: This is made for Flux")
    assert out.endswith("4 files, 3 damaged.\n")


def test_import_puts_a_file_where_its_content_says(place: Place, easel: Easel, tmp_path: Path) -> None:
    file = safetensors(tmp_path / "download", lora("sdxl"))

    status, out, _ = easel("import", str(file))

    assert (status, out) == (0, "Lora/download.safetensors is here, called `download`: LoRA · SDXL · 17 kB.\n")
    assert file.exists()
    assert easel("import", str(file))[::2] == (1, "`download` is there already, as Lora/download.safetensors.\n")
    assert Settings(models_dir=(place.models,)).models_dir == (place.models,)
