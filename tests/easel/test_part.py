import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOKEN = "70451:canary-of-the-command-line"


@pytest.mark.parametrize("module", ["bot", "worker.delivery"])
def test_a_token_on_the_command_line_is_refused_and_not_repeated(module: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, f"--telegram-token={TOKEN}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    )

    assert done.returncode == 2
    assert "takes no words" in done.stderr
    assert ".env" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["up", "bot", "delivery", "worker", "imagine"])
def test_no_command_has_an_option_for_a_token(command: str) -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "bot.cli", command, "--token", TOKEN],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert asked.returncode == 2
    assert "--token" in asked.stderr
    assert TOKEN not in asked.stdout + asked.stderr
