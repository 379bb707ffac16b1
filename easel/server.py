"""The embedded Valkey: a private server in the data folder, on a unix socket, so that one command starts everything."""

import fcntl
import hashlib
import os
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from easel.env_files import plain
from easel.errors import SettingsError
from easel.server_binary import BARE_ENVIRONMENT, Release, ServerBinary, find_server

_FOLDER = "server"

_PATIENCE_S = 60.0
"""A server that reads a long log back is late; one that has ended is noticed at once."""

_PAUSE_S = 0.01


def ensure(data_dir: Path, *, patience_s: float = _PATIENCE_S) -> str:
    """Return the unix:// address of the data folder's server, started if it does not run."""
    return _join_or_start(_Home(data_dir), patience_s)[0]


@contextmanager
def embedded(data_dir: Path) -> Iterator[str]:
    """Lend the address to one of several processes; whoever leaves last stops the server."""
    home = _Home(data_dir)
    with (home.folder / "users").open("a") as users:
        # Held by all who use the server, also by their forks; waits while another one is stopping it.
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield _join_or_start(home, _PATIENCE_S)[0]
        finally:
            with suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stop(data_dir)


def stop(data_dir: Path, *, patience_s: float = _PATIENCE_S) -> None:
    """Let the server write everything down and end; nothing happens where none runs."""
    if not (data_dir / _FOLDER).exists():
        return
    home = _Home(data_dir)
    with home.alone():
        if not home.running():
            return
        deadline = time.monotonic() + patience_s
        refusal = _ask(home.place(), "SHUTDOWN")
        while home.running():
            if refusal or time.monotonic() > deadline:
                raise SettingsError(f"{home.named()} does not end: {plain(refusal) or 'it does not answer'}.")
            time.sleep(_PAUSE_S)
        home.bury()


def _join_or_start(home: "_Home", patience_s: float) -> tuple[str, bool]:
    """Return the address, and whether the server was started here."""
    if _ask(home.place(), "PING") == "+PONG":
        return home.address(), False
    release = None
    with home.alone():
        deadline = time.monotonic() + patience_s
        while _ask(home.place(), "PING") != "+PONG":
            if time.monotonic() > deadline:
                raise SettingsError(f"{home.named()} does not answer; end it (kill {home.pid()}) and try again.")
            if not home.running():
                if release:
                    home.bury()
                    raise SettingsError(f"The embedded server ended at once; its last words were: {home.last_words()}")
                release = home.start()
            time.sleep(_PAUSE_S)
        if release:
            home.sign(release)
        return home.address(), release is not None


def _ask(path: Path | None, command: str) -> str:
    """Return the first line of the server's answer; empty where there is none within a second."""
    with socket.socket(socket.AF_UNIX) as line, suppress(OSError):
        line.settimeout(1)
        line.connect(str(path))
        line.sendall(f"{command}\r\n".encode())
        return line.recv(256).decode(errors="replace").partition("\r\n")[0]
    return ""


class _Home:
    """The folder of one server.

    `pid` is locked for as long as the server lives, as the server inherits the lock: after a crash it is free at once,
    where a process id alone may meanwhile be somebody else's. `lock` parts those who start and stop. `socket` says
    where the socket is, and `written-by` which release last wrote here.
    """

    def __init__(self, data_dir: Path) -> None:
        self.folder = (data_dir / _FOLDER).resolve()
        _own(self.folder)

    def place(self) -> Path | None:
        """Return where the server listens or last listened; None before the first start."""
        written = _read(self.folder / "socket")
        if not written:
            return None
        path = self.folder / written
        if path.parent != self.folder:
            _own(path.parent)
        return path

    def address(self) -> str:
        return f"unix://{quote(str(self.place()))}"

    def pid(self) -> str:
        return _read(self.folder / "pid")

    def named(self) -> str:
        return f"The embedded server in {self.folder} (process {self.pid()})"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep out everybody else who starts or stops this server."""
        with (self.folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def running(self) -> bool:
        """Say whether the server's process lives; ask only while `alone`."""
        with (self.folder / "pid").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    def start(self) -> Release:
        """Start the server's process, without waiting for an answer."""
        binary = find_server()
        self._refuse_older(binary)
        path = _place_for_socket(self.folder)
        (self.folder / "socket").write_text(path.name if path.parent == self.folder else str(path))
        with (self.folder / "pid").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.set_inheritable(lock.fileno(), True)
            lock.write(str(_spawn(binary.path, self.folder, path)))
        return binary.release

    def bury(self) -> None:
        """Take leave of the ended server, if it was a child of this process."""
        with suppress(ChildProcessError, ValueError):
            os.waitpid(int(self.pid()), os.WNOHANG)

    def last_words(self) -> str:
        log = self.folder / "server.log"
        lines = _read(log).splitlines()
        return f"{plain(lines[-1]) if lines else 'no word'} (more in {log})."

    def sign(self, release: Release) -> None:
        (self.folder / "written-by").write_text(str(release))

    def _refuse_older(self, binary: ServerBinary) -> None:
        written = Release.read(_read(self.folder / "written-by"))
        if written and not binary.release.reads(written):
            raise SettingsError(
                f"{self.folder} was written by {written}, which {binary.path} ({binary.release}) can not read: "
                f"install {written.product} {written.version[0]} or newer, or move the folder away and start empty."
            )


def _read(file: Path) -> str:
    """Return the text of a small file, empty if there is none."""
    with suppress(FileNotFoundError):
        return file.read_text(errors="replace").strip()
    return ""


def _own(folder: Path) -> None:
    """Make the folder ours alone; raise where it can not be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        raise SettingsError(f"{folder} can not be made ({error.strerror}); set EASEL_DATA_DIR.") from error
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        raise SettingsError(f"{folder} belongs to another user; run Easel as that user, or set EASEL_DATA_DIR.")
    if stat.S_IMODE(facts.st_mode) & 0o077:
        folder.chmod(0o700)


def _place_for_socket(folder: Path) -> Path:
    """Return the first place that can hold a socket: the path is short (108 bytes on Linux), the mount no network's."""
    mark = f"easel-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    bases = [Path(base) for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()) if base]
    for home in [folder, *(base / mark for base in bases if base.is_dir())]:
        if home != folder:
            _own(home)
        path = home / "kv.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.bind(str(path))
            path.unlink()
            return path
    raise SettingsError(f"No socket can be made in {folder} or in {tempfile.gettempdir()}; set REDIS_URL.")


def _spawn(binary: Path, folder: Path, path: Path) -> int:
    """Start the server with nothing of ours but the lock."""
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        # Anything else would evict queued jobs when the memory runs out.
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        binary,
        [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))],
        BARE_ENVIRONMENT,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(folder / "server.log"), log_flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        # A session of its own: Ctrl+C is for us, and the workers still have to write when it comes.
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGINT, signal.SIGTERM),
    )
