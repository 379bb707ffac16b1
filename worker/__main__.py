"""`python -m worker`: wires settings, devices and renderer, and supervises one worker per device."""

import logging
import sys
from collections.abc import Callable
from contextlib import closing

from easel.hashing import Hasher
from easel.job_queue.catalog import CatalogBoard
from easel.job_queue.connect import impatient, patient
from easel.job_queue.lease_worker import LeaseWorker
from easel.job_queue.queue import JobQueue
from easel.part import run_part
from easel.settings import Settings
from easel.shared_library import SharedLibrary
from worker.ahead import Ahead
from worker.devices import visible_devices
from worker.diffusers_renderer import DiffusersRenderer
from worker.gpu_worker import GpuWorker
from worker.habits import Habits
from worker.pickles.converter import Converter
from worker.supervisor import Supervisor

log = logging.getLogger(__name__)


def _life(settings: Settings, url: str) -> Callable[[str, str, Callable[[], bool]], None]:
    """Return the whole life of one worker: (device, name, stopping) -> None."""

    def live(device: str, name: str, stopping: Callable[[], bool]) -> None:
        queue = JobQueue(patient(url), key=settings.signing_key())
        board = CatalogBoard(impatient(url), key=settings.signing_key())
        library = SharedLibrary(settings, board, role="worker", convert=Converter(settings.data_dir))
        habits = Habits(settings.gpu_dtype, settings.ram_gb, compiled=settings.compiled, previews=settings.previews)
        renderer = DiffusersRenderer(library, device=device, fetch=queue.picture, habits=habits)
        ahead = Ahead(JobQueue(impatient(url), key=settings.signing_key()), name, renderer.models)
        hasher = Hasher(library.local, settings.data_dir, busy=lambda: renderer.busy)
        with closing(renderer), closing(library), closing(hasher), closing(ahead):
            library.start()
            hasher.start()
            ahead.start()
            GpuWorker(LeaseWorker(queue, name=name), renderer).run(stopping)

    return live


def _supervise(settings: Settings, url: str) -> None:
    devices = visible_devices(settings.device)
    Supervisor(devices, _life(settings, url), redis_url=url, key=settings.signing_key()).run()


def main() -> int:
    return run_part(_supervise)


if __name__ == "__main__":
    sys.exit(main())
