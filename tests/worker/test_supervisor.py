import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from easel.job_queue.queue import JobQueue, Status
from easel.jobs import Job
from tests.conftest import KEY
from tests.fakes.jobs import a_job

ROOT = Path(__file__).parents[2]
PROGRAM = f"""
import sys
from redis import Redis
from easel.job_queue.lease_worker import LeaseWorker
from easel.job_queue.queue import JobQueue
from worker.gpu_worker import GpuWorker
from worker.sketch import SketchRenderer
from worker.supervisor import Supervisor
url, log = sys.argv[1:]
def live(device, name, stopping):
    with open(log, "a") as file:
        file.write(f"{{device}} {{__import__('os').getpid()}}\\n")
    queue = JobQueue(Redis.from_url(url), key={KEY!r})
    GpuWorker(LeaseWorker(queue, name=name), SketchRenderer(step_s=0.05)).run(stopping)
Supervisor(json_devices, live, redis_url=url, key={KEY!r}).run()
"""


def until(check: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@contextmanager
def supervised(redis_url: str, log: Path, devices: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    log.touch()
    program = PROGRAM.replace("json_devices", json.dumps(devices))
    process = subprocess.Popen([sys.executable, "-c", program, redis_url, str(log)], cwd=ROOT)
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(20) == 0


def started(log: Path) -> list[tuple[str, int]]:
    return [(line.split()[0], int(line.split()[1])) for line in log.read_text().splitlines()]


def has_lived(log: Path, lives: int) -> bool:
    return len(started(log)) == lives


def is_drawn(queue: JobQueue, job: Job) -> bool:
    return queue.state(job.id).progress is not None


def test_one_worker_runs_per_device(redis_url: str, queue: JobQueue, tmp_path: Path) -> None:
    with supervised(redis_url, tmp_path / "log", ["cuda:0", "cuda:1"]):
        until(lambda: queue.workers() == 2)

        assert sorted(device for device, _ in started(tmp_path / "log")) == ["cuda:0", "cuda:1"]

    assert queue.workers() == 0


def test_a_killed_worker_is_replaced_and_its_job_runs_again_at_once(
    redis_url: str, queue: JobQueue, tmp_path: Path
) -> None:
    job = a_job(steps=40)
    with supervised(redis_url, tmp_path / "log", ["cpu"]):
        queue.put(job)
        until(lambda: queue.state(job.id).progress is not None)
        os.kill(started(tmp_path / "log")[0][1], signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: len(started(tmp_path / "log")) == 2)
        until(lambda: queue.connection.hget(f"easel:job:{job.id}", "attempts") == b"2")
        again = time.monotonic() - killed
        until(lambda: queue.state(job.id).status is Status.OVER)

    # A second on a free machine; the next worker is another process, and its start may take several on a busy one.
    assert again < 10
    result = queue.state(job.id).result
    assert result is not None
    assert result.failure is None


def test_workers_that_die_at_work_are_replaced_at_once_again_and_again(
    redis_url: str, queue: JobQueue, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    pauses = []
    with supervised(redis_url, log, ["cpu"]):
        for deaths in range(1, 6):
            job = a_job(steps=150)
            queue.put(job)
            until(partial(is_drawn, queue, job))
            os.kill(started(log)[-1][1], signal.SIGKILL)
            killed = time.monotonic()
            until(partial(has_lived, log, deaths + 1))
            pauses.append(time.monotonic() - killed)
            queue.cancel(job.id)

    # Were each death held against the next worker, the last one would have waited for 31 s.
    assert max(pauses) < 10


def test_a_worker_that_can_not_start_is_tried_ever_more_rarely(redis_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    program = PROGRAM.replace("json_devices", '["cpu"]').replace(
        "    queue = ", "    raise SystemExit(3)\n    queue = "
    )
    process = subprocess.Popen([sys.executable, "-c", program, redis_url, str(log)], cwd=ROOT)

    until(lambda: len(started(log)) == 3)
    time_of_third = time.monotonic()
    until(lambda: len(started(log)) == 4)

    assert time.monotonic() - time_of_third > 1
    process.terminate()
    assert process.wait(20) == 0


def test_workers_go_when_their_supervisor_is_killed(redis_url: str, queue: JobQueue, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    program = PROGRAM.replace("json_devices", '["cpu"]')
    process = subprocess.Popen([sys.executable, "-c", program, redis_url, str(log)], cwd=ROOT)
    until(lambda: queue.workers() == 1)

    process.kill()
    process.wait()

    worker = started(log)[0][1]
    until(lambda: not Path(f"/proc/{worker}").exists())
    assert queue.workers() == 0


@pytest.mark.parametrize("who", ["parent", "child"])
def test_a_stop_that_comes_in_the_middle_of_a_fork_is_heard(redis_url: str, tmp_path: Path, who: str) -> None:
    log = tmp_path / "log"
    log.touch()
    fork = f"""
import os, signal
really_fork = os.fork
def fork():
    pid = really_fork()
    if (pid != 0) is {who == "parent"}:
        os.kill(os.getpid(), signal.SIGTERM)
    return pid
os.fork = fork
"""
    # The child stops by itself when it alone was told, and the next one is started until all are told.
    program = fork + PROGRAM.replace("json_devices", '["cpu"]')
    process = subprocess.Popen([sys.executable, "-c", program, redis_url, str(log)], cwd=ROOT)

    if who == "child":
        until(lambda: len(started(log)) >= 2)
        process.terminate()

    assert process.wait(20) == 0
