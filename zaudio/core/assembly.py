"""Assembler: the sink's brain. Owns what is accepted and what is released, in output order.

Rules:

- A result is valid if its (job, incarnation, session, index, attempt) was ever granted, its length and checksum are
  right and its index has no result yet. That its lease has run out does not matter: an op is a pure function of
  samples and parameters, so any valid result will do.
- A chunk is released once every chunk before it was; accepted chunks that wait for an earlier one are all that is
  remembered, besides the checksums of chunks that were granted more than once.
- Two results for one chunk must be the same bytes. When they are not, the job fails and names both workers. The end of
  a lease is no end of that: a worker that was given up may come back with its result. So a checksum is kept until every
  other attempt has answered, and the oldest go when there are too many of those that never will.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from zaudio.core.actions import Accepted, AssemblerAction, Duplicate, Fail, Rejected, Released
from zaudio.errors import ConflictError
from zaudio.plan import Plan
from zaudio.wire.messages import Result

CHECKSUMS_KEPT = 4096  # of chunks that another attempt is out for; what is out longer is of workers that are gone


class Grants(Protocol):
    """What the Assembler reads of the leases."""

    def granted(self, session: bytes, index: int, attempt: int) -> bool:
        """Whether this attempt was ever granted to this session."""

    def attempts(self, index: int) -> Mapping[int, bytes]:
        """Every grant ever made of a chunk that has no result yet: attempt and session."""


@dataclass(slots=True)
class _Kept:
    """What is kept of an accepted result that others may contradict."""

    checksum: int
    name: str  # of the worker, which may be forgotten when the other one answers
    out: dict[int, bytes]  # attempts that have not answered


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
        self._checksums: dict[int, _Kept] = {}  # index -> what was accepted, oldest first
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
        out = {number: who for number, who in self._grants.attempts(result.index).items() if number != result.attempt}
        if out:
            if len(self._checksums) >= CHECKSUMS_KEPT:
                del self._checksums[next(iter(self._checksums))]
            self._checksums[result.index] = _Kept(result.checksum, self._name(result.session), out)
        self._waiting.add(result.index)
        released: list[AssemblerAction] = []
        while self._released in self._waiting:
            self._waiting.remove(self._released)
            released.append(Released(self._released))
            self._released += 1
        return released

    def _conflict(self, result: Result) -> list[AssemblerAction]:
        kept = self._checksums.get(result.index)
        if kept is None or kept.out.get(result.attempt) != result.session:
            return []  # the accepted result itself may come twice, and what was never granted proves nothing
        if kept.checksum != result.checksum:
            return [Fail(ConflictError(result.index, kept.name, self._name(result.session)))]
        del kept.out[result.attempt]
        if not kept.out:
            del self._checksums[result.index]
        return []
