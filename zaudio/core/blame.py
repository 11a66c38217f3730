"""Blame: how leases end before their result, which chunk is to blame for it, and when that fails the job.

Rules:

- Any result frees its credit; the passing of a deadline does not.
- Blame is for an exception, a passed deadline and a death. It falls on the head of the worker's queue alone: the other
  chunks only waited there.
- A chunk that was blamed often enough fails the job, with all its causes.
- The time that a chunk may take follows the time that chunks took so far.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median

from zaudio.core.actions import DispatcherAction, Fail, Requeued
from zaudio.core.job import Job
from zaudio.core.leases import Lease, Leases
from zaudio.core.roster import Member, Roster
from zaudio.errors import ChunkError

TIMES_KEPT = 64  # chunk durations that the median is taken of; enough to be steady, few enough to follow a change
TIMES_NEEDED = 8  # before that many, nothing is known and `chunk_timeout` stands

Actions = list[DispatcherAction]


class Blame:
    """The ends of one stage's leases.

    Args:
        job: The job.
        leases: Its leases.
        roster: Its members, whose credit comes back here.
    """

    def __init__(self, job: Job, leases: Leases, roster: Roster) -> None:
        self._job = job
        self._timing = job.timing
        self._leases = leases
        self._roster = roster
        self._times: deque[float] = deque(maxlen=TIMES_KEPT)
        self._median: float | None = None  # of those; None until it is asked for

    def free(self, session: bytes, index: int, attempt: int, now: float, *, measured: bool = False) -> Lease | None:
        """Free a lease and its worker's credit. Return the lease if it was live until now.

        Args:
            session: The worker's.
            index: The chunk's.
            attempt: The number of the grant.
            now: The time.
            measured: Whether its duration says how long a chunk takes.
        """
        member = self._roster.get(session)
        freed = self._leases.free(session, index, attempt)
        if member is None or freed is None:
            return None
        if measured and freed.live and freed is member.head:
            self._times.append(now - member.head_since)
            self._median = None
        member.load -= 1
        member.stuck = False
        member.alone = member.alone and member.load > 0
        if freed.slot >= 0:
            member.slots.append(freed.slot)
        if freed is member.head:
            member.head, member.head_since = self._leases.head(session), now
        self._roster.place(member)
        return freed if freed.live else None

    def take_back(self, session: bytes, index: int, attempt: int, reason: str, now: float) -> Actions:
        """Free a lease whose chunk never came to its worker; no chunk is to blame."""
        lease = self.free(session, index, attempt, now)
        return self.requeue(lease, self._roster.name(session), reason) if lease is not None else []

    def give_up(self, leases: Iterable[Lease], member: Member, reason: str, *, guilty: Lease | None) -> Actions:
        """Wait no longer for these leases of a worker. The guilty one is to blame."""
        actions: Actions = []
        for lease in leases:
            if lease is guilty:
                actions += self.accuse(lease, member.name, reason)
            else:
                actions += self.requeue(lease, member.name, reason)
        return actions

    def requeue(self, lease: Lease, name: str, reason: str) -> Actions:
        """Say that a grant came to nothing, unless its chunk has a result or another worker is at it."""
        if not self._leases.waits(lease.index):
            return []
        return [Requeued(lease.index, lease.attempt, name, reason)]

    def accuse(self, lease: Lease, name: str, reason: str, where: tuple[int, int] | None = None) -> Actions:
        """Blame a chunk, and fail the job when it was blamed too often.

        Args:
            lease: The lease that came to nothing.
            name: The worker's name.
            reason: The cause.
            where: The frames that the worker named, half-open; None when it named none.
        """
        causes = self._leases.blame(lease.index, f"worker {name}: {reason}")
        if len(causes) >= self._timing.failures:
            chunk = self._job.plan.span(lease.index)
            start, stop = where if where is not None else (0, 0)
            if not chunk.start <= start < stop <= chunk.stop:  # a worker may name any frames
                start, stop = chunk.start, chunk.stop
            number = self._job.first_chunk(start, stop, lease.index)
            return [Fail(ChunkError(number, start, stop, causes), lease.index)]
        return self.requeue(lease, name, reason)

    @property
    def chunk_timeout(self) -> float:
        """Seconds that a grant may take: at first, as many as all its chunks; then, by the time that grants took."""
        if len(self._times) < TIMES_NEEDED:
            return self._timing.chunk_timeout * self._job.chunks_a_grant
        if self._median is None:  # asked for at each tick for each worker: with 1,000, too often to sort each time
            self._median = median(self._times)
        return max(self._timing.chunk_timeout_floor, self._timing.chunk_timeout_factor * self._median)
