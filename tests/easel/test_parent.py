import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORPHAN = """
import os, sys, time
from easel.parent import die_with_parent_if_told
while os.getppid() == int(sys.argv[-1]):
    time.sleep(0.01)
die_with_parent_if_told()
time.sleep(60)
"""
PARENT = """
import subprocess, sys
from easel.parent import child_words
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], *child_words()], stdout=subprocess.DEVNULL)
print(child.pid)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux tells children")
def test_a_part_whose_parent_died_before_it_could_ask_does_not_stay() -> None:
    done = subprocess.run([sys.executable, "-c", PARENT, ORPHAN], cwd=ROOT, stdout=subprocess.PIPE, check=True)

    words = Path(f"/proc/{int(done.stdout)}/cmdline")
    deadline = time.monotonic() + 60
    while words.exists() and words.read_text():
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.01)
