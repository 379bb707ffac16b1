"""`python -m easel.health [worker]`: is this container well? For Docker's health check; exit 0 or 1."""

import socket
import sys

from easel.errors import EaselError
from easel.job_queue.connect import impatient, redis_of
from easel.job_queue.queue import JobQueue
from easel.settings import load_settings


def problem(role: str) -> str:
    """Return what is wrong; empty when all is well."""
    try:
        settings = load_settings()
        with redis_of(settings) as url:
            names = JobQueue(impatient(url), key=b"").worker_names()
    except EaselError as error:
        return str(error)
    here = [name for name in names if name.startswith(f"{socket.gethostname()}-")]
    return "No worker of this machine is alive." if role == "worker" and not here else ""


if __name__ == "__main__":
    wrong = problem(sys.argv[1] if len(sys.argv) > 1 else "")
    sys.stderr.write(wrong)
    sys.exit(bool(wrong))
