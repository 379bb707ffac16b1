"""Ends of jobs as a worker would write them, without a worker."""

from PIL import Image

from easel.infotext.files import encode
from easel.job_queue import names
from easel.job_queue.envelope import seal
from easel.job_queue.queue import JobQueue
from easel.jobs import Failure, ImageResult, Job


def a_picture(color: str = "red", size: tuple[int, int] = (64, 64)) -> bytes:
    return encode(Image.new("RGB", size, color), "PNG", "a red apple\nSteps: 4")


def end(queue: JobQueue, job: Job, *pictures: bytes, failure: str = "", infotext: str = "") -> None:
    """Write what came of a job into Redis and make its message due."""
    stored = tuple(queue.store(job.id, picture) for picture in pictures)
    failed = Failure(code="out_of_memory", text=failure) if failure else None
    result = ImageResult(
        job_id=job.id,
        request=job.request,
        pictures=stored,
        infotexts=(infotext,) if infotext else (),
        seconds=1.5,
        failure=failed,
    )
    queue.connection.hset(names.record_key(job.id), "result", seal("result", result, queue.key))
    queue.connection.zadd(names.OWED, {job.id: 0}, xx=True)


def is_running(queue: JobQueue, job: Job, step: int, total: int) -> None:
    queue.connection.hset(f"rq:job:{job.id}", "status", "started")
    queue.connection.lrem(queue.rq.key, 0, job.id)
    queue.connection.hset(names.record_key(job.id), mapping={"step": step, "total": total})
