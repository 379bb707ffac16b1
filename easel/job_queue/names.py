"""Names of the keys and callables that stand in Redis."""

import re

QUEUE = "images"
RENDER_TASK = "worker.tasks.render"
"""The one callable a worker accepts; a job names it, nobody imports it across the wall."""

EVENTS = "easel:events"
"""Pub/sub channel of hints (progress, done); lossy by design, never the only carrier."""

OWED = "easel:owed"
"""Sorted set of jobs whose asker still waits for a message: job id -> when to look again (Redis time)."""

RECORD = "easel:job:"
"""Prefix of the hash that remembers one job: envelope, placeholder, progress, result."""

KEPT_ONES = "easel:kept"
"""Sorted set of the pictures that people gave us: name -> last use, in seconds (Redis time)."""

KEPT = "kept."
"""Prefix of the name of such a picture; the rest is the SHA-256 of its bytes."""

RQ_ROOT = "rq"


JOB_ID = re.compile(rb"[A-Za-z0-9_-]{4,40}")
"""What the id of a job of ours looks like."""


def record_key(job_id: str) -> str:
    return RECORD + job_id


def blob_key(name: str) -> str:
    return f"easel:blob:{name}"


def preview_key(job_id: str) -> str:
    return f"easel:preview:{job_id}"


def mouth_key(job_id: str) -> str:
    """Return the lock of whoever may write to a job's message at the moment."""
    return f"easel:mouth:{job_id}"


def warm_key(worker: str) -> str:
    """Return where a worker tells which checkpoints it has on its device."""
    return f"easel:warm:{worker}"
