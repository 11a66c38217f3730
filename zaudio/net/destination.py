"""Destination: the place where the results of a stage go, as the stage sees it.

Rules: a protocol and nothing else. `net` knows no file format and no cipher: rooms that do implement it. A stage
gets a destination that is open; its owner publishes or aborts it, as `zaudio.job.outputs.Output` says.
"""

from __future__ import annotations

from typing import Protocol

from zaudio.errors import ZaudioError
from zaudio.steps import Buffer


class Destination(Protocol):
    """The place where a stage's results go. The sealed result is one: see `zaudio.result.ResultWriter`."""

    @property
    def finished(self) -> int:
        """Payloads that the destination no longer refers to."""

    @property
    def spent(self) -> tuple[float, float]:
        """Seconds that a cipher encrypted, and that it waited for the disk; 0.0 without a cipher or a disk."""

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
