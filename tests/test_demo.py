"""The first minute: `easel imagine` on a machine where nothing runs and nothing is set."""

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from easel.infotext.files import read
from tests.fakes.product import EASEL, Product, child, children, press_ctrl_c

PATIENCE_S = 90
STOP_S = 30
HELP_S = 0.3
HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "numpy",
    "PIL",
    "pydantic",
    "redis",
    "rq",
    "discord",
    "telegram",
    "aiohttp",
)


@pytest.fixture
def product() -> Iterator[Product]:
    """An empty folder, which is home and workplace of what is started in it; nothing stays that uses it."""
    with tempfile.TemporaryDirectory(prefix="easel-demo-") as folder, Product(Path(folder)) as product:
        yield product


def imagine(product: Product, *words: str, **changes: str) -> int:
    """Run the command to its end; return its status."""
    return product.start((*EASEL, "imagine", *words), **changes).wait(PATIENCE_S)


def until(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_the_first_picture_needs_one_command_and_nothing_else(product: Product) -> None:
    status = imagine(product, "a red apple", "--seed", "1", "--steps", "4")

    said = product.said()
    (file,) = (product.folder / "out").iterdir()
    assert status == 0, said
    assert f"out/{file.name}" in said
    assert "seed 1 · 4 steps · cfg 4 · DPM++ 2M SGM Uniform · 128×128 · easel-demo · " in said
    assert "Traceback" not in said
    with Image.open(io.BytesIO(file.read_bytes())) as picture:
        picture.load()
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (512, 512))
        assert str(picture.info["parameters"]).startswith("a red apple\nSteps: 4, Sampler: DPM++ 2M, ")
    assert "Seed: 1, " in str(read(file.read_bytes()))
    assert product.running == []


@pytest.mark.parametrize(
    ("words", "changes", "status", "sentence"),
    [
        (("--checkpoint", "easel-dmeo"), {}, 1, "There is no checkpoint called `easel-dmeo`. Did you mean `easel-demo`?"),
        (("--steps", "151"), {}, 1, "`steps` must be a whole number from 1 to 150, not `151`."),
        ((), {"EASEL_DEVICE": "gpu"}, 2, "EASEL_DEVICE is `gpu`, but must be cpu, cuda, cuda:N, xpu, xpu:N or mps."),
        ((), {"EASEL_DEVISE": "cpu"}, 2, "There is no setting EASEL_DEVISE; did you mean EASEL_DEVICE?"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_sentence(
    product: Product, words: tuple[str, ...], changes: dict[str, str], status: int, sentence: str
) -> None:
    ended = imagine(product, "a red apple", *words, **changes)

    assert product.said().splitlines() == [sentence]
    assert ended == status
    assert product.running == []
    assert not (product.folder / "out").exists()


def test_ctrl_c_while_the_worker_starts_leaves_nothing_behind(product: Product) -> None:
    command = product.start((*EASEL, "imagine", "a red apple"))
    until(lambda: child(command.pid, "worker"))

    press_ctrl_c(command)
    status = command.wait(STOP_S)

    assert status == 130
    assert "Traceback" not in product.said()
    assert product.running == []


def test_ctrl_c_while_it_paints_leaves_nothing_behind(product: Product) -> None:
    command = product.start((*EASEL, "imagine", "a red apple", "--steps", "150"))
    until(lambda: children(child(command.pid, "worker") or -1))
    with product.queue() as queue:
        until(lambda: queue.rq.started_job_registry.count)

        press_ctrl_c(command)
        status = command.wait(STOP_S)

    assert status == 130
    assert "Traceback" not in product.said()
    assert product.running == []
    assert not (product.folder / "out").exists()


def test_help_is_quick_and_loads_nothing_heavy(product: Product) -> None:
    began = time.monotonic()
    status = product.start((*EASEL, "--help")).wait(PATIENCE_S)
    seconds = time.monotonic() - began

    product.start((*EASEL, "--help"), log="imports.log", PYTHONPROFILEIMPORTTIME="1").wait(PATIENCE_S)

    lines = product.said("imports.log").splitlines()
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if line.startswith("import time:")}
    assert status == 0
    assert all(command in product.said() for command in ("imagine", "up", "worker", "delivery", "bot"))
    assert "typer" in loaded
    assert not loaded & set(HEAVY)
    assert seconds < 5 * HELP_S
