"""Leases: which worker holds which chunk, at which attempt; which chunks wait to be granted; and their failures.

Rules:

- Only chunks in flight are remembered, and a frontier. Chunks from `_next` on were never granted. A chunk below it that
  has no entry was accepted, and no worker holds it. So memory does not grow with the number of chunks.
- `attempt` numbers the grants of a chunk, from 1. `causes` counts blame. The two are not the same.
- A lease is *live* while its worker may still deliver. It is *spent* once its worker is past a deadline: it is waited
  for no longer, and takes up credit until its worker is done with it. A dropped lease is gone.
- A worker may say that it holds a lease that was dropped. It is then a spent lease again.
- A chunk waits to be granted when it was granted before, has no live lease and is not accepted. One with failures is a
  suspect and waits apart, since it is granted alone.
- A chunk may need the answers of several sessions, and of one more for each that differs. While some were asked, and
  too few, it is in `half_asked`, and waits for any session but those.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

ATTEMPTS_MOST = 1000  # of one chunk; three failures end a job, and a worker that is lost takes a second


@dataclass(slots=True, eq=False)
class Lease:
    """One worker's claim on one chunk."""

    session: bytes
    index: int
    attempt: int
    sequence: int
    slot: int = -1  # of its worker's outbox; given and taken elsewhere
    live: bool = True


@dataclass(slots=True)
class _Entry:
    """A chunk that was granted, and is wanted or live."""

    granted: dict[int, bytes] = field(default_factory=dict)  # attempt -> session, every grant ever made
    live: dict[int, bytes] = field(default_factory=dict)  # attempt -> session, those that are waited for
    causes: list[str] = field(default_factory=list)
    wanted: bool = True  # False once a result was accepted
    before: int = 0  # attempts that were made, or may have been, before this was remembered
    answers: int = 1  # sessions that have to be asked, while their results do not differ
    said: frozenset[bytes] = frozenset()  # the sessions whose results are known, and did not decide

    @property
    def asked(self) -> frozenset[bytes]:
        """The sessions that have given a result, or are waited for."""
        return self.said.union(self.live.values())

    @property
    def unasked(self) -> bool:
        """Whether no session has given a result, or is waited for."""
        return not self.live and not self.said

    @property
    def lacking(self) -> int:
        """The number of sessions that have still to be asked; negative when more were than had to be."""
        # Results that did not decide differ: there is one more to ask than have given theirs.
        return max(self.answers, len(self.said) + 1) - len(self.asked)


class Leases:
    """The leases of one stage.

    Args:
        total: The number of chunks.
        first: The first chunk that is to be granted; those before it were done in an earlier life.
        answers: Returns how many sessions' answers a chunk needs.
    """

    def __init__(self, total: int, first: int = 0, *, answers: Callable[[int], int] = lambda _: 1) -> None:
        self.total = total
        self._answers = answers
        self._next = first  # the first chunk never granted
        self._entries: dict[int, _Entry] = {}  # index -> entry, for chunks wanted or live
        self._held: dict[bytes, dict[tuple[int, int], Lease]] = {}  # session -> leases in the order they were sent
        self._waiting: list[int] = []  # heap of chunks to grant again; may name chunks that no longer wait
        self._suspects: list[int] = []  # likewise, those with failures
        self._reopened = 0  # chunks that were forgotten and are to be computed again
        self._half_asked: set[int] = set()  # chunks that some sessions were asked about, and too few

    # The next grants

    def waiting(self, limit: int, *, but: Collection[int] = ()) -> int | None:
        """Return the chunk to grant next, below `limit` and none of those, or None. Suspects are not among them."""
        while self._waiting and not self._waits(self._waiting[0], suspect=False):
            heapq.heappop(self._waiting)
        if self._waiting and not but:
            return self._waiting[0]
        waiting = [index for index in self._waiting if index not in but and self._waits(index, suspect=False)]
        if waiting:
            return min(waiting)
        return self._next if self._next < min(limit, self.total) else None

    def suspect(self) -> int | None:
        """Return the suspect to grant next, or None."""
        while self._suspects and not self._waits(self._suspects[0], suspect=True):
            heapq.heappop(self._suspects)
        return self._suspects[0] if self._suspects else None

    def half_asked(self) -> list[int]:
        """Return the chunks that some sessions were asked about, and too few; first ones first."""
        return sorted(self._half_asked)

    # Grants and their ends

    def grant(self, session: bytes, index: int, sequence: int) -> Lease:
        """Make a lease on a chunk that waits, was never granted, or is granted once more."""
        if index == self._next:
            self._next += 1
        for queue in (self._waiting, self._suspects):
            while queue and queue[0] == index:
                heapq.heappop(queue)  # or a chunk granted in vain again and again would be in there as often
        entry = self._entries.get(index) or self._new(index)
        attempt = entry.before + len(entry.granted) + 1
        entry.granted[attempt] = entry.live[attempt] = session
        lease = Lease(session, index, attempt, sequence)
        self._held.setdefault(session, {})[index, attempt] = lease
        if entry.answers > 1:
            self._count_asked(index, entry)
        return lease

    def free(self, session: bytes, index: int, attempt: int) -> Lease | None:
        """End the lease that this worker held; the chunk waits again unless it is accepted.

        Return the lease, which still says whether it was live, or None when the worker held no such lease.
        """
        held = self._held.get(session)
        lease = held.pop((index, attempt), None) if held is not None else None
        if lease is not None:
            if lease.live:
                self._end(lease)
            if not held:
                del self._held[session]
        return lease

    def missing(self, session: bytes, received: int, held: Iterable[tuple[int, int]]) -> list[Lease]:
        """Return the leases that a worker should hold, up to that sequence, and does not."""
        leases = self._held.get(session)
        if not leases:
            return []
        listed = set(held)
        return [lease for key, lease in leases.items() if lease.sequence <= received and key not in listed]

    def adopt(self, session: bytes, held: Iterable[tuple[int, int]]) -> bool:
        """Take chunks that a worker holds unknown to us for spent leases, older than its others.

        A worker that was dropped and came back is busy with the chunks that it held before. Without this it would be
        granted ever more, and they would be late through no fault of its own. Chunks that it cannot hold are ignored.

        Return whether there were any.
        """
        known = self._held.get(session, {})
        strange = {
            key: Lease(session, *key, sequence=0, live=False)
            for key in held
            if key not in known and self._may_hold(session, *key)
        }
        if strange:
            self._held[session] = strange | known
        return bool(strange)

    def spend(self, session: bytes) -> list[Lease]:
        """Wait no longer for this worker's leases. Its credit stays taken. Return the leases that were live."""
        spent = [lease for lease in self.held(session) if lease.live]
        for lease in spent:
            lease.live = False
            self._end(lease)
        return spent

    def drop(self, session: bytes) -> list[Lease]:
        """Forget a worker. Return the leases that were live."""
        dropped = self.spend(session)
        self._held.pop(session, None)
        return dropped

    def note(self, index: int, session: bytes) -> None:
        """Take note of a session's result that did not decide. The chunk waits for sessions that were not asked."""
        entry = self._entries[index]
        entry.said |= {session}
        self._count_asked(index, entry)

    def disbelieve(self, session: bytes) -> None:
        """Forget the answers of this session."""
        for index, entry in self._entries.items():
            if session in entry.said:
                entry.said -= {session}
                self._settle(index, entry)

    def reopen(self, index: int) -> None:
        """Take back that this chunk has its result: it waits to be computed again."""
        entry = self._entries.get(index)
        if entry is None:
            # The number of its grants is forgotten, and an attempt's number must never come twice.
            self._reopened += 1
            entry = self._new(index)
            entry.before = self._reopened * ATTEMPTS_MOST
        entry.wanted = True
        self._settle(index, entry)

    def accept(self, index: int) -> None:
        """Take note that the chunk has its result: no worker needs to compute it any more."""
        entry = self._entries[index]
        entry.wanted = False
        self._settle(index, entry)

    def blame(self, index: int, cause: str) -> tuple[str, ...]:
        """Count a failure against a chunk. Return all its causes; empty when it has its result already."""
        entry = self._entries.get(index)
        if entry is None or not entry.wanted:
            return ()
        entry.causes.append(cause)
        if entry.unasked:
            heapq.heappush(self._suspects, index)
        return tuple(entry.causes)

    # Facts

    def held(self, session: bytes) -> list[Lease]:
        """Return this worker's leases, spent ones too, in the order they were sent."""
        return list(self._held.get(session, {}).values())

    def load(self, session: bytes) -> int:
        """Return the number of leases that this worker holds, spent ones too."""
        return len(self._held.get(session, ()))

    def head(self, session: bytes) -> Lease | None:
        """Return this worker's oldest lease: it computes that one, as far as one can know."""
        held = self._held.get(session)
        return next(iter(held.values())) if held else None

    def granted(self, session: bytes, index: int, attempt: int) -> bool:
        """Return whether this attempt was ever granted to this session; False for a chunk that is forgotten."""
        entry = self._entries.get(index)
        return entry is not None and entry.granted.get(attempt) == session

    def attempts(self, index: int) -> Mapping[int, bytes]:
        """Return every grant ever made of a chunk, attempt and session; none for a chunk that is forgotten."""
        entry = self._entries.get(index)
        return entry.granted if entry is not None else {}

    def live(self, index: int) -> tuple[bytes, ...]:
        """Return the sessions that a result of this chunk is awaited from."""
        entry = self._entries.get(index)
        return tuple(entry.live.values()) if entry is not None else ()

    def wanted(self, index: int) -> bool:
        """Return whether this chunk was granted and has no result yet."""
        entry = self._entries.get(index)
        return entry is not None and entry.wanted

    def waits(self, index: int) -> bool:
        """Return whether this chunk was granted in vain and is to be granted again."""
        entry = self._entries.get(index)
        return entry is not None and entry.wanted and entry.lacking > 0

    def asked(self, index: int) -> frozenset[bytes]:
        """Return the sessions that hold this chunk, or have given a result of it that did not decide."""
        entry = self._entries.get(index)
        return entry.asked if entry is not None else frozenset()

    def said(self, index: int) -> int:
        """Return the number of sessions that have given a result of this chunk that did not decide."""
        entry = self._entries.get(index)
        return len(entry.said) if entry is not None else 0

    def lacking(self, index: int) -> int:
        """Return how many more sessions must be asked about this chunk; negative when more were than had to be."""
        entry = self._entries.get(index)
        return entry.lacking if entry is not None and entry.wanted else 0

    def failures(self, index: int) -> int:
        """Return the number of failures that this chunk is to blame for."""
        entry = self._entries.get(index)
        return len(entry.causes) if entry is not None else 0

    @property
    def in_flight(self) -> int:
        """The number of chunks that are remembered."""
        return len(self._entries)

    def check(self) -> None:
        """Assert the invariants."""
        live: dict[int, set[int]] = {}
        for session, held in self._held.items():
            assert held, f"session {session.hex()} is remembered though it holds nothing"
            sequences = [lease.sequence for lease in held.values() if lease.sequence]
            assert sequences == sorted(set(sequences)), "a session's leases are in the order they were sent"
            adopted = [not lease.sequence for lease in held.values()]
            assert adopted == sorted(adopted, reverse=True), "adopted leases are older than those that were sent since"
            for (index, attempt), lease in held.items():
                assert (lease.index, lease.attempt, lease.session) == (index, attempt, session), "a lease knows its key"
                if lease.live:
                    live.setdefault(index, set()).add(attempt)
        for index, entry in self._entries.items():
            assert 0 <= index < self._next <= self.total, f"chunk {index} has an entry and was never granted"
            assert entry.wanted or entry.live, f"chunk {index} is accepted, held by no worker, and still remembered"
            assert set(entry.live) == live.pop(index, set()), f"chunk {index}: live attempts and held leases disagree"
            assert all(entry.granted[a] == s for a, s in entry.live.items()), "a live attempt was granted to its holder"
            assert entry.answers > 1 or not entry.said, f"chunk {index}: where one answer is needed, it decides"
            assert len(entry.said) <= entry.answers, f"chunk {index}: of so many results some agree, or the job fails"
            if entry.wanted and entry.unasked:
                queue = self._suspects if entry.causes else self._waiting
                assert index in queue, f"chunk {index} is wanted, held by no worker, and waits nowhere"
        assert not live, f"chunks {sorted(live)} are held and have no entry"
        lacking = {i for i, entry in self._entries.items() if entry.wanted and not entry.unasked and entry.lacking > 0}
        assert lacking == self._half_asked, "a chunk that lacks an answer waits for one"

    # Private

    def _may_hold(self, session: bytes, index: int, attempt: int) -> bool:
        entry = self._entries.get(index)
        if entry is None:
            return index < self._next  # forgotten, and its holders too
        return entry.granted.get(attempt) == session

    def _waits(self, index: int, *, suspect: bool) -> bool:
        entry = self._entries.get(index)
        return entry is not None and entry.wanted and entry.unasked and bool(entry.causes) == suspect

    def _new(self, index: int) -> _Entry:
        entry = self._entries[index] = _Entry(answers=self._answers(index))
        return entry

    def _count_asked(self, index: int, entry: _Entry) -> None:
        lacks = entry.wanted and not entry.unasked and entry.lacking > 0
        (self._half_asked.add if lacks else self._half_asked.discard)(index)

    def _end(self, lease: Lease) -> None:
        entry = self._entries[lease.index]
        del entry.live[lease.attempt]
        self._settle(lease.index, entry)

    def _settle(self, index: int, entry: _Entry) -> None:
        if entry.answers > 1:
            self._count_asked(index, entry)
        if entry.live:
            return
        if entry.wanted:
            if entry.said:
                return  # it waits for another session's answer
            heapq.heappush(self._suspects if entry.causes else self._waiting, index)
        else:
            del self._entries[index]
