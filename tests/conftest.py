"""Fixtures shared by all tests."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from easel import server
from easel.job_queue.queue import JobQueue

KEY = b"k" * 32

# Several tests and their child processes share few cores.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has one core: threads that wait for each other across workers cost more than they bring.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
# python-telegram-bot warns about the type of `retry_after` unless told which one is wanted.
os.environ.setdefault("PTB_TIMEDELTA", "1")


@pytest.fixture(scope="session")
def _server_url() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="easel-") as folder:
        yield server.ensure(Path(folder))
        server.stop(Path(folder))


@pytest.fixture
def redis_url(_server_url: str) -> str:
    """An empty real server, shared by the session."""
    with Redis.from_url(_server_url) as connection:
        connection.flushall()
    return _server_url


@pytest.fixture
def queue(redis_url: str) -> Iterator[JobQueue]:
    with Redis.from_url(redis_url) as connection:
        yield JobQueue(connection, key=KEY)
