"""Session: the worker's brain, by the clock."""

import itertools
from dataclasses import replace

import pytest
from core_support import INVERT, JOB_ID, recording, welcome

from zaudio.core.actions import Compute, Connect, ConnectSink, Deliver, Discard, Prepare, Say
from zaudio.core.lifetime import LAST_CHUNK
from zaudio.core.session import PATIENCE, RETRY_FIRST, RETRY_MOST, Introduction, Session, State
from zaudio.errors import NoCoordinatorError, RefusedError
from zaudio.plan import Order
from zaudio.wire.messages import (
    Again,
    Channel,
    Chunk,
    Failed,
    Goodbye,
    Heartbeat,
    Ready,
    Refused,
    Result,
    Sent,
)

ME = b"m" * 16
HEARTBEAT = 0.2
DEAD = 1.0
INTRODUCTION = Introduction(ME, "worker", 7, "host", "software", ("invert",))
HELLO = Say(Channel.VENTILATOR, INTRODUCTION.hello())
PREPARE = Prepare(INVERT, 2**20, 1, 44100, "f32le", 0, 8, Order.REVERSED, None)
SINKS = ("tcp://:2",)


class Life:
    """One life of a worker, its clock, and short words for what the coordinator says."""

    def __init__(self, **settings: float) -> None:
        self.now = 0.0
        self.session = Session(INTRODUCTION, "tcp://host:1", **settings)

    def at(self, now: float) -> "Life":
        self.now = now
        return self

    def until(self, now: float) -> list:
        """Let time pass, tick by tick as a shell does it. What the last tick did."""
        actions: list = []
        while not self.session.finished and (due := self.session.next_deadline()) <= now:
            self.now = max(self.now, due)
            actions = self.tick()
            assert self.session.finished or self.session.next_deadline() > self.now, "a tick that was due did nothing"
        self.now = now
        return actions

    def start(self) -> list:
        return self.session.start(now=self.now)

    def hear(self, message: object, *, intact: bool = True) -> list:
        return self.session.receive(message, now=self.now, intact=intact)

    def welcome(self, **other: object) -> list:
        return self.hear(welcome(**{"session": ME} | other))

    def prepared(self, *, reads: bool = False) -> list:
        return self.session.prepared(now=self.now, reads=reads)

    def chunk(self, sequence: int, index: int, attempt: int = 1, *, intact: bool = True, **other: object) -> list:
        return self.hear(chunk(sequence, index, attempt, **other), intact=intact)

    def sent(self, sequence: int, **other: object) -> list:
        return self.hear(Sent(**{"job": JOB_ID, "incarnation": 1, "session": ME, "sequence": sequence} | other))

    def heartbeat(self) -> list:
        return self.hear(Heartbeat(JOB_ID, 1, ME))

    def goodbye(self, *, session: bytes = ME) -> list:
        return self.hear(Goodbye(JOB_ID, 1, session, "the job is done"))

    def completed(self, index: int, attempt: int = 1, *, slot: int = -1) -> list:
        return self.session.completed(index, attempt, length=32, checksum=5, seconds=0.25, slot=slot)

    def failed(self, index: int, attempt: int = 1, error: str = "ValueError: no") -> list:
        return self.session.failed(index, attempt, error, start=3, stop=5)

    def tick(self) -> list:
        return self.session.tick(now=self.now)


def alive(received: int, *held: tuple[int, int], reads: bool = False) -> list[Say]:
    """What a ready worker says each heartbeat."""
    return [
        Say(Channel.VENTILATOR, Heartbeat(JOB_ID, 1, ME)),
        Say(Channel.SINK, Ready(JOB_ID, 1, ME, received, held, reads)),
    ]


def delivered(index: int, attempt: int = 1, *, slot: int = -1) -> Deliver:
    return Deliver(Result(JOB_ID, 1, ME, index, attempt, 32, 5, 0.25, slot))


def chunk(sequence: int, index: int, attempt: int = 1, **other: object) -> Chunk:
    fields = {"job": JOB_ID, "incarnation": 1, "session": ME, "sequence": sequence, "index": index}
    fields |= {"attempt": attempt, "start": 1, "stop": 9, "input_start": 0, "input_stop": 11, "length": 44}
    return Chunk(**fields | {"checksum": 0, "slot": -1} | other)


@pytest.fixture
def life():
    life = Life()
    yield life
    life.session.check()


@pytest.fixture
def ready(life):
    life.start()
    life.at(0.1).welcome()
    life.prepared()
    return life


@pytest.fixture
def once():
    life = Life(once=True)
    yield life
    life.session.check()


# From hello to ready


def test_a_worker_begins_with_a_connection_and_a_hello(life):
    assert life.start() == [Connect(), HELLO]
    assert life.session.state is State.SEEKING
    assert not life.session.finished


def test_a_welcome_is_answered_with_ready_once_the_ops_are_prepared(life):
    life.start()
    assert life.at(0.1).welcome() == [PREPARE]
    assert life.session.state is State.PREPARING
    assert life.at(0.2).prepared() == [ConnectSink(SINKS), *alive(0)]
    assert life.session.state is State.READY


def test_a_worker_that_prepares_says_that_it_is_alive_and_not_that_it_is_ready(life):
    life.start()
    life.welcome()
    assert life.at(HEARTBEAT - 0.01).tick() == []
    assert life.at(HEARTBEAT).tick() == [Say(Channel.VENTILATOR, Heartbeat(JOB_ID, 1, ME))]


def test_the_same_welcome_twice_prepares_once(ready):
    assert ready.at(0.2).welcome() == alive(0)


def test_a_welcome_with_other_ops_prepares_again(ready):
    assert ready.at(0.2).welcome(incarnation=2, channels=2) == [
        Discard(),
        Prepare(INVERT, 2**20, 2, 44100, "f32le", 0, 8, Order.REVERSED, None),
    ]
    assert ready.session.state is State.PREPARING


def test_a_welcome_with_another_sink_opens_it(ready):
    assert ready.at(0.2).welcome(sinks=("tcp://:9",))[0] == ConnectSink(("tcp://:9",))


def test_a_welcome_for_somebody_else_is_ignored(life):
    life.start()
    assert life.welcome(session=b"x" * 16) == []
    assert life.session.state is State.SEEKING


def test_ops_prepared_after_the_worker_was_asked_to_say_hello_again_are_ready_for_the_next_welcome(life):
    life.start()
    life.welcome()
    assert life.hear(Again()) == [HELLO]
    assert life.prepared() == []
    assert life.welcome() == [ConnectSink(SINKS), *alive(0)]


# Seeking


def test_hello_is_said_again_at_doubling_intervals_on_fresh_connections(life):
    life.start()
    pause, waits = RETRY_FIRST, []
    for _ in range(6):
        due = life.session.next_deadline()
        waits.append((due - life.now) / pause)
        assert life.at(due - 0.001).tick() == []
        assert life.at(due).tick() == [Connect(), HELLO]
        pause = min(2 * pause, RETRY_MOST)
    assert pause == RETRY_MOST
    assert waits == pytest.approx([waits[0]] * 6)
    assert 0.75 <= waits[0] <= 1.25, "workers of one host do not knock all at once"


def test_workers_with_other_sessions_knock_at_other_times():
    def first(session: bytes) -> float:
        return _started(Session(Introduction(session, "w", 1, "h", "s", ()), "e")).next_deadline()

    def _started(session: Session) -> Session:
        session.start(now=0.0)
        return session

    assert first(bytes(16)) < first(b"\x80" * 16) < first(b"\xff" * 16)


def test_with_once_patience_ends_with_no_coordinator(once):
    once.start()
    while not once.session.finished:
        assert once.now < PATIENCE
        due = once.session.next_deadline()
        assert due > once.now
        once.at(due).tick()
    assert once.now == pytest.approx(PATIENCE)
    assert once.session.state is State.LEFT
    assert isinstance(once.session.error, NoCoordinatorError)
    assert "tcp://host:1" in str(once.session.error)
    assert once.tick() == []


def test_with_once_a_coordinator_that_fell_silent_is_looked_for_as_long(once):
    once.start()
    once.until(1.0)
    once.welcome()
    once.prepared()
    once.until(1.0 + DEAD)
    assert once.session.state is State.SEEKING
    once.until(1.0 + DEAD + PATIENCE - 0.01)
    assert not once.session.finished
    once.until(1.0 + DEAD + PATIENCE)
    assert once.session.finished


def test_ops_that_others_took_the_place_of_are_not_ready_any_more(ready):
    ready.at(0.2).welcome(job=b"k" * 16, channels=2)
    ready.hear(Goodbye(b"k" * 16, 1, ME, "over"))
    assert PREPARE in ready.welcome(), "its shell had begun to prepare the others"
    assert ready.prepared() == [ConnectSink(SINKS), *alive(0)]


# Heartbeats and silence


def test_a_ready_worker_says_each_heartbeat_that_it_lives_and_what_it_holds(ready):
    ready.chunk(1, 4)
    ready.chunk(2, 3, 2)
    assert ready.session.next_deadline() == pytest.approx(0.1 + HEARTBEAT)
    assert ready.at(0.1 + HEARTBEAT - 0.01).tick() == []
    assert ready.at(0.1 + HEARTBEAT).tick() == alive(2, (4, 1), (3, 2))
    assert ready.at(0.1 + HEARTBEAT + 0.01).tick() == []


@pytest.mark.parametrize("what", ["heartbeat", "sent", "chunk", "welcome"])
def test_any_message_proves_that_the_coordinator_lives(ready, what):
    ready.until(0.9)
    {"heartbeat": ready.heartbeat, "sent": lambda: ready.sent(0), "chunk": lambda: ready.chunk(1, 0)}.get(
        what, ready.welcome
    )()
    assert Connect() not in ready.until(0.9 + DEAD - 0.01)
    assert Connect() in ready.until(0.9 + DEAD)


def test_a_tick_that_is_due_does_something(ready):
    for _ in range(50):
        due = ready.session.next_deadline()
        assert due > ready.now
        assert ready.at(due).tick() != []


def test_silence_means_fresh_connections_and_hello_again(ready):
    ready.chunk(1, 0)
    assert ready.until(0.1 + DEAD) == [Connect(), HELLO]
    assert ready.session.state is State.SEEKING
    assert ready.session.held == ((0, 1),), "what is held is kept"


def test_what_is_computed_while_nobody_listens_is_delivered_before_the_next_ready(ready):
    ready.chunk(1, 0)
    ready.chunk(2, 1)
    ready.chunk(3, 2)
    ready.until(0.1 + DEAD)
    assert ready.completed(0) == []
    assert ready.failed(1, error="no") == []
    assert ready.session.held == ((0, 1), (1, 1), (2, 1))
    ready.session.check()
    assert ready.at(1.5).welcome() == [
        ConnectSink(SINKS),
        delivered(0),
        Say(Channel.SINK, Failed(JOB_ID, 1, ME, 1, 1, 3, 5, "no")),
        *alive(3, (2, 1)),
    ]


def test_preparing_may_take_long_with_heartbeats_and_no_word_from_the_coordinator(life):
    life.start()
    life.welcome()
    beats = []
    while life.now < 20 * DEAD:
        life.at(life.session.next_deadline())
        beats += life.tick()
    assert beats == [alive(0)[0]] * len(beats), "nothing but heartbeats, on the ventilator's socket"
    assert len(beats) >= 20 * DEAD / HEARTBEAT
    assert life.prepared() == [ConnectSink(SINKS), *alive(0)]
    assert life.until(life.now + 0.9 * DEAD)[-1] == alive(0)[-1], "silence counts from then on"
    assert life.until(life.now + 0.2 * DEAD)[-2:] == [Connect(), HELLO]


def test_again_while_preparing_is_answered_and_the_ops_need_not_be_prepared_twice(life):
    life.start()
    life.welcome()
    assert life.hear(Again()) == [HELLO]
    assert life.prepared() == [], "there is no job to be ready for until the next welcome"
    assert life.welcome() == [ConnectSink(SINKS), *alive(0)]


def test_again_means_hello_on_the_same_connection(ready):
    assert ready.hear(Again()) == [HELLO]
    assert ready.hear(Again()) == [], "hello is on its way already"
    assert ready.welcome() == alive(0), "the sink's connection is still there"


def test_a_hello_after_again_that_nobody_answers_is_said_again(ready):
    ready.hear(Again())
    assert ready.at(ready.session.next_deadline()).tick() == [Connect(), HELLO]


@pytest.mark.covers("workers stopped for 0.5 to 30 x DEAD, all of them and the coordinator", by="by the clock")
@pytest.mark.parametrize("seconds", [DEAD, 3 * DEAD, 1000.0])
def test_a_worker_that_slept_does_not_take_its_own_sleep_for_silence(ready, seconds):
    ready.until(0.9)
    ready.heartbeat()
    assert ready.at(0.9 + seconds).tick() == alive(0), "nothing has come yet, and that is no wonder"
    assert Connect() not in ready.until(0.9 + seconds + 0.5 * DEAD)
    assert ready.session.state is State.READY
    ready.until(0.9 + seconds + DEAD + HEARTBEAT)
    assert ready.session.state is State.SEEKING, "and then judges as before"


def test_a_worker_that_is_always_late_still_notices_silence(ready):
    for k in range(1, 8):
        ready.at(0.1 + k * 3 * HEARTBEAT).tick()
    assert ready.session.state is State.SEEKING


def test_a_worker_that_slept_has_as_much_patience_as_before(once):
    once.start()
    once.until(1.0)
    once.at(100.0).tick()
    assert not once.session.finished
    once.until(101.0)
    assert not once.session.finished
    once.until(100.0 + PATIENCE)
    assert once.session.finished


def test_hello_to_a_coordinator_whose_job_is_known_is_said_at_least_each_time_that_silence_is_found(ready):
    ready.until(0.1 + DEAD)
    assert ready.session.state is State.SEEKING
    hellos = [ready.now]
    while ready.now < 30:
        assert ready.until(ready.session.next_deadline()) == [Connect(), HELLO]
        hellos.append(ready.now)
    pauses = [after - before for before, after in itertools.pairwise(hellos)]
    assert max(pauses) <= 1.25 * DEAD
    assert max(pauses) >= 0.75 * DEAD, "and not all the time"


def test_hello_to_a_coordinator_that_said_goodbye_is_said_ever_more_seldom(ready):
    ready.goodbye()
    for _ in range(8):
        ready.until(ready.session.next_deadline())
    assert ready.session.next_deadline() - ready.now >= 0.75 * RETRY_MOST


# Leaving by the clock


def living(*, spread: int = 0, **limits: float) -> Life:
    """A ready worker with a lifetime or an idle timeout; `spread`, of 255, is how far it goes from what was said."""
    life = Life(**limits)
    life.session = Session(replace(INTRODUCTION, session=bytes([0, spread]) + ME[2:]), "tcp://host:1", **limits)
    life.start()
    life.welcome(session=bytes([0, spread]) + ME[2:])
    life.prepared()
    return life


def heard(life: Life, now: float) -> None:
    """Let time pass, while the coordinator is heard of."""
    while life.now < now and not life.session.finished:
        life.session.receive(Heartbeat(JOB_ID, 1, ME), now=life.now)
        life.until(min(now, life.now + HEARTBEAT))


@pytest.mark.covers("`--lifetime`, `--idle-timeout`", by="by the clock")
@pytest.mark.parametrize(("spread", "seconds"), [(0, 10.0), (255, 9.0), (51, 9.8)])
def test_a_worker_leaves_when_its_lifetime_is_over_and_workers_of_one_start_not_all_at_once(spread, seconds):
    life = living(spread=spread, lifetime=10.0)
    heard(life, seconds - 0.01)
    assert not life.session.finished
    assert life.session.next_deadline() <= seconds + 1e-9
    (say,) = life.until(seconds + 1e-6)
    assert isinstance(say.message, Goodbye)
    assert say.message.reason == "its lifetime is over"
    assert life.session.state is State.LEFT
    assert life.session.error is None


def test_a_worker_whose_lifetime_is_over_finishes_its_chunk_and_hands_the_next_one_back():
    life = living(lifetime=10.0)
    heard(life, 9.5)
    for sequence, index in ((1, 4), (2, 5)):
        life.hear(replace(chunk(sequence, index), session=life.session._introduction.session))
    heard(life, 12.0)
    assert not life.session.finished, "it is at chunk 4"
    (deliver,) = life.completed(4)
    assert deliver.result.index == 4
    (say,) = life.tick()
    assert isinstance(say.message, Goodbye)
    assert life.session.held == ((5, 1),), "which goes back with the goodbye"


def test_a_chunk_that_never_ends_does_not_outlive_a_lifetime_for_long():
    life = living(lifetime=10.0)
    heard(life, 9.5)
    life.hear(replace(chunk(1, 4), session=life.session._introduction.session))
    heard(life, 10.0 + LAST_CHUNK - 0.01)
    assert not life.session.finished
    heard(life, 10.0 + LAST_CHUNK + 0.01)
    assert life.session.state is State.LEFT


def test_a_lifetime_ends_also_while_a_coordinator_is_looked_for():
    life = Life(lifetime=7.0)
    life.start()
    life.until(7.0)
    assert life.session.state is State.LEFT
    assert life.session.error is None


@pytest.mark.covers("`--lifetime`, `--idle-timeout`", by="by the clock")
@pytest.mark.parametrize(("spread", "seconds"), [(0, 3.0), (255, 3.3)])
def test_a_worker_leaves_when_it_had_no_chunk_for_its_idle_timeout(spread, seconds):
    life = living(spread=spread, idle_timeout=3.0)
    heard(life, 2.0)
    life.hear(replace(chunk(1, 4), session=life.session._introduction.session))
    heard(life, 20.0)
    assert not life.session.finished, "it is busy"
    life.completed(4)
    heard(life, 20.0 + seconds - 0.01)
    assert not life.session.finished
    heard(life, 20.0 + seconds + 0.01)
    assert life.session.state is State.LEFT
    assert life.session.error is None


def test_an_idle_timeout_runs_also_while_a_coordinator_is_looked_for():
    life = Life(idle_timeout=3.0)
    life.start()
    life.until(2.9)
    assert not life.session.finished
    life.until(3.4)
    assert life.session.state is State.LEFT
    assert life.session.error is None, "it was asked to"


def test_a_worker_that_slept_was_not_idle():
    life = living(idle_timeout=3.0)
    heard(life, 1.0)
    life.at(500.0).tick()
    assert not life.session.finished


# Chunks


def test_a_chunk_is_computed_and_its_result_delivered(ready):
    assert ready.chunk(1, 9) == [Compute(chunk(1, 9))]
    assert ready.session.held == ((9, 1),)
    assert ready.completed(9) == [delivered(9)]
    assert ready.session.held == ()


def test_an_op_that_raises_is_said_to_the_sink_with_the_frames_it_was_applied_to(ready):
    ready.chunk(1, 9)
    assert ready.failed(9) == [Say(Channel.SINK, Failed(JOB_ID, 1, ME, 9, 1, 3, 5, "ValueError: no"))]
    assert ready.session.held == ()


def test_a_chunk_that_comes_twice_is_computed_once(ready):
    ready.chunk(1, 9)
    assert ready.chunk(1, 9) == []
    ready.completed(9)
    assert ready.chunk(1, 9) == []
    assert ready.session.held == ()


@pytest.mark.covers(
    "An attempt sent twice to a worker that nobody listens to (found by 2,000 examples of 50 steps): computed once",
    number=40,
    bound="no exception",
    measured="",
    removed="`holding.py`: `if (chunk.index, chunk.attempt) in self._held`",
)
def test_an_attempt_that_is_sent_twice_under_two_sequences_is_computed_once_even_when_nobody_listens(ready):
    """A coordinator that is none of ours may say anything; this once ended the worker with a KeyError."""
    assert ready.chunk(1, 0) == [Compute(chunk(1, 0))]
    assert ready.chunk(2, 0) == []
    ready.hear(Again())
    assert ready.completed(0) == []
    assert ready.completed(0) == [], "kept once"
    assert delivered(0) in ready.welcome()
    ready.session.check()


def test_a_chunk_that_was_overtaken_is_given_up(ready):
    ready.chunk(2, 8)
    assert ready.chunk(1, 9) == []
    assert ready.at(0.5).tick() == alive(2, (8, 1))


def test_a_corrupted_chunk_is_received_and_not_held(ready):
    assert ready.chunk(1, 9, intact=False) == []
    assert ready.at(0.5).tick() == alive(1)


def test_what_was_sent_and_did_not_come_is_received_and_not_held(ready):
    ready.chunk(1, 9)
    assert ready.sent(3) == []
    assert ready.at(0.5).tick() == alive(3, (9, 1))
    assert ready.chunk(3, 7) == [], "it was given up already"
    assert ready.sent(2) == []
    assert ready.at(0.9).tick() == alive(3, (9, 1)), "it never goes back"


@pytest.mark.parametrize("other", [{"job": b"x" * 16}, {"incarnation": 2}, {"session": b"x" * 16}])
def test_what_is_said_of_another_job_or_to_another_session_is_ignored(ready, other):
    assert ready.chunk(1, 9, **other) == []
    assert ready.sent(5, **other) == []
    assert ready.at(0.5).tick() == alive(0)


def test_chunks_are_ignored_by_a_worker_that_is_not_ready(ready):
    ready.hear(Again())
    assert ready.chunk(1, 9) == []
    ready.welcome()
    assert ready.sent(1) == []
    assert ready.at(0.5).tick() == alive(1), "so it is lost, and granted again"


def test_an_outcome_of_a_chunk_that_is_not_held_is_nothing(ready):
    assert ready.completed(9) == []
    ready.chunk(1, 9)
    ready.completed(9)
    assert ready.completed(9) == []
    assert ready.failed(9) == []


# What lies in files and in shared memory


def test_a_hello_says_what_the_worker_can_read_and_where_it_leaves_results():
    introduction = Introduction(ME, "worker", 7, "host", "software", ("invert",), ("/srv", "/home"), b"o" * 16)
    hello = introduction.hello()
    assert (hello.reads, hello.outbox) == (("/srv", "/home"), b"o" * 16)
    assert (INTRODUCTION.hello().reads, INTRODUCTION.hello().outbox) == ((), b""), "of a worker elsewhere"


def test_where_the_recording_lies_is_a_thing_to_prepare(life):
    life.start()
    assert life.welcome(source=recording()) == [
        Prepare(INVERT, 2**20, 1, 44100, "f32le", 0, 8, Order.REVERSED, recording())
    ]


@pytest.mark.parametrize("reads", [True, False])
def test_every_ready_says_whether_the_recording_is_open_here(life, reads):
    life.start()
    life.welcome(source=recording())
    assert life.prepared(reads=reads) == [ConnectSink(SINKS), *alive(0, reads=reads)]
    assert life.at(HEARTBEAT).tick() == alive(0, reads=reads)
    life.hear(Again())
    assert life.welcome(source=recording()) == alive(0, reads=reads), "it was not closed"


def test_a_welcome_with_another_recording_opens_it_anew(ready):
    source = recording()
    assert ready.welcome(source=source) == [Prepare(INVERT, 2**20, 1, 44100, "f32le", 0, 8, Order.REVERSED, source)]
    ready.prepared(reads=True)
    assert ready.welcome() == [PREPARE]
    assert ready.prepared()[-2:] == alive(0, reads=False)


def test_a_chunk_without_a_payload_is_as_good_as_any(ready):
    assert ready.chunk(1, 9, slot=3) == [Compute(chunk(1, 9, slot=3))]
    assert ready.session.held == ((9, 1),)


def test_a_result_names_the_slot_that_it_lies_in(ready):
    ready.chunk(1, 9, slot=3)
    assert ready.completed(9, slot=3) == [delivered(9, slot=3)]


def test_a_result_that_is_kept_keeps_its_slot(ready):
    ready.chunk(1, 0, slot=1)
    ready.until(0.1 + DEAD)
    ready.completed(0, slot=1)
    assert ready.at(1.5).welcome()[1] == delivered(0, slot=1)


# The end


def test_another_job_ends_what_was_held_for_the_one_before(ready):
    ready.chunk(5, 9)
    ready.hear(Again())
    ready.completed(9)
    assert ready.at(0.3).welcome(job=b"k" * 16) == [
        Discard(),
        Say(Channel.VENTILATOR, Heartbeat(b"k" * 16, 1, ME)),
        Say(Channel.SINK, Ready(b"k" * 16, 1, ME, 0, (), reads=False)),
    ]


def test_another_incarnation_is_another_job(ready):
    ready.chunk(5, 9)
    assert ready.welcome(incarnation=2)[0] == Discard()
    assert ready.session.held == ()


def test_after_the_job_a_worker_looks_for_the_next(ready):
    ready.chunk(1, 9)
    assert ready.at(2.0).goodbye() == [Discard(), Connect(), HELLO]
    assert ready.session.state is State.SEEKING
    assert ready.goodbye() == [], "it comes on both sockets"


def test_with_once_the_end_of_the_job_is_the_end(once):
    once.start()
    once.welcome()
    once.prepared()
    assert once.goodbye() == [Discard()]
    assert once.session.state is State.LEFT
    assert once.session.error is None


def test_a_goodbye_to_another_session_is_ignored(ready):
    assert ready.goodbye(session=b"x" * 16) == []
    assert ready.session.state is State.READY


def test_a_worker_that_leaves_says_goodbye_behind_its_results(ready):
    ready.chunk(1, 9)
    assert ready.session.leave("told to") == [Say(Channel.SINK, Goodbye(JOB_ID, 1, ME, "told to"))]
    assert ready.session.finished
    assert ready.session.error is None
    assert ready.session.leave("told to") == []
    assert ready.completed(9) == []


def test_a_worker_without_a_sink_says_goodbye_to_the_ventilator(life):
    life.start()
    life.welcome()
    assert life.session.leave("told to") == [Say(Channel.VENTILATOR, Goodbye(JOB_ID, 1, ME, "told to"))]


def test_a_worker_that_was_never_welcomed_leaves_without_a_word(life):
    life.start()
    assert life.session.leave("told to") == []
    assert life.session.state is State.LEFT


def test_a_refused_worker_ends_with_the_reason(life):
    life.start()
    assert life.hear(Refused("it lacks echo")) == []
    assert life.session.state is State.REFUSED
    assert isinstance(life.session.error, RefusedError)
    assert "it lacks echo" in str(life.session.error)
    assert "tcp://host:1" in str(life.session.error)


def test_a_worker_that_cannot_prepare_the_ops_says_so_and_ends(life):
    life.start()
    life.welcome()
    assert life.session.unable("no module echo") == [Say(Channel.VENTILATOR, Goodbye(JOB_ID, 1, ME, "no module echo"))]
    assert life.session.state is State.REFUSED
    assert "no module echo" in str(life.session.error)


def test_nothing_matters_to_a_worker_that_has_left(ready):
    ready.session.leave("told to")
    assert ready.at(1.0).welcome() == []
    assert ready.hear(Again()) == []
    assert ready.tick() == []
