"""Refusals: workers that cannot take part. A flood of them must not become a flood of events.

Rules:

- `NAMED` different refusals are told, each once. All others, and those that come again, are counted.
- The count is told at most every `EVERY` seconds, with the newest of them as an example.
- The farm has one list, which outlives its stages: each stage begins with hellos.
"""

from __future__ import annotations

import math
from dataclasses import replace

from zaudio.core.actions import TurnedAway

NAMED = 16  # different ones; as many strangers get a warning
EVERY = 10.0  # s between two sums: a row of the news, and a line of a log, that somebody may read


class Refusals:
    """The refusals of one farm."""

    def __init__(self) -> None:
        self._told: set[TurnedAway] = set()
        self._untold = 0  # since the last sum
        self._newest: TurnedAway | None = None  # of those
        self._due = -math.inf  # when a sum may be told

    def take(self, refusal: TurnedAway) -> list[TurnedAway]:
        """Take a refusal; return it if it is to be told by itself."""
        if refusal not in self._told and len(self._told) < NAMED:
            self._told.add(refusal)
            return [refusal]
        self._untold += 1
        self._newest = refusal
        return []

    def sum_up(self, *, now: float) -> list[TurnedAway]:
        """Return the sum of those that were not told, if there are any and it is time."""
        if self._newest is None or now < self._due:
            return []
        told = replace(self._newest, more=self._untold)
        self._untold, self._newest, self._due = 0, None, now + EVERY
        return [told]

    def check(self) -> None:
        """Assert the invariants."""
        assert len(self._told) <= NAMED, "refusals that are told by themselves are bounded"
        assert (self._untold > 0) == (self._newest is not None), "the newest is one of those that are counted"
