"""Into: a destination in memory. Payloads become one array, in the order of the recording.

Rules: everything is copied at once, so no payload is kept: `finished` counts it when `put` returns. Nothing is on a
disk, so nothing can be gone on with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from zaudio.errors import UsageError, ZaudioError
from zaudio.plan import Order
from zaudio.signal import Signal
from zaudio.steps import Buffer


class Into:
    """A destination in memory.

    Args:
        signal: The results, put together.

    Attributes:
        signal: As given.
    """

    content: ClassVar[str] = "samples"  # in sentences
    error: ZaudioError | None = None

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self._stored: npt.NDArray[Any] = np.empty((signal.frames, signal.channels), signal.format.dtype)
        self._taken = 0  # bytes
        self._finished = 0
        self._sealed = False

    @property
    def array(self) -> npt.NDArray[Any]:
        """All payloads as (frames, channels), in native byte order, once it is sealed."""
        assert self._sealed, "it is not whole yet"
        return self._stored.astype(self.signal.format.native_dtype, copy=False)

    @property
    def finished(self) -> int:
        """The number of payloads that were taken."""
        return self._finished

    @property
    def spent(self) -> tuple[float, float]:
        """No seconds: nothing is encrypted here or stored on a disk."""
        return 0.0, 0.0

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
        """Take the next payload.

        Raises:
            UsageError: It is longer than what is missing.
        """
        size = memoryview(payload).nbytes
        if size:
            end = self._taken + size
            if end > self.signal.bytes:
                raise self._wrong(end)
            octets = self._stored.reshape(-1).view(np.uint8)
            np.copyto(octets[self._taken : end], np.frombuffer(payload, np.uint8))
            self._taken = end
        self._finished += 1

    def seal(self) -> None:
        """End: no payload follows.

        Raises:
            UsageError: Some are missing.
        """
        if self._taken != self.signal.bytes:
            raise self._wrong(self._taken)
        self._sealed = True

    def publish(self) -> dict[str, str]:
        """Return no paths: an array is no file."""
        return {}

    def abort(self) -> None:
        """Let go of everything."""
        self._stored = np.empty((0, self.signal.channels), self.signal.format.dtype)

    def disown(self) -> None:
        """Let go of everything."""
        self.abort()

    def _wrong(self, found: int) -> UsageError:
        return UsageError(f"expected {self.signal.bytes} bytes of {self.content}, got {found}")
