"""Fold: the destination of a measuring stage. It collects what workers measured, in order, as one array.

Rules: cells come in the order of the recording. Everything is copied at once, so no payload is kept: `finished` counts
it when `put` returns. A measurement is small beside its recording, and nothing of it is on the disk before it is whole.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from zaudio.errors import UsageError, ZaudioError
from zaudio.plan import Order
from zaudio.signal import Signal
from zaudio.steps import Buffer

CELLS = "f64le"  # the format of what is measured
CELLS_DTYPE = np.dtype("<f8")


class Fold:
    """A destination in memory.

    Args:
        signal: The measurement: a frame per cell, and a channel per number.

    Attributes:
        signal: As given.

    Raises:
        UsageError: Its numbers are no float64.
    """

    error: ZaudioError | None = None

    def __init__(self, signal: Signal) -> None:
        if signal.format.name != CELLS:
            raise UsageError(f"what is measured is {CELLS}, not {signal.format.name}")
        self.signal = signal
        self._stored = bytearray(signal.bytes)
        self._taken = 0  # bytes
        self._finished = 0
        self._sealed = False

    @property
    def cells(self) -> npt.NDArray[np.float64]:
        """All that was measured, (cells, numbers), once it is sealed."""
        assert self._sealed, "it is not whole yet"
        array = np.frombuffer(self._stored, CELLS_DTYPE).reshape(self.signal.frames, self.signal.channels)
        return array.astype(np.float64)

    @property
    def finished(self) -> int:
        """The number of payloads that were taken."""
        return self._finished

    @property
    def saved(self) -> int:
        """Bytes that a later life can go on from: none."""
        return 0

    @property
    def sealed(self) -> bool:
        """Whether all is there."""
        return self._sealed

    def open(
        self,
        signal: Signal,
        order: Order,
        *,
        notify: Callable[[], None],  # noqa: ARG002  a destination's signature: nothing here changes in another thread
        pause: Callable[[], None] = lambda: None,  # noqa: ARG002
    ) -> int:
        """Check that the payloads are those that are expected; there is nothing else to open.

        Raises:
            UsageError: They are not.
        """
        if signal != self.signal or order is not Order.FORWARD:
            raise UsageError(f"expected {self.signal}, forward, not {signal}, {order.value}")
        return 0

    def put(self, payload: Buffer) -> None:
        """Take the next cells.

        Raises:
            UsageError: They are more than were expected.
        """
        view = memoryview(payload)
        if not view.nbytes:
            self._finished += 1
            return
        end = self._taken + view.nbytes
        if end > len(self._stored):
            raise UsageError(f"expected {len(self._stored)} bytes of measurement, got {end}")
        self._stored[self._taken : end] = view.cast("B")
        self._taken = end
        self._finished += 1

    def seal(self) -> None:
        """End: no cells follow.

        Raises:
            UsageError: Some are missing.
        """
        if self._taken != len(self._stored):
            raise UsageError(f"expected {len(self._stored)} bytes of measurement, got {self._taken}")
        self._sealed = True

    def publish(self) -> dict[str, str]:
        """Return no paths: a measurement is no file."""
        return {}

    def abort(self) -> None:
        """Let go of everything."""
        self._stored = bytearray()

    def disown(self) -> None:
        """Let go of everything."""
        self.abort()
