"""Timing: every duration of a job in one place. They are checked against each other.

Rules: a duration is a float, in seconds. Pure: nothing here reads a clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from zaudio.errors import UsageError

DOUBTED = 1.5  # heartbeats: a living worker is heard of within one, and half of one is for the way


@dataclass(frozen=True, slots=True)
class Timing:
    """The durations after which silence means loss and a job gives up.

    Attributes:
        heartbeat: Seconds between heartbeats, both ways; 0.001 to 3600.
        liveness: Heartbeats of silence after which a peer is lost; 2 to 1000.
        chunk_timeout: Seconds that a worker may spend on one chunk, transfer included, before any chunk was measured.
            Longer than a heartbeat.
        chunk_timeout_floor: Seconds; the measured timeout is never shorter.
        chunk_timeout_factor: The measured timeout, in medians of the time that a chunk took.
        worker_timeout: Seconds without a worker that could be given a chunk, after which the job ends.
        failures: Failures of one chunk that end the job; 1 or more.

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
        # A welcome can carry no other heartbeat and liveness: a worker would refuse it.
        if not 0.001 <= self.heartbeat <= 3600:
            raise UsageError(f"heartbeat is 0.001 to 3600 s, not {self.heartbeat!r}")
        if not (type(self.liveness) is int and 2 <= self.liveness <= 1000):
            raise UsageError(f"liveness is 2 to 1000 heartbeats, not {self.liveness!r}")
        if not (type(self.failures) is int and self.failures >= 1):
            raise UsageError(f"failures is at least 1, not {self.failures!r}")
        # It may be shorter than `dead_after`: a user that knows the op need not wait until a worker counts as dead.
        if self.chunk_timeout <= self.heartbeat:
            raise UsageError(
                f"chunk_timeout ({self.chunk_timeout:g} s) must be longer than a heartbeat ({self.heartbeat:g} s), "
                "which is how often a worker reports on a chunk"
            )

    def allowing(self, chunk_timeout: float | None) -> Timing:
        """Return these durations with a user's own chunk timeout; None changes nothing.

        The number becomes both the first timeout and the floor. A user that says 5 s knows the op, so no chunk is given
        up before 5 s, neither at first nor later. Only a measurement makes the timeout longer: ten medians of a slow op
        are no accident.

        Raises:
            UsageError: The timeout is out of range.
        """
        if chunk_timeout is None:
            return self
        return replace(self, chunk_timeout=chunk_timeout, chunk_timeout_floor=chunk_timeout)

    @property
    def dead_after(self) -> float:
        """Seconds of silence after which a peer is lost."""
        return self.heartbeat * self.liveness

    @property
    def doubt_after(self) -> float:
        """Seconds of silence after which a worker may be dead: its chunks are granted to others too."""
        return self.heartbeat * DOUBTED
