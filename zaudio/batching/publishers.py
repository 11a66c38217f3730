"""Publishers: a few threads that publish results while the farm goes on.

Rules:

- `give` never waits. `has_room` says whether more should be given: results and their bytes are bounded.
- The work of a thread turns failures of a recording into reports. Any exception of it ends the batch: it is kept, and
  `has_room`, `wait` and `close` raise it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

from zaudio.errors import ZaudioError

THREADS = 4  # a publication waits for the disk most of its time
RESULTS_MOST = 16  # that are encrypted, or wait to be

Given = TypeVar("Given")


def bare(error: BaseException) -> BaseException:
    """Return an error to be kept: one of ours loses its traceback, whose frames hold samples.

    Views of them in a circle, as `error` and a frame that names it are, can also crash Python's garbage collector.
    """
    if isinstance(error, ZaudioError):
        error.__cause__ = error.__context__ = None
        error.with_traceback(None)
    return error


class Publishers(Generic[Given]):
    """A few threads that do the same work.

    Args:
        work: Publishes what was given.
        bytes_of: Returns the bytes of memory that something given takes.
        bytes_most: The bytes that all of it may take; one is taken in any case.
        notify: Called from the threads when there is room again.
    """

    def __init__(
        self,
        work: Callable[[Given], None],
        *,
        bytes_of: Callable[[Given], int],
        bytes_most: int,
        notify: Callable[[], None],
    ) -> None:
        self._work = work
        self._bytes_of = bytes_of
        self._bytes_most = bytes_most
        self._notify = notify
        self._given: SimpleQueue[Given | None] = SimpleQueue()
        self._lock = threading.Condition()
        self._count = self._bytes = 0  # given, and not done
        self._error: BaseException | None = None  # that the work raised first
        self._raised = False
        self._threads = [
            threading.Thread(target=self._run, name=f"zaudio-publisher-{number}", daemon=True)
            for number in range(THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def give(self, given: Given) -> None:
        """Have that published. Never wait."""
        with self._lock:
            self._count += 1
            self._bytes += self._bytes_of(given)
        self._given.put(given)

    def has_room(self) -> bool:
        """Return whether more should be given.

        Raises:
            BaseException: The first exception that the work of a thread raised; once.
        """
        self._raise()
        with self._lock:
            return self._count < RESULTS_MOST and (self._bytes <= self._bytes_most or not self._count)

    def wait(self, most: int) -> None:
        """Wait until at most `most` of those that were given are under way.

        Raises:
            BaseException: The first exception that the work of a thread raised; once.
        """
        with self._lock:
            self._lock.wait_for(lambda: self._count <= most)
        self._raise()

    def close(self) -> None:
        """Wait until all that was given is done, and end the threads. Idempotent.

        Raises:
            BaseException: What the work of a thread raised first, unless it was raised before.
        """
        for _ in self._threads:
            self._given.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None and not self._raised:
            self._raised = True
            raise self._error

    def _run(self) -> None:
        while (given := self._given.get()) is not None:
            taken = self._bytes_of(given)
            try:
                self._work(given)
            except BaseException as error:  # noqa: BLE001  `close` raises it
                kept = bare(error)
                self._error = self._error or kept
            del given  # its memory, before room is told
            with self._lock:
                self._count -= 1
                self._bytes -= taken
                self._lock.notify_all()
            self._notify()
