"""Lot: several small recordings that one stage goes over, one behind the other.

    LotPlan   the plans of the recordings      -> chunks, each with the number of its recording
    Dealer    payloads in output order         -> the result of each recording, whole

Rules:

- Pure. The recordings of a lot have the same ops, and signals that differ in their lengths alone.
- A chunk belongs to one recording. Chunks are numbered through the lot: those of a recording in its output order,
  behind those of the recordings before it.
- A recording without frames has no chunks; its result is whole from the beginning.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from zaudio.errors import UsageError, ZaudioError
from zaudio.plan import Order, Plan, Span
from zaudio.signal import Signal
from zaudio.steps import Buffer


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


class Dealer:
    """The destination of a lot: it puts the payloads of each recording together, and gives each result away when whole.

    Args:
        signals: The output of each recording.
        give: Takes the number of a recording and its result. It must not wait.
        has_room: Returns whether another result can be taken. While it returns false, no payload counts as finished, so
            the farm grants no further than its window reaches.
    """

    def __init__(
        self,
        signals: Sequence[Signal],
        *,
        give: Callable[[int, bytearray], None],
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._lengths = [signal.bytes for signal in signals]
        self._give = give
        self._has_room = has_room
        self._number = 0  # of the recording that the next payload is of
        self._result = bytearray()  # of it, so far
        self._taken = self._finished = 0  # payloads
        self._sealed = False

    @property
    def finished(self) -> int:
        """Payloads that count as finished. All of them were copied."""
        if self._has_room():
            self._finished = self._taken
        return self._finished

    @property
    def spent(self) -> tuple[float, float]:
        """No seconds: other threads encrypt and store."""
        return 0.0, 0.0

    @property
    def saved(self) -> int:
        """Nothing: a lot is begun again."""
        return 0

    @property
    def sealed(self) -> bool:
        """Whether all results were given away."""
        return self._sealed

    @property
    def error(self) -> ZaudioError | None:
        """None: nothing here can fail."""
        return None

    def open(
        self,
        signal: Signal,  # noqa: ARG002  a destination's signature
        order: Order,  # noqa: ARG002
        *,
        notify: Callable[[], None],  # noqa: ARG002
        pause: Callable[[], None] = lambda: None,  # noqa: ARG002
    ) -> int:
        """Return 0: there is nothing to open, and nothing is resumed."""
        return 0

    def put(self, payload: Buffer) -> None:
        """Take the next payload in output order.

        Raises:
            UsageError: It is more than the recording has.
        """
        self._pass_on()  # recordings without frames
        self._taken += 1
        self._result += memoryview(payload).cast("B")
        if self._number == len(self._lengths) or len(self._result) > self._lengths[self._number]:
            raise UsageError("a lot got more than its recordings have")
        self._pass_on()

    def seal(self) -> None:
        """End: no payload follows.

        Raises:
            UsageError: Some are missing.
        """
        self._pass_on()
        if self._number != len(self._lengths):
            raise UsageError(f"recording {self._number} of {len(self._lengths)} is not whole")
        self._sealed = True

    def publish(self) -> dict[str, str]:
        """Return no paths: results were given away."""
        return {}

    def abort(self) -> None:
        """Let go of everything."""
        self._result = bytearray()

    def disown(self) -> None:
        """Let go of everything."""
        self.abort()

    def _pass_on(self) -> None:
        """Give away the results that are whole."""
        while self._number < len(self._lengths) and len(self._result) == self._lengths[self._number]:
            result, self._result = self._result, bytearray()
            self._number += 1  # first: an error of `give` must not make it happen twice
            self._give(self._number - 1, result)
