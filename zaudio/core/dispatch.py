"""Dispatcher: the ventilator's brain. Who is alive, who gets which chunk, what is granted again, when the job fails.

Rules:

- A session belongs to the identity that said hello with it: messages of it that come from another are refused, and so
  is everything from an identity that is not admitted any more. What was revoked is lost at once, without blame.
- Any message proves life, on either socket. A worker is *ready* once its `Ready` came on the sink's socket, and only
  then has both sockets.
- Nothing depends on one message. A `Ready` comes behind the worker's results and lists what it holds and how far it
  has received; a `Sent` goes behind the chunks and says how far it should have. A lease that is missing is lost, and
  its chunk is granted again, without blame. What is listed and was given up before takes up credit until it is done.
- Any result frees its credit; the passing of a deadline does not. Blame is for an exception, a passed deadline, and a
  death, and falls on the head of the worker's queue alone: the other chunks only waited there. A chunk that was
  granted to a worker that was dead already is not to blame.
- A deadline runs for the head of a worker's queue, from when it became the head: chunks behind it are not late.
- Grants go to the least loaded worker. A suspect (a chunk with a failure) is granted alone, to a worker that holds
  nothing; the least loaded worker is kept free for it.
- An audited chunk is granted at once to a second worker, and to a third when the results of these differ: each time to
  one that was not asked about it. Who is found to lie is refused for good, under any session of its identity, unless
  that is one which many share. When the cipher needs a chunk that nobody here can be asked about, the job has as few
  workers as if there were none.
- The straggler rule has no timer: nothing new can be granted, the cipher is waiting, somebody is idle.
- Time is judged in `tick` alone, which the shell calls after both sockets are drained, or when they could not be for a
  heartbeat. A tick that comes late excuses everyone for as long as it was late: it was this side that slept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from statistics import median

from zaudio.core.actions import DispatcherAction, Fail, Grant, Joined, Lost, Peer, Requeued, Send, Stuck
from zaudio.core.job import Job, Ways
from zaudio.core.leases import Lease, Leases
from zaudio.core.register import REVOKED, Register
from zaudio.core.roster import Roster, Worker
from zaudio.errors import ChunkError, NoWorkerError, ProtocolError
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
    Sent,
)

WINDOW_LEAST = 16  # chunks; measured with 1 MiB chunks: a window of 8 leaves the cipher waiting now and then
TIMES_KEPT = 64  # chunk durations that the median is taken of; enough to be steady, few enough to follow a change
STRIKES = 3  # wrong results of one worker; once or twice may be the network's fault
LOSSES = 64  # grants in a row that never come to a worker; a line that mends was down for less: half a minute of them
TIMES_NEEDED = 8  # before that many, nothing is known and `chunk_timeout` stands

Actions = list[DispatcherAction]


class Dispatcher:
    """The ventilator's brain over one job.

    Args:
        job: The job.
        ways: The farm's sinks and outboxes.
        register: What the farm knows of those that come to it.
        offers: Whether a worker that offers those ops has that one.
        now: When the job begins.
    """

    def __init__(
        self, job: Job, *, ways: Ways, register: Register, offers: Callable[[Sequence[str], str], bool], now: float
    ) -> None:
        self.job = job
        self.timing = job.timing
        self.leases = Leases(len(job.plan), job.first, audited=job.audits)
        self.requeued = 0
        self._ways = ways
        self._register = register
        self._offers = offers
        self._roster = Roster(job.credit)
        self._released = job.first  # chunks given to the cipher, in earlier lives too
        self._ciphered = job.first  # chunks that the cipher has finished with; never more than released
        self._times: deque[float] = deque(maxlen=TIMES_KEPT)
        self._ticked = now
        self._beat = now  # when heartbeats are due next
        self._able = now  # when somebody could last be given a chunk
        self._complaint = ""  # why the last worker could not take part

    # Messages

    def receive(self, peer: Peer, message: Message, *, now: float) -> Actions:
        """Take a message that `wire.decode` let pass. A Result goes to the Assembler, then to `settled`."""
        if isinstance(message, Hello | Heartbeat | Ready | Failed | Goodbye) and (
            bar := self._bar(peer, message.session)
        ):
            return [Send(peer, Refused(bar))]
        if isinstance(message, Hello):
            return self._hello(peer, message, now)
        worker = self._known(message)
        if worker is None:
            return [Send(peer, Again())]
        worker.heard = now
        if peer.channel is Channel.VENTILATOR:
            # The hello of a closed connection may be read after that of the one in use, which this comes from.
            worker.route = peer
        match message:
            case Ready():
                return self._ready(worker, peer, message, now)
            case Failed():
                return self._failed(worker, message, now)
            case Goodbye():
                if not worker.ready:
                    self._complaint = f"worker {worker.name}: {message.reason}"
                return self._lose(worker, message.reason or "it left", blame=False) + self._grant(now)
        return []

    def refuse(self, peer: Peer, error: ProtocolError) -> Actions:
        """Answer bytes that are no message of this version."""
        self._complaint = f"a peer does not speak protocol version {VERSION}: {error}"
        return [Send(peer, Refused(f"this coordinator speaks protocol version {VERSION}: {error}"))]

    def heard(self, session: bytes, peer: Peer, *, now: float) -> Actions:
        """A result came from that session: it lives. Strangers are asked to say hello."""
        if bar := self._bar(peer, session):
            return [Send(peer, Refused(bar))]
        worker = self._roster.get(session)
        if worker is None:
            return [Send(peer, Again())]
        worker.heard = now
        return []

    def settled(
        self,
        session: bytes,
        index: int,
        attempt: int,
        *,
        accepted: bool,
        noted: bool = False,
        wrong: bool = False,
        now: float,
    ) -> Actions:
        """The Assembler judged a result, whatever it said: its credit is free. `wrong`: it was no result at all."""
        if accepted:
            self.leases.accept(index)
        elif noted:
            self.leases.note(index, session)
        lease = self._free(session, index, attempt, now, measured=accepted or noted)
        if lease is not None:
            self._has_come(session)
        actions: Actions = []
        if lease is not None and wrong:
            actions += self._requeue(lease, self.name(session), "its result was rejected")
            actions += self._strike(session)
        return actions + self._grant(now)

    def convict(self, session: bytes, index: int) -> Actions:
        """The Assembler found a liar: it is sent away for good, and nothing that it said counts. See `withdraw`.

        With keys, a worker is whoever has that key. So its other sessions go with it; what they said stands.
        """
        self.leases.disbelieve(session)
        reason = f"its result of chunk {self.job.chunk_of(index)} is not that of two others"
        identity = self._identity(session)
        actions = self._dismiss(session, reason)
        bar = f"a worker with its key was sent away: {reason}"
        if identity is not None and self._register.ban_identity(identity, bar):
            for worker in self._roster:
                if worker.identity == identity:
                    actions += [Send(worker.route, Refused(bar)), *self._lose(worker, bar, blame=False)]
        return actions

    def withdraw(self, index: int) -> None:
        """What was accepted of a chunk came from a liar: it is to be computed again."""
        self.leases.reopen(index)

    def progressed(self, *, released: int, ciphered: int, now: float) -> Actions:
        """The cipher was given chunks, or has finished with some: the window moves."""
        self._released, self._ciphered = released, ciphered
        return self._grant(now)

    def undelivered(self, grant: Grant, *, now: float) -> Actions:
        """A grant could not be sent. Its worker gets nothing more until it says again that it is ready."""
        worker = self._roster.get(grant.session)
        if worker is not None:
            worker.ready = False
            self._roster.place(worker)
        return self._take_back(grant.session, grant.index, grant.attempt, "it could not be sent", now)

    def gone(self, session: bytes, reason: str, *, now: float) -> Actions:
        """A worker's process is known to have died."""
        worker = self._roster.get(session)
        if worker is None:
            return []
        return self._lose(worker, reason, blame=self._was_at_work(worker, now)) + self._grant(now)

    def admit(self, identities: frozenset[str], *, now: float) -> Actions:
        """From now on these may take part. Workers that are not among them are lost."""
        self._register.admit(identities)
        actions: Actions = []
        for worker in self._roster:
            if not self._register.admits(worker.identity):
                self._complaint = f"worker {worker.name} was sent away: {REVOKED}"
                actions += [Send(worker.route, Refused(REVOKED)), *self._lose(worker, REVOKED, blame=False)]
        return actions + self._grant(now)

    def farewell(self, reason: str) -> Actions:
        """Tell everyone that the job is over, on every socket that may reach them."""
        return [
            Send(peer, Goodbye(self.job.job, self.job.incarnation, worker.session, reason))
            for worker in self._roster
            for peer in worker.peers
        ]

    # Time

    def tick(self, *, now: float) -> Actions:
        """Judge silence and deadlines, send heartbeats. Call it when both sockets are drained, if they can be."""
        late = now - self._ticked - self.timing.heartbeat
        self._ticked = now
        if late > 0:
            self._excuse(late, now)
        actions: Actions = []
        for worker in self._roster:
            if now - worker.heard > self.timing.dead_after:
                # Nothing is granted before all of them are lost: the next in line may be as dead as this one.
                reason = f"no sign of life for {now - worker.heard:.1f} s"
                actions += self._lose(worker, reason, blame=self._was_at_work(worker, now))
            elif self._overdue(worker, now):
                actions += self._expire(worker, now)
        if now >= self._beat:
            self._beat = now + self.timing.heartbeat
            actions += self._heartbeats()
        return actions + self._grant(now) + self._judge_hope(now)

    def next_deadline(self) -> float:
        """When to call `tick` next. Ticks are a quarter of a heartbeat apart, so nothing is found much too late."""
        return self._ticked + self.timing.heartbeat / 4

    @property
    def finished(self) -> bool:
        """Whether every chunk has been given to the cipher."""
        return self._released >= self.leases.total

    # What is so

    @property
    def released(self) -> int:
        """How many chunks were given to the cipher, as far as `progressed` said."""
        return self._released

    @property
    def workers(self) -> int:
        """How many workers are ready."""
        return sum(worker.ready for worker in self._roster)

    @property
    def window(self) -> int:
        """How many chunks may lie between the first that the cipher has not finished with and the newest grant."""
        wanted = max(WINDOW_LEAST, 2 * self.job.credit * len(self._roster))
        return max(1, min(wanted, self.job.window_most))

    def name(self, session: bytes) -> str:
        """What that worker calls itself, or its session in short when it was never known, or long ago."""
        worker = self._roster.get(session)
        return worker.name if worker is not None else self._register.name(session) or session.hex()[:8]

    def outbox(self, session: bytes) -> bytes:
        """The outbox of that worker; empty when it has none, or is not known."""
        worker = self._roster.get(session)
        return worker.outbox if worker is not None else b""

    def speaks_for(self, peer: Peer, session: bytes) -> bool:
        """Whether a result of that session may come from that peer."""
        if not self._register.asks:
            return True
        return not self._bar(peer, session) and peer.identity == self._identity(session)

    @property
    def routes(self) -> tuple[Peer, ...]:
        """Every connection of every living worker."""
        return tuple(peer for worker in self._roster for peer in worker.peers)

    def knows(self, session: bytes) -> bool:
        """Whether that session is a living worker."""
        return self._roster.get(session) is not None

    def check(self) -> None:
        """Assert the invariants, of the leases too."""
        self.leases.check()
        assert 0 <= self._ciphered <= self._released <= self.leases.total, "the cipher is behind the release"
        self._roster.check()
        self._register.check()
        for worker in self._roster:
            assert worker.head is self.leases.head(worker.session), f"{worker.name}: its head is its oldest lease"
            assert self._register.admits(worker.identity), f"{worker.name} may take part"
            assert worker.load == self.leases.load(worker.session), f"{worker.name}: its load is what it holds"
            if worker.outbox:
                used = [lease.slot for lease in self.leases.held(worker.session) if lease.slot >= 0]
                every = sorted(worker.slots + used)
                assert every == list(range(self.job.credit)), f"{worker.name}: each slot is free, or one lease's"

    # Workers come and go

    def _identity(self, session: bytes) -> str | None:
        """Whose session that is, or was; None when nobody knows."""
        worker = self._roster.get(session)
        return worker.identity if worker is not None else self._register.identity(session)

    def _bar(self, peer: Peer, session: bytes) -> str:
        """Why nothing of that session may come from that peer; empty when it may."""
        return self._register.bar(peer, self._identity(session)) if self._register.asks else ""

    def _known(self, message: Message) -> Worker | None:
        if not isinstance(message, Heartbeat | Ready | Failed | Goodbye):
            return None
        if (message.job, message.incarnation) != (self.job.job, self.job.incarnation):
            return None
        return self._roster.get(message.session)

    def _hello(self, peer: Peer, hello: Hello, now: float) -> Actions:
        reason = self._objection(hello)
        if reason:
            self._complaint = f"worker {hello.name} was refused: {reason}"
            return [Send(peer, Refused(cut(reason)))]
        actions: Actions = []
        worker = self._roster.get(hello.session)
        if worker is None:
            worker = Worker(hello.session, hello.name, peer, now, peer.identity)
            actions += self._give_outbox(worker, hello.outbox)
            self._roster.add(worker)
            self._register.enter(worker.session, worker.name, worker.identity)
        else:
            # It came back on a new connection; what it still holds, its next Ready will say.
            worker.route, worker.sink, worker.ready, worker.heard = peer, None, False, now
            self._roster.place(worker)
        source = self.job.source
        reads = source is not None and _lies_below(source.path, hello.reads)
        welcome = self.job.welcome(hello.session, self._ways.sinks, source if reads else None)
        return [*actions, Send(peer, welcome)]

    def _give_outbox(self, worker: Worker, outbox: bytes) -> Actions:
        """An outbox has one owner: a process that has it took the place of the one that had it before.

        That is no blame: a death in an op is told by the starter, before. Only the starter's own death is not, and many
        workers die with it, to whom the same chunk may be granted in turn.
        """
        actions: Actions = []
        if outbox in self._ways.outboxes:
            for other in self._roster:
                if other.outbox == outbox:
                    actions += self._lose(other, "another process took its place", blame=False)
            worker.outbox, worker.slots = outbox, list(range(self.job.credit))
        return actions

    def _strike(self, session: bytes) -> Actions:
        """A worker whose results are wrong, again and again, is sent away: no chunk is to blame for that."""
        worker = self._roster.get(session)
        if worker is None:
            return []
        worker.strikes += 1
        if worker.strikes < STRIKES:
            return []
        return self._dismiss(session, f"{STRIKES} of its results had a wrong length or checksum")

    def _dismiss(self, session: bytes, reason: str) -> Actions:
        """Send a worker away for good; no chunk is to blame."""
        self._register.ban(session, reason)
        self._complaint = f"worker {self.name(session)} was sent away: {reason}"
        worker = self._roster.get(session)
        if worker is None:
            return []
        return [Send(worker.route, Refused(reason)), *self._lose(worker, reason, blame=False)]

    def _objection(self, hello: Hello) -> str:
        if banned := self._register.banned(hello.session):
            return banned
        if hello.version != VERSION:
            return f"it speaks protocol version {hello.version}, this coordinator speaks {VERSION}"
        missing = [step.name for step in self.job.ops if not self._offers(hello.ops, step.name)]
        if missing:
            module, colon, _ = missing[0].partition(":")
            return f"it lacks {', '.join(missing)}" + (f"; start it with --allow {module}" if colon else "")
        return ""

    def _ready(self, worker: Worker, peer: Peer, message: Ready, now: float) -> Actions:
        actions: Actions = [] if worker.ready else [Joined(worker.session, worker.name)]
        worker.sink, worker.ready, worker.reads = peer, True, message.reads
        # A worker that was given up and came back has counted on; sequences must not run behind it.
        worker.sequence = max(worker.sequence, message.received)
        missing = self.leases.missing(worker.session, message.received, message.held)
        for lease in missing:
            actions += self._take_back(worker.session, lease.index, lease.attempt, "it was lost on the way", now)
        worker.losses += len(missing)
        if worker.losses >= LOSSES:  # its line damages every chunk, say; to grant it more would go on for ever
            reason = f"{worker.losses} chunks in a row did not come to it whole"
            return actions + self._dismiss(worker.session, reason) + self._grant(now)
        if self.leases.adopt(worker.session, message.held):
            worker.load = self.leases.load(worker.session)
            worker.head, worker.head_since = self.leases.head(worker.session), now
        self._roster.place(worker)
        return actions + self._grant(now)

    def _has_come(self, session: bytes) -> None:
        """Whatever a worker says of a chunk that it holds, the chunk came to it."""
        worker = self._roster.get(session)
        if worker is not None:
            worker.losses = 0

    def _failed(self, worker: Worker, message: Failed, now: float) -> Actions:
        lease = self._free(worker.session, message.index, message.attempt, now)
        if lease is not None:
            self._has_come(worker.session)
        where = self._within(message)
        actions = self._blame(lease, worker.name, message.error, where) if lease is not None else []
        return actions + self._grant(now)

    def _within(self, failed: Failed) -> tuple[int, int] | None:
        """The frames that a failure names, if they lie in what was granted."""
        if failed.index >= self.leases.total:
            return None
        chunk = self.job.plan.span(failed.index)
        inside = chunk.start <= failed.start < failed.stop <= chunk.stop
        return (failed.start, failed.stop) if inside else None

    def _was_at_work(self, worker: Worker, now: float) -> bool:
        """Whether the head of its queue can be what ended a worker: not if it was granted to one that was dead already.

        Where many die at once, what the first one held goes to the next in line before its death is known, too. One
        that lives is heard of every heartbeat.
        """
        return worker.head_since < now and worker.head_since <= worker.heard + self.timing.heartbeat

    def _lose(self, worker: Worker, reason: str, *, blame: bool) -> Actions:
        head = worker.head
        leases = self.leases.drop(worker.session)
        self._roster.remove(worker)
        self._register.enter(worker.session, worker.name, worker.identity)
        actions: Actions = [Lost(worker.session, worker.name, reason)]
        for lease in leases:
            if blame and lease is head:
                actions += self._blame(lease, worker.name, reason)
            else:
                actions += self._requeue(lease, worker.name, reason)
        return actions

    # Leases end

    def _free(self, session: bytes, index: int, attempt: int, now: float, *, measured: bool = False) -> Lease | None:
        """Free a lease and its worker's credit. Returns the lease if it was live until now."""
        worker = self._roster.get(session)
        freed = self.leases.free(session, index, attempt)
        if worker is None or freed is None:
            return None
        if measured and freed.live and freed is worker.head:
            self._times.append(now - worker.head_since)
        worker.load -= 1
        worker.stuck = False
        worker.alone = worker.alone and worker.load > 0
        if freed.slot >= 0:
            worker.slots.append(freed.slot)
        if freed is worker.head:
            worker.head, worker.head_since = self.leases.head(session), now
        self._roster.place(worker)
        return freed if freed.live else None

    def _take_back(self, session: bytes, index: int, attempt: int, reason: str, now: float) -> Actions:
        lease = self._free(session, index, attempt, now)
        return self._requeue(lease, self.name(session), reason) if lease is not None else []

    def _requeue(self, lease: Lease, name: str, reason: str) -> Actions:
        if not self.leases.waits(lease.index):
            return []  # accepted already, or somebody else is at it
        self.requeued += 1
        return [Requeued(lease.index, lease.attempt, name, reason)]

    def _blame(self, lease: Lease, name: str, reason: str, where: tuple[int, int] | None = None) -> Actions:
        causes = self.leases.blame(lease.index, f"worker {name}: {reason}")
        if len(causes) >= self.timing.failures:
            chunk = self.job.plan.span(lease.index)
            start, stop = where if where is not None else (chunk.start, chunk.stop)
            return [Fail(ChunkError(self.job.chunk_at(start), start, stop, causes))]
        return self._requeue(lease, name, reason)

    def _expire(self, worker: Worker, now: float) -> Actions:
        """The head of its queue is overdue: grant elsewhere what it holds; it gets nothing more without a sign."""
        head = worker.head
        assert head is not None
        reason = f"no result after {now - worker.head_since:.1f} s"
        worker.stuck = True
        self._roster.place(worker)
        actions: Actions = [Stuck(worker.session, head.index)]
        for lease in self.leases.spend(worker.session):
            if lease is head:
                actions += self._blame(lease, worker.name, reason)
            else:
                actions += self._requeue(lease, worker.name, reason)
        return actions

    # Time, in detail

    def _overdue(self, worker: Worker, now: float) -> bool:
        # A spent head counts too: what is granted behind it would wait for ever.
        return worker.head is not None and not worker.stuck and now - worker.head_since > self.chunk_timeout

    @property
    def chunk_timeout(self) -> float:
        """Seconds that a grant may take, given what grants took so far; at first, the sum of its chunks' time."""
        if len(self._times) < TIMES_NEEDED:
            return self.timing.chunk_timeout * self.job.chunks_a_grant
        return max(self.timing.chunk_timeout_floor, self.timing.chunk_timeout_factor * median(self._times))

    def _excuse(self, late: float, now: float) -> None:
        self._able = min(now, self._able + late)
        for worker in self._roster:
            worker.heard = min(now, worker.heard + late)
            worker.head_since = min(now, worker.head_since + late)

    def _heartbeats(self) -> Iterator[Send]:
        job = self.job
        for worker in self._roster:
            if worker.sink is not None:
                yield Send(worker.sink, Heartbeat(job.job, job.incarnation, worker.session))
            yield Send(worker.route, Sent(job.job, job.incarnation, worker.session, worker.sequence))

    def _judge_hope(self, now: float) -> Actions:
        able = [worker for worker in self._roster if worker.ready and not worker.stuck]
        asked = self.leases.asked(self._released) if self.leases.lacking(self._released) > 0 else frozenset()
        if self.finished or any(worker.session not in asked for worker in able):
            self._able = now
        if now - self._able <= self.timing.worker_timeout:
            return []
        sentence = f"no worker could be given a chunk for {self.timing.worker_timeout:g} s"
        if able:
            sentence = self._lack_of_witnesses(self._released)
        return [Fail(NoWorkerError(f"{sentence}; {self._complaint}" if self._complaint else sentence))]

    def _lack_of_witnesses(self, index: int) -> str:
        where = f"chunk {self.job.chunk_of(index)} is audited, and for {self.timing.worker_timeout:g} s there was no "
        if self.leases.said(index) > 1:
            return where + "third worker to decide between the different results of two"
        return where + "second worker to compute it too; an audit takes two workers at least"

    # Grants

    def _grant(self, now: float) -> Actions:
        actions: Actions = []
        reserved = self._grant_suspects(actions, now)
        audit = self.job.audit is not None
        if audit:
            self._grant_opinions(actions, now)
        limit = self._ciphered + self.window
        while (index := self.leases.waiting(limit)) is not None:
            worker = self._roster.least_loaded(but=reserved)
            if worker is None:
                return actions
            actions.append(self._grant_to(worker, index, now))
            if audit:
                self._grant_opinions(actions, now)
        if self._ciphered == self._released:
            self._grant_straggler(actions, now)
        return actions

    def _grant_suspects(self, actions: Actions, now: float) -> Worker | None:
        """Grant suspects to idle workers. Returns the worker that is kept free for the next one."""
        while (index := self.leases.suspect()) is not None:
            worker = self._roster.least_loaded()
            if worker is None or worker.head is not None:
                return worker
            actions.append(self._grant_to(worker, index, now))
            worker.alone = True
            self._roster.place(worker)
        return None

    def _grant_opinions(self, actions: Actions, now: float) -> None:
        """Ask another worker about audited chunks that too few were asked about."""
        for index in self.leases.opinions():
            worker = self._roster.least_loaded_of_others(self.leases.asked(index))
            alone = self.leases.failures(index) > 0
            if worker is not None and not (alone and worker.head is not None):
                actions.append(self._grant_to(worker, index, now))
                worker.alone = alone
                self._roster.place(worker)

    def _grant_straggler(self, actions: Actions, now: float) -> None:
        index = self._released
        # A chunk may have its result and not be known as released: `progressed` comes after `settled`.
        if self.leases.failures(index) or not self.leases.wanted(index) or self.leases.lacking(index):
            return
        asked = self.leases.asked(index)
        for worker in self._roster.idle():
            if worker.session not in asked:
                actions.append(self._grant_to(worker, index, now, repeated=True))
                return

    def _grant_to(self, worker: Worker, index: int, now: float, *, repeated: bool = False) -> Grant:
        worker.sequence += 1
        worker.load += 1
        lease = self.leases.grant(worker.session, index, worker.sequence)
        lease.slot = worker.slots.pop() if worker.outbox else -1
        if worker.head is None:
            worker.head, worker.head_since = lease, now
        self._roster.place(worker)
        return Grant(
            worker.route,
            worker.session,
            worker.sequence,
            index,
            lease.attempt,
            lease.slot,
            by_reference=worker.reads,
            repeated=repeated,
        )


def _lies_below(path: str, folders: Sequence[str]) -> bool:
    return any(path.startswith(folder.rstrip("/") + "/") for folder in folders)
