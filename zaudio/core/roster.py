"""Roster: the living workers of a stage, and which of them may be granted another chunk.

Rules:

- A member is *available* when it is ready, not stuck, holds no suspect and has credit left.
- Available members lie in buckets by the leases that they hold, so that the least loaded is found without looking at
  all of them. Code that changes whether a member is available calls `place` afterwards.
- Each member is entered in the farm's register when it comes and when it goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from zaudio.core.actions import Peer
from zaudio.core.classes import UNKNOWN, Machine
from zaudio.core.leases import Lease
from zaudio.core.register import Register


@dataclass(slots=True, eq=False)
class Member:
    """One living worker, as the coordinator knows it."""

    session: bytes
    name: str
    route: Peer
    heard: float
    identity: str = ""  # that its first connection proved; no other may speak for it
    sink: Peer | None = None
    ready: bool = False
    alone: bool = False  # holds a suspect, behind which nothing may be queued
    stuck: bool = False  # past a deadline, and no word of any of its chunks came since
    strikes: int = 0  # results of it that were wrong
    losses: int = 0  # grants in a row that never came to it
    sequence: int = 0  # chunks sent to it so far
    head: Lease | None = None  # its oldest lease: it computes that one, as far as one can know
    head_since: float = 0.0
    outbox: bytes = b""  # the shared memory that it writes results to; empty for none
    slots: list[int] = field(default_factory=list)  # those of its outbox that no lease has
    reads: bool = False  # has the recording open itself
    load: int = 0  # leases that take up its credit
    machine: Machine = UNKNOWN  # as its hello said
    bucket: int = -1  # where it lies in Roster._free; -1 when it is not available

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Its connections: to the sink, if it has one, and to the ventilator."""
        return (self.route,) if self.sink is None else (self.sink, self.route)

    def take(self, lease: Lease, now: float) -> None:
        """Queue a lease behind the others that it holds."""
        self.load += 1
        if self.outbox:
            lease.slot = self.slots.pop()
        if self.head is None:
            self.head, self.head_since = lease, now


class Roster:
    """The living workers of one stage.

    Args:
        credit: The number of leases that a member may hold.
        register: The identities and sessions that the farm knows.
    """

    def __init__(self, credit: int, register: Register) -> None:
        self._credit = credit
        self._register = register
        self._members: dict[bytes, Member] = {}  # session -> member
        # _free[k]: the available members that hold k leases; a dict for its order
        self._free: list[dict[bytes, Member]] = [{} for _ in range(credit)]

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))  # members may be removed meanwhile

    def get(self, session: bytes) -> Member | None:
        """Return the living worker with that session."""
        return self._members.get(session)

    def name(self, session: bytes) -> str:
        """Return that worker's name, or its session in short when it was never known, or long ago."""
        member = self._members.get(session)
        return member.name if member is not None else self._register.name(session) or session.hex()[:8]

    def owner(self, session: bytes) -> str | None:
        """Return the identity that the session belongs to; None when it is not known."""
        member = self._members.get(session)
        return member.identity if member is not None else self._register.identity(session)

    def add(self, member: Member) -> None:
        """Take a worker in that has come, by a name that no other living one has."""
        member.name = self._register.call_apart(member.session, member.name)
        self._members[member.session] = member
        self._register.enter(member.session, member.name, member.identity)
        self.place(member)

    def remove(self, member: Member) -> None:
        """Take a worker out that is gone."""
        del self._members[member.session]
        self._register.enter(member.session, member.name, member.identity)  # the last to go is forgotten last
        self._register.leave(member.session)
        self._unplace(member)

    def place(self, member: Member) -> None:
        """Put a member where its load and state say."""
        bucket = member.load if self.available(member) else -1
        if bucket != member.bucket:
            self._unplace(member)
            member.bucket = bucket
            if bucket >= 0:
                self._free[bucket][member.session] = member

    def available(self, member: Member) -> bool:
        """Return whether this member may be granted another chunk."""
        return member.ready and not member.stuck and not member.alone and member.load < self._credit

    def least_loaded(self, *, but: Member | None = None) -> Member | None:
        """Return the available member that holds the least, other than that one."""
        for bucket in self._free:
            for member in bucket.values():
                if member is not but:
                    return member
        return None

    def least_loaded_of_others(self, sessions: Collection[bytes]) -> Member | None:
        """Return the available member that holds the least and has none of those sessions."""
        return next((m for bucket in self._free for m in bucket.values() if m.session not in sessions), None)

    def idle(self) -> Iterator[Member]:
        """Yield the available members that hold nothing."""
        return iter(self._free[0].values())

    def check(self) -> None:
        """Assert the invariants."""
        for member in self._members.values():
            assert member.load >= 0, f"{member.name} has load {member.load}"
            assert (member.bucket >= 0) == self.available(member), f"{member.name} is offered chunks when it may be"
            assert member.bucket in (-1, member.load), f"{member.name} lies in the bucket of its load"
            assert not member.alone or member.head is not None, f"{member.name} holds a suspect, so it holds something"
        for load, bucket in enumerate(self._free):
            for session, member in bucket.items():
                assert self._members.get(session) is member, "only the living are offered chunks"
                assert member.bucket == load, "a member knows its bucket"

    def _unplace(self, member: Member) -> None:
        if member.bucket >= 0:
            del self._free[member.bucket][member.session]
            member.bucket = -1
