"""Holding: the chunks of one job that a worker holds, and the outcomes that it could not tell the sink yet.

Rules:

- `received` counts the chunks that should have come: from their own sequence or from a Sent behind them. A chunk at or
  below it is a duplicate, or was given up already, and is ignored.
- A chunk is held from its coming until its outcome is handed to the sink's socket. Every Ready lists the held chunks.
- An attempt is granted once: one that comes twice gets one outcome.
"""

from __future__ import annotations

from zaudio.wire.messages import Chunk, Failed, Result


class Holding:
    """The chunks of a worker's job.

    Attributes:
        received: The sequence up to which chunks should have come.
    """

    def __init__(self) -> None:
        self.received = 0
        self._held: dict[tuple[int, int], None] = {}  # (index, attempt), in the order they came
        self._kept: list[Result | Failed] = []  # computed while there was no sink to tell

    @property
    def held(self) -> tuple[tuple[int, int], ...]:
        """The (index, attempt) pairs that are held."""
        return tuple(self._held)

    def take(self, chunk: Chunk, *, intact: bool) -> bool:
        """Take a chunk that came; return whether it is to be computed."""
        if chunk.sequence <= self.received:
            return False
        self.received = chunk.sequence
        if not intact:
            return False  # it is not held, so the next Ready says that it is lost
        if (chunk.index, chunk.attempt) in self._held:
            return False
        self._held[chunk.index, chunk.attempt] = None
        return True

    def expect(self, sequence: int) -> None:
        """Take note that chunks up to this sequence were sent."""
        self.received = max(self.received, sequence)

    def keep(self, outcome: Result | Failed) -> bool:
        """Keep the outcome of a chunk; return False when the chunk is not held, or has an outcome."""
        attempt = (outcome.index, outcome.attempt)
        if attempt not in self._held or any(attempt == (kept.index, kept.attempt) for kept in self._kept):
            return False
        self._kept.append(outcome)
        return True

    def deliver(self) -> list[Result | Failed]:
        """Return the outcomes that were kept, in their order. Their chunks are held no longer."""
        outcomes, self._kept = self._kept, []
        for outcome in outcomes:
            del self._held[outcome.index, outcome.attempt]
        return outcomes

    def check(self, *, told: bool) -> None:
        """Assert the invariants; `told` says whether there was a sink for every outcome."""
        kept = [(outcome.index, outcome.attempt) for outcome in self._kept]
        assert len(set(kept)) == len(kept), "an outcome is kept once"
        assert set(kept) <= set(self._held), "an outcome that is kept is still held"
        assert not (told and kept), "a ready worker has told everything"
