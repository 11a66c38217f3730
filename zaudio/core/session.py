"""Session: the worker's brain. Hello, welcome, ready, chunk, result; heartbeats, reconnecting, goodbye.

Rules:

- Five states. SEEKING: no coordinator has answered. PREPARING: welcomed, and the ops are made ready, which may take
  long: heartbeats go on. READY: chunks come. LEFT and REFUSED: over.
- Silence of the coordinator on both sockets for `dead_after` means that the connections are dead. The worker opens
  fresh sockets and says hello again with the same session. Results that it computes meanwhile are kept, and delivered
  after the next welcome. While it prepares, nothing is sent to it, and its silence means nothing.
- A welcome to another job ends everything that is held for the one before: see `zaudio.core.holding`.
- Time is judged in `tick` alone, which the shell calls after both sockets are drained. A tick that comes late excuses
  the coordinator for as long: it was this side that slept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from zaudio.core.actions import Compute, Connect, ConnectSink, Deliver, Discard, Prepare, Say, SessionAction
from zaudio.core.holding import Holding
from zaudio.core.lifetime import Lifetime
from zaudio.errors import NoCoordinatorError, RefusedError, ZaudioError
from zaudio.plan import Order
from zaudio.wire.codec import cut
from zaudio.wire.messages import (
    VERSION,
    Again,
    Channel,
    Chunk,
    Failed,
    Goodbye,
    Heartbeat,
    Hello,
    Message,
    Ready,
    Refused,
    Result,
    Sent,
    Welcome,
)

RETRY_FIRST = 0.5  # s; longer than a connection takes on any sane network
RETRY_MOST = 5.0  # s; a coordinator that comes is found within this
PATIENCE = 5.0  # s that a worker with `once` looks for a coordinator

Actions = list[SessionAction]


class State(Enum):
    """The state of a session."""

    SEEKING = "seeking"
    PREPARING = "preparing"
    READY = "ready"
    LEFT = "left"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Introduction:
    """The fields of a worker's hello: its name and place, and the things that it can do."""

    session: bytes
    name: str
    pid: int
    host: str
    software: str
    ops: tuple[str, ...]
    reads: tuple[str, ...] = ()
    outbox: bytes = b""

    def hello(self) -> Hello:
        """Return the message that says so."""
        return Hello(
            VERSION, self.session, self.name, self.pid, self.host, self.software, self.ops, self.reads, self.outbox
        )


class Session:
    """The worker's brain over one life of a worker.

    Args:
        introduction: The worker.
        endpoint: The ventilator's address; for sentences only.
        once: End with the first job, or when no coordinator answers, instead of looking for the next.
        lifetime: Seconds after which the worker leaves; None for no end.
        idle_timeout: Seconds without a chunk after which it leaves; None for no end.
    """

    def __init__(
        self,
        introduction: Introduction,
        endpoint: str,
        *,
        once: bool = False,
        lifetime: float | None = None,
        idle_timeout: float | None = None,
    ) -> None:
        self.state = State.SEEKING
        self.error: ZaudioError | None = None
        self._introduction = introduction
        self._endpoint = endpoint
        self._once = once
        # Workers of one host must not knock all at once; the session is random enough to spread them.
        self._jitter = 0.75 + introduction.session[0] / 512
        self._lifetime = Lifetime(lifetime, idle_timeout, share=introduction.session[1] / 255)
        self._job: tuple[bytes, int] = (b"", 0)  # job and incarnation of the last welcome
        self._reads = False  # the recording is open here
        self._numbers: tuple[int, ...] = ()  # of the ops that are ready
        self._prepared: Prepare | None = None  # the ops that are ready
        self._wanted: Prepare | None = None
        self._sinks: tuple[str, ...] = ()
        self._sink_open = False
        self._holding = Holding()
        self._heartbeat = 1.0
        self._dead_after = 5.0
        self._heard = 0.0
        self._beat = 0.0
        self._retry = RETRY_FIRST
        self._retry_at = 0.0
        self._seeking_since = 0.0
        self._due = math.inf  # when `tick` was to be called next

    # Messages and outcomes

    def start(self, *, now: float) -> Actions:
        """Begin to look for the coordinator."""
        self._lifetime.start(now)
        actions = self._seek(now, afresh=True)
        self._due = self.next_deadline()
        return actions

    def receive(self, message: Message, *, now: float, intact: bool = True) -> Actions:
        """Take a message that `wire.decode` let pass.

        Args:
            message: The message, from either socket.
            now: The time.
            intact: Whether a Chunk's payload has the checksum that its header names, or is not needed here.
        """
        if self.finished:
            return []
        self._heard = now
        match message:
            case Welcome():
                return self._welcome(message, now)
            case Refused():
                return self._end(State.REFUSED, RefusedError(f"{self._endpoint} refused this worker: {message.reason}"))
            case Again():
                return self._hello_again(now)
            case Goodbye() if self._mine(message):
                return self._job_over(now)
            case Chunk() if self.state is State.READY and self._mine(message):
                return [Compute(message)] if self._holding.take(message, intact=intact) else []
            case Sent() if self._mine(message):
                self._holding.expect(message.sequence)
        return []

    def prepared(self, *, now: float, reads: bool = False, numbers: tuple[int, ...] = ()) -> Actions:
        """Take note that the ops are ready, as the last `Prepare` said.

        Args:
            now: The time.
            reads: Whether the recording is open here.
            numbers: A number for each op, by which classes of machines are told apart.
        """
        self._prepared, self._reads, self._numbers = self._wanted, reads, numbers
        if self.state is not State.PREPARING:
            return []
        self._heard = now  # only from now on is something owed to us
        return self._join(now)

    def unable(self, reason: str) -> Actions:
        """Take note that the ops cannot be made ready."""
        farewell = self._goodbye(Channel.VENTILATOR, cut(reason))
        return [farewell, *self._end(State.REFUSED, RefusedError(f"this worker cannot take part: {reason}"))]

    def completed(
        self,
        index: int,
        attempt: int,
        *,
        length: int,
        checksum: int,
        seconds: float,
        slot: int = -1,
        clipped: int = 0,
        zeroed: int = 0,
    ) -> Actions:
        """Take note that a chunk is computed; its result lies in that slot of the outbox, or goes as a payload."""
        return self._outcome(Result(*self._ids, index, attempt, length, checksum, seconds, slot, clipped, zeroed))

    def failed(self, index: int, attempt: int, error: str, *, start: int, stop: int) -> Actions:
        """Take note that an op raised, on those frames of the output."""
        return self._outcome(Failed(*self._ids, index, attempt, start, stop, error))

    def leave(self, reason: str) -> Actions:
        """Leave in order: the chunks that are held go back."""
        if self.finished:
            return []
        # Behind the results, so that none of them is mistaken for a chunk handed back.
        channel = Channel.SINK if self._sink_open else Channel.VENTILATOR
        farewell = [self._goodbye(channel, cut(reason))] if self._job[0] else []
        return [*farewell, *self._end(State.LEFT, None)]

    # Time

    def tick(self, *, now: float) -> Actions:
        """Send heartbeats, notice silence. Call it only when both sockets are drained."""
        if self.finished:
            return []
        late = now - self._due - self._heartbeat
        if late > 0:
            self._excuse(late, now)
        reason = self._lifetime.over(now, busy=bool(self.held))
        actions = self.leave(reason) if reason else self._tick(now)
        self._due = self.next_deadline()
        return actions

    def next_deadline(self) -> float:
        """Return when to call `tick` next."""
        leaving = self._lifetime.deadline(busy=bool(self.held))
        if self.state is State.SEEKING:
            patience = self._seeking_since + PATIENCE if self._once else self._retry_at
            return min(self._retry_at, patience, leaving)
        if self.state is State.PREPARING:
            return min(self._beat, leaving)
        return min(self._beat, self._heard + self._dead_after, leaving)

    @property
    def finished(self) -> bool:
        """Whether this life of the worker is over; `error` says why, unless it ended in order."""
        return self.state in (State.LEFT, State.REFUSED)

    @property
    def held(self) -> tuple[tuple[int, int], ...]:
        """The (index, attempt) pairs that this worker holds."""
        return self._holding.held

    def check(self) -> None:
        """Assert the invariants."""
        assert self.state is not State.READY or self._sink_open, "a ready worker has a sink"
        self._holding.check(told=self.state is State.READY)

    # Time, in detail

    def _tick(self, now: float) -> Actions:
        if self.state is State.SEEKING:
            if self._once and now >= self._seeking_since + PATIENCE:
                return self._end(State.LEFT, NoCoordinatorError(self._endpoint, PATIENCE))
            return self._seek(now, afresh=False) if now >= self._retry_at else []
        if self.state is not State.PREPARING and now >= self._heard + self._dead_after:
            return self._seek(now, afresh=True)
        return self._say_alive(now) if now >= self._beat else []

    def _excuse(self, late: float, now: float) -> None:
        self._heard = min(now, self._heard + late)
        self._seeking_since = min(now, self._seeking_since + late)
        self._lifetime.excuse(late, now)

    # Coming and going

    def _seek(self, now: float, *, afresh: bool) -> Actions:
        if afresh:
            self._retry = RETRY_FIRST
            self._seeking_since = now
        self.state = State.SEEKING
        self._sink_open = False
        self._retry_at = now + self._retry * self._jitter
        self._retry = min(self._retry_most, 2 * self._retry)
        return [Connect(), Say(Channel.VENTILATOR, self._introduction.hello())]

    def _hello_again(self, now: float) -> Actions:
        if self.state is State.SEEKING:
            return []  # hello is on its way already
        self.state = State.SEEKING
        self._seeking_since = now
        self._retry = RETRY_FIRST
        self._retry_at = now + self._retry * self._jitter
        return [Say(Channel.VENTILATOR, self._introduction.hello())]

    def _welcome(self, welcome: Welcome, now: float) -> Actions:
        if welcome.session != self._introduction.session:
            return []
        actions: Actions = []
        if (welcome.job, welcome.incarnation) != self._job:
            actions += self._forget_job()
            self._job = (welcome.job, welcome.incarnation)
        self._heartbeat = welcome.heartbeat
        self._dead_after = welcome.heartbeat * welcome.liveness
        if welcome.sinks != self._sinks:
            self._sinks, self._sink_open = welcome.sinks, False
        self._wanted = Prepare(
            ops=welcome.ops,
            frames=welcome.frames,
            channels=welcome.channels,
            samplerate=welcome.samplerate,
            format=welcome.format,
            grid=welcome.grid,
            chunk_frames=welcome.chunk_frames,
            order=Order(welcome.order),
            source=welcome.source,
        )
        if self._wanted == self._prepared:
            return actions + self._join(now)
        self._prepared = None  # the shell gives up what was ready before
        self.state = State.PREPARING
        self._beat = now + self._heartbeat
        return [*actions, self._wanted]

    def _join(self, now: float) -> Actions:
        actions: Actions = []
        if not self._sink_open:
            self._sink_open = True
            actions.append(ConnectSink(self._sinks))
        self.state = State.READY
        actions += self._deliver()
        return actions + self._say_alive(now)

    def _job_over(self, now: float) -> Actions:
        actions = self._forget_job()
        if self._once:
            return actions + self._end(State.LEFT, None)
        self._job = (b"", 0)
        return actions + self._seek(now, afresh=True)

    def _forget_job(self) -> Actions:
        self._holding = Holding()
        return [Discard()] if self._job[0] else []

    def _end(self, state: State, error: ZaudioError | None) -> Actions:
        self.state, self.error = state, error
        return []

    def _goodbye(self, channel: Channel, reason: str) -> Say:
        return Say(channel, Goodbye(*self._ids, reason))

    # Outcomes

    def _outcome(self, outcome: Result | Failed) -> Actions:
        if self.finished or not self._holding.keep(outcome):
            return []
        self._lifetime.finish_chunk()
        return self._deliver() if self.state is State.READY else []

    def _deliver(self) -> Actions:
        return [
            Deliver(outcome) if isinstance(outcome, Result) else Say(Channel.SINK, outcome)
            for outcome in self._holding.deliver()
        ]

    # Small things

    @property
    def _retry_most(self) -> float:
        # A coordinator whose job is known may be behind a link that heals: it should not wait long for this worker.
        known = self._dead_after if self._job[0] else RETRY_MOST
        return min(RETRY_MOST, max(RETRY_FIRST, known))

    @property
    def _ids(self) -> tuple[bytes, int, bytes]:
        # Job, incarnation and session: every message of a worker that is welcomed begins with them.
        return *self._job, self._introduction.session

    def _mine(self, message: Goodbye | Chunk | Sent) -> bool:
        return (message.job, message.incarnation, message.session) == self._ids

    def _say_alive(self, now: float) -> Actions:
        self._beat = now + self._heartbeat
        alive: Actions = [Say(Channel.VENTILATOR, Heartbeat(*self._ids))]
        if self.state is State.READY:
            ready = Ready(*self._ids, self._holding.received, self.held, self._reads, self._numbers)
            alive.append(Say(Channel.SINK, ready))
        return alive
