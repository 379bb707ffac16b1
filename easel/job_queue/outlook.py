"""What the live workers have at hand, and what the line is about to ask of them: hints, by which nothing is decided for good."""

import json
from collections.abc import Sequence

from redis import Redis

from easel.job_queue import names
from easel.job_queue.books import WORKER_TTL_S

MOST_WARM = 32
MOST_BYTES = 8192
"""Of what one worker tells."""
MOST_NAME = 200
LOOKED_AT = 32
"""Jobs at the head of the line."""


def live_workers(connection: "Redis") -> list[str]:
    """Name the live workers: those whose key has not run out."""
    prefix = f"{names.RQ_ROOT}:worker:"
    members = sorted(connection.smembers(f"{names.RQ_ROOT}:workers:{names.QUEUE}"))
    keys = [key for key in members if isinstance(key, bytes) and key.startswith(prefix.encode())]
    with connection.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.exists(key)
        alive = pipe.execute()
    return [key.decode(errors="replace").removeprefix(prefix) for key, there in zip(keys, alive, strict=True) if there]


def tell_warm(connection: "Redis", worker: str, warm: Sequence[str]) -> None:
    """Say which checkpoints a worker has on its device; it is believed for as long as RQ believes a worker to live."""
    told = list(warm)[-MOST_WARM:]
    while len(text := json.dumps(told)) > MOST_BYTES:
        told.pop(0)
    connection.set(names.warm_key(worker), text, ex=WORKER_TTL_S)


def warm_of(connection: "Redis", workers: Sequence[str]) -> frozenset[str]:
    """Return the names of the checkpoints that some of the workers have on their devices."""
    with connection.pipeline(transaction=False) as pipe:
        for worker in workers:
            # Anybody may have written there, and as much as they liked.
            pipe.getrange(names.warm_key(worker), 0, MOST_BYTES)
        found = pipe.execute(raise_on_error=False)
    return frozenset(name for text in found if isinstance(text, bytes) for name in _names(text))


def _names(text: bytes) -> list[str]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(told, list):
        return []
    return [name for name in told[:MOST_WARM] if isinstance(name, str) and 0 < len(name) <= MOST_NAME]


def coming(connection: "Redis", line: str) -> tuple[str, ...]:
    """Return the checkpoints that the next jobs of the line ask for, each once, the first one first."""
    with connection.pipeline(transaction=False) as pipe:
        for job_id in connection.lrange(line, 0, LOOKED_AT - 1):
            if isinstance(job_id, bytes) and names.JOB_ID.fullmatch(job_id):
                pipe.hget(names.record_key(job_id.decode()), "checkpoint")
        found = pipe.execute(raise_on_error=False)
    told = (name.decode(errors="replace") for name in found if isinstance(name, bytes) and 0 < len(name) <= MOST_BYTES)
    return tuple(dict.fromkeys(told))
