"""The coordinator's Desk with a clock and short words for what workers say: the tests of `zaudio.core` use it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from zaudio.core import desk
from zaudio.core.actions import Grant, Lost, Peer, Released, Requeued, Send
from zaudio.core.job import Job, Ways
from zaudio.core.jury import Audit
from zaudio.core.register import Register
from zaudio.formats import sample_format
from zaudio.plan import Plan
from zaudio.reference import Reference
from zaudio.signal import Signal
from zaudio.steps import Step
from zaudio.timing import Timing
from zaudio.wire.messages import VERSION, Channel, Failed, Goodbye, Heartbeat, Hello, Message, Ready, Result, Welcome

HEARTBEAT = 0.2
DEAD = 1.0  # five heartbeats
TIMING = Timing(
    heartbeat=HEARTBEAT,
    liveness=5,
    chunk_timeout=6.0,
    chunk_timeout_floor=3.0,
    chunk_timeout_factor=10.0,
    worker_timeout=30.0,
)
JOB_ID = b"j" * 16
FRAMES = 8  # of a chunk, and bytes of its result
INVERT = (Step("invert"),)
SINKS = ("tcp://:2",)


def session(name: str) -> bytes:
    """The session of the worker with that name."""
    return name.encode().ljust(16, b"-")


def route(name: str, life: int = 1) -> Peer:
    return Peer(Channel.VENTILATOR, f"{name}{life}".encode())


def sink(name: str, life: int = 1) -> Peer:
    return Peer(Channel.SINK, f"{name}{life}".encode())


def checksum(index: int) -> int:
    return 1000 + index


def result(name: str, index: int, attempt: int = 1, **other: object) -> Result:
    """A good result, but for what is said otherwise."""
    fields = {"job": JOB_ID, "incarnation": 1, "session": session(name), "index": index, "attempt": attempt}
    fields |= {"length": FRAMES, "checksum": checksum(index), "seconds": 0.1, "slot": -1}
    return Result(**fields | other)


def welcome(**other: object) -> Welcome:
    """The welcome of worker a, but for what is said otherwise."""
    fields = {"job": JOB_ID, "incarnation": 1, "session": session("a"), "sinks": SINKS}
    fields |= {"heartbeat": HEARTBEAT, "liveness": 5, "credit": 2, "ops": INVERT, "source": None}
    fields |= {"frames": 2**20, "channels": 1, "samplerate": 44100, "format": "f32le"}
    fields |= {"grid": 0, "chunk_frames": FRAMES, "order": "reversed"}
    return Welcome(**fields | other)


def job(
    chunks: int = 10,
    *,
    credit: int = 2,
    window: int = 100,
    timing: Timing = TIMING,
    ops: tuple = INVERT,
    run: int = 1,
    source: Reference | None = None,
    audit: Audit | None = None,
    job_id: bytes = JOB_ID,
    **machines: object,
) -> Job:
    """A job of that many grants; `run`: so many of the user's chunks travel in each."""
    plan = Plan(chunks * FRAMES, FRAMES)
    return Job(
        id=job_id,
        incarnation=1,
        plan=plan,
        chunk_frames=FRAMES // run,
        ops=ops,
        signal=Signal(plan.frames, 1, 44100, sample_format("f32le")),
        grid=0,
        credit=credit,
        window_most=window,
        timing=timing,
        source=source,
        audit=audit,
        **machines,
    )


def recording(path: str = "/srv/take.raw") -> Reference:
    return Reference(path, 0, 1000, 17, 2049, 1311, 5)


class CountingDesk(desk.Desk):
    """A Desk that counts what it decides, by the kind of the action."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.counts: Counter[type] = Counter()

    def receive(self, *args: object, **kwargs: object) -> list:
        return self._count(super().receive(*args, **kwargs))

    def tick(self, *, now: float) -> list:
        return self._count(super().tick(now=now))

    def undelivered(self, grant: Grant, *, now: float) -> list:
        return self._count(super().undelivered(grant, now=now))

    def gone(self, session: bytes, reason: str, *, now: float) -> list:
        return self._count(super().gone(session, reason, now=now))

    def admit(self, identities: frozenset[str], *, now: float) -> list:
        return self._count(super().admit(identities, now=now))

    def _count(self, actions: list) -> list:
        self.counts.update(map(type, actions))
        return actions


class Desk:
    """The Desk of one job, its clock, and short words for what workers say."""

    def __init__(
        self,
        chunks: int = 10,
        *,
        now: float = 50.0,
        ciphering: bool = True,
        outboxes: Iterable[bytes] = (),
        register: Register | None = None,
        **of_job: object,
    ) -> None:
        self.now = self.began = now
        self.job = job(chunks, **of_job)
        self.register = register or Register()
        self.desk = CountingDesk(
            self.job,
            ways=Ways(SINKS, frozenset(outboxes)),
            register=self.register,
            frame_bytes=1,
            offers=lambda ops, name: name in ops,
            now=now,
        )
        self.dispatcher, self.assembler = self.desk._dispatcher, self.desk._assembler  # to look at
        self.leases, self.roster, self.granting = self.desk._leases, self.desk._roster, self.desk._granting
        self.blame, self.jury = self.desk._blame, self.desk._jury
        self.ciphering = ciphering  # whether the cipher is done with a chunk as soon as it has it
        self.ciphered = 0

    def check(self) -> None:
        self.desk.check()

    def count(self, kind: type) -> int:
        """How many actions of that kind were decided so far."""
        return self.desk.counts[kind]

    @property
    def workers(self) -> int:
        """How many workers are ready."""
        return sum(member.ready for member in self.roster)

    def at(self, seconds: float) -> "Desk":
        """That many seconds into the job."""
        assert self.began + seconds >= self.now, "time does not run backwards"
        self.now = self.began + seconds
        return self

    def later(self, seconds: float) -> "Desk":
        self.now += seconds
        return self

    # What workers say

    def hello(
        self,
        name: str,
        *,
        version: int = VERSION,
        ops: tuple[str, ...] = ("invert",),
        reads: tuple[str, ...] = (),
        outbox: bytes = b"",
        life: int = 1,
        host: str = "host",
    ) -> list:
        hello = Hello(version, session(name), name, 1, host, f"software of {host}", ops, reads, outbox)
        return self._say(route(name, life), hello)

    def ready(
        self,
        name: str,
        *,
        received: int | None = None,
        held: object = None,
        reads: bool = False,
        life: int = 1,
        numbers: tuple[int, ...] = (),
    ) -> list:
        """By default: everything that was sent has come, and is held."""
        leases = self.leases.held(session(name))
        if received is None:
            received = max((lease.sequence for lease in leases), default=0)
        if held is None:
            held = tuple((lease.index, lease.attempt) for lease in leases)
        return self._say(sink(name, life), Ready(self.job.id, 1, session(name), received, held, reads, numbers))

    def join(self, *names: str, reads: bool = False, outbox: bytes = b"") -> list:
        """Hello and ready: what the last of them is granted, and all before."""
        actions = []
        for name in names:
            actions += only(self.hello(name, outbox=outbox), Lost)
            actions += self.ready(name, received=0, held=(), reads=reads)
        return actions

    def alive(self, *names: str, life: int = 1) -> list:
        actions = []
        for name in names:
            actions += self._say(route(name, life), Heartbeat(JOB_ID, 1, session(name)))
        return actions

    def failed(
        self,
        name: str,
        index: int,
        attempt: int = 1,
        error: str = "ValueError: no",
        *,
        frames: tuple[int, int] | None = None,
    ) -> list:
        """By default: on all frames that were granted."""
        if frames is None:
            chunk = self.job.plan.span(index) if index < len(self.job.plan) else None
            frames = (chunk.start, chunk.stop) if chunk is not None else (0, 0)
        return self._say(sink(name), Failed(JOB_ID, 1, session(name), index, attempt, *frames, error))

    def goodbye(self, name: str, reason: str = "it was told to stop") -> list:
        return self._say(sink(name), Goodbye(JOB_ID, 1, session(name), reason))

    def result(self, name: str, index: int, attempt: int = 1, **other: object) -> list:
        """A result comes; the actions of the Desk."""
        return self.take(result(name, index, attempt, **other))

    def take(self, message: Result) -> list:
        digest = message.checksum.to_bytes(8, "big")
        peer = Peer(Channel.SINK, b"?")
        actions = self.desk.receive(peer, message, now=self.now, checksum=message.checksum, digest=digest)
        if only(actions, Released):
            actions += self.progress()
        return actions

    # What else happens

    def progress(self, ciphered: int | None = None) -> list:
        released = self.assembler.released
        self.ciphered = ciphered if ciphered is not None else released if self.ciphering else self.ciphered
        return self.desk.progressed(ciphered=self.ciphered, now=self.now)

    def gone(self, name: str, reason: str = "it died of signal 9 (SIGKILL)") -> list:
        return self.desk.gone(session(name), reason, now=self.now)

    def tick(self) -> list:
        return self.desk.tick(now=self.now)

    def wait(self, seconds: float, *alive: str) -> list:
        """Let time pass in ticks, while these workers send their heartbeats."""
        actions: list = []
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(self.now + HEARTBEAT / 4, end)
            actions += self.alive(*alive)
            actions += self.tick()
        return actions

    def _say(self, peer: Peer, message: Message) -> list:
        return self.desk.receive(peer, message, now=self.now)


def checked_desks() -> Iterator[Callable[..., Desk]]:
    """Yield a function that makes desks, for a fixture; check them all at the end."""
    made = []

    def make(*arguments, **named) -> Desk:
        made.append(Desk(*arguments, **named))
        return made[-1]

    yield make
    for each in made:
        each.check()


# Reading actions


def grants(actions: Iterable) -> list[tuple[str, int, int]]:
    """(worker, index, attempt) of each grant."""
    return [(name_of(a.session), a.index, a.attempt) for a in actions if isinstance(a, Grant)]


def granted(actions: Iterable) -> list[tuple[str, int]]:
    """(worker, index) of each grant."""
    return [(name, index) for name, index, _ in grants(actions)]


def requeued(actions: Iterable) -> list[int]:
    return [action.index for action in actions if isinstance(action, Requeued)]


def only(actions: Iterable, kind: type) -> list:
    return [action for action in actions if isinstance(action, kind)]


def messages(actions: Iterable) -> list:
    return [action.message for action in actions if isinstance(action, Send)]


def name_of(session_: bytes) -> str:
    return session_.rstrip(b"-").decode()
