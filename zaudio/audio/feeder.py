"""Feeder: one thread between a farm's loop and a file, so that the loop never waits for the disk or an encoder.

Rules: payloads are taken in order, one at a time. Their owner bounds those that wait, by `finished`. After a failure or
`stop` the thread ends, and every payload is let go.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

IDLE = 0.5  # seconds without a payload after which `idle` is called
TELL_EVERY = 4  # payloads; while that many more wait, waking the farm for each costs more than it gains


class Storage(Protocol):
    """The file behind the thread, which alone calls these methods."""

    def write(self, payload: memoryview) -> None:
        """Store a payload, which is not referred to after the call."""

    def idle(self) -> None:
        """Do the work that is due when no payload came for a while."""

    def leave(self) -> None:
        """Save what can be saved: nothing follows, though the file is not complete."""

    def complete(self) -> None:
        """Make the file whole and durable: all payloads came."""


class Feeder:
    """A thread that feeds payloads to a file.

    Args:
        storage: The file.
        fail: Called once, with an exception of the storage.
        notify: Called when `finished` has grown or the file is complete.
    """

    def __init__(self, storage: Storage, *, fail: Callable[[Exception], None], notify: Callable[[], None]) -> None:
        self.finished = 0  # payloads that nothing here refers to any more; these two are written by the thread alone
        self.storing = 0.0  # seconds that writing took, encoding included
        self.completed = False
        self._storage = storage
        self._fail = fail
        self._notify = notify
        self._condition = threading.Condition()  # guards the next three
        self._payloads: deque[memoryview] = deque()
        self._ended = False  # no payload will follow
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="zaudio-file", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, payload: memoryview) -> None:
        """Take a payload. Never blocks for long."""
        with self._condition:
            if not self._stopped:
                self._payloads.append(payload)
                self._condition.notify()

    def end(self) -> None:
        """Complete the file behind the payloads that wait."""
        with self._condition:
            self._ended = True
            self._condition.notify()

    def stop(self) -> None:
        """Let go of the payloads that wait, and end the thread soon, with `leave`. Idempotent."""
        with self._condition:
            self._stopped = True
            self._payloads.clear()
            self._condition.notify()

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end; return False when it is inside a system call after that many seconds."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._feed()
        except Exception as error:  # noqa: BLE001  the job must end, and not wait for this thread
            self.stop()
            self._fail(error)

    def _feed(self) -> None:
        untold = 0
        while (payload := self._take()) is not None:
            began = time.monotonic()
            self._storage.write(payload)
            self.storing += time.monotonic() - began
            del payload  # before it is counted: its buffer is used again then
            self.finished += 1
            untold += 1
            if untold >= TELL_EVERY or len(self._payloads) < TELL_EVERY:
                untold = 0
                self._notify()
        if self._stopped:
            self._storage.leave()
        else:
            self._storage.complete()
            self.completed = True
            self._notify()

    def _take(self) -> memoryview | None:
        """Return the next payload; None at the end."""
        while True:
            with self._condition:
                deadline = time.monotonic() + IDLE
                while not self._payloads and not self._ended and not self._stopped:
                    if not self._condition.wait(deadline - time.monotonic()):
                        break
                if self._stopped:
                    return None
                if self._payloads:
                    return self._payloads.popleft()
                if self._ended:
                    return None
            self._storage.idle()
