"""Timing: every duration of a job in one place, checked for agreeing with each other.

Rules: seconds, as floats. Pure: nothing here reads a clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from zaudio.errors import UsageError


@dataclass(frozen=True, slots=True)
class Timing:
    """When silence means loss, and when patience ends.

    Attributes:
        heartbeat: Seconds between heartbeats, both ways.
        liveness: Heartbeats of silence after which a peer is lost.
        chunk_timeout: Seconds a worker may spend on one chunk, transfer included, before anything was measured.
        chunk_timeout_floor: The least that the measured timeout may shrink to.
        chunk_timeout_factor: The measured timeout, in medians of the time a chunk took.
        worker_timeout: Seconds without anybody who could be given a chunk after which the job ends.
        failures: Failures of one chunk that end the job.

    Raises:
        UsageError: A value is out of range, or two disagree.
    """

    heartbeat: float = 1.0  # 1 s costs nothing; with liveness 5 a vanished host costs 5 s
    liveness: int = 5  # the ZeroMQ guide says 3 to 5; a busy machine deserves the patient end
    chunk_timeout: float = 60.0  # generous: nothing is known yet about the op or the link
    chunk_timeout_floor: float = 30.0  # a median of milliseconds must not make a hiccup a failure
    chunk_timeout_factor: float = 10.0  # one chunk may be ten times as hard as the others
    worker_timeout: float = 30.0  # long enough to start workers by hand on another host
    failures: int = 3  # once may be the worker, twice bad luck, three times it is the chunk

    def __post_init__(self) -> None:
        for name in ("heartbeat", "chunk_timeout", "chunk_timeout_floor", "chunk_timeout_factor", "worker_timeout"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is a number of seconds above 0, not {value!r}")
        # The bounds of the first two are what a welcome can carry: a worker would not understand any other.
        if not 0.001 <= self.heartbeat <= 3600:
            raise UsageError(f"heartbeat is 0.001 to 3600 s, not {self.heartbeat!r}")
        if not (type(self.liveness) is int and 2 <= self.liveness <= 1000):
            raise UsageError(f"liveness is 2 to 1000 heartbeats, not {self.liveness!r}")
        if not (type(self.failures) is int and self.failures >= 1):
            raise UsageError(f"failures is at least 1, not {self.failures!r}")
        # Shorter than silence it may be: who knows how long a chunk takes need not wait until a worker counts as dead.
        if self.chunk_timeout <= self.heartbeat:
            raise UsageError(
                f"chunk_timeout ({self.chunk_timeout:g} s) must be longer than a heartbeat ({self.heartbeat:g} s), "
                "which is how often anything is heard of a chunk"
            )

    def allowing(self, chunk_timeout: float | None) -> Timing:
        """These durations, with a user's own word on how long a chunk may take; None for no word.

        Who says 5 s knows the op: no chunk is given up before 5 s, neither at first nor later, and the only thing that
        makes it longer is what was measured, since ten medians of a slow op are no accident. So one number is both the
        first timeout and the floor.

        Raises:
            UsageError: It is out of range.
        """
        if chunk_timeout is None:
            return self
        return replace(self, chunk_timeout=chunk_timeout, chunk_timeout_floor=chunk_timeout)

    @property
    def dead_after(self) -> float:
        """Seconds of silence after which a peer is lost."""
        return self.heartbeat * self.liveness
