"""Jury: audits. Which chunks several workers compute, which results agree, and which worker lied.

Rules:

- The choice is a keyed hash of the chunk's index under a secret of the job. So no worker can tell which of its chunks
  will be compared, and the same secret gives the same choice. No worker is told anything of audits.
- An audited chunk is accepted only when the results of two sessions have the same digest. Until then results are noted,
  and their payloads forgotten. Digests are compared, since a liar could forge a checksum.
- Of three results two agree, and the third one's worker is a liar. If all three differ, the job fails. A result that
  comes after its chunk was accepted, and is another, is a lie too.
- No result of a liar is taken any longer, and its earlier answers no longer count. The frames that were released on its
  word alone are encrypted: they stay, and are counted in `dropped`.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from zaudio.core.actions import Accepted, Duplicate, Fail, Liar, Noted
from zaudio.errors import ConflictError
from zaudio.wire.messages import Result

SECRET_BYTES = 32
AGREED_KEPT = 4096  # audited chunks that another attempt is out for; older ones are of workers that are gone

Verdict = Accepted | Duplicate | Noted | Liar | Fail


@dataclass(frozen=True, slots=True)
class Audit:
    """A random choice of chunks.

    Attributes:
        percent: The share of chunks that are chosen, above 0 and at most 100; each by itself, so it is an average.
        secret: 32 random bytes that no worker knows.
    """

    percent: float
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        assert 0 < self.percent <= 100, "a percentage"
        assert len(self.secret) == SECRET_BYTES, "a secret of the right length"

    def covers(self, index: int) -> bool:
        """Return whether that chunk is one of them."""
        drawn = blake2b(struct.pack(">Q", index), key=self.secret, digest_size=8, person=b"zaudio audit").digest()
        return int.from_bytes(drawn, "big") * 100 < self.percent * (1 << 64)


@dataclass(slots=True)
class _Agreed:
    """An accepted chunk that other workers may still contradict."""

    digest: bytes
    out: dict[int, bytes]  # attempts that have not answered -> session


class Jury:
    """The audits of one stage.

    Args:
        audit: The chunks that are audited; None for none.
        name: Returns the name of a session, for sentences.
        chunk_of: Returns the user's chunk, for sentences.

    Attributes:
        sits: Whether any chunk is audited.
        dropped: Liars by session, each with the frames that were released on its word alone.
    """

    def __init__(
        self,
        audit: Audit | None = None,
        *,
        name: Callable[[bytes], str] = lambda session: session.hex()[:8],
        chunk_of: Callable[[int], int] = lambda index: index,
    ) -> None:
        self.sits = audit is not None
        self.dropped: dict[bytes, int] = {}
        self._audit = audit
        self._name = name
        self._chunk_of = chunk_of
        self._noted: dict[int, dict[bytes, bytes]] = {}  # not decided: index -> session -> digest
        self._agreed: dict[int, _Agreed] = {}  # decided, and others have not answered; oldest first
        self._believed: Counter[bytes] = Counter()  # session -> frames that were released on its word alone

    # The choice

    def audits(self, index: int) -> bool:
        """Return whether that chunk is audited."""
        return self._audit is not None and self._audit.covers(index)

    def answers(self, index: int) -> int:
        """Return how many sessions' answers that chunk needs, as long as they agree."""
        return 2 if self.audits(index) else 1

    # Results

    def hear(self, result: Result, digest: bytes, attempts: Mapping[int, bytes]) -> list[Verdict]:
        """Compare a result of an audited chunk that has none with those of others.

        Args:
            result: Its header.
            digest: A digest of its payload that nobody can forge.
            attempts: Every grant of the chunk: attempt and session.
        """
        index, session = result.index, result.session
        noted = self._noted.setdefault(index, {})
        if session in noted:
            return [Duplicate(session, index, result.attempt)]
        if digest not in noted.values():
            if len(noted) == 2:
                first, second = noted
                return [Fail(ConflictError(self._chunk_of(index), self._name(first), self._name(second)), index)]
            noted[session] = digest
            return [Noted(session, index, result.attempt)]
        del self._noted[index]
        self._await(index, digest, {number: s for number, s in attempts.items() if s != session and s not in noted})
        liars = [self._convict(liar, index) for liar, other in noted.items() if other != digest]
        return [*liars, Accepted(session, index, result.attempt, result.clipped, result.zeroed, result.seconds)]

    def hear_late(self, result: Result, digest: bytes) -> list[Liar]:
        """Compare a result of a chunk that was accepted with the result that two others agreed on."""
        agreed = self._agreed.get(result.index)
        if agreed is None or agreed.out.get(result.attempt) != result.session:
            return []
        del agreed.out[result.attempt]
        if not agreed.out:
            del self._agreed[result.index]
        return [self._convict(result.session, result.index)] if digest != agreed.digest else []

    def believe(self, session: bytes, frames: int) -> None:
        """Take note that frames were released on the word of that session alone."""
        self._believed[session] += frames

    # Sentences

    def shortage(self, index: int, said: int, patience: float) -> str:
        """Return why the job fails: no further session could be asked about a chunk.

        Args:
            index: The chunk.
            said: The number of sessions that have given results of it, and differ.
            patience: The seconds that were waited.
        """
        where = f"chunk {self._chunk_of(index)} is audited, and for {patience:g} s there was no "
        if said > 1:
            return where + "third worker to decide between the different results of two"
        return where + "second worker to compute it too; an audit takes two workers at least"

    def check(self) -> None:
        """Assert the invariants."""
        assert len(self._agreed) <= AGREED_KEPT, "digests are bounded"
        for index, digests in self._noted.items():
            assert index not in self._agreed, f"chunk {index} is decided and still discussed"
            assert 1 <= len(digests) <= 2, f"chunk {index}: one was asked, or two differ"
            assert len(set(digests.values())) == len(digests), f"chunk {index}: where two agree it is decided"
            assert not self.dropped.keys() & digests.keys(), "the word of a liar counts for nothing"

    @property
    def undecided(self) -> frozenset[int]:
        """The audited chunks that have results, and too few that agree."""
        return frozenset(self._noted)

    # Private

    def _await(self, index: int, digest: bytes, out: dict[int, bytes]) -> None:
        if not out:
            return
        if len(self._agreed) >= AGREED_KEPT:
            del self._agreed[next(iter(self._agreed))]
        self._agreed[index] = _Agreed(digest, out)

    def _convict(self, session: bytes, index: int) -> Liar:
        self.dropped[session] = self._believed.pop(session, 0)
        for noted in self._noted.values():
            noted.pop(session, None)
        self._noted = {other: noted for other, noted in self._noted.items() if noted}
        return Liar(session, self._name(session), index)
