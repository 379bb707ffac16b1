import asyncio
import time
from dataclasses import dataclass, field

from easel.job_queue.owed import Owed
from easel.job_queue.queue import JobQueue, JobState
from tests.fakes.jobs import a_job
from tests.fakes.results import a_picture, end, is_running
from worker.delivery.loop import Deliverer
from worker.delivery.message import Message


@dataclass
class SlowLine:
    """A network on which an edit takes so long that the picture is finished meanwhile."""

    queue: JobQueue
    written: list[Message] = field(default_factory=list)

    async def write(self, state: JobState, message: Message) -> str:
        if not message.pictures:
            end(self.queue, state.job, a_picture())
        self.written.append(message)
        return "17"

    async def call_asker(self, state: JobState, message_id: str) -> None:
        raise AssertionError("nobody waited for long")


async def test_a_picture_that_is_finished_during_an_edit_is_due_at_once(queue: JobQueue) -> None:
    job = a_job()
    queue.put(job)
    queue.placed(job.id, "17")
    is_running(queue, job, 2, 4)
    line = SlowLine(queue)
    (due,) = Owed(queue).take(9)

    await Deliverer(queue, {"telegram": line}, name="d1").look(due)

    assert [message.text for message in line.written] == ["Drawing: ▰▰▰▰▰▰▱▱▱▱▱▱ step 2 of 4"]
    assert Owed(queue).take(9) == [job.id]


async def test_what_is_due_when_delivery_is_stopped_is_still_shown(queue: JobQueue, redis_url: str) -> None:
    jobs = [a_job() for _ in range(20)]
    for job in jobs:
        queue.put(job)
        queue.placed(job.id, "17")
        end(queue, job, a_picture())
    line, stop = SlowLine(queue), asyncio.Event()
    stop.set()
    began = time.monotonic()

    await Deliverer(queue, {"telegram": line}, name="d1", at_once=16).run(redis_url, stop)

    assert [len(message.pictures) for message in line.written] == [1] * len(jobs)
    assert all(queue.state(job.id).delivered for job in jobs)
    assert time.monotonic() - began < 5 * 2
