"""Muster: how many workers of one place are to be started now, and which of the ended are replaced.

Rules:

- Pure: time is an argument.
- A few are started at first. More follow when it is known that they are of use, or all at once if the user says so.
- A worker that ended by a fault is replaced at once, then after a pause, and at most three times within a minute. A
  place is given up after ten faults within ten minutes, or as many as it has workers.
- A worker that ended in order while the job goes on is replaced: its lifetime was over. That is no fault.
"""

from __future__ import annotations

from collections import deque

FIRST = 4  # workers: enough to learn what the op costs, and few for a job that one worker could do
REPLACEMENTS = 3  # of one worker within `A_WHILE`
A_WHILE = 60.0  # s
FAULTS = 10  # of a place within `LONG`, or as many as it has workers
LONG = 600.0  # s
PAUSES = (0.0, 1.0, 5.0)  # s before the first, second and third replacement within a while


class _Post:
    """One worker's post. `due` is when one is to be started; None while one runs or when it is given up."""

    def __init__(self, now: float) -> None:
        self.due: float | None = now
        self.faults: deque[float] = deque()  # when, within a while


class Muster:
    """The workers of one place.

    Args:
        count: The workers that were asked for.
        at_once: Start all of them without knowing whether they are of use.
    """

    def __init__(self, count: int, *, at_once: bool) -> None:
        self._count = count
        self._at_once = at_once
        self._posts: list[_Post] = []
        self._faults: deque[float] = deque()  # of the place
        self.given_up = False

    @property
    def held_back(self) -> int:
        """The number of workers that were not started because they would be of no use."""
        return self._count - len(self._posts)

    def due(self, useful: int | None, *, now: float) -> list[int]:
        """Return the posts for which a worker is to be started now, and count them as started.

        Args:
            useful: Workers of this place that are of use; None when that is unknown.
            now: The time.
        """
        if self.given_up:
            return []
        target = self._count if self._at_once else min(self._count, max(FIRST, useful or 0))
        while len(self._posts) < target:
            self._posts.append(_Post(now))
        found = [number for number, post in enumerate(self._posts) if post.due is not None and post.due <= now]
        for number in found:
            self._posts[number].due = None
        return found

    def ended(self, number: int, *, fault: bool, hopeless: bool, now: float) -> bool:
        """Take in that the worker of a post has ended; return whether another will take its place."""
        post = self._posts[number]
        if not fault:
            post.due = now
            return True
        _remember(post.faults, now, A_WHILE)
        _remember(self._faults, now, LONG)
        self.given_up = self.given_up or len(self._faults) > max(FAULTS, self._count)
        if hopeless or self.given_up or len(post.faults) > REPLACEMENTS:
            return False
        post.due = now + PAUSES[len(post.faults) - 1]
        return True


def _remember(times: deque[float], now: float, span: float) -> None:
    """Add a time, and forget those that are longer ago than `span`."""
    times.append(now)
    while times[0] <= now - span:
        times.popleft()
