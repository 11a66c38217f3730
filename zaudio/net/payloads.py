"""Payloads: the results of one stage, from their coming to the destination's last use of them.

Rules:

- A payload is kept from the moment when the Desk accepted it, and goes to the destination in output order, when the
  Desk releases it. A withdrawn one is forgotten.
- Memory for results that were copied out of outboxes is used again: fresh memory costs page faults. The destination
  finishes with payloads in the order in which it got them, so the loans come back in that order.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from zaudio.net.destination import Destination
from zaudio.steps import Buffer

Memory = npt.NDArray[np.uint8]


class Payloads:
    """The payloads of one stage.

    Args:
        destination: Takes them.
        skip: Bytes at the beginning of the first one that the destination has already, from an earlier life.
    """

    def __init__(self, destination: Destination, *, skip: int = 0) -> None:
        self._destination = destination
        self._skip = skip
        self._kept: dict[int, Buffer] = {}  # index -> accepted, until it is released
        self._free: list[Memory] = []
        self._lent: deque[Memory | None] = deque()  # at the destination, in order; None: memory of somebody else
        self._settled = 0  # payloads that the destination is known to have finished with

    def take(self, length: int) -> memoryview:
        """Return a buffer of that length, to copy a result into."""
        memory = self._free.pop() if self._free else None
        if memory is None or memory.size < length:
            memory = np.empty(length, np.uint8)  # not of zeros: all of it is written to
        return memory.data[:length]

    def give_back(self, payload: Buffer) -> None:
        """Take a buffer back that never went to the destination."""
        if (buffer := _ours(payload)) is not None:
            self._free.append(buffer)

    def keep(self, index: int, payload: Buffer) -> None:
        """Keep an accepted result until its turn."""
        self._kept[index] = payload

    def withdraw(self, index: int) -> None:
        """Forget an accepted result."""
        self.give_back(self._kept.pop(index))

    def release(self, index: int) -> None:
        """Give an accepted result to the destination; calls come in output order."""
        payload = self._kept.pop(index)
        self._lent.append(_ours(payload))
        self._destination.put(memoryview(payload)[self._skip :])
        self._skip = 0  # it was the first one's

    def settle(self) -> int:
        """Take back memory that the destination has finished with; return the payloads that it finished so far."""
        finished = self._destination.finished
        for _ in range(finished - self._settled):
            if (buffer := self._lent.popleft()) is not None:
                self._free.append(buffer)
        self._settled = finished
        return finished

    def clear(self) -> None:
        """Free all memory: the stage is over. The destination keeps its own payloads."""
        self._kept.clear()
        self._free.clear()
        self._lent.clear()  # else it would stay until Python collects the stage, while the next one takes fresh memory


def _ours(payload: Buffer) -> Memory | None:
    owner = payload.obj if isinstance(payload, memoryview) else None
    return owner if isinstance(owner, np.ndarray) else None
