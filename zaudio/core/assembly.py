"""Assembler: the sink's brain. Owns what is accepted and what is released, in output order.

Rules:

- A result is valid if its (job, incarnation, session, index, attempt) was ever granted, its length and checksum are
  right and its index has no result yet. That its lease has run out does not matter: an op is a pure function of
  samples and parameters, so any valid result will do.
- A chunk is released once every chunk before it was; accepted chunks that wait for an earlier one are all that is
  remembered, besides the checksums of chunks that another worker is still at.
- Two results for one chunk must be the same bytes. When they are not, the job fails and names both workers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from zaudio.core.actions import Accepted, AssemblerAction, Duplicate, Fail, Rejected, Released
from zaudio.errors import ConflictError
from zaudio.plan import Plan
from zaudio.wire.messages import Result

CHECKSUMS_KEPT = 4096  # of chunks that another attempt is out for; more would be a worker that never answers


class Grants(Protocol):
    """What the Assembler reads of the leases."""

    def granted(self, session: bytes, index: int, attempt: int) -> bool:
        """Whether this attempt was ever granted to this session."""

    def live(self, index: int) -> tuple[bytes, ...]:
        """The sessions that a result of this chunk is still awaited from."""


class Assembler:
    """The sink's brain over one job.

    Args:
        plan: How the recording is cut.
        job: The job's id.
        incarnation: The coordinator's.
        frame_bytes: Bytes a frame of a result.
        grants: Where to ask what was granted; only read.
        name: What to call a session in a sentence.
        first: The first chunk that is awaited; those before it were released in an earlier life.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        job: bytes,
        incarnation: int,
        frame_bytes: int,
        grants: Grants,
        name: Callable[[bytes], str] = lambda session: session.hex()[:8],
        first: int = 0,
    ) -> None:
        self._plan = plan
        self._job = (job, incarnation)
        self._frame_bytes = frame_bytes
        self._grants = grants
        self._name = name
        self._released = first  # chunks before this one were released
        self._waiting: set[int] = set()  # accepted, and not released
        self._checksums: dict[int, tuple[int, bytes]] = {}  # index -> checksum and session of what was accepted
        self.duplicates = 0
        self.rejected = 0

    def receive(self, result: Result, *, checksum: int) -> list[AssemblerAction]:
        """Judge a result.

        Args:
            result: Its header.
            checksum: What the payload that came really sums to.
        """
        reason = self._objection(result, checksum)
        if reason:
            self.rejected += 1
            return [Rejected(result.session, result.index, result.attempt, reason)]
        if self.accepted(result.index):
            self.duplicates += 1
            duplicate = Duplicate(result.session, result.index, result.attempt)
            return [duplicate, *self._conflict(result)]
        if not self._grants.granted(result.session, result.index, result.attempt):
            self.rejected += 1
            return [Rejected(result.session, result.index, result.attempt, "it was never granted")]
        return [Accepted(result.session, result.index, result.attempt), *self._accept(result)]

    def accepted(self, index: int) -> bool:
        """Whether this chunk has its result."""
        return index < self._released or index in self._waiting

    @property
    def released(self) -> int:
        """How many chunks were released: all before this index."""
        return self._released

    @property
    def finished(self) -> bool:
        """Whether every index is accounted for."""
        return self._released == len(self._plan)

    def check(self) -> None:
        """Assert the invariants."""
        assert 0 <= self._released <= len(self._plan), "no more is released than there is"
        assert self._released not in self._waiting, "what can be released is released at once"
        assert all(self._released < index < len(self._plan) for index in self._waiting), "what waits was not released"
        assert len(self._checksums) <= CHECKSUMS_KEPT, "checksums are bounded"

    def _objection(self, result: Result, checksum: int) -> str:
        if (result.job, result.incarnation) != self._job:
            return "it belongs to another job"
        if result.index >= len(self._plan):
            return f"there are only {len(self._plan)} chunks"
        expected = self._plan.chunk(result.index).frames * self._frame_bytes
        if result.length != expected:
            return f"expected {expected} bytes, got {result.length}"
        if result.checksum != checksum:
            return "it was damaged on the way"
        return ""

    def _accept(self, result: Result) -> list[AssemblerAction]:
        if any(session != result.session for session in self._grants.live(result.index)):
            if len(self._checksums) >= CHECKSUMS_KEPT:
                del self._checksums[next(iter(self._checksums))]
            self._checksums[result.index] = (result.checksum, result.session)
        self._waiting.add(result.index)
        released: list[AssemblerAction] = []
        while self._released in self._waiting:
            self._waiting.remove(self._released)
            released.append(Released(self._released))
            self._released += 1
        return released

    def _conflict(self, result: Result) -> list[AssemblerAction]:
        known = self._checksums.get(result.index)
        if known is None:
            return []
        if known[0] != result.checksum:
            return [Fail(ConflictError(result.index, self._name(known[1]), self._name(result.session)))]
        if known[1] != result.session:  # the accepted result itself may come twice, and the other one after it
            del self._checksums[result.index]
        return []
