"""Whose code runs: that of the pinned packages, never that of a model folder; and a worker asks nobody for more."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from easel.catalog import Base, ModelKind
from easel.library import load_catalog
from tests.fakes.product import ROOT, Product
from tests.fakes.tiny_models import save_folder, tiny_checkpoint
from worker.checkpoints.load import load_folder

GUARD = """
import os, sys

def guard(event, args):
    asked = event.startswith("socket.get") and event.split(".")[1] in ("getaddrinfo", "gethostbyname", "gethostbyaddr")
    if asked or (event in ("socket.connect", "socket.sendto") and isinstance(args[1], tuple)):
        with open(os.environ["GUARD_LOG"], "a") as log:
            log.write(f"{event} {args[0] if asked else args[1]}\\n")
        raise OSError("no network here")

sys.addaudithook(guard)
"""
"""Python runs a `sitecustomize` before anything else; Easel's own server is a file, not an address."""


# -- a worker asks nobody


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    """A product whose processes can open no connection, and write down whom they would have asked."""
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    guarded = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "GUARD_LOG": str(tmp_path / "asked")}
    # The folder's path must be short enough for a socket.
    with tempfile.TemporaryDirectory(prefix="easel-") as folder, Product(Path(folder), changes=guarded) as product:
        yield product


def run(product: Product, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run Python in a network namespace of its own, with no way out, where this is allowed."""
    alone = ["unshare", "--map-root-user", "--net"] if shutil.which("unshare") else []
    if alone and subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        alone = []
    return subprocess.run(
        [*alone, sys.executable, *words],
        cwd=product.folder,
        env=product.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def asked(product: Product) -> list[str]:
    log = Path(product.changes["GUARD_LOG"])
    return log.read_text().splitlines() if log.exists() else []


def test_a_worker_without_network_paints_and_asks_nobody(product: Product) -> None:
    done = run(product, "-m", "bot.cli", "imagine", "a red apple", "--steps", "1")

    assert done.returncode == 0, done.stderr
    assert [file.suffix for file in (product.folder / "out").iterdir()] == [".png"]
    assert asked(product) == []


def test_the_guard_of_these_tests_sees_who_is_asked(product: Product) -> None:
    call = "import socket; socket.create_connection(('192.0.2.1', 80), 0.1)"

    assert run(product, "-c", call).returncode != 0

    assert asked(product) == ["socket.getaddrinfo 192.0.2.1"]


# -- a model folder is data


FOREIGN = frozenset(
    {
        "AutoModel", "AutoPipelineForText2Image", "AutoTokenizer", "DiffusionPipeline", "custom_pipeline",
        "get_class_from_dynamic_module", "run_path", "spec_from_file_location", "trust_remote_code",
    }
)  # fmt: skip
"""Whatever looks into a model folder for a class to run, or can be told to."""


@pytest.mark.parametrize("package", ["easel", "bot", "worker"])
def test_nothing_that_could_run_a_files_text_is_used(package: str) -> None:
    found = []
    for file in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            # A name, an attribute, a keyword of a call, an import: whichever of these a node is.
            named = {getattr(node, field, None) for field in ("id", "attr", "arg", "name")}
            runs = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}
            if runs or not FOREIGN.isdisjoint(named):
                found.append(f"{file.relative_to(ROOT)}: {ast.unparse(node)[:80]}")

    assert found == []


def evil(marker: Path) -> str:
    return f"from pathlib import Path\nPath({str(marker)!r}).touch()\nclass Evil: pass\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good checkpoint with a program beside each of its parts, and configs that ask for them."""
    path = save_folder(tiny_checkpoint(Base.SD15), tmp_path / "models" / "Stable-diffusion" / "tiny")
    names = ["__init__", "pipeline", "sitecustomize", "modeling_evil", "tokenization_evil", "scheduling_evil", "evil"]
    for place in [path.parent, path, *(part for part in path.iterdir() if part.is_dir())]:
        for name in [*names, place.name]:
            (place / f"{name}.py").write_text(evil(tmp_path / "was-here"))
    tell(path / "model_index.json", custom_pipeline="pipeline", unet=["unet", "Evil"], vae=["evil", "Evil"])
    tell(path / "text_encoder/config.json", auto_map={"AutoModel": "modeling_evil.Evil"}, architectures=["Evil"])
    tell(path / "unet/config.json", auto_map={"AutoModel": "evil.Evil"}, _module="unet")
    tell(path / "scheduler/scheduler_config.json", _class_name=["scheduling_evil", "Evil"])
    tell(
        path / "tokenizer/tokenizer_config.json",
        auto_map={"AutoTokenizer": ["tokenization_evil.Evil", None]},
        tokenizer_class="Evil",
    )
    return path


def tell(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_no_program_in_a_model_folder_is_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    catalog, problems = load_catalog([tmp_path / "models"], tmp_path / "models.yaml", tmp_path)
    loaded = load_folder(folder, name="tiny", base=Base.SD15, device=torch.device("cpu"), dtype=torch.float32)

    assert ([card.name for card in catalog.cards(ModelKind.CHECKPOINT)], problems) == (["tiny"], [])
    assert loaded.name == "tiny"
    assert not (tmp_path / "was-here").exists()
    assert [name for name, module in sys.modules.items() if str(tmp_path) in str(getattr(module, "__file__", ""))] == []


def test_the_programs_of_these_tests_do_leave_a_mark(folder: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, folder / "pipeline.py"], check=True)

    assert (tmp_path / "was-here").exists()


# -- the packages


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
WANTED = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["worker"],
    *PROJECT["dependency-groups"]["dev"],
]


def closure(wanted: list[str], extra: str = "", found: dict[str, bool] | None = None) -> dict[str, bool]:
    """Return every package that is needed, and whether somebody who is pinned names its exact version."""
    found = {} if found is None else found
    for one in map(Requirement, wanted):
        name = canonicalize_name(one.name)
        if one.marker and not one.marker.evaluate({"extra": extra}):
            continue
        exact = [part.operator for part in one.specifier] == ["=="]
        known = name in found
        found[name] = found.get(name, False) or exact
        for part in one.extras if known else ("", *one.extras):
            closure(metadata.requires(name) or [], part, found)
    return found


def test_every_line_of_the_constraints_is_one_exact_version() -> None:
    assert [line for line in LINES if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []
    assert len({canonicalize_name(line.partition("==")[0]) for line in LINES}) == len(LINES)


def test_every_package_that_is_needed_is_pinned_to_what_is_installed() -> None:
    pins = {str(canonicalize_name(line.partition("==")[0])): line.partition("==")[2] for line in LINES}
    needed = closure(WANTED)

    # A CUDA build of torch names the exact versions of NVIDIA's libraries itself.
    assert sorted(name for name, exact in needed.items() if name not in pins and not exact) == []
    assert sorted(set(pins) - set(needed)) == ["pip"]
    for name in set(needed) & set(pins):
        # A build for the CPU has the same version with a suffix.
        assert metadata.version(name).partition("+")[0] == pins[name], name
