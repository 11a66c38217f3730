"""Series: throughput over time in a bounded number of points. When they are full, each two become one."""

from __future__ import annotations

POINTS = 240  # a point for each few pixels of a screen
STEP = 1.0  # seconds of a point at first


class Series:
    """Bytes per second over time.

    Attributes:
        step: Seconds of one point.
        values: Bytes per second, one for each step.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin again: the next count belongs to another stage."""
        self.step = STEP
        self.values: list[float] = []
        self._since: float | None = None  # when the current point began
        self._bytes = 0  # the count then

    def add(self, count: int, *, now: float) -> None:
        """Take the bytes so far; a step that has passed becomes a point."""
        if self._since is None:
            self._since, self._bytes = now, count
            return
        passed = now - self._since
        if passed < self.step:
            return
        rate = max(0, count - self._bytes) / passed
        self.values += [rate] * min(POINTS, int(passed / self.step))
        self._since, self._bytes = now, count
        while len(self.values) > POINTS:
            self.values = [(a + b) / 2 for a, b in zip(self.values[::2], self.values[1::2], strict=False)]
            self.step *= 2
