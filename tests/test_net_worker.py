"""A worker against a coordinator that is a script: raw ROUTERs, the codec, and nothing of the farm."""

import os
import shutil
import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest
import xxhash
import zmq
from extended import extended
from net_support import MS, Near, descriptors, free_port, sigint_beside, wait_until

from zaudio.audio.files import InputFile
from zaudio.core import session
from zaudio.errors import EndpointError, NoCoordinatorError, RefusedError, UsageError
from zaudio.net.failure import parted
from zaudio.net.outbox import Outbox, Outboxes
from zaudio.net.settings import WorkerSettings
from zaudio.net.worker import Shell, Worker
from zaudio.ops import travel
from zaudio.ops.contract import Kernel
from zaudio.steps import Step
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

JOB, INVERT = b"j" * 16, (Step("invert"),)
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
            "sinks": (f"tcp://:{self.ports[Channel.SINK]}",), "heartbeat": 50 * MS, "liveness": 20, "credit": 2,
            "frames": 2**20, "channels": 1, "samplerate": 44100, "format": "f32le", "grid": 0, "chunk_frames": 4,
            "order": "reversed", "ops": INVERT, "source": None,
        }  # fmt: skip
        self.say(Welcome(**fields | other))

    def admit(self, **other):
        """Hello, welcome, ready."""
        hello = self.hear(Hello)
        self.session = hello.session
        self.welcome(**other)
        return self.hear(Ready)

    def grant(
        self, sequence, index, samples=SAMPLES, *, before=0, after=0, channels=1, checksum=None, attempt=1, slot=-1
    ):
        payload = samples.tobytes()
        checksum = xxhash.xxh3_64_intdigest(payload) if checksum is None else checksum
        start, frames = index * 4, len(samples) // channels - before - after
        ranges = (start, start + frames, start - before, start + frames + after)
        place = (sequence, index, attempt, *ranges, len(payload), checksum, slot)
        self.say(Chunk(*self.lease, *place), payload)

    def grant_frames(self, sequence, index, start, frames, *, before=0, after=0, frame_bytes=4):
        """Grant frames of the recording that the welcome named, which the worker is to read itself."""
        length = (before + frames + after) * frame_bytes
        ranges = (start, start + frames, start - before, start + frames + after)
        self.say(Chunk(*self.lease, sequence, index, 1, *ranges, length, 0, -1))


class Life:
    """A worker that runs in a thread, and how it ended."""

    def __init__(self, endpoint, *, outbox=None, **settings):
        self.worker = Worker(endpoint, name="the worker", **settings) if outbox is None else None
        self.shell = None
        self.error = None
        if outbox is not None:
            settings = WorkerSettings.checked(endpoint, **settings)
            self.worker = self.shell = Shell(settings, "the worker", bytes(range(16)), outbox=outbox)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            if self.shell is None:
                self.worker.run()
            else:
                with self.shell as shell:
                    shell.run()
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


def test_worker_that_was_stopped_before_it_ran_does_not_run(script):
    worker = Worker(script.endpoint)
    worker.stop()
    worker.run()


def test_a_signal_that_the_system_gives_to_another_thread_ends_a_worker_that_looks_for_a_coordinator(monkeypatch):
    monkeypatch.setattr(session, "RETRY_FIRST", 600.0)
    with sigint_beside(Shell.run), pytest.raises(KeyboardInterrupt):
        Worker(f"tcp://127.0.0.1:{free_port()}").run()


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
    assert replace(script.admit(), numbers=()) == Ready(*script.lease, 0, (), False)
    script.grant(1, 7)
    result = script.hear(Result)
    assert script.payload == (-SAMPLES[::-1]).tobytes()
    assert (result.index, result.attempt, result.length) == (7, 1, SAMPLES.nbytes)
    assert result.checksum == xxhash.xxh3_64_intdigest(script.payload)
    assert 0 <= result.seconds < 5


def test_chunks_come_back_in_their_order(script, life):
    life()
    script.admit()
    for sequence in range(1, 6):
        script.grant(sequence, 10 - sequence, SAMPLES * np.float32(sequence))
    assert [script.hear(Result).index for _ in range(5)] == [9, 8, 7, 6, 5]


@pytest.fixture
def near(monkeypatch):
    """Let workers have an op with context."""
    monkeypatch.setattr(travel, "KERNELS", {"near": Near})
    return (Step("near"),)


@pytest.mark.parametrize("order", ["reversed", "forward"])
def test_a_chunk_comes_with_its_context_and_goes_without(script, life, near, order):
    life()
    script.admit(ops=near, format="s32le", order=order)
    samples = np.arange(100, 113, dtype="<i4")  # a bundle of ten frames, in chunks of four, with context around it
    script.grant(1, 25, samples, before=2, after=1)
    assert script.hear(Result).length == 40
    expected = samples[:-3] + 3 * samples[2:-1] + 5 * samples[3:]
    assert script.payload == (expected[::-1] if order == "reversed" else expected).astype("<i4").tobytes()


def test_a_chunk_with_other_context_than_its_ops_need_is_a_failure(script, life, near):
    life()
    script.admit(ops=near)
    script.grant(1, 1, before=1, after=2)
    assert script.hear(Failed).error.startswith("ValueError: frames 4 to 5 need frames 2 to 6 of the recording, got 3")


# Setups


@dataclass(frozen=True)
class Slow(Kernel):
    """An op whose setup waits for its test, and then fails if the test says so."""

    name = "slow"
    go = threading.Event()
    error = None

    def setup(self, signal):
        assert self.go.wait(60)
        if self.error is not None:
            raise self.error

    def apply(self, samples, place, state):
        return samples


@pytest.fixture
def slow(monkeypatch):
    """Let workers have an op with a setup that waits until `Slow.go` is set."""
    monkeypatch.setattr(travel, "KERNELS", {"slow": Slow})
    yield (Step("slow"),)
    Slow.go.set()


def test_heartbeats_go_on_while_ops_are_set_up_and_ready_comes_behind(script, life, slow):
    Slow.go.clear()
    life()
    script.session = script.hear(Hello).session
    script.welcome(ops=slow, liveness=5)
    for _ in range(10):  # twice the time after which silence would end the connection
        script.hear(Heartbeat)
    assert Channel.SINK not in script.routes
    Slow.go.set()
    assert script.hear(Ready).received == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no model"), "op slow: its setup failed: ValueError: no model"),
        (UsageError("op slow needs scipy"), "op slow needs scipy"),
    ],
)
def test_a_worker_whose_op_cannot_be_set_up_says_why_and_leaves(script, life, slow, monkeypatch, error, reason):
    monkeypatch.setattr(Slow, "error", error)
    Slow.go.set()
    begun = life()
    script.session = script.hear(Hello).session
    script.welcome(ops=slow)
    assert script.hear(Goodbye).reason.partition(" (")[0] == reason
    assert begun.ended()
    assert str(begun.error).startswith(f"this worker cannot take part: {reason}")


def test_every_format_and_chain_comes_back_in_its_own_bytes(script, life):
    life()
    script.admit(format="s16be", channels=2, ops=(Step("invert"),) * 3)
    samples = np.array([1, -32768, 300, 32767], ">i2")
    script.grant(1, 0, samples, channels=2)
    script.hear(Result)
    assert script.payload == np.array([-300, -32767, -1, 32767], ">i2").tobytes()  # frames turn, channels do not


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
    numbers = (1, 0, 1, 0, 4, 0, 4, len(payload), xxhash.xxh3_64_intdigest(payload), -1)
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
    script.admit(ops=(Step("worker_test_op:f"),))
    script.grant(1, 4)
    failed = script.hear(Failed)
    sentence, trace = parted(failed.error)
    assert sentence == f"ValueError: line one line two ({tmp_path / 'worker_test_op.py'}:2)"
    assert trace[-1] == "line two"
    assert replace(failed, error="") == Failed(*script.lease, 4, 1, 16, 20, "")
    script.grant(2, 5)
    assert script.hear(Failed).index == 5


def test_op_that_raises_in_a_chunk_of_a_run_is_a_failure_of_that_chunks_frames(script, life, tmp_path, monkeypatch):
    (tmp_path / "worker_test_picky.py").write_text("def f(a):\n    assert a[0, 0] != 7, 'no seven'\n    return a\n")
    monkeypatch.syspath_prepend(tmp_path)
    life(allow=["worker_test_picky"])
    script.admit(ops=(Step("worker_test_picky:f"),))
    script.grant(1, 25, np.array([0, 7, 0, 0, 7, 0, 0, 0, 0, 0], "<f4"))  # chunks of 4 frames, from frame 100 on
    failed = script.hear(Failed)
    assert failed.error.startswith("AssertionError: no seven (")
    assert replace(failed, error="") == Failed(*script.lease, 25, 1, 104, 108, "")
    script.grant(2, 25, np.array([0, 7, 0, 0, 0, 0, 0, 0, 7], "<f4"))
    failed = script.hear(Failed)
    assert (failed.start, failed.stop) == (108, 109), "the last chunk of the recording is shorter"


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
    script.admit(liveness=5)
    route = script.routes[Channel.VENTILATOR]
    hello = script.hear(Hello)  # after five heartbeats in which nothing came
    assert hello.session == script.session
    assert script.routes[Channel.VENTILATOR] != route


def test_heartbeats_of_the_coordinator_keep_the_connection(script, life):
    life()
    script.admit(heartbeat=150 * MS, liveness=5)
    route = script.routes[Channel.VENTILATOR]
    for _ in range(10):  # twice the time after which silence would end it
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
        encode(Hello(1, JOB, "n", 1, "h", "s", (), (), b"")),
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
        ({"ops": (Step("os:system"),)}, "this worker allows no module"),
        ({"ops": (Step("nonsense"),)}, "nonsense"),
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
    script.welcome(ops=(Step("gain", (("factor", 2.0),)),))
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


def test_worker_with_once_waits_for_a_coordinator_and_gives_up(script, life, monkeypatch):
    monkeypatch.setattr(session, "PATIENCE", 1000 * MS)  # longer than a worker waits to ask again
    begun = life(once=True)
    assert len({script.hear(Hello).session for _ in range(2)}) == 1  # it keeps asking
    assert begun.ended()
    assert isinstance(begun.error, NoCoordinatorError)
    assert begun.error.endpoint == script.endpoint


def test_leaving_frees_every_descriptor_also_while_an_op_runs_on(script, life, tmp_path, monkeypatch):
    (tmp_path / "worker_test_wait.py").write_text(
        "import threading\nbegun, free, calls = threading.Event(), threading.Event(), []\n"
        "def f(a):\n    calls.append(1)\n    begun.set()\n    free.wait(60)\n    return a\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import worker_test_wait

    before = descriptors()
    begun = life(allow=["worker_test_wait"])
    script.admit(ops=(Step("worker_test_wait:f"),))
    script.grant(1, 0)
    script.grant(2, 1)
    assert worker_test_wait.begun.wait(60)
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


@pytest.mark.parametrize("name", ["lifetime", "idle_timeout"])
@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf"), "5"])
def test_duration_that_is_none_is_refused_at_once(name, seconds):
    with pytest.raises(UsageError, match=f"{name} is a number of seconds above 0"):
        Worker("tcp://127.0.0.1:9", **{name: seconds})


@pytest.mark.parametrize("limit", ["lifetime", extended("idle_timeout")])
def test_worker_leaves_by_the_clock_and_says_why(script, life, limit):
    begun = life(**{limit: 1000 * MS})  # long enough for a welcome on a machine that is busy
    script.admit()
    assert script.hear(Goodbye).reason.startswith(
        "its lifetime" if limit == "lifetime" else f"it had no chunk for {1000 * MS:g}"
    )
    assert begun.ended()
    assert begun.error is None


def test_module_that_cannot_be_imported_is_refused_at_once():
    with pytest.raises(UsageError, match="no_such_module"):
        Worker("tcp://127.0.0.1:9", allow=["no_such_module"])


# Reading the recording itself


TAKE = np.arange(1, 41, dtype="<f4")  # ten chunks of four frames
HEADER = b"not samples"


@pytest.fixture
def take(tmp_path):
    """A file with samples behind a header; what refers to them."""
    path = tmp_path / "shared" / "take.bin"
    path.parent.mkdir()
    path.write_bytes(HEADER + TAKE.tobytes())
    return path


def reference(path):
    opened = InputFile(str(path))
    try:
        return opened.reference(len(HEADER))
    finally:
        opened.close()


def test_worker_that_shares_no_folder_offers_to_read_nothing(script, life):
    life()
    hello = script.hear(Hello)
    assert (hello.reads, hello.outbox) == ((), b"")


def test_folders_that_a_worker_reads_are_said_as_they_are_really_called(script, life, tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    life(read=["link", "real/../real/", "/"])
    assert script.hear(Hello).reads == (str(tmp_path / "real"), str(tmp_path / "real"), "/")


@pytest.mark.parametrize("folder", ["shared", "shared/", "."])
def test_frames_are_read_from_the_offset_on(script, life, tmp_path, take, folder):
    life(read=[f"{tmp_path}/{folder}"])
    assert script.admit(source=reference(take)).reads
    for sequence, start, stop in ((1, 36, 40), (2, 0, 4), (3, 17, 18)):
        script.grant_frames(sequence, sequence, start, stop - start)
        assert script.hear(Result).length == 4 * (stop - start)
        assert script.payload == (-TAKE[start:stop][::-1]).tobytes()


def test_context_is_read_too(script, life, take, near):
    life(read=[str(take.parent)])
    script.admit(source=reference(take), ops=near)
    script.grant_frames(1, 0, 8, 4, before=2, after=1)
    script.hear(Result)
    assert script.payload == (TAKE[6:10] + 3 * TAKE[8:12] + 5 * TAKE[9:13])[::-1].tobytes()


def test_result_is_not_touched_by_the_reading_of_the_next(script, life, take, tmp_path, monkeypatch):
    (tmp_path / "worker_test_same.py").write_text("def f(a):\n    return a\n")
    monkeypatch.syspath_prepend(tmp_path)
    life(read=[str(take.parent)], allow=["worker_test_same"])
    script.admit(source=reference(take), ops=(Step("worker_test_same:f"),))
    for number in range(10):
        script.grant_frames(number + 1, number, 4 * number, 4)
    for number in range(10):
        script.hear(Result)
        assert script.payload == TAKE[4 * number : 4 * number + 4][::-1].tobytes()


def test_payload_for_a_worker_that_could_read_is_as_welcome(script, life, take):
    life(read=[str(take.parent)])
    script.admit(source=reference(take))
    script.grant(1, 0)
    script.hear(Result)
    assert script.payload == (-SAMPLES[::-1]).tobytes()


def other_time(path):
    os.utime(path, ns=(1, 1))


def other_head(path):
    stamp = path.stat().st_mtime_ns
    path.write_bytes(b"N" + path.read_bytes()[1:])
    os.utime(path, ns=(stamp, stamp))


def other_size(path):
    stamp = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes() + b"more")
    os.utime(path, ns=(stamp, stamp))


def folder_instead(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [other_time, other_head, other_size, folder_instead, os.unlink])
def test_file_that_is_not_the_one_that_is_meant_is_not_read(script, life, take, change):
    meant = reference(take)
    change(take)
    life(read=[str(take.parent)])
    assert not script.admit(source=meant).reads
    assert str(take) not in opened_files()
    script.grant(1, 0)
    script.hear(Result)
    assert script.payload == (-SAMPLES[::-1]).tobytes()


def opened_files():
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return [os.readlink(link) for link in links if os.path.lexists(link)]  # that of the listing itself is gone


def test_same_file_on_another_mount_is_read_by_a_worker_from_elsewhere_only(script, life, take, tmp_path):
    meant = reference(take)
    shutil.copy2(take, tmp_path / "copy")
    os.replace(tmp_path / "copy", take)  # the same in all but its number, as another machine may see it
    life(read=[str(take.parent)])
    assert script.admit(source=meant).reads


def test_local_worker_reads_nothing_but_the_very_file(script, life, take, tmp_path, outboxes):
    meant = reference(take)
    shutil.copy2(take, tmp_path / "copy")
    os.replace(tmp_path / "copy", take)
    life(read=["/"], outbox=box(outboxes))
    assert not script.admit(source=meant).reads


def test_file_outside_the_folders_is_not_opened_whatever_the_coordinator_says(script, life, take, tmp_path):
    (tmp_path / "share").mkdir()  # `shared` begins with that name
    life(read=[str(tmp_path / "share")])
    assert not script.admit(source=reference(take)).reads


def test_file_that_cannot_be_read_is_as_good_as_none(script, life, take, monkeypatch):
    meant = reference(take)

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    life(read=[str(take.parent)])
    assert not script.admit(source=meant).reads
    assert str(take) not in opened_files()
    script.grant(1, 0)
    script.hear(Result)


def test_grant_without_payload_to_a_worker_that_has_nothing_open_is_said_to_be_lost(script, life):
    life()
    script.admit()
    script.grant_frames(1, 0, 0, 4)
    while (ready := script.hear(Ready)).received == 0:
        pass
    assert (ready.received, ready.held, ready.reads) == (1, (), False)


def test_recording_that_changes_is_a_failure_that_says_so(script, life, take):
    life(read=[str(take.parent)])
    script.admit(source=reference(take))
    other_time(take)
    script.grant_frames(1, 9, 0, 4)
    assert script.hear(Failed) == Failed(*script.lease, 9, 1, 0, 4, f"{take}: was written to since it was opened")


def test_recording_is_closed_at_the_end_and_for_the_next_job(script, life, take, tmp_path):
    begun = life(read=[str(tmp_path)])
    script.admit(source=reference(take))
    assert opened_files().count(str(take)) == 1
    other = tmp_path / "other.bin"
    other.write_bytes(take.read_bytes())
    script.job = (b"k" * 16, 1)
    script.welcome(source=reference(other))
    while script.hear(Ready).job != b"k" * 16:
        pass
    assert (opened_files().count(str(take)), opened_files().count(str(other))) == (0, 1)
    begun.worker.stop()
    assert begun.ended()
    assert str(other) not in opened_files()


# Results in an outbox


@pytest.fixture
def outboxes():
    memory = os.memfd_create("test")
    outboxes = Outboxes(memory, 2, 2, 20)  # slots for five frames
    outboxes.memory = memory
    yield outboxes
    outboxes.close()
    os.close(memory)


def box(outboxes, number=1):
    return Outbox(outboxes.memory, number, outboxes.slots, outboxes.slot_bytes, outboxes.tokens[number])


def in_slot(outboxes, slot, length=SAMPLES.nbytes):
    found = memoryview(bytearray(length))
    assert outboxes.copy(outboxes.tokens[1], slot, found)
    return bytes(found)


def test_worker_with_an_outbox_says_which(script, life, outboxes):
    life(outbox=box(outboxes))
    assert script.hear(Hello).outbox == outboxes.tokens[1]


def test_result_lies_in_the_slot_that_the_grant_named(script, life, outboxes):
    life(outbox=box(outboxes))
    script.admit()
    for sequence, slot in ((1, 1), (2, 0), (3, 1)):
        samples = SAMPLES * np.float32(sequence)
        script.grant(sequence, sequence, samples, slot=slot)
        result = script.hear(Result)
        assert (result.slot, result.length) == (slot, samples.nbytes)
        assert in_slot(outboxes, slot) == (-samples[::-1]).tobytes()
        assert result.checksum == xxhash.xxh3_64_intdigest((-samples[::-1]).tobytes())


@pytest.mark.parametrize(
    ("slot", "samples"), [(-1, SAMPLES), (0, np.arange(6, dtype="<f4"))], ids=["no slot", "too long for a slot"]
)
def test_result_that_has_no_place_in_the_outbox_travels_as_a_payload(script, life, outboxes, slot, samples):
    life(outbox=box(outboxes))
    script.admit()
    script.grant(1, 0, samples, slot=slot)
    assert script.hear(Result).slot == -1
    assert script.payload == (-samples[::-1]).tobytes()


def test_slot_that_is_granted_to_a_worker_without_an_outbox_means_nothing(script, life):
    life()
    script.admit()
    script.grant(1, 0, slot=0)
    assert script.hear(Result).slot == -1
    assert script.payload == (-SAMPLES[::-1]).tobytes()


def test_slot_that_there_is_not_is_a_failure_and_no_end_of_the_worker(script, life, outboxes):
    life(outbox=box(outboxes))
    script.admit()
    script.grant(1, 0, slot=255)
    assert script.hear(Failed).index == 0
    script.grant(2, 1, slot=1)
    assert script.hear(Result).slot == 1
