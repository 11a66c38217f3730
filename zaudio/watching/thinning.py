"""Thinning: which events get a line in a log. A fast farm computes more chunks a second than anybody reads.

Rules:

- Pure, and of bounded memory.
- Up to `CHUNKS_MOST` chunks a second, every event of a chunk gets its line. Above that one chunk in `n` does, the same
  ones in all their states as far as possible. A `Sampled` follows, a second at a time, with the number of the events
  that have no line, and with their chunks and seconds by worker: sums stay right.
- How far the stage has come is told at most ten times a second, and where it stands before anything else is told. An
  `Advanced` replaces the one before it, so nothing is lost with those between.
- All other events get their lines: workers that come and go, stages, states, and what a subscription missed.
"""

from __future__ import annotations

from collections import Counter

from zaudio.events import (
    Accepted,
    Advanced,
    Duplicate,
    Event,
    Granted,
    Noted,
    Rejected,
    Requeued,
    Sampled,
    Withdrawn,
)

CHUNKS_MOST = 1000  # a second; of each a line for the grant and one for the result: about 300 KB a second
WINDOW = 1.0  # seconds
ADVANCED_EVERY = 0.1  # seconds
_RANGE = 1 << 32
_SPREAD = 2654435761  # Knuth's multiplier: neighbours, and chunks a fixed step apart, are spread evenly over the range

OfChunk = Granted | Accepted | Duplicate | Noted | Rejected | Requeued | Withdrawn


class Thinner:
    """Decides on one event after the other.

    Attributes:
        _counts: Events of chunks in this window, by kind.
        _lines: Of those, the ones that got a line.
        _left: The number of those that got none, since it was last told.
        _workers: By worker, the chunks and seconds of the results among those.
        _every: One chunk in so many gets its lines.
    """

    def __init__(self) -> None:
        self._until: float | None = None  # the end of this window
        self._counts: Counter[type[Event]] = Counter()
        self._lines: Counter[type[Event]] = Counter()
        self._left = 0
        self._workers: dict[str, tuple[int, float]] = {}
        self._every = 1
        self._held: Advanced | None = None
        self._told = float("-inf")  # when an `Advanced` was last given a line
        self._last: Event | None = None

    def take(self, event: Event) -> list[Event]:
        """Return the events that get a line now, in their order."""
        lines = self._close(event.at) if self._until is not None and event.at >= self._until else []
        self._last = event
        match event:
            case Granted() | Accepted() | Duplicate() | Noted() | Rejected() | Requeued() | Withdrawn():
                lines += self._of_chunk(event)
            case Advanced():
                self._held = event
                if event.at - self._told >= ADVANCED_EVERY:
                    lines += self._release()
            case _:
                lines += [*self._release(), *self._sampled(), event]
        return lines

    def end(self) -> list[Event]:
        """Return the events that get a line when no other event comes."""
        return [*self._release(), *self._sampled()]

    def _of_chunk(self, event: OfChunk) -> list[Event]:
        if self._until is None:
            self._until = event.at + WINDOW
        self._counts[type(event)] += 1
        # The first fast second is not known to be one before it is over, so the lines are counted too.
        if event.chunk * _SPREAD % _RANGE * self._every < _RANGE and self._lines[type(event)] < CHUNKS_MOST:
            self._lines[type(event)] += 1
            return [event]
        self._left += 1
        if isinstance(event, Accepted):
            chunks, seconds = self._workers.get(event.worker, (0, 0.0))
            self._workers[event.worker] = (chunks + event.chunks, seconds + event.seconds)
        return []

    def _close(self, now: float) -> list[Event]:
        """End the window; the next one is as fast, probably."""
        most = max(self._counts.values(), default=0)
        assert self._until is not None
        still = now >= self._until + WINDOW  # nothing came for a whole window
        self._every = 1 if still else max(1, -(-most // CHUNKS_MOST))
        self._until = None
        self._counts.clear()
        self._lines.clear()
        return self._sampled()

    def _sampled(self) -> list[Event]:
        if not self._left or self._last is None:
            return []
        last, workers = self._last, {name: (chunks, round(time, 6)) for name, (chunks, time) in self._workers.items()}
        made = Sampled(at=last.at, job=last.job, stage=last.stage, count=self._left, workers=workers)
        self._left, self._workers = 0, {}
        return [made]

    def _release(self) -> list[Event]:
        if self._held is None:
            return []
        held, self._held = self._held, None
        self._told = held.at
        return [held]
