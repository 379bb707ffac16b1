"""Where pictures are begun and finished beside the engine: a few threads, each of which lives for one piece of work."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import torch

Result = TypeVar("Result")


class Darkroom:
    """Does at most `places` things at once.

    On a CPU its threads share the cores with the engine. OpenMP keeps helpers for every thread that ever had any, and
    stops waiting awake for good once all of them are more than the cores; each small layer of the UNet then takes
    several times as long. That is why a thread ends with its work, and has no helpers while the engine works.
    """

    def __init__(self, places: int, *, shares_cores: bool) -> None:
        self._places = threading.Semaphore(places)
        self._shares_cores = shares_cores
        self._cores = torch.get_num_threads()
        self._threads: list[threading.Thread] = []

    def submit(self, work: Callable[[], Result], *, alone: bool) -> "Future[Result]":
        """Do `work`, on a CPU with one core, or with all of them where it is `alone`: the engine needs none meanwhile."""
        future: Future[Result] = Future()
        cores = self._cores if alone else 1
        thread = threading.Thread(target=self._live, args=(work, future, cores), name="darkroom", daemon=True)
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]
        thread.start()
        return future

    def close(self) -> None:
        """Wait for what is under way; the futures of the rest should have been cancelled."""
        for thread in self._threads:
            thread.join()

    def _live(self, work: Callable[[], Result], future: "Future[Result]", cores: int) -> None:
        with self._places:
            if not future.set_running_or_notify_cancel():
                return
            if self._shares_cores:
                torch.set_num_threads(cores)
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - as an executor of the library does: it is raised by result()
                future.set_exception(error)
            else:
                future.set_result(result)
