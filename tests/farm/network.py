"""A whole farm in virtual time: the real Desk, real Sessions, and a network that loses things.

Rules:

- Driven as the shells do it: both sockets are drained before a tick, the reader delays grants and the `Sent` behind
  them in one queue, the cipher finishes with chunks one by one, a worker computes one chunk at a time.
- A payload is modelled by its checksum, which is a function of the chunk's index. A Chunk's own checksum says whether
  its payload came with it: 1, or 0 for a worker that reads the recording itself.
- With `outboxes` each worker has slots in shared memory, which outlive it: a result is written there when it is
  computed and is read when its message comes, whatever lies there then. No slot may be named while a lease has it.
- Each `Connect` and `ConnectSink` makes a connection with a fresh routing id, first in first out unless `reorder` says
  otherwise. What is under way on a connection that is closed is lost (with `strays`, what went up still arrives).
- `run` ends: when all chunks came out, when the job failed, or with an AssertionError once `limit` virtual seconds are
  over. Afterwards it waits until the workers are quiet and looks whether all credit came back.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from zaudio.core.actions import (
    Accepted,
    Compute,
    Connect,
    ConnectSink,
    Deliver,
    Discard,
    Duplicate,
    Fail,
    Grant,
    Joined,
    Liar,
    Lost,
    Peer,
    Prepare,
    Rejected,
    Released,
    Requeued,
    Say,
    Send,
    Stuck,
    Withdrawn,
)
from zaudio.core.desk import Desk
from zaudio.core.job import Job, Ways
from zaudio.core.jury import Audit
from zaudio.core.register import Register
from zaudio.core.session import Introduction, Session
from zaudio.errors import ZaudioError
from zaudio.formats import sample_format
from zaudio.lot import LotPlan
from zaudio.plan import Plan
from zaudio.reference import Reference
from zaudio.signal import Signal
from zaudio.steps import Step
from zaudio.timing import Timing
from zaudio.wire.messages import Again, Channel, Chunk, Message, Result, Sent

HEARTBEAT = 0.2
DEAD = 1.0  # five heartbeats
TIMING = Timing(heartbeat=HEARTBEAT, liveness=5, chunk_timeout=6.0, chunk_timeout_floor=3.0, chunk_timeout_factor=10.0)
JOB_ID = b"j" * 16
RECORDING = Reference("/srv/take.raw", 0, 1000, 17, 2049, 1311, 5)
FRAME_BYTES = 4
LATENCY = 0.002
READ_SECONDS = CIPHER_SECONDS = 0.0005  # of a chunk
OF_JOB = {"credit": 2, "window_most": 1000, "timing": TIMING, "audit": None}


@dataclass(frozen=True, slots=True)
class Fault:
    """How likely it is that a message is dropped, delayed, doubled, or overtaken by others."""

    drop: float = 0.0
    delay: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay_most: float = 0.5


SOUND = Fault()


@dataclass(frozen=True, slots=True)
class Faults:
    """Which fault strikes which type of message, until when. `everything` is for types that are not named."""

    everything: Fault = SOUND
    by_type: dict[type, Fault] = field(default_factory=dict)
    until: float = math.inf

    def of(self, message: Message, now: float) -> Fault:
        return self.by_type.get(type(message), self.everything) if now < self.until else SOUND


@dataclass(slots=True, eq=False)
class Link:
    """One connection of a worker to one of the two sockets."""

    peer: Peer
    worker: SimWorker
    open: bool = True  # what comes down arrives
    cut: bool = False  # what is under way up is lost
    known_closed: bool = False  # the coordinator's socket has no such route any more
    last: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})


@dataclass(slots=True)
class Report:
    """What came of a run."""

    released: list[int]
    seconds: float
    error: ZaudioError | None
    requeued: int
    duplicates: int
    rejected: int
    lost: list[Lost]
    stuck: list[Stuck]
    joined: int
    grants: Counter[int]
    shares: Counter[str]


Op = Callable[["SimWorker", int, int], str]  # "ok", "raise", "die", "hang", or "wrong": other bytes than the others'


class SimWorker:
    """A worker: a Session, two connections, and a thread that computes."""

    def __init__(self, farm: Farm, name: str, *, seconds: float, op: Op | None = None, once: bool = False) -> None:
        self.farm = farm
        self.name = name
        self.seconds = seconds
        self.op = op or farm.op
        self.once = once
        self.outbox = b""
        self.prepare_seconds = 0.0  # until its ops are set up
        self.numbers: tuple[int, ...] = ()  # that its ops give on its machine
        self.reads = farm.reference  # whether the recording can be opened here
        self.lives = 0
        self.alive = False
        self.stopped = False
        self.cut_off: set[bool] = set()  # the directions (True is up) in which nothing passes

    def start(self) -> None:
        self.lives += 1
        id_ = self.farm.random.randbytes(16)
        folders = ("/srv",) if self.farm.reference else ()
        who = (id_, self.name, self.lives, "host", "software", ("invert",))
        introduction = Introduction(*who, folders, self.outbox)
        self.session = Session(introduction, "tcp://coordinator:1", once=self.once)
        self.id = id_
        self.alive, self.stopped = True, False
        self.links: dict[Channel, Link] = {}
        self.inbox: dict[Channel, deque[Message]] = {Channel.SINK: deque(), Channel.VENTILATOR: deque()}
        self.jobs = 0
        self.open = False  # the recording
        self.preparations = 0
        self.tasks: deque[tuple[int, Chunk]] = deque()
        self.outcomes: deque[tuple[int, Chunk, str, int]] = deque()  # job, chunk, verdict, checksum
        self.computing: tuple[int, Chunk, float] | None = None  # job, task, when it is done
        self.left_over = 0.0  # of the computation, while stopped
        self.token = 0  # tells a wake-up that it is out of date
        self.wake_at = math.inf
        self.farm.sessions.append(self.session)
        self.do(self.session.start(now=self.farm.now))
        self.turn()

    def turn(self) -> None:
        if not self.alive or self.stopped:
            return
        now = self.farm.now
        for channel in (Channel.SINK, Channel.VENTILATOR):
            while self.alive and self.inbox[channel]:
                message = self.inbox[channel].popleft()
                intact = not isinstance(message, Chunk) or bool(message.checksum) or self.open
                self.do(self.session.receive(message, now=now, intact=intact))
        while self.outcomes:
            job, chunk, verdict, sum_ = self.outcomes.popleft()
            if job == self.jobs:
                self.do(self.conclude(chunk, verdict, sum_))
        self.do(self.session.tick(now=now))
        self.session.check()
        if self.session.finished:
            self.end(orderly=True)
            return
        wake = self.session.next_deadline()
        assert wake > now, f"{self.name}: a tick that was due did nothing: {self.session.state}"
        if wake != self.wake_at:
            self.wake_at = wake
            self.farm.at(wake, self.wake, self.lives, wake)

    def wake(self, life: int, wake: float) -> None:
        if life == self.lives and wake == self.wake_at:
            self.wake_at = math.inf
            self.turn()

    def conclude(self, chunk: Chunk, verdict: str, sum_: int) -> list:
        lease = (chunk.index, chunk.attempt)
        if verdict == "raise":
            return self.session.failed(
                *lease, "ValueError: no", start=chunk.start, stop=chunk.start + (chunk.stop - chunk.start)
            )
        length = (chunk.stop - chunk.start) * FRAME_BYTES
        return self.session.completed(*lease, length=length, checksum=sum_, seconds=0.1, slot=chunk.slot)

    def do(self, actions: Iterable) -> None:
        for action in actions:
            match action:
                case Say():
                    self.send(action.channel, action.message)
                case Deliver():
                    self.send(Channel.SINK, action.result)
                case Compute():
                    self.tasks.append((self.jobs, action.chunk))
                    self.compute()
                case Connect():
                    self.close(Channel.SINK)
                    self.close(Channel.VENTILATOR)
                    self.links[Channel.VENTILATOR] = self.farm.link(Channel.VENTILATOR, self)
                case ConnectSink():
                    self.close(Channel.SINK)
                    self.links[Channel.SINK] = self.farm.link(Channel.SINK, self)
                case Prepare():
                    self.open = self.reads and action.source is not None
                    self.preparations += 1
                    if self.prepare_seconds:
                        self.farm.after(self.prepare_seconds, self.prepared, self.lives, self.preparations)
                    else:
                        self.do(self.session.prepared(now=self.farm.now, reads=self.open, numbers=self.numbers))
                case Discard():
                    self.jobs += 1
                    self.preparations += 1

    def prepared(self, life: int, number: int) -> None:
        if not self.alive or (life, number) != (self.lives, self.preparations):
            return
        if self.stopped:
            self.farm.after(LATENCY, self.prepared, life, number)
            return
        self.do(self.session.prepared(now=self.farm.now, reads=self.open, numbers=self.numbers))
        self.turn()

    def send(self, channel: Channel, message: Message) -> None:
        link = self.links.get(channel)
        if link is not None:
            self.farm.carry(link, message, up=True)

    def close(self, channel: Channel) -> None:
        link = self.links.pop(channel, None)
        if link is not None:
            link.open, link.cut = False, not self.farm.strays
            self.farm.at(self.farm.now + LATENCY, setattr, link, "known_closed", True)
            self.inbox[channel].clear()

    def compute(self) -> None:
        while self.tasks and self.computing is None:
            job, task = self.tasks.popleft()
            if job == self.jobs:
                seconds = self.seconds
                self.computing = (job, task, self.farm.now + seconds)
                self.token += 1
                self.farm.at(self.farm.now + seconds, self.computed, self.lives, self.token)

    def computed(self, life: int, token: int) -> None:
        if not self.alive or self.stopped or (life, token) != (self.lives, self.token) or self.computing is None:
            return
        job, task, _ = self.computing
        verdict = self.op(self, task.index, task.attempt)
        if verdict == "die":
            self.crash()
        elif verdict != "hang":
            self.computing = None
            sum_ = checksum(task.index, task.job) + (verdict == "wrong") * (1 + self.id[0])
            if task.slot >= 0 and verdict != "raise":
                self.farm.memory[self.outbox, task.slot] = sum_  # now, though the session tells of it later
            self.outcomes.append((job, task, verdict, sum_))
            self.compute()
            self.turn()

    # What befalls it

    def crash(self, *, known: bool = False) -> None:
        """Gone without a word. `known`: its supervisor tells the coordinator."""
        if self.alive:
            self.end(orderly=False)
            if known:
                self.farm.died(self.id, "it died of signal 9 (SIGKILL)")

    def leave(self) -> None:
        if self.alive and not self.stopped:
            self.do(self.session.leave("it was told to stop"))
            self.end(orderly=True)

    def end(self, *, orderly: bool) -> None:
        self.alive = False
        for link in self.links.values():
            link.open, link.cut = False, not orderly

    def stop(self) -> None:
        if self.alive and not self.stopped:
            self.stopped = True
            self.token += 1
            self.left_over = self.computing[2] - self.farm.now if self.computing else 0.0

    def go_on(self) -> None:
        if not self.alive or not self.stopped:
            return
        self.stopped = False
        if self.computing:
            job, task, _ = self.computing
            done = self.farm.now + max(0.0, self.left_over)
            self.computing = (job, task, done)
            self.token += 1
            self.farm.at(done, self.computed, self.lives, self.token)
        self.turn()

    def cut(self, *, up: bool = True, down: bool = True) -> None:
        """From now on nothing passes, in these directions."""
        self.cut_off = {way for way, off in ((True, up), (False, down)) if off}

    def heal(self) -> None:
        self.cut_off = set()


class Farm:
    """The coordinator, the network and the workers.

    Arguments that are not named here are fields of `Job`, in place of those of `OF_JOB`.
    """

    def __init__(
        self,
        chunks: int,
        *,
        workers: int = 0,
        seconds: float = 0.1,
        seed: int = 0,
        faults: Faults | None = None,
        op: Op | None = None,
        strays: bool = False,
        check_every: int = 1,
        outboxes: bool = False,
        reference: bool = False,
        first: int = 0,
        lot: LotPlan | None = None,
        **of_job: object,
    ) -> None:
        self.lot = lot
        self.now = 100.0  # not 0: nothing may depend on where the clock begins
        self.random = random.Random(seed)
        self.faults = faults or Faults()
        self.op: Op = op or (lambda worker, index, attempt: "ok")
        self.strays = strays
        self.reference = reference
        self.register = Register()
        tokens = [f"w{number}".encode().ljust(16, b"#") for number in range(workers)] if outboxes else []
        self._ways = Ways(("tcp://:2",), frozenset(tokens))
        self._of_job = {**OF_JOB, "source": RECORDING if reference else None, **of_job}
        self.workers: dict[str, SimWorker] = {}
        self.sessions: list[Session] = []
        self._check_every = check_every
        self._lay_out()
        self._begin(chunks, JOB_ID, first)
        for number in range(workers):
            worker = self.add(f"w{number}", seconds=seconds)
            worker.outbox = tokens[number] if outboxes else b""

    def _lay_out(self) -> None:
        """Make what outlives a stage: what is under way, and what tests look at."""
        self._events: list[tuple[float, int, Callable, tuple]] = []
        self._order = itertools.count()
        self._links: dict[Peer, Link] = {}
        self._inbox: dict[Channel, deque] = {Channel.SINK: deque(), Channel.VENTILATOR: deque()}
        self._died: deque[tuple[bytes, str]] = deque()
        self._read: deque = deque()
        self._reader_free = self._cipher_free = 0.0  # when they are done with what they have
        self._paused = False
        self._turn_due = False
        self._turns = 0
        self.memory: dict[tuple[bytes, int], int] = {}  # outbox and slot -> checksum of what lies there
        self.liars: list[Liar] = []
        self.withdrawn: list[int] = []
        self.audited = 0  # audited chunks that were accepted
        self.most_in_flight = 0
        self.by_reference = 0  # grants without a payload
        self.stage = 0

    @property
    def audit(self) -> Audit | None:
        return self._of_job["audit"]

    def _begin(self, chunks: int, job_id: bytes, first: int) -> None:
        """Begin a stage: all that is not the farm's is fresh."""
        self.first = first
        self.plan = self.lot or Plan(chunks * 8 - 3 if chunks else 0, 8)
        job = Job(
            id=job_id,
            incarnation=1,
            plan=self.plan,
            chunk_frames=self.plan.chunk_frames,
            ops=(Step("invert"),),
            signal=Signal(2**20, 1, 44100, sample_format("f32le")),
            grid=0,
            first=first,
            **self._of_job,
        )
        self.desk = Desk(
            job,
            ways=self._ways,
            register=self.register,
            frame_bytes=FRAME_BYTES,
            offers=lambda ops, name: name in ops,
            now=self.now,
        )
        # To look at.
        self.assembler, self.jury = self.desk._assembler, self.desk._jury
        self.leases, self.roster = self.desk._leases, self.desk._roster
        self.report = Report([], 0.0, None, 0, 0, 0, [], [], 0, Counter(), Counter())
        self.accepted: dict[int, int] = {}  # index -> checksum of what was accepted last
        self._read.clear()
        self._ciphered = first

    # Building a schedule

    def next_stage(self, chunks: int, job_id: bytes) -> None:
        """Begin another stage, and say Again to every route of the one before."""
        routes = self.desk.routes
        self.stage += 1
        self._begin(chunks, job_id, 0)
        for peer in routes:
            self._send(peer, Again())

    def add(self, name: str, *, at: float = 0.0, seconds: float = 0.1, op: Op | None = None) -> SimWorker:
        worker = self.workers[name] = SimWorker(self, name, seconds=seconds, op=op)
        self.at(self.now + at, worker.start)
        return worker

    def at(self, time: float, do: Callable, *arguments: object) -> None:
        heapq.heappush(self._events, (time, next(self._order), do, arguments))

    def after(self, seconds: float, do: Callable, *arguments: object) -> None:
        self.at(self.now + seconds, do, *arguments)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._turn()

    def died(self, session: bytes, cause: str) -> None:
        self._died.append((session, cause))
        self._soon()

    # The network

    def link(self, channel: Channel, worker: SimWorker) -> Link:
        peer = Peer(channel, f"{worker.name}/{next(self._order)}".encode())
        self._links[peer] = Link(peer, worker)
        return self._links[peer]

    def carry(self, link: Link, message: Message, *, up: bool) -> None:
        fault = self.faults.of(message, self.now)
        if up in link.worker.cut_off or self.random.random() < fault.drop:
            return
        for _ in range(1 + (self.random.random() < fault.duplicate)):
            at = self.now + LATENCY * (0.5 + self.random.random())
            if self.random.random() < fault.delay:
                at += self.random.uniform(0, fault.delay_most)
            if self.random.random() < fault.reorder:
                at += self.random.uniform(0, 20 * LATENCY)  # and the next may overtake it
            else:
                at = link.last[up] = max(at, link.last[up])
            self.at(at, self._arrive, link, message, up)

    def _arrive(self, link: Link, message: Message, up: bool) -> None:
        if up:
            if not link.cut and True not in link.worker.cut_off:
                self._inbox[link.peer.channel].append((link.peer, message))
                self._soon()
        elif link.open and False not in link.worker.cut_off:
            link.worker.inbox[link.peer.channel].append(message)
            link.worker.turn()

    # The coordinator, as net/farm.py drives it

    def _soon(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            self.at(self.now, self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        if self._paused:
            return
        now, desk = self.now, self.desk
        while self._died:
            session, cause = self._died.popleft()
            self._do(desk.gone(session, cause, now=now))
        for channel in (Channel.SINK, Channel.VENTILATOR):
            inbox = self._inbox[channel]
            while inbox:
                peer, message = inbox.popleft()
                if isinstance(message, Result):
                    self._take(peer, message)
                else:
                    self._do(desk.receive(peer, message, now=now))
        while self._read:
            self._send_read(self._read.popleft())
        self._do(desk.progressed(ciphered=self._ciphered, now=now))
        if now >= desk.next_deadline():
            self._do(desk.tick(now=now))
        self._check()
        deadline = desk.next_deadline()
        assert deadline > now, "a tick that was due did nothing"

    def _beat(self) -> None:
        """The poll's timeout."""
        if not self._paused and self.now >= self.desk.next_deadline():
            self._turn()
        self.at(max(self.desk.next_deadline(), self.now + 1e-3), self._beat)

    def _check(self) -> None:
        self._turns += 1
        self.most_in_flight = max(self.most_in_flight, self.leases.in_flight)
        if self._turns % self._check_every:
            return
        self.desk.check()
        for index in range(self.assembler.released, min(len(self.plan), self.assembler.released + 8)):
            most = 4 if self.audit is not None and self.audit.covers(index) else 2
            assert len(self.leases.live(index)) <= most, (
                f"chunk {index} has {len(self.leases.live(index))} live attempts"
            )

    def _take(self, peer: Peer, result: Result) -> None:
        really: int | None = result.checksum
        if result.slot >= 0:
            really = self.memory.get((self.desk.outbox(result.session), result.slot))
        digest = really.to_bytes(8, "big", signed=True) if really is not None else b""
        actions = self.desk.receive(peer, result, now=self.now, checksum=really, digest=digest)
        if any(isinstance(action, Accepted) for action in actions):
            self.accepted[result.index] = result.checksum
        self._do(actions)

    def _cipher_done(self, stage: int) -> None:
        if stage == self.stage:
            self._ciphered += 1
            self._soon()

    def _do(self, actions: Iterable) -> None:
        report = self.report
        for action in actions:
            match action:
                case Grant(by_reference=True):
                    self._note(action)
                    self._grant(action, payload=False)
                case Grant() | Send(message=Sent()):
                    seconds = READ_SECONDS if isinstance(action, Grant) else 0.0
                    self._reader_free = max(self._reader_free, self.now) + seconds
                    self.at(self._reader_free, self._was_read, action, self.stage)
                    if isinstance(action, Grant):
                        self._note(action)
                case Send():
                    self._send(action.peer, action.message)
                case Fail():
                    report.error = report.error or action.error
                case Accepted():
                    report.shares[self.desk.name(action.session)] += 1
                    self.audited += self.desk.audits(action.index)
                case Liar():
                    self.liars.append(action)
                case Withdrawn():
                    self.withdrawn.append(action.index)
                case Released():
                    report.released.append(action.index)
                    self._cipher_free = max(self._cipher_free, self.now) + CIPHER_SECONDS
                    self.at(self._cipher_free, self._cipher_done, self.stage)
                case Lost():
                    report.lost.append(action)
                case Stuck():
                    report.stuck.append(action)
                case Joined():
                    report.joined += 1
                case Requeued():
                    report.requeued += 1
                case Duplicate():
                    report.duplicates += 1
                case Rejected():
                    report.rejected += 1

    def _note(self, grant: Grant) -> None:
        self.report.grants[grant.index] += 1
        self.by_reference += grant.by_reference
        taken = [lease for lease in self.leases.held(grant.session) if lease.slot == grant.slot >= 0]
        assert [(lease.index, lease.attempt) for lease in taken] in ([], [(grant.index, grant.attempt)]), (
            f"slot {grant.slot} is named while a lease has it"
        )
        assert (grant.slot >= 0) == (self.desk.outbox(grant.session) != b""), "who has an outbox gets a slot"

    def _was_read(self, action: Grant | Send, stage: int) -> None:
        if stage == self.stage:
            self._read.append(action)
            self._soon()

    def _send_read(self, action: Grant | Send) -> None:
        if isinstance(action, Send):
            self._send(action.peer, action.message)
        elif self.desk.knows(action.session):
            self._grant(action, payload=True)

    def _grant(self, grant: Grant, *, payload: bool) -> None:
        span = self.plan.span(grant.index)
        lease = (grant.session, grant.sequence, grant.index, grant.attempt)
        frames = (span.start, span.stop, span.input_start, span.input_stop)
        message = Chunk(self.desk.job.id, 1, *lease, *frames, span.frames * FRAME_BYTES, int(payload), grant.slot)
        if not self._send(grant.peer, message):
            self._do(self.desk.undelivered(grant, now=self.now))

    def _send(self, peer: Peer, message: Message) -> bool:
        link = self._links[peer]
        if link.known_closed:
            return False
        self.carry(link, message, up=False)
        return True

    # Running

    def run(self, *, limit: float = 300.0, settle: bool = True) -> Report:
        """Until the stage is over, one way or the other. Asserts what must hold of any.

        `settle`: late results are waited for, and all that is remembered must be gone by then.
        """
        began = self.now
        self.at(self.now, self._beat)
        self._advance(began + limit, lambda: self.desk.finished or self.report.error is not None)
        report = self.report
        assert self.desk.finished or report.error is not None, f"not over after {limit:g} s: {self.state()}"
        report.seconds = self.now - began
        assert report.released == list(range(self.first, self.first + len(report.released))), (
            "released in order, each once"
        )
        if report.error is None:
            assert self.first + len(report.released) == len(self.plan), "everything was released"
            if settle:
                self._settle()
        assert sum(report.shares.values()) >= len(report.released), "every chunk has somebody who computed it"
        return replace(report)

    def run_for(self, seconds: float) -> None:
        """Some virtual time, whatever comes of it."""
        if self.desk.next_deadline() and not any(event[2] == self._beat for event in self._events):
            self.at(self.now, self._beat)
        end = self.now + seconds
        self._advance(end, lambda: False)
        self.now = end

    def _advance(self, end: float, over: Callable[[], bool]) -> None:
        while self._events and not over():
            time, _, do, arguments = self._events[0]
            if time > end:
                return
            heapq.heappop(self._events)
            self.now = max(self.now, time)
            do(*arguments)

    def _settle(self) -> None:
        """Let late results come; then nothing may be remembered and all credit must be back."""
        self.faults = Faults()
        quiet = self.now + 5.0 + 20 * max((worker.seconds for worker in self.workers.values()), default=0)
        self._advance(quiet, lambda: not self._owed() and self.leases.in_flight == 0)
        assert self.leases.in_flight == 0, "no chunk is remembered when all are done"
        assert not self._owed(), f"credit did not come back from {self._owed()}"

    def _owed(self) -> list[str]:
        """The workers that are well, and whose credit is not back."""
        well = [worker for worker in self.workers.values() if worker.alive and not worker.stopped]
        return [w.name for w in well if w.computing is None and self.leases.load(w.id)]

    def end(self) -> None:
        """The farewell, to those it reaches; nobody answers afterwards."""
        self._do(self.desk.farewell("the job is done"))
        self._paused = True
        self.run_for(0.1)

    def state(self) -> str:
        """For a message when a farm hangs."""
        workers = [
            f"{w.name}: {w.session.state.value} alive={w.alive} stopped={w.stopped} held={w.session.held} "
            f"leases={[(lease.index, lease.attempt, lease.live) for lease in self.leases.held(w.id)]}"
            for w in self.workers.values()
            if w.lives
        ]
        return f"released {self.assembler.released} of {len(self.plan)}\n" + "\n".join(workers[:20])


def checksum(index: int, job_id: bytes = JOB_ID) -> int:
    """What the result of a chunk sums to: in each job something else."""
    return 1000 + 7 * index + 1_000_000 * (job_id[0] - JOB_ID[0])
