"""`python -m worker`: wires settings, devices and renderer, and supervises one worker per device."""

import logging
import sys
from collections.abc import Callable
from contextlib import closing

from easel.errors import ModelsFileError, SettingsError
from easel.job_queue.connect import patient, redis_of
from easel.job_queue.lease_worker import LeaseWorker
from easel.job_queue.queue import JobQueue
from easel.library import WatchedLibrary
from easel.logs import configure_logging
from easel.parent import die_with_parent_if_told
from easel.settings import Settings, load_settings
from worker.devices import visible_devices
from worker.diffusers_renderer import DiffusersRenderer
from worker.gpu_worker import GpuWorker
from worker.supervisor import Supervisor

log = logging.getLogger(__name__)


def _life(settings: Settings, url: str) -> Callable[[str, str, Callable[[], bool]], None]:
    """Return the whole life of one worker: (device, name, stopping) -> None."""

    def live(device: str, name: str, stopping: Callable[[], bool]) -> None:
        queue = JobQueue(patient(url), key=settings.signing_key())
        library = WatchedLibrary(settings)
        renderer = DiffusersRenderer(library, device=device, dtype=settings.gpu_dtype, fetch=queue.picture)
        with closing(renderer):
            GpuWorker(LeaseWorker(queue, name=name), renderer).run(stopping)

    return live


def main() -> int:
    die_with_parent_if_told()
    try:
        settings = load_settings()
        configure_logging(settings, secrets=[settings.signing_key().decode()])
        devices = visible_devices(settings.device)
        with redis_of(settings) as url:
            Supervisor(devices, _life(settings, url), redis_url=url, key=settings.signing_key()).run()
    except (SettingsError, ModelsFileError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
