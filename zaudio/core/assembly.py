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
- An audited chunk is accepted only when the results of two sessions have the same digest; until then results are noted,
  and their payloads forgotten. Of three results two agree, and the third one's worker is a liar; if all three differ,
  the job fails. A result of an audited chunk that comes after its acceptance, and is another, is a lie too.
- Nothing is taken of a liar any more, what it said counts no more, and chunks that were accepted on its word alone are
  withdrawn if they were not released yet. What was released is encrypted: it stays, and is counted in `dropped`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from zaudio.core.actions import (
    Accepted,
    AssemblerAction,
    Duplicate,
    Fail,
    Liar,
    Noted,
    Rejected,
    Released,
    Withdrawn,
)
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


@dataclass(slots=True)
class _Agreed:
    """What is kept of an audited chunk that others may still contradict."""

    digest: bytes
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
        chunk_of: What to call a chunk in a sentence, which is another where small ones travel in runs.
        first: The first chunk that is awaited; those before it were released in an earlier life.
        audits: Says which chunks are audited; None for none.

    Attributes:
        duplicates: Results for chunks that had one.
        rejected: Results that could not be accepted.
        audited: Chunks that were accepted because two workers agreed.
        dropped: Liars, by session: how many frames were released on their word alone before they were found out.
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
        chunk_of: Callable[[int], int] = lambda index: index,
        first: int = 0,
        audits: Callable[[int], bool] | None = None,
    ) -> None:
        self._plan = plan
        self._job = (job, incarnation)
        self._frame_bytes = frame_bytes
        self._grants = grants
        self._name = name
        self._chunk_of = chunk_of
        self._audits = audits
        self._released = first  # chunks before this one were released
        self._waiting: dict[int, bytes] = {}  # accepted, and not released -> the session whose word it rests on
        self._checksums: dict[int, _Kept] = {}  # index -> what was accepted, oldest first
        self._noted: dict[int, dict[bytes, bytes]] = {}  # audited, and not decided -> session -> digest
        self._agreed: dict[int, _Agreed] = {}  # audited, decided, and others have not answered; oldest first
        self._believed: Counter[bytes] = Counter()  # with an audit: session -> frames released on its word alone
        self.duplicates = 0
        self.rejected = 0
        self.audited = 0
        self.dropped: dict[bytes, int] = {}

    def receive(self, result: Result, *, checksum: int, digest: bytes = b"") -> list[AssemblerAction]:
        """Judge a result.

        Args:
            result: Its header.
            checksum: What the payload that came really sums to.
            digest: A digest of it that nobody can forge; needed of the chunks that `audits` names.
        """
        reason = self._objection(result, checksum)
        if reason:
            self.rejected += 1
            return [Rejected(result.session, result.index, result.attempt, reason)]
        if self.accepted(result.index):
            self.duplicates += 1
            duplicate = Duplicate(result.session, result.index, result.attempt)
            return [duplicate, *(self._lie(result, digest) or self._conflict(result))]
        if not self._grants.granted(result.session, result.index, result.attempt):
            self.rejected += 1
            return [Rejected(result.session, result.index, result.attempt, "it was never granted")]
        if self.audits(result.index):
            return self._audit(result, digest)
        return [Accepted(result.session, result.index, result.attempt), *self._accept(result)]

    def audits(self, index: int) -> bool:
        """Whether a digest is needed of a result of that chunk."""
        return self._audits is not None and self._audits(index)

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
        assert len(self._agreed) <= CHECKSUMS_KEPT, "digests are bounded"
        for index, digests in self._noted.items():
            assert not self.accepted(index), f"chunk {index} is decided and still discussed"
            assert 1 <= len(digests) <= 2, f"chunk {index}: one was asked, or two differ"
            assert len(set(digests.values())) == len(digests), f"chunk {index}: where two agree it is decided"
            assert not self.dropped.keys() & digests.keys(), "the word of a liar counts for nothing"
        assert not self.dropped.keys() & set(self._waiting.values()), "nothing that waits rests on a liar's word"

    def _objection(self, result: Result, checksum: int) -> str:
        if (result.job, result.incarnation) != self._job:
            return "it belongs to another job"
        if result.session in self.dropped:
            return "its worker gave a wrong result before"
        if result.index >= len(self._plan):
            return f"there are only {len(self._plan)} chunks"
        expected = self._plan.span(result.index).frames * self._frame_bytes
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
        self._waiting[result.index] = result.session
        return self._release()

    def _release(self) -> list[AssemblerAction]:
        released: list[AssemblerAction] = []
        while self._released in self._waiting:
            session = self._waiting.pop(self._released)
            if self._audits is not None:
                self._believed[session] += self._plan.span(self._released).frames
            released.append(Released(self._released))
            self._released += 1
        return released

    # Audits

    def _audit(self, result: Result, digest: bytes) -> list[AssemblerAction]:
        """Compare a result with those of others, by digests: a liar could forge a checksum."""
        index, session = result.index, result.session
        noted = self._noted.setdefault(index, {})
        if session in noted:
            self.duplicates += 1
            return [Duplicate(session, index, result.attempt)]
        if digest not in noted.values():
            if len(noted) == 2:
                first, second = noted
                return [Fail(ConflictError(self._chunk_of(index), self._name(first), self._name(second)))]
            noted[session] = digest
            return [Noted(session, index, result.attempt)]
        del self._noted[index]
        self.audited += 1
        attempts = self._grants.attempts(index).items()
        out = {number: who for number, who in attempts if who != session and who not in noted}
        if out:
            if len(self._agreed) >= CHECKSUMS_KEPT:
                del self._agreed[next(iter(self._agreed))]
            self._agreed[index] = _Agreed(digest, out)
        self._waiting[index] = b""  # nobody's word alone
        convictions = [self._convict(liar, index) for liar, other in noted.items() if other != digest]
        accepted = Accepted(session, index, result.attempt)
        return [*chain.from_iterable(convictions), accepted, *self._release()]

    def _lie(self, result: Result, digest: bytes) -> list[AssemblerAction]:
        """Whether a late result of an audited chunk is another than that which two agreed on."""
        agreed = self._agreed.get(result.index)
        if agreed is None or agreed.out.get(result.attempt) != result.session:
            return []
        del agreed.out[result.attempt]
        if not agreed.out:
            del self._agreed[result.index]
        return self._convict(result.session, result.index) if digest != agreed.digest else []

    def _convict(self, session: bytes, index: int) -> list[AssemblerAction]:
        """A worker's result of that chunk was a lie: nothing of it is believed any more that can still be undone."""
        self.dropped[session] = self._believed.pop(session, 0)
        name = self._name(session)
        actions: list[AssemblerAction] = [Liar(session, name, index)]
        for noted in self._noted.values():
            noted.pop(session, None)
        self._noted = {index: noted for index, noted in self._noted.items() if noted}
        for waiting in [waiting for waiting, believed in self._waiting.items() if believed == session]:
            del self._waiting[waiting]
            self._checksums.pop(waiting, None)
            actions.append(Withdrawn(waiting, name))
        return actions

    def _conflict(self, result: Result) -> list[AssemblerAction]:
        kept = self._checksums.get(result.index)
        if kept is None or kept.out.get(result.attempt) != result.session:
            return []  # the accepted result itself may come twice, and what was never granted proves nothing
        if kept.checksum != result.checksum:
            chunk = self._chunk_of(result.index)
            return [Fail(ConflictError(chunk, kept.name, self._name(result.session)))]
        del kept.out[result.attempt]
        if not kept.out:
            del self._checksums[result.index]
        return []
