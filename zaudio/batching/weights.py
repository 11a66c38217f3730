"""Weights: how much work each recording of a batch is, in bytes of samples, for the progress and the time left.

Rules:

- No file is opened for this. A recording that was opened weighs what its header says. Before, it weighs the bytes of
  its file, times what the opened ones of the same suffix have shown: a minute of MP3 is as much work as one of WAV.
- Any thread may call everything.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterable

from zaudio.batching.manifest import Named

# Bytes of samples for a byte of a file, until one of that suffix was opened: of stereo, at the usual bit rates.
ROUGHLY = {".flac": 1.7, ".mp3": 14.0, ".ogg": 16.0, ".oga": 16.0, ".opus": 30.0}


class Weights:
    """The weights of a batch's recordings.

    Args:
        recordings: All of them.
    """

    def __init__(self, recordings: Iterable[Named] = ()) -> None:
        self._lock = threading.Lock()
        self._opened: dict[str, int] = {}  # bytes of samples, by the names of results
        self._files: Counter[str] = Counter()  # bytes of the files that were opened, by suffix
        self._samples: Counter[str] = Counter()  # bytes of their samples, by suffix
        self._closed: Counter[str] = Counter()  # bytes of the files that were not opened, by suffix
        self._passed: Counter[str] = Counter()  # of those, the ones that ended
        self._passed_opened = 0  # bytes of samples of recordings that ended after they were opened, before the farm
        for named in recordings:
            self._closed[_suffix(named)] += named.size

    def open(self, named: Named, samples: int) -> None:
        """Take note of a recording that was opened, and of the bytes of its samples."""
        suffix = _suffix(named)
        with self._lock:
            self._opened[named.name] = samples
            self._closed[suffix] -= named.size
            self._files[suffix] += named.size
            self._samples[suffix] += samples

    def pass_by(self, named: Named) -> None:
        """Take note of a recording that ended before it was farmed."""
        with self._lock:
            if named.name in self._opened:
                self._passed_opened += self._opened[named.name]
            else:
                self._passed[_suffix(named)] += named.size

    def of(self, named: Named) -> int:
        """Return the weight of a recording that was opened."""
        return self._opened[named.name]

    @property
    def total(self) -> int:
        """The weight of all recordings."""
        with self._lock:
            return sum(self._samples.values()) + self._estimate(self._closed)

    @property
    def passed(self) -> int:
        """The weight of those that ended before they were farmed."""
        with self._lock:
            return self._passed_opened + self._estimate(self._passed)

    def _estimate(self, files: Counter[str]) -> int:
        return round(sum(size * self._ratio(suffix) for suffix, size in files.items()))

    def _ratio(self, suffix: str) -> float:
        if self._files[suffix]:
            return self._samples[suffix] / self._files[suffix]
        return ROUGHLY.get(suffix, 1.0)


def _suffix(named: Named) -> str:
    return os.path.splitext(named.path)[1].lower()
