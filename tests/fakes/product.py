"""The product as people run it: processes of its own in a folder of its own, stopped with nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from easel import server
from easel.job_queue.connect import impatient
from easel.job_queue.queue import JobQueue
from tests.fakes.discord_server import FakeDiscord
from tests.fakes.telegram_server import FakeTelegram

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
EASEL, BOT, DELIVERY = ("bot.cli",), ("bot",), ("worker.delivery",)
"""What `python -m` runs; the `easel` command is the first."""
UP = (*EASEL, "up")
KEY = "k" * 32
STOP_S = 30


@dataclass(slots=True)
class Tokens:
    """Which networks the product is on."""

    discord: FakeDiscord | None = None
    telegram: FakeTelegram | None = None

    def variables(self) -> dict[str, str]:
        told: dict[str, str] = {}
        if self.discord:
            told |= {"DISCORD_TOKEN": self.discord.token, "DISCORD_API_BASE": self.discord.api_base}
            told |= {"DISCORD_GATEWAY": self.discord.gateway_url}
        if self.telegram:
            told |= {"TELEGRAM_TOKEN": self.telegram.token, "TELEGRAM_API_BASE": self.telegram.api_base}
            told |= {"TELEGRAM_FILE_BASE": self.telegram.file_base}
        return told


@dataclass
class Product:
    """Everything that runs on one data folder; leaving it ends what is left."""

    folder: Path
    """Empty at first; its path is short enough for a socket."""
    tokens: Tokens = field(default_factory=Tokens)
    changes: Mapping[str, str] = field(default_factory=dict)
    """Variables that are set otherwise."""
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def environment(self, **changes: str) -> dict[str, str]:
        """Return all that a process is told: nothing of ours but where programs are, and how many threads to use."""
        kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("OMP_")}
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            **kept,
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "EASEL_DATA_DIR": str(self.data),
            "EASEL_MODELS_DIR": str(MODELS),
            "EASEL_MODELS_FILE": str(ROOT / "models.yaml"),
            "EASEL_KEY": KEY,
            **self.tokens.variables(),
            **self.changes,
            **changes,
        }

    def start(self, words: tuple[str, ...] = UP, *, log: str = "up.log", **changes: str) -> "subprocess.Popen[bytes]":
        """Run `python -m words` in the folder, as from a terminal of its own; what it says goes to the log."""
        with (self.folder / log).open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=self.folder,
                env=self.environment(**changes),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def said(self, log: str = "up.log") -> str:
        return (self.folder / log).read_text()

    @contextmanager
    def queue(self) -> Iterator[JobQueue]:
        """Lend the product's own queue; only while it runs."""
        with closing(impatient(server.ensure(self.data))) as connection:
            yield JobQueue(connection, key=KEY.encode())

    @property
    def running(self) -> list[int]:
        """The processes that use the folder: our own children, theirs, and the server."""
        return [pid for pid in _pids() if str(self.data) in command(pid) + _read(pid, "environ")]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.started:
            if process.poll() is None:
                press_ctrl_c(process)
        deadline = time.monotonic() + STOP_S
        for process in self.started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
        for pid in self.running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait()


def press_ctrl_c(process: "subprocess.Popen[bytes]") -> None:
    """Send what a terminal sends: SIGINT to the whole group in front."""
    os.killpg(process.pid, signal.SIGINT)


def child(parent: int, module: str) -> int | None:
    """Return the child that runs `python -m module`; None while there is none."""
    found = (pid for pid in children(parent) if command(pid).split("\0")[1:3] == ["-m", module])
    return next(found, None)


def children(parent: int) -> list[int]:
    return [pid for pid in _pids() if _parent(pid) == parent]


def command(pid: int) -> str:
    """Return the words a process was started with, parted by NUL; empty when it is gone."""
    return _read(pid, "cmdline")


def mapped(pid: int) -> str:
    """Return the files in a process' memory."""
    return _read(pid, "maps")


def resident_mib(pid: int) -> float:
    line = next(line for line in _read(pid, "status").splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int:
    # The name before it stands in brackets and may hold anything.
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _read(pid: int, name: str) -> str:
    """Return a file about a process; empty when it is gone or somebody else's."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    return ""
