"""What somebody who can write to Redis puts into RQ's books: none of it runs, and the next job is painted."""

import json
import pickle
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from easel.job_queue.queue import JobQueue, Status
from tests.fakes.jobs import a_job
from tests.worker.test_gpu_worker import over, until, working
from worker.sketch import SketchRenderer

FORGED = "forged01"
MARK = "was-here"


class Bomb:
    """Leaves a mark in the working directory when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(MARK),)


def mark(*_: object) -> None:
    """Stand in for whatever a callback names."""
    Path(MARK).touch()


CALLBACK = f"{__name__}.mark"


def call(name: str, *args: object) -> bytes:
    return zlib.compress(json.dumps([name, None, args, {}]).encode())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(queue: JobQueue, key: str, fields: dict[str, Any]) -> None:
    queue.connection.hset(key, items=[word for field in fields.items() for word in field])


def forge(queue: JobQueue, fields: dict[str, Any]) -> None:
    """Put a job into the line by hand, before all others."""
    write(queue, f"rq:job:{FORGED}", {"status": "queued", "origin": queue.rq.name, **fields})
    queue.connection.lpush(queue.rq.key, FORGED)


@pytest.mark.parametrize(
    "fields",
    [
        {"data": zlib.compress(pickle.dumps(Bomb()))},
        {"data": pickle.dumps(("os.system", None, (f"touch {MARK}",), {}))},
        {"data": call("os.system", f"touch {MARK}")},
        {"data": call("worker.tasks.render", FORGED)},
        {"data": call("worker.tasks.render", FORGED), "meta": pickle.dumps(Bomb()), "result": pickle.dumps(Bomb())},
        {"data": zlib.compress(b"[" * 4000)},
        {"data": zlib.compress(bytes(10_000_000))},
        {"data": b"rubbish", "timeout": "never", "created_at": "yesterday"},
        {"data": b""},
        {"description": "no call at all"},
    ],
)
def test_a_forged_job_runs_nothing_and_the_next_one_is_painted(
    redis_url: str, queue: JobQueue, folder: Path, fields: dict[str, Any]
) -> None:
    forge(queue, fields)
    good = a_job()
    queue.put(good)

    with working(redis_url, SketchRenderer()):
        result = over(queue, good.id).result

    assert result is not None
    assert result.failure is None
    assert not (folder / MARK).exists()
    assert queue.rq.failed_job_registry.get_job_ids() == [FORGED]
    assert queue.rq.intermediate_queue_key not in [key.decode() for key in queue.connection.scan_iter()]


def test_the_bomb_of_these_tests_does_go_off(folder: Path) -> None:
    pickle.loads(pickle.dumps(Bomb()))

    assert (folder / MARK).exists()


@pytest.mark.parametrize("ending", ["painted", "failed", "stopped"])
def test_a_callback_written_into_our_own_job_is_never_called(
    redis_url: str, queue: JobQueue, folder: Path, ending: str
) -> None:
    job = a_job(steps=150 if ending == "stopped" else 2)
    queue.put(job)
    names = {f"{event}_callback_name": CALLBACK for event in ("success", "failure", "stopped")}
    write(queue, f"rq:job:{job.id}", names)
    if ending == "failed":
        queue.connection.hset(f"rq:job:{job.id}", "data", call(CALLBACK))

    with working(redis_url, SketchRenderer(step_s=0.01)):
        if ending == "stopped":
            until(lambda: queue.state(job.id).progress is not None)
            queue.cancel(job.id)
        until(lambda: queue.state(job.id).status in (Status.OVER, Status.LOST))

    assert queue.connection.hget(f"rq:job:{job.id}", "status") == {
        "painted": b"finished", "failed": b"failed", "stopped": b"stopped"
    }[ending]  # fmt: skip
    assert not (folder / MARK).exists()


@pytest.mark.parametrize(
    "rubbish",
    [
        {"success_callback_name": b"\xff"},
        {"dependency_ids": "{"},
        {"repeats_left": "3", "repeat_intervals": "[0]"},
        {"result_ttl": str(10**30), "failure_ttl": "-5", "retries_left": "many"},
        {"created_at": "yesterday", "started_at": "tomorrow", "timeout": "never"},
    ],
)
def test_rubbish_in_the_books_of_our_own_job_changes_nothing(
    redis_url: str, queue: JobQueue, rubbish: dict[str, Any]
) -> None:
    job, after = a_job(width=256), a_job()
    queue.put(job)
    queue.put(after)
    write(queue, f"rq:job:{job.id}", rubbish)

    with working(redis_url, SketchRenderer()):
        results = [over(queue, one.id).result for one in (job, after)]

    assert [result.failure if result else "none" for result in results] == [None, None]
    assert queue.waiting() == 0


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """Lend an address on loopback and the list of paths that were asked for there."""
    asked: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", asked
        server.shutdown()


@pytest.mark.parametrize("data", [call("worker.tasks.render", FORGED), call("os.getpid")], ids=["ours", "foreign"])
def test_no_address_in_the_books_is_called(redis_url: str, queue: JobQueue, data: bytes) -> None:
    good = a_job()
    with listening() as (url, asked):
        hooks = [{"url": url, "job_status": status} for status in ("finished", "failed")]
        forge(queue, {"data": data, "webhooks": json.dumps(hooks)})
        queue.put(good)

        with working(redis_url, SketchRenderer()):
            over(queue, good.id)

    assert asked == []


def test_a_broken_record_beside_the_line_does_not_hold_it_up(redis_url: str, queue: JobQueue) -> None:
    broken, good = a_job(), a_job()
    queue.put(broken)
    queue.put(good)
    write(queue, f"easel:job:{broken.id}", {"n": "many", "attempts": "0", "batch": "x", "envelope": ""})

    with working(redis_url, SketchRenderer()):
        result = over(queue, good.id).result

    assert result is not None
    assert result.failure is None
