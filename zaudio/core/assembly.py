"""Assembler: the sink's brain. Judges results, and releases them in output order.

Rules:

- A result is valid if its (job, incarnation, session, index, attempt) was ever granted, its length and checksum are
  right and its index has no result yet. That its lease has run out does not matter: an op is a pure function of samples
  and parameters, so any valid result will do.
- A chunk is released once every chunk before it was. All that is remembered is the accepted chunks that wait for an
  earlier one, and the checksums of chunks that were granted more than once.
- Two results for one chunk must be the same bytes. When they are not, the job fails and names both workers. A worker
  that was given up may still come back with its result, so a checksum is kept until every other attempt has answered.
  When too many never answer, the oldest checksums go.
- Chunks that the jury covers are accepted when it says so. No result of a liar is taken any longer, and chunks that
  were accepted on its word alone are withdrawn if they were not released yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from zaudio.core.actions import Accepted, AssemblerAction, Duplicate, Fail, Liar, Rejected, Released, Withdrawn
from zaudio.core.jury import Jury
from zaudio.errors import ConflictError
from zaudio.lot import LotPlan
from zaudio.plan import Plan
from zaudio.wire.messages import Result

CHECKSUMS_KEPT = 4096  # of chunks that another attempt is out for; older ones are of workers that are gone

Actions = list[AssemblerAction]


class Grants(Protocol):
    """The part of the leases that the Assembler reads."""

    def granted(self, session: bytes, index: int, attempt: int) -> bool:
        """Return whether this attempt was ever granted to this session."""

    def attempts(self, index: int) -> Mapping[int, bytes]:
        """Return every grant ever made of a chunk that has no result yet: attempt and session."""


@dataclass(slots=True)
class _Kept:
    """An accepted result that other workers may contradict."""

    checksum: int
    name: str  # of the worker, which may be forgotten when the other one answers
    out: dict[int, bytes]  # attempts that have not answered -> session


class Assembler:
    """The sink's brain over one stage.

    Args:
        plan: How the recording is cut.
        job: The job's id.
        incarnation: The coordinator's.
        frame_bytes: Bytes per frame of a result.
        grants: Where to ask which attempts were granted; only read.
        jury: The audits; owned from here on. None for none.
        name: Returns the name of a session, for sentences.
        chunk_of: Returns the user's chunk, for sentences: another index where small ones travel in bundles.
        first: The first chunk that is awaited; those before it were released in an earlier life.
    """

    def __init__(
        self,
        plan: Plan | LotPlan,
        *,
        job: bytes,
        incarnation: int,
        frame_bytes: int,
        grants: Grants,
        jury: Jury | None = None,
        name: Callable[[bytes], str] = lambda session: session.hex()[:8],
        chunk_of: Callable[[int], int] = lambda index: index,
        first: int = 0,
    ) -> None:
        self._plan = plan
        self._job = (job, incarnation)
        self._frame_bytes = frame_bytes
        self._grants = grants
        self._jury = jury or Jury()
        self._name = name
        self._chunk_of = chunk_of
        self._released = first  # chunks before this one were released
        self._waiting: dict[int, bytes] = {}  # accepted, and not released -> the session whose word it rests on
        # Of those that wait, how many samples were clipped and zeroed; only where some were.
        self._counts: dict[int, tuple[int, int]] = {}
        self._checksums: dict[int, _Kept] = {}  # index -> the accepted result, oldest first

    def receive(self, result: Result, *, checksum: int, digest: bytes = b"") -> Actions:
        """Judge a result.

        Args:
            result: Its header.
            checksum: The sum of the payload that really came.
            digest: A digest of it that nobody can forge; needed of chunks that the jury audits.
        """
        reason = self._objection(result, checksum)
        if reason:
            ours = (result.job, result.incarnation) == self._job
            # A chunk of another job has no place in this one's plan.
            return [Rejected(result.session, result.index if ours else -1, result.attempt, reason, late=not ours)]
        if self.accepted(result.index):
            duplicate = Duplicate(result.session, result.index, result.attempt)
            return [duplicate, *(self._contradiction(result, digest) or self._conflict(result))]
        if not self._grants.granted(result.session, result.index, result.attempt):
            return [Rejected(result.session, result.index, result.attempt, "it was never granted")]
        if self._jury.audits(result.index):
            return self._deliberate(result, digest)
        accepted = Accepted(result.session, result.index, result.attempt, result.clipped, result.zeroed, result.seconds)
        return [accepted, *self._accept(result)]

    def accepted(self, index: int) -> bool:
        """Return whether this chunk has its result."""
        return index < self._released or index in self._waiting

    @property
    def released(self) -> int:
        """The number of chunks that were released: all before this index."""
        return self._released

    @property
    def finished(self) -> bool:
        """Whether every chunk was released."""
        return self._released == len(self._plan)

    def check(self) -> None:
        """Assert the invariants."""
        assert 0 <= self._released <= len(self._plan), "no more is released than there is"
        assert self._released not in self._waiting, "a chunk that can be released is released at once"
        assert all(self._released < index < len(self._plan) for index in self._waiting), (
            "chunks that wait were not released"
        )
        assert self._counts.keys() <= self._waiting.keys(), "samples of chunks that wait are counted"
        assert len(self._checksums) <= CHECKSUMS_KEPT, "checksums are bounded"
        assert not any(self.accepted(index) for index in self._jury.undecided), (
            "a chunk that is decided is not discussed"
        )
        assert not self._jury.dropped.keys() & set(self._waiting.values()), "nothing that waits rests on a liar's word"
        self._jury.check()

    def _objection(self, result: Result, checksum: int) -> str:
        if (result.job, result.incarnation) != self._job:
            return "it belongs to another job"
        if result.session in self._jury.dropped:
            return "its worker gave a wrong result before"
        if result.index >= len(self._plan):
            return f"there are only {len(self._plan)} chunks"
        expected = self._plan.span(result.index).frames * self._frame_bytes
        if result.length != expected:
            return f"expected {expected} bytes, got {result.length}"
        if result.checksum != checksum:
            return "it was damaged on the way"
        return ""

    def _accept(self, result: Result) -> Actions:
        attempts = self._grants.attempts(result.index).items()
        out = {number: session for number, session in attempts if number != result.attempt}
        if out:
            if len(self._checksums) >= CHECKSUMS_KEPT:
                del self._checksums[next(iter(self._checksums))]
            self._checksums[result.index] = _Kept(result.checksum, self._name(result.session), out)
        self._waiting[result.index] = result.session
        if result.clipped or result.zeroed:
            self._counts[result.index] = (result.clipped, result.zeroed)
        return self._release()

    def _release(self) -> Actions:
        released: Actions = []
        while self._released in self._waiting:
            session = self._waiting.pop(self._released)
            self._counts.pop(self._released, None)
            if self._jury.sits:
                self._jury.believe(session, self._plan.span(self._released).frames)
            released.append(Released(self._released))
            self._released += 1
        return released

    # Several results

    def _deliberate(self, result: Result, digest: bytes) -> Actions:
        """Hear the jury on a result of a chunk that has none."""
        actions: Actions = []
        for verdict in self._jury.hear(result, digest, self._grants.attempts(result.index)):
            actions.append(verdict)
            match verdict:
                case Liar():
                    actions += self._withdraw(verdict)
                case Accepted():
                    self._waiting[result.index] = b""  # nobody's word alone
                    actions += self._release()
        return actions

    def _contradiction(self, result: Result, digest: bytes) -> Actions:
        """Hear the jury on a result of a chunk that has one."""
        actions: Actions = []
        for liar in self._jury.hear_late(result, digest):
            actions += [liar, *self._withdraw(liar)]
        return actions

    def _withdraw(self, liar: Liar) -> Actions:
        """Take back the chunks that rest on the word of a liar and were not released."""
        actions: Actions = []
        for index in [index for index, session in self._waiting.items() if session == liar.session]:
            del self._waiting[index]
            self._checksums.pop(index, None)
            actions.append(Withdrawn(index, liar.name, *self._counts.pop(index, (0, 0))))
        return actions

    def _conflict(self, result: Result) -> Actions:
        kept = self._checksums.get(result.index)
        if kept is None or kept.out.get(result.attempt) != result.session:
            return []  # the accepted result itself may come twice; one that was never granted proves nothing
        if kept.checksum != result.checksum:
            chunk = self._chunk_of(result.index)
            return [Fail(ConflictError(chunk, kept.name, self._name(result.session)), result.index)]
        del kept.out[result.attempt]
        if not kept.out:
            del self._checksums[result.index]
        return []
