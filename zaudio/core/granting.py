"""Granting: which worker is granted which chunk, and when no worker can be granted any.

Rules:

- Chunks are granted in output order, to the member that holds least, inside the window: it limits how many chunks lie
  between the first that the cipher has not finished with and the newest grant.
- A suspect (a chunk with a failure) is granted alone, to a member that holds nothing. The least loaded member is kept
  free for it.
- After a rejected result the chunk goes to another member. When all others are full, it waits for one for a heartbeat,
  and later chunks go on before it.
- A chunk that needs several answers is granted at once to as many members, each of them once.
- The straggler rule has no timer. When nothing new can be granted, the cipher waits and a member is idle, that member
  is granted the chunk that the cipher waits for, though another is at it.
- The chunks of a member that may be dead are granted once more before it is known to be. Else the window fills behind
  them: with many members, results of some seconds are more than it holds.
- A job whose cipher needs a chunk that no member can be granted counts as one without workers.
- While a batch system has workers of the job in its queue, the time without a worker is not counted. When there is no
  member, and none can come, the job ends at once.
"""

from __future__ import annotations

from collections.abc import Callable

from zaudio.core.actions import Grant
from zaudio.core.job import Job
from zaudio.core.leases import Leases
from zaudio.core.roster import Member, Roster

WINDOW_LEAST = 16  # chunks; measured with 1 MiB chunks: a window of 8 leaves the cipher waiting now and then
WINDOW_FACTOR = 3  # times all credit: once for what members hold, twice for results behind a chunk that is done again
ASKED_MOST = 3  # members at one straggler: where a small window keeps hundreds idle, each would get the same chunk


class Granting:
    """The grants of one stage.

    Args:
        job: The job.
        leases: Its leases; grants are made here, and ended elsewhere.
        roster: Its members.
        shortage: Returns why the job fails when no further session can be asked about a chunk: given the chunk, the
            number of sessions that have given results of it, and the seconds that were waited.
        now: The time at which the job begins.
    """

    def __init__(
        self, job: Job, leases: Leases, roster: Roster, *, shortage: Callable[[int, int, float], str], now: float
    ) -> None:
        self._job = job
        self._leases = leases
        self._roster = roster
        self._shortage = shortage
        self._released = job.first  # chunks given to the cipher, in earlier lives too
        self._ciphered = job.first  # chunks that the cipher has finished with; never more than released
        # Waiting chunk -> the session whose result of it was rejected last, and until when another is waited for.
        self._avoided: dict[int, tuple[bytes, float]] = {}
        self._doubted: set[int] = set()  # chunks that are to be granted once more: their member may be dead
        self._unreached: dict[bytes, float] = {}  # session of a member that could not be sent a message -> when
        self._able = now  # when a member could last be granted a chunk
        self._awaited = False  # see `expect`
        self._given_up = ""

    def move(self, *, released: int, ciphered: int) -> bool:
        """Move the window to these numbers of released and encrypted chunks. Return whether they are news."""
        if (released, ciphered) == (self._released, self._ciphered):
            return False
        self._released, self._ciphered = released, ciphered
        for index in [index for index in self._avoided if index < released]:
            del self._avoided[index]
        return True

    def grant(self, now: float) -> list[Grant]:
        """Grant all that can be granted now."""
        grants: list[Grant] = []
        reserved = self._grant_suspects(grants, now)
        self._grant_half_asked(grants, now)
        self._grant_doubted(grants, now)
        limit = self._ciphered + self.window
        aside: set[int] = set()  # chunks that wait for another member than the one that has credit
        while (index := self._leases.waiting(limit, but=aside)) is not None:
            member = self._choose(index, now, reserved)
            if member is None and index in self._avoided:
                aside.add(index)
                continue
            if member is None:
                return grants
            grants.append(self._grant_to(member, index, now))
            self._grant_half_asked(grants, now)
        if self._ciphered == self._released:
            self._grant_straggler(grants, now)
        return grants

    def avoid(self, session: bytes, index: int, now: float) -> None:
        """Grant that chunk to another member next, if there is one: this one's result of it was rejected."""
        if self._leases.waits(index):
            self._avoided[index] = (session, now + self._job.timing.heartbeat)

    def tick(self, now: float) -> list[Grant]:
        """Doubt the members that are silent, or not reached and not heard of since. Grant all that can be granted."""
        silent = now - self._job.timing.doubt_after
        members = {member.session: member.heard for member in self._roster}
        self._unreached = {each: since for each, since in self._unreached.items() if members.get(each, now) <= since}
        doubted = [each for each, heard in members.items() if heard < silent or each in self._unreached]
        self._doubted = {lease.index for each in doubted for lease in self._leases.held(each) if lease.live}
        return self.grant(now)

    def doubt(self, session: bytes, now: float) -> None:
        """Grant the chunks of a member that was not reached to others too. If it lives, its results are as good."""
        self._unreached[session] = now
        self._doubted.update(lease.index for lease in self._leases.held(session) if lease.live)

    def excuse(self, late: float, now: float) -> None:
        """Take that many seconds from the time for which no member could be granted a chunk."""
        self._able = min(now, self._able + late)

    def expect(self, *, awaited: bool, given_up: str) -> None:
        """Take note whether members to come wait in a queue, and why none can come; empty as long as one could."""
        self._awaited, self._given_up = awaited, given_up

    def starved(self, now: float) -> str:
        """Return why no member can be granted a chunk, or could be for too long; empty when one could."""
        if self._given_up and not len(self._roster) and not self.finished:
            return self._given_up
        able = [member for member in self._roster if member.ready and not member.stuck]
        asked = self._leases.asked(self._released) if self._leases.lacking(self._released) > 0 else frozenset()
        if self.finished or self._awaited or any(member.session not in asked for member in able):
            self._able = now
        patience = self._job.timing.worker_timeout
        if now - self._able <= patience:
            return ""
        if able:
            return self._shortage(self._released, self._leases.said(self._released), patience)
        return f"no worker could be given a chunk for {patience:g} s{self._preparing()}"

    @property
    def hopeless(self) -> bool:
        """Whether no member can come any more."""
        return bool(self._given_up)

    @property
    def finished(self) -> bool:
        """Whether every chunk has been given to the cipher, as far as `move` said."""
        return self._released >= self._leases.total

    @property
    def window(self) -> int:
        """The number of chunks that may lie between the first that is not ciphered and the newest grant."""
        wanted = max(WINDOW_LEAST, WINDOW_FACTOR * self._job.credit * len(self._roster))
        return max(1, min(wanted, self._job.window_most))

    def check(self) -> None:
        """Assert the invariants."""
        assert 0 <= self._ciphered <= self._released <= self._leases.total, "the cipher is behind the release"

    def _choose(self, index: int, now: float, reserved: Member | None) -> Member | None:
        """Return the member that is granted that chunk next; the reserved one is kept free for a suspect."""
        if index in self._avoided:
            avoided, _ = self._avoided[index]
            others = (avoided, reserved.session) if reserved is not None else (avoided,)
            member = self._roster.least_loaded_of_others(others)
            if member is not None or self._barred(index, now):
                return member
        return self._roster.least_loaded(but=reserved)

    def _barred(self, index: int, now: float) -> frozenset[bytes]:
        """Return the sessions not to ask about that chunk for a moment: one at most, and none without others to ask."""
        session, until = self._avoided.get(index, (b"", now))
        if now < until and any(m.ready and not m.stuck and m.session != session for m in self._roster):
            return frozenset({session})
        return frozenset()

    def _preparing(self) -> str:
        """Return the end of a sentence that tells of workers that were never ready; empty without such workers."""
        count = sum(member.sink is None for member in self._roster)
        if not count:
            return ""
        who = "1 worker prepares its ops" if count == 1 else f"{count} workers prepare their ops"
        return f"; {who} still, and a longer --worker-timeout (Limits(worker_timeout=)) gives time for that"

    # One kind of grant each

    def _grant_suspects(self, grants: list[Grant], now: float) -> Member | None:
        """Grant suspects to idle members. Return the member that is kept free for the next one."""
        while (index := self._leases.suspect()) is not None:
            member = self._roster.least_loaded()
            if member is None or member.head is not None:
                return member
            grants.append(self._grant_to(member, index, now))
            member.alone = True
            self._roster.place(member)
        return None

    def _grant_half_asked(self, grants: list[Grant], now: float) -> None:
        """Ask further members about chunks that too few were asked about."""
        for index in self._leases.half_asked():
            member = self._roster.least_loaded_of_others(self._leases.asked(index) | self._barred(index, now))
            alone = self._leases.failures(index) > 0
            if member is not None and not (alone and member.head is not None):
                grants.append(self._grant_to(member, index, now))
                member.alone = alone
                self._roster.place(member)

    def _grant_doubted(self, grants: list[Grant], now: float) -> None:
        for index in sorted(self._doubted):
            asked = self._leases.asked(index)
            if self._repeatable(index) and len(asked) == 1:
                member = self._roster.least_loaded_of_others(asked)
                if member is None:
                    return
                grants.append(self._grant_to(member, index, now, repeated=True))
            self._doubted.discard(index)

    def _grant_straggler(self, grants: list[Grant], now: float) -> None:
        index = self._released
        if not self._repeatable(index):
            return
        asked = self._leases.asked(index)
        if len(asked) >= ASKED_MOST:
            return
        for member in self._roster.idle():
            if member.session not in asked:
                grants.append(self._grant_to(member, index, now, repeated=True))
                return

    def _repeatable(self, index: int) -> bool:
        """Return whether a chunk may be granted once more: it has no result, is no suspect, and lacks no answer."""
        # A chunk may have its result and not be known as released: `move` comes after the result was judged.
        leases = self._leases
        return leases.wanted(index) and not leases.failures(index) and not leases.lacking(index)

    def _grant_to(self, member: Member, index: int, now: float, *, repeated: bool = False) -> Grant:
        self._avoided.pop(index, None)
        member.sequence += 1
        lease = self._leases.grant(member.session, index, member.sequence)
        member.take(lease, now)
        self._roster.place(member)
        return Grant(
            peer=member.route,
            session=member.session,
            sequence=member.sequence,
            index=index,
            attempt=lease.attempt,
            slot=lease.slot,
            by_reference=member.reads,
            repeated=repeated,
        )
