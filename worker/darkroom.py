"""Where pictures are begun and finished beside the engine: a few threads, each of which lives for one piece of work."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

import torch

Words = ParamSpec("Words")
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

    def submit(self, work: Callable[Words, Result], /, *args: Words.args, **kwargs: Words.kwargs) -> "Future[Result]":
        """Do `work` with one core, or on a device of its own."""
        return self._start(lambda: work(*args, **kwargs), 1)

    def submit_alone(
        self, work: Callable[Words, Result], /, *args: Words.args, **kwargs: Words.kwargs
    ) -> "Future[Result]":
        """Do `work` with all cores, which the engine does not need meanwhile."""
        return self._start(lambda: work(*args, **kwargs), self._cores)

    def close(self) -> None:
        """Wait for what is under way; the futures of the rest should have been cancelled."""
        for thread in self._threads:
            thread.join()

    def _start(self, work: Callable[[], Result], cores: int) -> "Future[Result]":
        future: Future[Result] = Future()
        thread = threading.Thread(target=self._live, args=(work, future, cores), name="darkroom", daemon=True)
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]
        thread.start()
        return future

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
