"""Muster: how many workers each place starts now, and which of the ended are replaced.

Rules:

- Pure: time is an argument.
- A few are started at first. More follow when it is known that they are of use, or all at once if the user says so.
  They are spread evenly.
- A worker that ended by a fault is replaced at once, then after growing pauses, and at most three times within five
  minutes: long enough for a machine to start again. Then its post is given up, and another place gets it.
- A worker that ended in order while the job goes on is replaced: its lifetime was over. That is no fault.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

FIRST = 4  # workers: enough to learn what the op costs, and few for a job that one worker could do
PAUSES = (0.0, 5.0, 60.0)  # s before each replacement within `A_WHILE`; no more follow
A_WHILE = 300.0  # s


class _Post:
    """One worker's post. `due` is when a worker is to be started for it; None while one runs."""

    def __init__(self, now: float) -> None:
        self.due: float | None = now
        self.faults: deque[float] = deque()  # when, within a while
        self.given_up = False


class Muster:
    """The posts of one place.

    Args:
        count: The workers that the place may have.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._posts: list[_Post] = []
        self._given_up = 0

    @property
    def capacity(self) -> int:
        """The workers that it may have now: posts that were given up do not count."""
        return self.count - self._given_up

    @property
    def held_back(self) -> int:
        """The workers that were never started."""
        return self.count - len(self._posts)

    def due(self, quota: int, *, now: float) -> list[int]:
        """Return the posts for which a worker is to be started now, and count these workers as started.

        Args:
            quota: The workers that the place should have. If it has more, they stay.
            now: The time.
        """
        while len(self._posts) - self._given_up < min(quota, self.capacity):
            self._posts.append(_Post(now))
        found = [number for number, post in enumerate(self._posts) if post.due is not None and post.due <= now]
        for number in found:
            self._posts[number].due = None
        return found

    def ended(self, number: int, *, fault: bool, hopeless: bool, now: float) -> bool:
        """Take in that the worker of a post has ended; return whether another will take its place.

        Args:
            number: The post.
            fault: It did not end in order.
            hopeless: Another one would end likewise.
            now: The time.
        """
        post = self._posts[number]
        if not fault:
            post.due = now
            return True
        post.faults.append(now)
        while post.faults[0] <= now - A_WHILE:
            post.faults.popleft()
        if hopeless or len(post.faults) > len(PAUSES):
            self._given_up += not post.given_up
            post.given_up = True
            return False
        post.due = now + PAUSES[len(post.faults) - 1]
        return True


def spread(wanted: int, capacities: Sequence[int]) -> list[int]:
    """Return how many workers each place should have: evenly, as far as each can."""
    quotas = [0] * len(capacities)
    left = min(wanted, sum(capacities))
    while left:
        free = [number for number, capacity in enumerate(capacities) if quotas[number] < capacity]
        share = max(1, left // len(free))
        for number in free:
            more = min(share, capacities[number] - quotas[number], left)
            quotas[number] += more
            left -= more
    return quotas
