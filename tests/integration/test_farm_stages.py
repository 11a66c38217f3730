"""One farm that runs several stages, one after another: what lives on from stage to stage, and what is refused."""

import os
import threading

import numpy as np
import pytest
import zmq
from farm_support import PATIENT, inverted, noise, write_raw
from net_support import PATIENCE, children, kill, wait_until

from zaudio.audio import open_source
from zaudio.core.job import Job
from zaudio.events import Joined, Rejected
from zaudio.job.stages import signal_of
from zaudio.net import authenticator, farm, keys, sockets, stage, wake
from zaudio.net.local import LocalWorkers
from zaudio.net.worker import Worker
from zaudio.ops import Course, import_allowed, make_ops, parse_chain
from zaudio.plan import Plan
from zaudio.settings import Raw
from zaudio.wire.codec import TO_WORKER, decode, encode
from zaudio.wire.messages import VERSION, Again, Channel, Chunk, Hello, Ready, Result, Welcome

CHUNK = 100  # frames


class Collected:
    """A destination in memory."""

    error = None
    spent = (0.0, 0.0)

    def __init__(self):
        self.payloads = []
        self.sealed = False

    @property
    def finished(self):
        return len(self.payloads)

    def put(self, payload):
        self.payloads.append(bytes(payload))

    def seal(self):
        self.sealed = True

    @property
    def content(self):
        return b"".join(self.payloads)


@pytest.fixture
def waker():
    waker = wake.Waker()
    yield waker
    waker.close()


def make_stage(name, path, ops, waker, *, publish=lambda event: None):
    """A stage over a recording, and the destination that its results go to."""
    source = open_source(path, Raw(format="f32le"))
    specs = parse_chain(ops)
    allowed = import_allowed([spec.name for spec in specs if spec.is_function])
    main = Course(make_ops(specs, allowed), signal_of(source)).main
    job = Job(
        id=name.encode().ljust(16, b"-"),
        incarnation=1,
        plan=Plan(source.frames, CHUNK),
        chunk_frames=CHUNK,
        ops=main.steps,
        signal=main.signal,
        grid=main.grid,
        credit=2,
        window_most=64,
        timing=PATIENT,
        source=source.reference,
    )
    destination = Collected()
    made = stage.Stage(
        job,
        sources=(source,),
        destination=destination,
        frame_bytes=source.frame_bytes,
        notify=waker.wake,
        publish=publish,
        name=name,
    )
    return made, destination, source


def test_three_stages_over_two_recordings_need_one_bind_one_fork_and_one_handshake_a_worker(
    tmp_path, waker, monkeypatch
):
    first, second = noise(30 * CHUNK + 7, seed=1), noise(20 * CHUNK + 1, seed=2)
    paths = [write_raw(tmp_path / f"{name}.raw", samples) for name, samples in (("a", first), ("b", second))]
    folder = str(tmp_path / "keys")
    keys.init(folder)
    late_keys = keys.add_worker(folder, "late")
    admitted, bound = [], []
    judge, bind = authenticator.Authenticator._judge, sockets.bind
    monkeypatch.setattr(authenticator.Authenticator, "_judge", lambda *args: admitted.append(1) or judge(*args))
    monkeypatch.setattr(sockets, "bind", lambda *args: bound.append(args[1]) or bind(*args))
    joined = {}
    staff = {"one": 2, "two": 2, "three": 3}  # a stage waits for all of them, else who is first may do all of it
    gated = {name: f"farm_ops:gated:gate={tmp_path / name}" for name in staff}

    def hear(event):
        if isinstance(event, Joined):
            joined.setdefault(event.stage, []).append((event.worker, event.session))
            if len(joined[event.stage]) == staff[event.stage]:
                (tmp_path / event.stage).touch()

    stages = [
        make_stage("one", paths[0], gated["one"], waker, publish=hear),
        make_stage("two", paths[0], [gated["two"], "invert"], waker, publish=hear),
        make_stage("three", paths[1], gated["three"], waker, publish=hear),
    ]
    coordinator = keys.coordinator_keys(folder)
    late = None
    with LocalWorkers(
        2, allow=("farm_ops",), credit=2, slot_bytes=4 * CHUNK, memory=1 << 20, keys=coordinator.local
    ) as local:
        endpoints = farm.Endpoints("tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
        with farm.Farm(endpoints, result_max=4 * CHUNK, waker=waker, local=local, keys=coordinator) as running:
            running.run(stages[0][0])
            (starter,) = children(os.getpid())
            workers = children(starter)
            victim = max(workers)
            kill(victim)
            wait_until(lambda: victim not in children(starter), "it is dead")
            running.run(stages[1][0])
            worker = Worker(running.endpoint, name="late", allow=("farm_ops",), keys=late_keys)
            late = threading.Thread(target=worker.run)
            running.run(stages[2][0], on_open=late.start)
            assert set(workers) - {victim} <= set(children(starter)), "the other one lives on"
            worker.stop()
        late.join(PATIENCE)
    for _, _, source in stages:
        source.close()
    assert stages[0][1].content == inverted(first).tobytes()
    assert stages[1][1].content == np.ascontiguousarray(first[::-1]).tobytes()
    assert stages[2][1].content == inverted(second).tobytes()
    assert [len(bound), len(set(bound))] == [4, 3], "two sockets, two ways each, bound once (both to any port)"
    survivor = set(joined["one"]) & set(joined["two"]) & set(joined["three"])
    assert len(survivor) == 1, "the same session takes part in all stages"
    assert "late" in {name for name, _ in joined["three"]}
    # Two connections each: of two local workers, of the one that replaced the victim, of the late one.
    assert len(admitted) == 2 * (2 + 1 + 1)


class Peer:
    """A worker by hand: two sockets, and whatever a test makes it say."""

    def __init__(self, context, name, running):
        self.session = name.encode().ljust(16, b"-")
        self.name = name
        self.sockets = {}
        for channel, endpoint in ((Channel.VENTILATOR, running.endpoint), (Channel.SINK, running.sink_endpoint)):
            socket = self.sockets[channel] = context.socket(zmq.DEALER)
            socket.linger = 0
            socket.rcvtimeo = int(PATIENCE * 1000)
            socket.connect(endpoint)

    def say(self, channel, message, payload=None):
        self.sockets[channel].send_multipart(encode(message, payload))

    def hear(self, kind, channel=Channel.VENTILATOR):
        """The next message of that kind, and its payload; others are let pass."""
        while True:
            parts = self.sockets[channel].recv_multipart()
            message = decode(parts, TO_WORKER[channel])
            if isinstance(message, kind):
                return message, parts[1] if len(parts) > 1 else None

    def hello(self):
        hello = Hello(VERSION, self.session, self.name, 1, "host", "by hand", ("invert",), (), b"")
        self.say(Channel.VENTILATOR, hello)
        welcome, _ = self.hear(Welcome)
        self.say(Channel.SINK, Ready(welcome.job, welcome.incarnation, self.session, 0, (), False))
        return welcome

    def answer(self, chunk, payload):
        """The result of that chunk, for the job that granted it."""
        sum_ = stage.xxhash.xxh3_64_intdigest(payload)
        place = (chunk.index, chunk.attempt, len(payload), sum_, 0.1, -1)
        self.say(Channel.SINK, Result(chunk.job, chunk.incarnation, self.session, *place), payload)


def test_late_result_of_an_earlier_stage_is_refused_and_its_worker_is_told_to_say_hello(tmp_path, waker):
    path = write_raw(tmp_path / "a.raw", noise(CHUNK, seed=3))
    events = []
    stages = [make_stage(name, path, "invert", waker, publish=events.append) for name in ("one", "two")]
    right, wrong = [bytes([number]) * (4 * CHUNK) for number in (1, 2)]
    failures = []

    def script(running):
        try:
            with zmq.Context() as context:
                slow, good = Peer(context, "slow", running), Peer(context, "good", running)
                try:
                    slow.hello()
                    old, _ = slow.hear(Chunk)
                    good.hello()
                    chunk, _ = good.hear(Chunk)  # an idle worker is given the chunk that all wait for
                    good.answer(chunk, right)
                    for peer in (slow, good):
                        peer.hear(Again)
                    slow.answer(old, wrong)
                    slow.hear(Again, Channel.SINK)
                    wait_until(lambda: any(isinstance(event, Rejected) for event in events), "it is refused")
                    assert good.hello().job != old.job
                    chunk, _ = good.hear(Chunk)
                    good.answer(chunk, right)
                finally:
                    context.destroy(linger=100)
        except BaseException as error:  # noqa: BLE001  # the test reads it
            failures.append(error)
            running.stop()

    endpoints = farm.Endpoints("tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
    with farm.Farm(endpoints, result_max=4 * CHUNK, waker=waker) as running:
        peers = threading.Thread(target=script, args=(running,))
        peers.start()
        for made, _, _ in stages:
            running.run(made)
        peers.join(PATIENCE)
    for _, _, source in stages:
        source.close()
    assert failures == []
    assert [destination.content for _, destination, _ in stages] == [right, right]
    (refused,) = [event for event in events if isinstance(event, Rejected)]
    assert (refused.worker, refused.stage, refused.reason) == ("slow", "two", "it belongs to another job")
    assert (refused.chunk, refused.chunks) == (-1, 0), "the chunks of this stage are not meant"
