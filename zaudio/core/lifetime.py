"""Lifetime: when a worker leaves by itself.

Rules:

- A worker whose lifetime is over finishes the chunk that it is at, hands back the others and leaves.
- A worker that had no chunk for its idle timeout leaves too.
- Workers of one start must not all leave in one instant: each lives up to a tenth shorter, and idles up to a tenth
  longer.
"""

from __future__ import annotations

import math

LAST_CHUNK = 60.0  # s that a worker stays to finish its last chunk; one that takes longer may never end
SPREAD = 0.1  # of a lifetime or an idle timeout, over which workers of one start leave


class Lifetime:
    """The time that one worker has.

    Args:
        lifetime: Seconds after which it leaves; None for no end.
        idle_timeout: Seconds without a chunk after which it leaves; None for no end.
        share: Where it lies among the workers of one start, from 0 to 1.
    """

    def __init__(self, lifetime: float | None, idle_timeout: float | None, *, share: float) -> None:
        self._lifetime = lifetime * (1 - SPREAD * share) if lifetime is not None else math.inf
        self._idle_timeout = idle_timeout * (1 + SPREAD * share) if idle_timeout is not None else math.inf
        self._retire = math.inf  # when the lifetime is over
        self._idle_since = 0.0
        self._outcomes = 0  # chunks that it has finished
        self._last: int | None = None  # those that it had finished when its lifetime was over

    def start(self, now: float) -> None:
        """Begin to count."""
        self._retire, self._idle_since = now + self._lifetime, now

    def finish_chunk(self) -> None:
        """Take note that a chunk is finished."""
        self._outcomes += 1

    def excuse(self, late: float, now: float) -> None:
        """Take that many seconds, in which the worker slept, from those that it was idle."""
        self._idle_since = min(now, self._idle_since + late)

    def over(self, now: float, *, busy: bool) -> str:
        """Return why the worker leaves now; empty while it stays. `busy`: it holds a chunk."""
        if busy:
            self._idle_since = now
        if now >= self._retire:
            if self._last is None:
                self._last = self._outcomes
            if not busy or self._outcomes > self._last or now >= self._retire + LAST_CHUNK:
                return "its lifetime is over"
        if now >= self._idle_since + self._idle_timeout:
            return f"it had no chunk for {self._idle_timeout:g} s"
        return ""

    def deadline(self, *, busy: bool) -> float:
        """Return when `over` may say something else, if nothing else happens."""
        leaving = self._retire if self._last is None else self._retire + LAST_CHUNK
        return leaving if busy else min(leaving, self._idle_since + self._idle_timeout)
