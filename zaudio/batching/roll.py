"""Roll: where each recording of a batch stands, and a list of them that fits a screen.

Rules:

- Any thread may call everything. What `listed` looks at is bounded, however many recordings there are.
- A recording waits until it begins, runs until it ends, and ends once.
- Those that run come first, then those that failed, the next that wait, and the last that ended otherwise.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import islice

from zaudio.facts import Listed, Row

ROWS = 200  # a long table already
FAILED_MOST = 100  # of the rows
ENDED_MOST = 20  # likewise; and so many wait at least, if so many do


class Roll:
    """The recordings of a batch.

    Args:
        recordings: Their files, in their order, each once.
    """

    def __init__(self, recordings: Sequence[str]) -> None:
        self._number = len(recordings)
        self._waiting = dict.fromkeys(recordings)  # a set in order, as the next one
        self._running: dict[str, None] = {}
        self._stage: frozenset[str] = frozenset()  # those of the stage that runs
        self._counts: Counter[str] = Counter()
        self._failed: list[Row] = []  # the first of them
        self._last: deque[Row] = deque(maxlen=ENDED_MOST)
        self._lock = threading.Lock()

    def begin(self, recordings: Iterable[str]) -> None:
        """Note that a stage goes over these recordings."""
        with self._lock:
            self._stage = frozenset(recordings)
            for recording in recordings:
                if recording in self._waiting:
                    del self._waiting[recording]
                    self._running[recording] = None

    def end(self, recording: str, state: str, sentence: str = "") -> None:
        """Note that a recording came to its end: ``done``, ``failed`` or ``skipped``."""
        with self._lock:
            self._waiting.pop(recording, None)
            self._running.pop(recording, None)
            self._counts[state] += 1
            row = Row(recording, state, 0.0 if state == "failed" else 1.0, sentence)
            if state != "failed":
                self._last.append(row)
            elif len(self._failed) < FAILED_MOST:
                self._failed.append(row)

    def listed(self, share: float) -> Listed:
        """Return the list.

        Args:
            share: The share of the stage that is done.
        """
        with self._lock:
            running = [
                Row(each, "running", share if each in self._stage else 1.0)
                for each in islice(self._running, ROWS - FAILED_MOST - 2 * ENDED_MOST)
            ]
            last = list(reversed(self._last))
            room = ROWS - len(running) - len(self._failed) - len(last)
            waiting = [Row(each, "waiting", 0.0) for each in islice(self._waiting, room)]
            rows = (*running, *self._failed, *waiting, *last)
            counts = {
                "running": len(self._running),
                "failed": self._counts["failed"],
                "waiting": len(self._waiting),
                "done": self._counts["done"],
                "skipped": self._counts["skipped"],
            }
            return Listed(rows, self._number - len(rows), counts)
