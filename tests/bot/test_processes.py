import signal
import subprocess
import sys
import time

import pytest

from bot.processes import LAST, Family, Part

STUBBORN_S = 1.0
OBEDIENT = "import time; time.sleep(60)"
SLOW = f"import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: (time.sleep({STUBBORN_S}), exit(0)))\n"
SLOW += "print('ready', flush=True)\ntime.sleep(60)"


@pytest.mark.parametrize(("deaths", "pause"), [(0, 0), (1, 1), (2, 3), (4, 15), (5, 31), (5000, 31)])
def test_a_part_that_can_not_run_is_started_ever_more_rarely(deaths: int, pause: float) -> None:
    part = Part("bot", "bot", deaths=deaths, start_at=time.monotonic())
    before = time.monotonic()

    Family._plan_next(part, 1)

    assert part.deaths == deaths + 1
    assert before <= part.start_at - pause <= time.monotonic()


def test_a_part_that_ran_for_long_is_started_at_once() -> None:
    part = Part("bot", "bot", deaths=5, start_at=time.monotonic() - 3600)

    Family._plan_next(part, 1)

    assert part.deaths == 1
    assert part.start_at <= time.monotonic()


def test_delivery_is_told_to_end_when_the_worker_has_ended() -> None:
    family = Family({LAST: "worker.delivery", "worker": "worker"}, {})
    delivery, worker = family._parts
    delivery.process = subprocess.Popen([sys.executable, "-c", OBEDIENT])
    worker.process = subprocess.Popen([sys.executable, "-c", SLOW], stdout=subprocess.PIPE)
    assert worker.process.stdout
    with worker.process.stdout as said:
        said.readline()
    began = time.monotonic()

    family.stop()

    assert (worker.process.returncode, delivery.process.returncode) == (0, -signal.SIGTERM)
    assert time.monotonic() - began >= STUBBORN_S
