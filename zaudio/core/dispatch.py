"""Dispatcher: the ventilator's brain. Workers come, live and go; their messages are answered.

Rules:

- A session belongs to the identity that said hello with it. Messages of it that come from another are refused, and so
  is every message from an identity that is not admitted any more. A revoked worker is lost at once, without blame.
- Any message proves life, on either socket. A worker is *ready* once its `Ready` came on the sink's socket, and only
  then has both sockets.
- Nothing depends on one message. A `Ready` comes behind the worker's results: it lists the chunks that the worker
  holds, and says how far it has received. A `Sent` goes behind the chunks and says how far it should have received.
- A lease that is missing in a `Ready` is lost, and its chunk is granted again, without blame. A listed chunk that was
  given up before takes up credit until it is done.
- A deadline runs for the head of a worker's queue, from when it became the head: chunks behind it are not late.
- A connection that sends more hellos than the limit per second gets no answer to them, and they leave no trace.
- A worker is of the job's class of machines, or it is sent away with its first `Ready`, before it is granted anything.
- A worker of the stage before that does not come to this one is lost once, here.
- A worker that lies is refused for good, under any session of its identity, unless many share that one.
- Time is judged in `tick` alone, which the shell calls after both sockets are drained, or when they could not be for a
  heartbeat. A tick that comes late excuses all workers for as long as it was late: it was this side that slept.

Granting decides which worker is granted which chunk. Blame decides which chunk is to blame when a lease ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from zaudio.core.actions import DispatcherAction, Fail, Grant, Impostor, Joined, Lost, Peer, Send, Stuck
from zaudio.core.admission import Admission
from zaudio.core.blame import Blame
from zaudio.core.classes import Machine
from zaudio.core.granting import Granting
from zaudio.core.job import Job, Ways
from zaudio.core.leases import Leases
from zaudio.core.register import REVOKED, Register
from zaudio.core.roster import Member, Roster
from zaudio.errors import NoWorkerError, ProtocolError
from zaudio.wire.codec import cut
from zaudio.wire.messages import (
    VERSION,
    Again,
    Channel,
    Failed,
    Goodbye,
    Heartbeat,
    Hello,
    Message,
    Ready,
    Refused,
    Result,
    Sent,
)

STRIKES = 3  # wrong results of one worker; once or twice may be the network's fault
LOSSES = 64  # grants in a row that never come to a worker; a line that mends was down for less: half a minute of them
MISSED_AFTER = 2  # silences: a living worker that did not hear of the stage says hello within 1.25 of them

Actions = list[DispatcherAction]


class Dispatcher:
    """The ventilator's brain over one stage.

    Args:
        job: The job.
        ways: The farm's sinks and outboxes.
        register: The identities and sessions that the farm knows.
        roster: The stage's living workers.
        leases: Its leases.
        granting: Its grants.
        blame: The ends of its leases.
        admission: Says which workers may take part.
        now: The time at which the job begins.

    Attributes:
        signs: When each worker was last heard of, by name, as of the last heartbeat. Replaced as a whole, so that any
            thread may read it.
    """

    def __init__(
        self,
        job: Job,
        *,
        ways: Ways,
        register: Register,
        roster: Roster,
        leases: Leases,
        granting: Granting,
        blame: Blame,
        admission: Admission,
        now: float,
    ) -> None:
        self._job = job
        self._timing = job.timing
        self._ways = ways
        self._register = register
        self._roster = roster
        self._leases = leases
        self._granting = granting
        self._blame = blame
        self._admission = admission
        self._ticked = now
        self._beat = now  # when heartbeats are due next
        self.signs: Mapping[str, float] = {}
        self._complaint = ""  # why the last worker could not take part
        register.expect(now=now)

    # Messages

    def receive(self, peer: Peer, message: Message, *, now: float) -> Actions:
        """Take a message that `wire.decode` let pass. Of a Result, the Desk calls `heard`, and then `settled`."""
        if isinstance(message, Hello) and not self._register.greet(peer, now=now):
            return []
        if isinstance(message, Hello | Heartbeat | Ready | Failed | Goodbye) and (
            bar := self._admission.bar(peer, message.session)
        ):
            return [*self._admission.refuse(peer, bar, message)]
        if isinstance(message, Hello):
            return self._hello(peer, message, now)
        member = self._known(message)
        if member is None:
            left = isinstance(message, Goodbye) and self._register.miss(message.session, message.reason or "it left")
            return [*(left or ()), Send(peer, Again())]
        member.heard = now
        if peer.channel is Channel.VENTILATOR:
            # The hello of a closed connection may be read after that of the one in use, which this comes from.
            member.route = peer
        match message:
            case Ready():
                return self._ready(member, peer, message, now)
            case Failed():
                return self._failed(member, message, now)
            case Goodbye():
                if not member.ready:
                    self._complaint = f"worker {member.name}: {message.reason}"
                return self._lose(member, message.reason or "it left", blame=False) + self._granting.grant(now)
        return []

    def refuse(self, peer: Peer, error: ProtocolError) -> Actions:
        """Answer bytes that are no message of this version."""
        self._complaint = f"a peer does not speak protocol version {VERSION}: {error}"
        return [*self._admission.refuse(peer, f"this coordinator speaks protocol version {VERSION}: {error}")]

    def heard(self, session: bytes, peer: Peer, *, now: float) -> Actions:
        """Take note that a result came: its worker lives, and a stranger is asked to say hello.

        The last action is an Impostor if the peer does not speak for the session: the result must not be looked at.
        """
        member = self._roster.get(session)
        if self._register.asks:
            if bar := self._admission.bar(peer, session):
                return [Send(peer, Refused(bar)), Impostor(peer, session)]
            if self._roster.owner(session) is None:
                return [Send(peer, Again()), Impostor(peer, session)]
        if member is None:
            return [Send(peer, Again())]
        member.heard = now
        return []

    def settled(self, result: Result, *, accepted: bool, noted: bool, wrong: bool, now: float) -> Actions:
        """Free the credit of a result: it was accepted, noted as one of several answers, wrong, or none of these."""
        session, index = result.session, result.index
        if accepted:
            self._leases.accept(index)
        elif noted:
            self._leases.note(index, session)
        lease = self._blame.free(session, index, result.attempt, now, measured=accepted or noted)
        actions: Actions = []
        if lease is not None and (member := self._roster.get(session)) is not None:
            member.losses = 0  # the chunk came to it
            if wrong:
                self._granting.avoid(session, index, now)
                actions += self._blame.requeue(lease, member.name, "its result was rejected")
                actions += self._strike(member)
        return actions + self._granting.grant(now)

    def convict(self, session: bytes, index: int) -> Actions:
        """Send a liar away for good; its answers count no longer.

        With keys, all sessions of one key are one worker. So its other sessions go with it; their results stand.
        """
        self._leases.disbelieve(session)
        reason = f"its result of chunk {self._job.chunk_of(index)} is not that of two others"
        identity = self._roster.owner(session)
        actions = self._dismiss(session, reason)
        bar = f"a worker with its key was sent away: {reason}"
        if identity is not None and self._register.ban_identity(identity, bar):
            for member in self._roster:
                if member.identity == identity:
                    actions += [Send(member.route, Refused(bar)), *self._lose(member, bar, blame=False)]
        return actions

    def undelivered(self, grant: Grant, *, now: float) -> Actions:
        """Take back a grant that could not be sent. Its worker is granted nothing more until its next Ready."""
        member = self._roster.get(grant.session)
        if member is not None:
            member.ready = False
            self._roster.place(member)
        return self._blame.take_back(grant.session, grant.index, grant.attempt, "it could not be sent", now)

    def gone(self, session: bytes, reason: str, *, blame: bool, now: float) -> Actions:
        """Take note that a worker's process has ended, and whether its chunk may be to blame."""
        member = self._roster.get(session)
        if member is None:
            return [*self._register.miss(session, reason)]
        return self._lose(member, reason, blame=blame and self._was_at_work(member, now)) + self._granting.grant(now)

    def admit(self, identities: frozenset[str], *, now: float) -> Actions:
        """Let these identities take part from now on, and no others. Workers that have another are lost."""
        actions: Actions = [*self._register.admit(identities)]
        for member in self._roster:
            if not self._register.admits(member.identity):
                self._complaint = f"worker {member.name} was sent away: {REVOKED}"
                actions += [Send(member.route, Refused(REVOKED)), *self._lose(member, REVOKED, blame=False)]
        return actions + self._granting.grant(now)

    def farewell(self, reason: str) -> Actions:
        """Tell every worker that the job is over, on every socket that may reach it."""
        return [
            Send(peer, Goodbye(self._job.id, self._job.incarnation, member.session, reason))
            for member in self._roster
            for peer in member.peers
        ]

    # Time

    def tick(self, *, now: float) -> Actions:
        """Judge silence and deadlines, send heartbeats. Call it when both sockets are drained, if they can be."""
        late = now - self._ticked - self._timing.heartbeat
        self._ticked = now
        if late > 0:
            self._excuse(late, now)
        actions: Actions = []
        for member in self._roster:
            if now - member.heard > self._timing.dead_after:
                # Nothing is granted before all of them are lost: the next in line may be as dead as this one.
                reason = f"no sign of life for {now - member.heard:.1f} s"
                actions += self._lose(member, reason, blame=self._was_at_work(member, now))
            elif self._overdue(member, now):
                actions += self._expire(member, now)
        actions += self._register.missing(now=now, after=MISSED_AFTER * self._timing.dead_after)
        if now >= self._beat:
            self._beat = now + self._timing.heartbeat
            actions += self._heartbeats()
            # Two of the same name are one to users: the one that was heard of last stays.
            self.signs = {member.name: member.heard for member in sorted(self._roster, key=lambda each: each.heard)}
        actions += self._register.refusals.sum_up(now=now)
        actions += self._granting.tick(now)
        if reason := self._granting.starved(now):
            complaint = f"; {self._complaint}" if self._complaint and not self._granting.hopeless else ""
            actions.append(Fail(NoWorkerError(reason + complaint)))
        return actions

    def next_deadline(self) -> float:
        """Return when to call `tick` next: often enough that nothing is found much too late."""
        return self._ticked + self._timing.heartbeat / 4

    def check(self) -> None:
        """Assert the invariants of members and their leases."""
        for member in self._roster:
            assert member.head is self._leases.head(member.session), f"{member.name}: its head is its oldest lease"
            assert self._register.admits(member.identity), f"{member.name} may take part"
            assert member.load == self._leases.load(member.session), f"{member.name}: its load is what it holds"
            if member.outbox:
                used = [lease.slot for lease in self._leases.held(member.session) if lease.slot >= 0]
                every = sorted(member.slots + used)
                assert every == list(range(self._job.credit)), f"{member.name}: each slot is free, or one lease's"

    # Workers come and go

    def _known(self, message: Message) -> Member | None:
        ours = (self._job.id, self._job.incarnation)
        if isinstance(message, Heartbeat | Ready | Failed | Goodbye) and (message.job, message.incarnation) == ours:
            return self._roster.get(message.session)
        return None

    def _hello(self, peer: Peer, hello: Hello, now: float) -> Actions:
        if reason := self._admission.objection(hello):
            self._complaint = f"worker {hello.name} was refused: {reason}"
            return [*self._admission.refuse(peer, reason, hello)]
        actions: Actions = []
        member = self._roster.get(hello.session)
        if member is None:
            member = Member(hello.session, hello.name, peer, now, peer.identity)
            member.machine = Machine(hello.host, hello.software)
            actions += self._give_outbox(member, hello.outbox)
            self._roster.add(member)
        else:
            # It came back on a new connection; its next Ready lists the chunks that it still holds.
            member.route, member.sink, member.ready, member.heard = peer, None, False, now
            self._roster.place(member)
        welcome = self._job.welcome(hello.session, self._ways.sinks, self._job.source_for(hello.reads))
        return [*actions, Send(peer, welcome)]

    def _give_outbox(self, member: Member, outbox: bytes) -> Actions:
        """Give an outbox to the worker that names it: the one that had it before was replaced.

        That is no blame: the starter tells of a death in an op before. Its own death it cannot tell, and many workers
        die with it, to which the same chunk may be granted in turn.
        """
        actions: Actions = []
        if outbox in self._ways.outboxes:
            for other in self._roster:
                if other.outbox == outbox:
                    actions += self._lose(other, "another process took its place", blame=False)
            member.outbox, member.slots = outbox, list(range(self._job.credit))
        return actions

    def _ready(self, member: Member, peer: Peer, message: Ready, now: float) -> Actions:
        if reason := self._admission.judge(message.numbers, member.machine):
            told = self._admission.refuse_member(member, reason)
            return [*self._dismiss(member.session, reason), *told, *self._granting.grant(now)]
        actions: Actions = [] if member.ready else [Joined(member.session, member.name, member.machine.host)]
        member.sink, member.ready, member.reads = peer, True, message.reads
        # A worker that was given up and came back has counted on; sequences must not run behind it.
        member.sequence = max(member.sequence, message.received)
        missing = self._leases.missing(member.session, message.received, message.held)
        for lease in missing:
            actions += self._blame.take_back(member.session, lease.index, lease.attempt, "it was lost on the way", now)
        member.losses += len(missing)
        if member.losses >= LOSSES:  # its line damages every chunk, say; to grant it more would never end
            reason = f"{member.losses} chunks in a row did not come to it whole"
            return actions + self._dismiss(member.session, reason) + self._granting.grant(now)
        if self._leases.adopt(member.session, message.held):
            member.load = self._leases.load(member.session)
            member.head, member.head_since = self._leases.head(member.session), now
        self._roster.place(member)
        return actions + self._granting.grant(now)

    def _failed(self, member: Member, message: Failed, now: float) -> Actions:
        actions: Actions = []
        lease = self._blame.free(member.session, message.index, message.attempt, now)
        if lease is not None:
            member.losses = 0  # the chunk came to it
            reason = message.error.partition("\n")[0]  # without its traceback
            actions += self._blame.accuse(lease, member.name, reason, (message.start, message.stop))
        return actions + self._granting.grant(now)

    def _strike(self, member: Member) -> Actions:
        """Count a wrong result of a worker. One with several is sent away: no chunk is to blame for that."""
        member.strikes += 1
        if member.strikes < STRIKES:
            return []
        return self._dismiss(member.session, f"{STRIKES} of its results had a wrong length or checksum")

    def _dismiss(self, session: bytes, reason: str) -> Actions:
        """Send a worker away for good; no chunk is to blame."""
        self._register.ban(session, reason)
        self._complaint = f"worker {self._roster.name(session)} was sent away: {reason}"
        member = self._roster.get(session)
        if member is None:
            return []
        return [Send(member.route, Refused(cut(reason))), *self._lose(member, reason, blame=False)]

    def _lose(self, member: Member, reason: str, *, blame: bool) -> Actions:
        guilty = member.head if blame else None
        leases = self._leases.drop(member.session)
        self._roster.remove(member)
        actions: Actions = [Lost(member.session, member.name, reason)]
        return actions + self._blame.give_up(leases, member, reason, guilty=guilty)

    # Time, in detail

    def _was_at_work(self, member: Member, now: float) -> bool:
        """Return whether the head of its queue may have ended a worker: not if it was dead when it was granted that.

        Where many die at once, the chunks of the first one go to the next in line before its death is known. A worker
        that lives is heard of every heartbeat.
        """
        return member.head_since < now and member.head_since <= member.heard + self._timing.heartbeat

    def _overdue(self, member: Member, now: float) -> bool:
        # A spent head counts too: chunks that are granted behind it would never come.
        return member.head is not None and not member.stuck and now - member.head_since > self._blame.chunk_timeout

    def _expire(self, member: Member, now: float) -> Actions:
        """Give up the chunks of a worker whose head is overdue. It is granted no more without a sign."""
        head = member.head
        assert head is not None
        reason = f"no result after {now - member.head_since:.1f} s"
        member.stuck = True
        self._roster.place(member)
        actions: Actions = [Stuck(member.session, head.index)]
        return actions + self._blame.give_up(self._leases.spend(member.session), member, reason, guilty=head)

    def _excuse(self, late: float, now: float) -> None:
        self._granting.excuse(late, now)
        self._register.excuse(late, now=now)
        for member in self._roster:
            member.heard = min(now, member.heard + late)
            member.head_since = min(now, member.head_since + late)

    def _heartbeats(self) -> Iterator[Send]:
        job, incarnation = self._job.id, self._job.incarnation
        for member in self._roster:
            if member.sink is not None:
                yield Send(member.sink, Heartbeat(job, incarnation, member.session))
            if member.ready:  # before, no chunk was sent, and a hello costs its sender nothing
                yield Send(member.route, Sent(job, incarnation, member.session, member.sequence))
