import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("easel", "bot", "worker")
LONGEST = {"easel": 300, "bot": 300, "worker": 300, "tests": 500}
BANNED = {
    "ckpt": "checkpoint",
    "data_model": "checkpoint",
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "textual_inversion": "embedding",
    "n_iter": "batch_size",
}
"""Synonyms of words in our glossary; only `worker/` speaks diffusers."""


def files(*packages: str) -> list[Path]:
    return [file for package in packages for file in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize(("package", "longest"), LONGEST.items())
def test_a_file_can_be_read_in_one_sitting(package: str, longest: int) -> None:
    lengths = {str(file): len(file.read_text().splitlines()) for file in files(package)}

    assert {file: lines for file, lines in lengths.items() if lines > longest} == {}


def test_every_module_opens_with_one_sentence() -> None:
    silent = [str(file) for file in files(*PACKAGES) if not file.read_text().startswith(('"""', 'r"""'))]

    assert not silent


def test_there_is_no_empty_hall() -> None:
    halls = {file.parent for file in files(*PACKAGES)}

    assert not [
        hall
        for hall in halls
        if {file.name for file in hall.glob("*.py")} == {"__init__.py"}
        and not any(child.is_dir() and child.name != "__pycache__" for child in hall.iterdir())
    ]


def test_one_word_stands_for_one_thing() -> None:
    found = []
    for file in files("easel", "bot"):
        with file.open("rb") as source:
            for token in tokenize.tokenize(source.readline):
                if token.type == tokenize.NAME and token.string in BANNED:
                    found.append(f"{file}:{token.start[0]}: {token.string}, say {BANNED[token.string]}")

    assert not found


def test_pickles_are_never_trusted() -> None:
    unsafe = re.compile(r"weights_only\s*=\s*False|torch\.load\(|pickle\.loads?\(|trust_remote_code\s*=\s*True")

    assert not [str(file) for file in files(*PACKAGES) if unsafe.search(file.read_text())]


def test_nothing_is_to_be_done_later_without_a_number() -> None:
    assert not [
        str(file) for file in files(*PACKAGES, "tests") if re.search(r"#\s*(TODO|FIXME|XXX)(?!.*#\d)", file.read_text())
    ]
