"""A worker against a coordinator that is a script: raw ROUTERs, the codec, and nothing of the farm."""

import threading

import numpy as np
import pytest
import xxhash
import zmq
from net_support import MS, descriptors, wait_until

from zaudio.errors import EndpointError, NoCoordinatorError, RefusedError, UsageError
from zaudio.net.worker import Worker
from zaudio.wire.codec import TO_COORDINATOR, decode, encode
from zaudio.wire.messages import (
    VERSION,
    Again,
    Channel,
    Chunk,
    Failed,
    Goodbye,
    Heartbeat,
    Hello,
    Ready,
    Refused,
    Result,
    Sent,
    Welcome,
)

JOB, INVERT = b"j" * 16, (("invert", ()),)
SAMPLES = np.array([0.5, -1.0, 0.25, 0.0], "<f4")


class Script:
    """A coordinator whose lines are said by the test."""

    def __init__(self, context):
        self.sockets = {channel: context.socket(zmq.ROUTER) for channel in Channel}
        for socket in self.sockets.values():
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.ports = {
            channel: socket.bind_to_random_port("tcp://127.0.0.1") for channel, socket in self.sockets.items()
        }
        self.endpoint = f"tcp://127.0.0.1:{self.ports[Channel.VENTILATOR]}"
        self.routes = {}
        self.session = b""
        self.payload = b""
        self.job = (JOB, 1)

    def hear(self, kind, *, within=5000 * MS):
        """The next message of that kind, on whichever socket; heartbeats and readies before it are passed over."""
        while True:
            ready = dict(self._poller().poll(within * 1000))
            assert ready, f"no {kind.__name__} came"
            for channel, socket in self.sockets.items():
                if socket in ready:
                    route, *parts = socket.recv_multipart()
                    message = decode(parts, TO_COORDINATOR[channel])
                    self.routes[channel] = route
                    self.payload = parts[-1]
                    if isinstance(message, kind):
                        return message
                    assert isinstance(message, Heartbeat | Ready | Hello), f"waiting for {kind.__name__}: {message}"

    def _poller(self):
        poller = zmq.Poller()
        for socket in self.sockets.values():
            poller.register(socket, zmq.POLLIN)
        return poller

    def say(self, message, payload=None, *, channel=Channel.VENTILATOR):
        self.sockets[channel].send_multipart([self.routes[channel], *encode(message, payload)])

    @property
    def lease(self):
        return *self.job, self.session

    def welcome(self, **other):
        """Welcome whoever said hello last; by default with one op, `invert`, and quick heartbeats."""
        job, incarnation = self.job
        fields = {
            "job": job, "incarnation": incarnation, "session": self.session,
            "sinks": (f"tcp://:{self.ports[Channel.SINK]}",), "heartbeat": 0.05, "liveness": 5, "credit": 2,
            "format": "f32le", "channels": 1, "chunk_frames": 4, "ops": INVERT,
        }  # fmt: skip
        self.say(Welcome(**fields | other))

    def admit(self, **other):
        """Hello, welcome, ready."""
        hello = self.hear(Hello)
        self.session = hello.session
        self.welcome(**other)
        return self.hear(Ready)

    def grant(self, sequence, index, samples=SAMPLES, *, before=0, after=0, checksum=None, attempt=1):
        payload = samples.tobytes()
        checksum = xxhash.xxh3_64_intdigest(payload) if checksum is None else checksum
        frames = len(samples) - before - after
        place = (sequence, index, attempt, index * 4, frames, before, after, len(payload), checksum)
        self.say(Chunk(*self.lease, *place), payload)


class Life:
    """A worker that runs in a thread, and how it ended."""

    def __init__(self, endpoint, **settings):
        self.worker = Worker(endpoint, **{"name": "the worker", **settings})
        self.error = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            self.worker.run()
        except Exception as error:  # noqa: BLE001  # the test looks at it
            self.error = error

    def ended(self, within=10_000 * MS):
        self._thread.join(within)
        return not self._thread.is_alive()


@pytest.fixture
def script():
    with zmq.Context() as context:
        script = Script(context)
        yield script
        for socket in script.sockets.values():
            socket.close()


@pytest.fixture
def life(script):
    lives = []

    def begin(**settings):
        lives.append(Life(script.endpoint, **settings))
        return lives[-1]

    yield begin
    for life in lives:
        life.worker.stop()
        assert life.ended(), "a worker that is told to stop, stops"


def test_hello_says_who_and_what(script, life):
    life(allow=["json:dumps"])
    hello = script.hear(Hello)
    assert hello.version == VERSION
    assert (len(hello.session), hello.name) == (16, "the worker")
    assert {"invert", "gain", "clip", "json:dumps"} <= set(hello.ops)
    assert "numpy" in hello.software


def test_two_lives_of_one_worker_have_two_sessions(script, life):
    first = life()
    one = script.hear(Hello).session
    first.worker.stop()
    assert first.ended()
    life()
    other = script.hear(Hello).session
    while other == one:  # hello is said again until it is answered
        other = script.hear(Hello).session
    assert other != one


def test_chunk_comes_back_as_its_result(script, life):
    life()
    assert script.admit() == Ready(*script.lease, 0, ())
    script.grant(1, 7)
    result = script.hear(Result)
    assert script.payload == (-SAMPLES).tobytes()
    assert (result.index, result.attempt, result.length) == (7, 1, SAMPLES.nbytes)
    assert result.checksum == xxhash.xxh3_64_intdigest(script.payload)
    assert 0 <= result.seconds < 5


def test_chunks_come_back_in_their_order(script, life):
    life()
    script.admit()
    for sequence in range(1, 6):
        script.grant(sequence, 10 - sequence, SAMPLES * np.float32(sequence))
    assert [script.hear(Result).index for _ in range(5)] == [9, 8, 7, 6, 5]


def test_context_is_trimmed_from_the_result(script, life):
    life()
    script.admit()
    script.grant(1, 0, before=1, after=2)
    assert script.hear(Result).length == 4
    assert script.payload == (-SAMPLES[1:2]).tobytes()


def test_every_format_and_chain_comes_back_in_its_own_bytes(script, life):
    life()
    script.admit(format="s16be", channels=2, ops=(("invert", ()), ("invert", ()), ("invert", ())))
    samples = np.array([1, -32768, 300, 32767], ">i2")
    script.grant(1, 0, samples)
    script.hear(Result)
    assert script.payload == np.array([-1, 32767, -300, -32767], ">i2").tobytes()


def test_damaged_chunk_is_not_computed_and_said_to_be_lost(script, life):
    life()
    script.admit()
    script.grant(1, 0, checksum=12345)
    while (ready := script.hear(Ready)).received == 0:
        pass
    assert (ready.received, ready.held) == (1, ())
    script.grant(2, 0, attempt=2)
    assert script.hear(Result).attempt == 2


def test_chunk_of_another_session_is_ignored(script, life):
    life()
    script.admit()
    payload = SAMPLES.tobytes()
    numbers = (1, 0, 1, 0, 4, 0, 0, len(payload), xxhash.xxh3_64_intdigest(payload))
    script.say(Chunk(JOB, 1, b"x" * 16, *numbers), payload)
    script.say(Chunk(b"y" * 16, 1, script.session, *numbers), payload)
    script.grant(1, 3)
    assert script.hear(Result).index == 3


def test_doubled_chunk_is_computed_once(script, life):
    life()
    script.admit()
    script.grant(1, 0)
    script.grant(1, 0)
    script.grant(2, 1)
    assert [script.hear(Result).index for _ in range(2)] == [0, 1]


def test_sent_moves_what_should_have_come(script, life):
    life()
    script.admit()
    script.say(Sent(*script.lease, 3))
    while script.hear(Ready).received != 3:
        pass


def test_heartbeats_go_to_the_ventilator_and_readies_to_the_sink(script, life):
    life()
    script.admit()
    assert script.hear(Heartbeat) == Heartbeat(*script.lease)
    assert script.hear(Ready).held == ()


def test_op_that_raises_is_a_failure_with_its_words(script, life, tmp_path, monkeypatch):
    (tmp_path / "worker_test_op.py").write_text("def f(a):\n    raise ValueError('line one\\nline two')\n")
    monkeypatch.syspath_prepend(tmp_path)
    life(allow=["worker_test_op"])
    script.admit(ops=(("worker_test_op:f", ()),))
    script.grant(1, 4)
    assert script.hear(Failed) == Failed(*script.lease, 4, 1, "ValueError: line one line two")
    script.grant(2, 5)
    assert script.hear(Failed).index == 5


def test_again_is_answered_with_the_same_hello_and_the_job_goes_on(script, life):
    life()
    script.admit()
    script.say(Again())
    assert script.hear(Hello).session == script.session
    script.welcome()
    script.grant(1, 2)
    assert script.hear(Result).index == 2


def test_silence_is_answered_with_fresh_connections(script, life):
    life()
    script.admit()
    route = script.routes[Channel.VENTILATOR]
    hello = script.hear(Hello)  # after five heartbeats of 0.05 s in which nothing came
    assert hello.session == script.session
    assert script.routes[Channel.VENTILATOR] != route


def test_heartbeats_of_the_coordinator_keep_the_connection(script, life):
    life()
    script.admit(heartbeat=0.1, liveness=3)
    route = script.routes[Channel.VENTILATOR]
    for _ in range(8):
        assert script.hear(Heartbeat)
        script.say(Heartbeat(*script.lease), channel=Channel.SINK)
    assert script.routes[Channel.VENTILATOR] == route


def test_nonsense_from_the_coordinator_is_no_reason_to_fall_over(script, life):
    life()
    script.admit()
    route = script.routes[Channel.VENTILATOR]
    for parts in (
        [b""],
        [b"\xc1"],
        [b"x" * 5000],
        [b"a", b"b", b"c", b"d"],
        encode(Hello(1, JOB, "n", 1, "h", "s", ())),
    ):
        script.sockets[Channel.VENTILATOR].send_multipart([route, *parts])
    script.grant(1, 0)
    assert script.hear(Result).index == 0


def test_refusal_ends_it_with_the_reason(script, life):
    begun = life()
    script.hear(Hello)
    script.say(Refused("it lacks a:b"))
    assert begun.ended()
    assert isinstance(begun.error, RefusedError)
    assert str(begun.error) == f"{script.endpoint} refused this worker: it lacks a:b"


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"ops": (("os:system", ()),)}, "this worker allows no module"),
        ({"ops": (("nonsense", ()),)}, "nonsense"),
        ({"format": "u8"}, "sample format 'u8'"),
        ({"sinks": ("ipc:///tmp/elsewhere",)}, "none of the sinks ipc:///tmp/elsewhere can be reached from here"),
        ({"sinks": ()}, "none of the sinks"),
    ],
)
def test_job_that_it_cannot_do_ends_it_with_a_goodbye_that_says_why(script, life, other, reason):
    begun = life()
    script.session = script.hear(Hello).session
    script.welcome(**other)
    assert reason in script.hear(Goodbye).reason
    assert begun.ended()
    assert isinstance(begun.error, RefusedError)
    assert reason in str(begun.error)


def test_goodbye_of_the_coordinator_ends_a_worker_with_once(script, life):
    begun = life(once=True)
    script.admit()
    script.say(Goodbye(*script.lease, "the job is done"))
    assert begun.ended()
    assert begun.error is None


def test_goodbye_of_the_coordinator_sends_a_worker_to_the_next_job(script, life):
    life()
    script.admit()
    script.say(Goodbye(*script.lease, "the job is done"), channel=Channel.SINK)
    script.hear(Hello)
    script.job = (b"k" * 16, 1)
    script.welcome(ops=(("gain", (("factor", 2.0),)),))
    while script.hear(Ready).job != b"k" * 16:
        pass


def test_worker_that_is_told_to_stop_says_goodbye_behind_its_results(script, life):
    begun = life()
    script.admit()
    script.grant(1, 0)
    script.hear(Result)
    begun.worker.stop("lunch")
    assert script.hear(Goodbye) == Goodbye(*script.lease, "lunch")
    assert begun.ended()
    assert begun.error is None


def test_worker_that_nobody_welcomed_stops_at_once(script, life):
    begun = life()
    script.hear(Hello)
    begun.worker.stop()
    assert begun.ended(within=1000 * MS)


@pytest.mark.slow
def test_worker_with_once_waits_for_a_coordinator_and_gives_up(script, life):
    begun = life(once=True)
    assert len({script.hear(Hello).session for _ in range(3)}) == 1  # it keeps asking
    assert begun.ended()
    assert isinstance(begun.error, NoCoordinatorError)
    assert begun.error.endpoint == script.endpoint


def test_leaving_frees_every_descriptor_also_while_an_op_runs_on(script, life, tmp_path, monkeypatch):
    (tmp_path / "worker_test_wait.py").write_text(
        "import threading\nbegun, free, calls = threading.Event(), threading.Event(), []\n"
        "def f(a):\n    calls.append(1)\n    begun.set()\n    free.wait(20)\n    return a\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import worker_test_wait

    before = descriptors()
    begun = life(allow=["worker_test_wait"])
    script.admit(ops=(("worker_test_wait:f", ()),))
    script.grant(1, 0)
    script.grant(2, 1)
    assert worker_test_wait.begun.wait(10)
    while script.hear(Ready).received < 2:
        pass
    begun.worker.stop()
    assert begun.ended(within=3000 * MS)
    worker_test_wait.free.set()
    connections = 2  # that the script has accepted, and keeps until it notices
    wait_until(lambda: descriptors() <= before + connections, "the worker's own are closed")
    assert worker_test_wait.calls == [1], "what waited behind it is not computed any more"


@pytest.mark.parametrize("endpoint", ["", "tcp://127.0.0.1", "inproc://x"])
def test_malformed_endpoint_is_refused_at_once(endpoint):
    with pytest.raises(EndpointError):
        Worker(endpoint)


def test_module_that_cannot_be_imported_is_refused_at_once():
    with pytest.raises(UsageError, match="no_such_module"):
        Worker("tcp://127.0.0.1:9", allow=["no_such_module"])
