"""Whatever happens: hypothesis looks for a schedule that breaks an invariant, hangs a farm or blames the innocent."""

from dataclasses import replace

import pytest
from core_support import Desk, checksum, recording, route, session, welcome
from extended import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from network import LATENCY, TIMING, Farm, Fault, Faults

from zaudio.core.actions import (
    Accepted,
    Compute,
    Connect,
    ConnectSink,
    Deliver,
    Discard,
    Fail,
    Grant,
    Liar,
    Prepare,
    Released,
    Say,
    Withdrawn,
)
from zaudio.core.jury import Audit
from zaudio.core.leases import Leases
from zaudio.core.session import Introduction, Session
from zaudio.errors import ChunkError, ConflictError, NoWorkerError, ProtocolError
from zaudio.plan import Plan
from zaudio.wire.messages import (
    Again,
    Channel,
    Chunk,
    Failed,
    Goodbye,
    Heartbeat,
    Ready,
    Refused,
    Sent,
)

pytestmark = pytest.mark.covers(
    "State machines of leases, the coordinator's brains (without and with audits) and the worker's: 2,000 "
    "examples of 50 steps (`make chaos`), 40 of 40 in `make test`",
    number=42,
    bound="invariants hold; a good worker completes the job afterwards (with audits, three)",
    measured="69, 75, 180 and 50 s on a busy machine",
    removed=(
        "`leases.py`: `self._settle(lease.index, entry)` in `_end` (leases and coordinator); the worker's failed "
        "before `holding.py`: `in self._held` was there"
    ),
)

NAMES = st.sampled_from("abcd")
GHOSTS = st.sampled_from("abcdx")  # x never says hello
INDEXES = st.integers(0, 12)  # of ten chunks
ATTEMPTS = st.integers(1, 4)
OUTBOXES = (b"o" * 16, b"p" * 16)
JOBS = st.sampled_from([b"j" * 16, b"j" * 16, b"k" * 16])
NAMES_SAID = st.sampled_from("aaab")  # whom a message to a worker names
PAIRS = st.lists(st.tuples(INDEXES, ATTEMPTS), max_size=4)


class LeasesMachine(RuleBasedStateMachine):
    """Leases alone, against a plain list of all that was ever granted."""

    def __init__(self) -> None:
        super().__init__()
        self.leases = Leases(10)
        self.sequence = 0
        self.ever: list[tuple[bytes, int, int]] = []
        self.accepted: set[int] = set()

    @rule(name=NAMES, suspect=st.booleans(), limit=st.integers(0, 11))
    def grant(self, name, suspect, limit):
        index = self.leases.suspect() if suspect else self.leases.waiting(limit)
        if index is not None:
            self._grant(name, index)

    @rule(name=NAMES, index=INDEXES)
    def grant_once_more(self, name, index):
        if len(self.leases.live(index)) == 1 and index not in self.accepted:
            self._grant(name, index)

    def _grant(self, name, index):
        assert index not in self.accepted, "a chunk that has its result is not granted"
        assert len(self.leases.live(index)) <= 1
        self.sequence += 1
        lease = self.leases.grant(session(name), index, self.sequence)
        assert (session(name), index, lease.attempt) not in self.ever, "an attempt is granted once"
        self.ever.append((session(name), index, lease.attempt))

    @rule(name=GHOSTS, index=INDEXES, attempt=ATTEMPTS)
    def free(self, name, index, attempt):
        before = self.leases.load(session(name))
        freed = self.leases.free(session(name), index, attempt)
        assert self.leases.load(session(name)) == before - (freed is not None)

    @rule(index=INDEXES)
    def accept(self, index):
        if any(index == granted for _, granted, _ in self.ever) and index not in self.accepted:
            self.leases.accept(index)
            self.accepted.add(index)

    @rule(index=INDEXES)
    def blame(self, index):
        causes = self.leases.blame(index, "cause")
        assert not (causes and index in self.accepted)

    @rule(name=GHOSTS)
    def spend(self, name):
        load = self.leases.load(session(name))
        self.leases.spend(session(name))
        assert self.leases.load(session(name)) == load

    @rule(name=GHOSTS)
    def drop(self, name):
        self.leases.drop(session(name))
        assert self.leases.load(session(name)) == 0

    @rule(name=GHOSTS, received=st.integers(0, 20), held=PAIRS)
    def reconcile(self, name, received, held):
        for lease in self.leases.missing(session(name), received, held):
            self.leases.free(session(name), lease.index, lease.attempt)
        self.leases.adopt(session(name), held)

    @invariant()
    def holds(self):
        self.leases.check()
        assert self.leases.in_flight <= 10
        assert len(self.leases._waiting) + len(self.leases._suspects) <= 40, "the queues do not grow"
        for owner, index, attempt in self.ever:
            over = index in self.accepted and not self.leases.live(index)
            assert self.leases.granted(owner, index, attempt) != over

    def teardown(self):
        """Whatever has happened: dropping everyone makes every chunk without a result available again."""
        for name in "abcdx":
            self.leases.drop(session(name))
        available = []
        while (index := self.leases.suspect()) is not None or (index := self.leases.waiting(100)) is not None:
            self.leases.grant(b"z" * 16, index, len(available) + 1)
            available.append(index)
        assert sorted(available) == sorted(set(range(10)) - self.accepted)


class BrainsMachine(RuleBasedStateMachine):
    """Dispatcher and Assembler with whatever may come, in any order, from anybody."""

    audit: Audit | None = None
    most_live = 2  # attempts of one chunk
    witnesses = ("good",)

    def __init__(self) -> None:
        super().__init__()
        bounds = {"credit": 2, "window": 6, "audit": self.audit}
        self.desk = Desk(10, ciphering=False, source=recording(), outboxes=OUTBOXES, **bounds)
        self.granted: list[Grant] = []
        self.released: list[int] = []
        self.results: set[int] = set()
        self.failure = None
        self.classes: set[int] = set()  # that workers said which were not sent away

    def do(self, actions):
        for action in actions:
            match action:
                case Grant():
                    assert action.index not in self.results, "a chunk that has its result is not granted"
                    assert len(self.desk.leases.live(action.index)) <= self.most_live
                    assert action.slot in (-1, 0, 1)
                    self.granted.append(action)
                case Released():
                    self.released.append(action.index)
                case Accepted():
                    assert action.index not in self.results, "a chunk is accepted once"
                    assert any(
                        (g.session, g.index, g.attempt) == (action.session, action.index, action.attempt)
                        for g in self.granted
                    ), "what was never granted is not accepted"
                    assert action.session not in self.desk.jury.dropped, "a liar is not believed"
                    self.results.add(action.index)
                case Withdrawn():
                    assert action.index not in self.released, "what is encrypted cannot be taken back"
                    self.results.remove(action.index)
                case Liar():
                    assert self.audit is not None
                    assert not self.desk.desk.knows(action.session), "a liar is out"
                case Fail():
                    self.failure = action.error
                    assert isinstance(action.error, (ChunkError, NoWorkerError, ConflictError))
                    assert not isinstance(action.error, ChunkError) or len(action.error.causes) >= 3

    @rule(name=NAMES, life=st.integers(1, 2), version=st.sampled_from([1, 1, 1, 2]))
    def hello(self, name, life, version):
        self.do(self.desk.hello(name, life=life, version=version))

    @rule(name=NAMES, life=st.integers(1, 2), outbox=st.sampled_from([*OUTBOXES, b"?" * 16]))
    def hello_of_a_local_worker(self, name, life, outbox):
        """Of any that has the outbox: names and processes may take each other's place."""
        self.do(self.desk.hello(name, life=life, outbox=outbox, reads=("/",)))

    @rule(name=GHOSTS, received=st.integers(0, 20), held=PAIRS)
    def ready_with_nonsense(self, name, received, held):
        self.do(self.desk.ready(name, received=received, held=tuple(held)))

    @rule(name=NAMES, reads=st.booleans(), numbers=st.sampled_from([(), (5,), (5,), (0,), (7,)]))
    def ready(self, name, reads, numbers):
        self.do(self.desk.ready(name, reads=reads, numbers=numbers))
        if self.desk.desk.knows(session(name)):
            self.classes |= {*numbers} - {0}
        assert len(self.classes) <= 1, "workers of one class take part"

    @rule(name=NAMES, keep=st.integers(0, 2))
    def ready_with_a_loss(self, name, keep):
        leases = self.desk.leases.held(session(name))
        received = max((lease.sequence for lease in leases), default=0)
        self.do(self.desk.ready(name, received=received, held=tuple((x.index, x.attempt) for x in leases[:keep])))

    @rule(name=GHOSTS)
    def alive(self, name):
        self.do(self.desk.alive(name))

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), length=st.sampled_from([8, 8, 8, 3]), wrong=st.sampled_from([0, 0, 0, 0, 1]))
    def result(self, data, length, wrong):
        grant = data.draw(st.sampled_from(self.granted))
        name = grant.session.rstrip(b"-").decode()
        self.do(
            self.desk.result(name, grant.index, grant.attempt, length=length, checksum=checksum(grant.index) + wrong)
        )

    @rule(name=GHOSTS, index=INDEXES, attempt=ATTEMPTS)
    def result_of_a_ghost(self, name, index, attempt):
        self.do(self.desk.result(name, index, attempt))

    @rule(name=GHOSTS, index=INDEXES, attempt=ATTEMPTS)
    def failed(self, name, index, attempt):
        self.do(self.desk.failed(name, index, attempt))

    @rule(name=NAMES)
    def head_fails(self, name):
        head = self.desk.leases.head(session(name))
        if head is not None:
            self.do(self.desk.failed(name, head.index, head.attempt))

    @rule(name=GHOSTS)
    def goodbye(self, name):
        self.do(self.desk.goodbye(name))

    @rule(name=GHOSTS)
    def gone(self, name):
        self.do(self.desk.gone(name))

    @precondition(lambda self: self.granted)
    @rule(data=st.data())
    def undelivered(self, data):
        grant = data.draw(st.sampled_from(self.granted))
        self.do(self.desk.desk.undelivered(grant, now=self.desk.now))

    @rule(job=st.sampled_from([b"j" * 16, b"k" * 16]), kind=st.sampled_from([Heartbeat, Goodbye, Ready, Failed]))
    def another_job(self, job, kind):
        fields = {Heartbeat: (), Goodbye: ("",), Ready: (9, (), False), Failed: (0, 1, 0, 8, "")}[kind]
        self.do(self.desk._say(route("b"), kind(job, 2, session("a"), *fields)))

    @rule()
    def no_message(self):
        self.do(self.desk.desk.refuse(route("a"), ProtocolError("junk")))

    @rule(behind=st.integers(0, 3))
    def progress(self, behind):
        self.do(self.desk.progress(max(self.desk.ciphered, self.desk.assembler.released - behind)))

    @rule(seconds=st.sampled_from([0.01, 0.05, 0.2, 1.1, 7.0, 31.0]))
    def time_passes(self, seconds):
        self.do(self.desk.later(seconds).tick())

    @rule(seconds=st.sampled_from([0.2, 1.3, 7.0]), names=st.sets(NAMES))
    def time_passes_in_ticks(self, seconds, names):
        self.do(self.desk.wait(seconds, *sorted(names)))

    @invariant()
    def holds(self):
        self.desk.check()
        assert self.released == list(range(len(self.released))), "released in order, each once"
        for index in range(10):
            assert len(self.desk.leases.live(index)) <= self.most_live, "attempts are bounded"
        assert self.desk.desk.next_deadline() is not None
        for worker in self.desk.roster:
            unspent = [lease for lease in self.desk.leases.held(worker.session) if lease.live]
            assert len(unspent) <= 2, "no more than the credit"
            slots = [lease.slot for lease in self.desk.leases.held(worker.session) if lease.slot >= 0]
            assert len(slots) == len(set(slots)), "a slot is one lease's"
            assert not slots or worker.outbox in OUTBOXES
        owners = [worker.outbox for worker in self.desk.roster if worker.outbox]
        assert len(owners) == len(set(owners)), "an outbox is one worker's"

    def teardown(self):
        """Whatever has happened: one good worker that comes now completes the job; with an audit, three."""
        desk = self.desk
        for name in "abcdx":
            self.do(desk.goodbye(name))
        desk.ciphering = True
        if isinstance(self.failure, (ChunkError, ConflictError)):
            return
        self.do(desk.progress())
        for name in self.witnesses:
            self.do(desk.join(name))
        for _ in range(40):
            for name in self.witnesses:
                for lease in desk.leases.held(session(name)):
                    self.do(desk.result(name, lease.index, lease.attempt))
        if isinstance(self.failure, ConflictError):
            return
        assert desk.assembler.finished, "a chunk was never granted again"
        assert desk.leases.in_flight == 0, "a chunk is remembered though all is done"
        self.holds()


class AuditedBrainsMachine(BrainsMachine):
    """The same, where about half of the chunks are audited and any worker may lie."""

    audit = Audit(50, bytes(32))
    most_live = 4  # two who differ, the third, and a straggler's double
    witnesses = ("one", "two", "three")

    @rule(index=INDEXES, names=st.permutations("abcd"), wrong=st.integers(0, 2))
    def results_that_differ(self, index, names, wrong):
        """Whoever holds that chunk gives a result, and the first so many lie."""
        for number, name in enumerate(names):
            for lease in self.desk.leases.held(session(name)):
                if lease.index == index:
                    lie = checksum(index) + (number < wrong) * (1 + number)
                    self.do(self.desk.result(name, index, lease.attempt, checksum=lie))


TestLeases = LeasesMachine.TestCase
TestLeases.settings = settings(max_examples=40, stateful_step_count=40)
TestBrains = BrainsMachine.TestCase
TestBrains.settings = settings(max_examples=40, stateful_step_count=40)
TestAuditedBrains = AuditedBrainsMachine.TestCase
TestAuditedBrains.settings = settings(max_examples=40, stateful_step_count=40)


class SessionMachine(RuleBasedStateMachine):
    """The worker's brain with whatever a coordinator, or somebody in its place, may say at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 50.0
        self.session = Session(Introduction(session("a"), "a", 1, "host", "software", ("invert",)), "tcp://c:1")
        self.computing: list[Chunk] = []
        self.came: set[tuple[int, int]] = set()  # of the job that is on
        self.preparing = False
        self.connections = {Channel.SINK: False, Channel.VENTILATOR: False}
        self.do(self.session.start(now=self.now))

    def do(self, actions):
        for action in actions:
            match action:
                case Connect():
                    self.connections = {Channel.SINK: False, Channel.VENTILATOR: True}
                case ConnectSink():
                    self.connections[Channel.SINK] = True
                case Say():
                    assert self.connections[action.channel], "there is a socket to say it on"
                case Deliver():
                    assert self.connections[Channel.SINK], "there is a socket to deliver it on"
                    lease = (action.result.index, action.result.attempt)
                    assert lease in self.came, "only what came is delivered"
                case Compute():
                    self.computing.append(action.chunk)
                    self.came.add((action.chunk.index, action.chunk.attempt))
                case Prepare():
                    self.preparing = True
                case Discard():
                    self.computing.clear()
                    self.came.clear()
                    self.preparing = False  # what comes of it is not told any more

    def hear(self, message, *, intact=True):
        self.do(self.session.receive(message, now=self.now, intact=intact))

    @rule(job=JOBS, who=NAMES_SAID, sinks=st.sampled_from(["tcp://:2", "tcp://:3"]), frames=st.sampled_from([8, 9]))
    def welcome(self, job, who, sinks, frames):
        self.hear(welcome(job=job, session=session(who), sinks=(sinks,), chunk_frames=frames))

    @precondition(lambda self: self.preparing)
    @rule(able=st.sampled_from([True, True, True, False]), reads=st.booleans())
    def prepared(self, able, reads):
        self.preparing = False
        self.do(self.session.prepared(now=self.now, reads=reads) if able else self.session.unable("it cannot"))

    @rule(job=JOBS, who=NAMES_SAID, sequence=st.integers(1, 9), index=INDEXES, attempt=ATTEMPTS, intact=st.booleans())
    def chunk(self, job, who, sequence, index, attempt, intact):
        frames = (8 * index, 8, 0, 0, 32)
        self.hear(Chunk(job, 1, session(who), sequence, index, attempt, *frames, 7, -1), intact=intact)

    @precondition(lambda self: self.computing)
    @rule(data=st.data(), raises=st.booleans())
    def computed(self, data, raises):
        chunk = data.draw(st.sampled_from(self.computing))
        lease = (chunk.index, chunk.attempt)
        self.computing.remove(chunk)
        if raises:
            self.do(self.session.failed(*lease, "ValueError: no", start=chunk.start, stop=chunk.start + 8))
        else:
            self.do(self.session.completed(*lease, length=32, checksum=1, seconds=0.1))

    @rule(index=INDEXES, attempt=ATTEMPTS)
    def computed_what_never_came(self, index, attempt):
        if (index, attempt) not in [(chunk.index, chunk.attempt) for chunk in self.computing]:
            assert self.session.completed(index, attempt, length=32, checksum=1, seconds=0.1) == []

    @rule(job=JOBS, who=NAMES_SAID, sequence=st.integers(0, 12))
    def sent(self, job, who, sequence):
        self.hear(Sent(job, 1, session(who), sequence))

    @rule(job=JOBS, who=NAMES_SAID, over=st.sampled_from([False, False, True]))
    def alive_or_over(self, job, who, over):
        lease = (job, 1, session(who))
        self.hear(Goodbye(*lease, "over") if over else Heartbeat(*lease))

    @rule(refused=st.sampled_from([False, False, False, True]))
    def again_or_refused(self, refused):
        self.hear(Refused("no") if refused else Again())

    @rule(seconds=st.sampled_from([0.01, 0.2, 0.6, 1.1, 6.0]))
    def time_passes(self, seconds):
        self.now += seconds
        self.do(self.session.tick(now=self.now))

    @rule(leaves=st.sampled_from([False, False, False, False, True]))
    def leave(self, leaves):
        if leaves:
            self.do(self.session.leave("it was told to stop"))

    @invariant()
    def holds(self):
        self.session.check()
        assert set(self.session.held) <= self.came, "what is held came"
        self.do(self.session.tick(now=self.now))
        assert self.session.finished or self.session.next_deadline() > self.now, "a tick does what is due"

    def teardown(self):
        """Whatever has happened: a coordinator that welcomes it now is told that it is ready, unless it has left."""
        if self.session.finished:
            return
        said = []
        other = welcome(job=b"z" * 16, sinks=("tcp://:9",))
        for actions in (self.session.receive(other, now=self.now), self.session.prepared(now=self.now)):
            said += [action.message for action in actions if isinstance(action, Say)]
        assert any(isinstance(message, Ready) and message.job == b"z" * 16 for message in said), said
        assert self.session.held == (), "nothing of another job is held"


TestSessions = SessionMachine.TestCase
TestSessions.settings = settings(max_examples=40, stateful_step_count=40)


class ManyLeases(LeasesMachine.TestCase):
    settings = settings(max_examples=300, stateful_step_count=50)


class ManyBrains(BrainsMachine.TestCase):
    settings = settings(max_examples=400, stateful_step_count=50)


def often(machine):
    """The whole search, which `make test` has no time for: 2,000 examples of 50 steps."""

    class Often(machine.TestCase):
        settings = settings(max_examples=2000, stateful_step_count=50)

    Often.__name__ = Often.__qualname__ = f"TestOften{machine.__name__}"
    return pytest.mark.timeout(1800)(pytest.mark.chaos(Often))


TestOftenLeases = often(LeasesMachine)
TestOftenBrains = often(BrainsMachine)
TestOftenAuditedBrains = often(AuditedBrainsMachine)
TestOftenSessions = often(SessionMachine)
TestManyLeases = pytest.mark.extended(ManyLeases)
TestManyBrains = pytest.mark.extended(ManyBrains)
del ManyLeases, ManyBrains


# Whole farms under any schedule of faults that comes to an end

PROBABILITY = st.sampled_from([0.0, 0.0, 0.1, 0.25, 0.5])
FAULT = st.builds(Fault, drop=PROBABILITY, delay=PROBABILITY, duplicate=PROBABILITY, reorder=PROBABILITY)
BLOW = st.tuples(
    st.floats(0.0, 8.0),  # when
    st.integers(0, 3),  # whom
    st.sampled_from(["crash", "die", "stop", "cut", "cut up", "cut down", "leave", "pause"]),
    st.sampled_from([0.05, 0.4, 0.9, 1.5, 4.0]),  # until it is over
)
WHATEVER = {
    "chunks": st.sampled_from([1, 2, 3, 16, 17, 31]),
    "workers": st.integers(1, 4),
    "credit": st.sampled_from([1, 2, 8]),
    "window": st.sampled_from([1, 2, 5, 100]),
    "seconds": st.sampled_from([0.01, 0.1, 0.5]),
    "fault": FAULT,
    "strays": st.booleans(),
    "blows": st.lists(BLOW, max_size=8),
    "seed": st.integers(0, 2**16),
    "outboxes": st.booleans(),
    "reference": st.booleans(),
}


def strike(farm, worker, blow, seconds):
    """One misfortune, and its end."""
    match blow:
        case "crash" | "die":
            worker.crash(known=blow == "die")
            farm.after(seconds, lambda: worker.alive or worker.start())
        case "stop":
            worker.stop()
            farm.after(seconds, worker.go_on)
        case "cut" | "cut up" | "cut down":
            worker.cut(up=blow != "cut down", down=blow != "cut up")
            farm.after(seconds, worker.heal)
        case "leave":
            worker.leave()
            farm.after(seconds, lambda: worker.alive or worker.start())
        case "pause":
            farm.pause()
            farm.after(seconds, farm.resume)


def survives(*, chunks, workers, credit, window, seconds, fault, strays, blows, seed, outboxes, reference):
    timing = replace(TIMING, chunk_timeout=20.0, chunk_timeout_floor=20.0)
    farm = Farm(
        chunks,
        workers=workers,
        credit=credit,
        window_most=window,
        seconds=seconds,
        faults=Faults(fault, until=112.0),
        strays=strays,
        seed=seed,
        timing=timing,
        outboxes=outboxes,
        reference=reference,
    )
    every = list(farm.workers.values())
    for when, whom, blow, duration in blows:
        worker = every[whom % workers]
        farm.after(LATENCY + when, lambda w=worker, b=blow, d=duration: w.lives and strike(farm, w, b, d))
    report = farm.run(limit=200.0)  # which asserts order, exactly once, and that credit comes back
    if report.error is None:
        assert report.released == list(range(chunks))
        return
    # Only real misfortunes of workers are blame, and it takes three of them.
    assert isinstance(report.error, ChunkError)
    assert len(report.error.causes) == 3
    assert len(report.lost) + len(report.stuck) >= 3


@examples(75)
@given(**WHATEVER)
def test_any_schedule_of_faults_that_ends_ends_with_the_whole_result(**whatever):
    survives(**whatever)


@pytest.mark.extended
@settings(max_examples=700)
@given(**WHATEVER)
def test_any_schedule_of_faults_that_ends_ends_with_the_whole_result_many_times(**whatever):
    survives(**whatever)


@examples(60)
@given(
    chunks=st.sampled_from([1, 5, 20]),
    workers=st.integers(1, 4),
    fault=st.builds(Fault, delay=PROBABILITY, duplicate=PROBABILITY, reorder=PROBABILITY),
    pauses=st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 5)), max_size=3),
    seed=st.integers(0, 2**16),
)
def test_where_nothing_is_lost_and_nobody_dies_nobody_is_blamed(chunks, workers, fault, pauses, seed):
    farm = Farm(chunks, workers=workers, faults=Faults(replace(fault, delay_most=0.3)), seed=seed)
    for when, seconds in pauses:
        farm.after(when, farm.pause)
        farm.after(when + seconds, farm.resume)
    report = farm.run()
    assert report.error is None
    assert report.lost == []
    assert report.stuck == []


def test_the_model_has_an_odd_chunk_as_a_recording_does():
    assert Farm(5).plan == Plan(37, 8)
    assert Farm(5).plan.span(0).frames == 5
