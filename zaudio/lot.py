"""Lot: several small recordings that one stage goes over, one behind the other.

    LotPlan   the plans of the recordings      -> chunks, each with the number of its recording

Rules:

- Pure. The recordings of a lot have the same ops, and signals that differ in their lengths alone.
- A chunk belongs to one recording. Chunks are numbered through the lot: those of a recording in its output order,
  behind those of the recordings before it.
- A recording without frames has no chunks.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from itertools import accumulate

from zaudio.errors import UsageError
from zaudio.plan import Order, Plan, Span


@dataclass(frozen=True, slots=True)
class LotPlan:
    """The chunks of several recordings. It is asked as a `Plan` is.

    Attributes:
        plans: The plan of each recording, all in the same order.
    """

    plans: tuple[Plan, ...]
    _ends: tuple[int, ...] = field(init=False, repr=False, compare=False)  # chunks up to each recording's end

    def __post_init__(self) -> None:
        if len({plan.order for plan in self.plans}) != 1:
            raise UsageError("a lot has a recording at least, and one order")
        object.__setattr__(self, "_ends", tuple(accumulate(map(len, self.plans))))

    def __len__(self) -> int:
        """Return the number of chunks."""
        return self._ends[-1]

    @property
    def frames(self) -> int:
        """Frames of all outputs together."""
        return sum(plan.frames for plan in self.plans)

    @property
    def chunk_frames(self) -> int:
        """Frames per chunk, at most."""
        return max(plan.chunk_frames for plan in self.plans)

    @property
    def longest(self) -> int:
        """Frames of the longest chunk."""
        return max(plan.longest for plan in self.plans)

    @property
    def order(self) -> Order:
        """The order of frames in the output of each recording."""
        return self.plans[0].order

    def of(self, index: int) -> Plan:
        """Return the plan of the recording that a chunk is of."""
        return self.plans[self._find(index)[0]]

    def span(self, index: int) -> Span:
        """Return the chunk with that place in output order.

        Raises:
            IndexError: There is no such chunk.
        """
        number, own = self._find(index)
        return replace(self.plans[number].span(own), index=index, recording=number)

    def output_before(self, index: int) -> int:
        """Return how many frames are written before that chunk; all frames for the index after the last."""
        if index >= len(self):
            return self.frames
        number, own = self._find(max(0, index))
        return sum(plan.frames for plan in self.plans[:number]) + self.plans[number].output_before(own)

    def _find(self, index: int) -> tuple[int, int]:
        """Return the number of a chunk's recording, and the chunk's index in it."""
        if not 0 <= index < len(self):
            raise IndexError(f"chunk {index} of {len(self)}")
        number = bisect_right(self._ends, index)
        return number, index - (self._ends[number - 1] if number else 0)
