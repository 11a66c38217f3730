"""Destination: the place where the results of a stage go, as the stage sees it.

Rules: a protocol and nothing else. `net` knows no file format and no cipher: rooms that do implement it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from zaudio.errors import ZaudioError
from zaudio.plan import Order
from zaudio.signal import Signal
from zaudio.steps import Buffer


class Destination(Protocol):
    """The place where a stage's results go. The sealed result is one: see `zaudio.result.ResultWriter`.

    A stage uses `put`, `finished`, `spent`, `seal`, `sealed` and `error`. Its owner opens it before and publishes
    or aborts it afterwards.
    """

    def open(self, signal: Signal, order: Order, *, notify: Callable[[], None], pause: Callable[[], None]) -> int:
        """Open the destination; return the bytes that an earlier life of the job has left in it.

        Args:
            signal: The results, put together.
            order: The order of their frames.
            notify: Called from any thread when `finished`, `sealed` or `error` changed.
            pause: Called now and then while an earlier life's bytes are read. An exception of it ends that.
        """

    @property
    def finished(self) -> int:
        """Payloads that the destination no longer refers to."""

    @property
    def spent(self) -> tuple[float, float]:
        """Seconds that a cipher encrypted, and that it waited for the disk; 0.0 without a cipher or a disk."""

    @property
    def saved(self) -> int:
        """Bytes that a later life of the job can go on from."""

    @property
    def sealed(self) -> bool:
        """Whether all payloads are stored, unpublished."""

    @property
    def error(self) -> ZaudioError | None:
        """The failure that ended it, if one did."""

    def put(self, payload: Buffer) -> None:
        """Take the next payload in output order. It must not change until `finished` counts it."""

    def seal(self) -> None:
        """Complete the result: no payload follows."""

    def publish(self) -> dict[str, str]:
        """Give the result its final names, all or none; return its paths."""

    def abort(self) -> None:
        """Close everything; keep only files from which a later life can continue. Idempotent."""

    def disown(self) -> None:
        """Abort, and keep nothing: the bytes so far are in doubt."""
