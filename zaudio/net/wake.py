"""Waker: lets any thread wake a poll loop. A pipe, and a flag that keeps a thousand wake-ups one system call."""

from __future__ import annotations

import contextlib
import os
import threading


class Waker:
    """Wakes the loop that polls `fd`.

    The loop calls `clear` first and looks for work afterwards. So it never misses what a thread did before `wake`, even
    when the flag kept that thread from writing.
    """

    def __init__(self) -> None:
        self.fd, self._write = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write, False)
        self._awake = False
        self._closed = False
        # Held while a byte is written: a number that `close` freed may be another file's by then, which would get the
        # byte. A signal handler may wake what its own thread is just waking.
        self._lock = threading.RLock()

    def wake(self) -> None:
        """Wake the loop; from any thread, any number of times."""
        if self._awake:
            return
        with self._lock:
            if not self._closed:
                self._awake = True
                with contextlib.suppress(BlockingIOError):  # it is full of wake-ups
                    os.write(self._write, b"\0")

    def clear(self) -> None:
        """Take note of being woken."""
        # Read even when the flag is down: a byte may arrive after the clear that lowered the flag, and an unread byte
        # would keep the loop spinning.
        try:
            os.read(self.fd, 64)
        except BlockingIOError:
            pass
        self._awake = False

    def close(self) -> None:
        """Free the descriptors; for the loop. Other threads may still wake it, to no effect. Idempotent."""
        with self._lock:
            self._free()

    def _free(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self.fd)
            os.close(self._write)

    def __del__(self) -> None:
        # A thread inside an op may outlive the loop. Then the last reference to go closes the descriptors.
        self._free()  # without the lock, which a process that was forked may have inherited locked
