import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "diffusers", "transformers", "scipy", "numpy"}


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules in memory after `statement` ran in a fresh Python."""
    program = (
        f"import json, sys\n{statement}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def modules_of(package: str) -> list[str]:
    names = []
    for file in sorted((ROOT / package).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        if parts[-1] != "__main__":
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


@pytest.mark.parametrize("package", ["easel", "bot"])
def test_the_chat_side_loads_nothing_heavy_and_no_worker(package: str) -> None:
    statement = "; ".join(f"import {name}" for name in [*modules_of(package), "bot.__main__"])

    loaded = loaded_by(statement)

    assert not loaded & (HEAVY | {"worker"})


def test_the_shared_package_loads_neither_side_and_no_chat_client() -> None:
    loaded = loaded_by("; ".join(f"import {name}" for name in modules_of("easel")))

    assert not loaded & {"bot", "worker", "discord", "telegram"}


def test_the_worker_loads_no_bot_and_no_chat_client() -> None:
    loaded = loaded_by("import worker.__main__, worker.delivery.__main__")

    assert not loaded & {"bot", "discord", "telegram"}


def test_delivery_loads_no_torch() -> None:
    assert not loaded_by("import worker.delivery.__main__") & HEAVY


def test_help_loads_neither_chat_client_nor_settings() -> None:
    loaded = loaded_by("import bot.cli")

    assert not loaded & (HEAVY | {"discord", "telegram", "pydantic", "redis", "rq", "PIL"})


@pytest.mark.parametrize("package", ["easel", "bot", "worker"])
def test_an_init_holds_a_docstring_and_no_import(package: str) -> None:
    for file in (ROOT / package).rglob("__init__.py"):
        lines = [line for line in file.read_text().splitlines() if line.strip()]

        assert lines, file
        assert lines[0].startswith(('"""', 'r"""')), file
        assert not [line for line in lines if line.startswith(("import ", "from "))], file
