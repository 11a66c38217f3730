"""Into: destinations in memory. Payloads become one array, or the result of one recording after another.

    Into      payloads in the recording's order   -> one array
    Dealer    payloads of a lot, in output order  -> the result of each recording, whole

Rules: everything is copied at once, so no payload is kept when `put` returns. Nothing is on a disk, so a later life
begins again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from zaudio.errors import UsageError, ZaudioError
from zaudio.signal import Signal
from zaudio.steps import Buffer


class InMemory(ABC):
    """All that destinations in memory have in common."""

    error: ZaudioError | None = None  # `put` and `seal` raise at once: there is no thread that could fail later

    def __init__(self) -> None:
        self._taken = 0  # payloads
        self._sealed = False

    @property
    def finished(self) -> int:
        """The number of payloads that were taken."""
        return self._taken

    @property
    def spent(self) -> tuple[float, float]:
        """No seconds: nothing is encrypted here or stored on a disk."""
        return 0.0, 0.0

    @property
    def sealed(self) -> bool:
        """Whether all is there."""
        return self._sealed

    @abstractmethod
    def put(self, payload: Buffer) -> None:
        """Take the next payload."""

    @abstractmethod
    def seal(self) -> None:
        """End: no payload follows."""


class Into(InMemory):
    """A destination for one array.

    Args:
        signal: The results, put together.

    Attributes:
        signal: As given.
    """

    content: ClassVar[str] = "samples"  # in sentences

    def __init__(self, signal: Signal) -> None:
        super().__init__()
        self.signal = signal
        self._stored: npt.NDArray[Any] = np.empty((signal.frames, signal.channels), signal.format.dtype)
        self._bytes = 0  # of them so far

    @property
    def array(self) -> npt.NDArray[Any]:
        """All payloads as (frames, channels), in native byte order, once it is sealed."""
        assert self._sealed, "it is not whole yet"
        return self._stored.astype(self.signal.format.native_dtype, copy=False)

    def put(self, payload: Buffer) -> None:
        """Take the next payload.

        Raises:
            UsageError: It is longer than what is missing.
        """
        size = memoryview(payload).nbytes
        if size:
            end = self._bytes + size
            if end > self.signal.bytes:
                raise self._wrong(end)
            octets = self._stored.reshape(-1).view(np.uint8)
            np.copyto(octets[self._bytes : end], np.frombuffer(payload, np.uint8))
            self._bytes = end
        self._taken += 1

    def seal(self) -> None:
        """End: no payload follows.

        Raises:
            UsageError: Some are missing.
        """
        if self._bytes != self.signal.bytes:
            raise self._wrong(self._bytes)
        self._sealed = True

    def _wrong(self, found: int) -> UsageError:
        return UsageError(f"expected {self.signal.bytes} bytes of {self.content}, got {found}")


class Dealer(InMemory):
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
        super().__init__()
        self._lengths = [signal.bytes for signal in signals]
        self._give = give
        self._has_room = has_room
        self._number = 0  # of the recording that the next payload is of
        self._result = bytearray()  # of it, so far
        self._finished = 0  # payloads, when there was room last

    @property
    def finished(self) -> int:
        """The number of payloads that were taken when there was room for a result last."""
        if self._has_room():
            self._finished = self._taken
        return self._finished

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
        """End: no payload follows. All results were given away.

        Raises:
            UsageError: Some payloads are missing.
        """
        self._pass_on()
        if self._number != len(self._lengths):
            raise UsageError(f"recording {self._number} of {len(self._lengths)} is not whole")
        self._sealed = True

    def _pass_on(self) -> None:
        """Give away the results that are whole."""
        while self._number < len(self._lengths) and len(self._result) == self._lengths[self._number]:
            result, self._result = self._result, bytearray()
            self._number += 1  # first: an error of `give` must not make it happen twice
            self._give(self._number - 1, result)
