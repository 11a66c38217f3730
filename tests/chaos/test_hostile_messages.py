"""Mutated messages to both sockets of a real coordinator, from nobody it knows and from one that said hello."""

import time
from contextlib import ExitStack

import pytest
import zmq
from extended import extended
from harness import assert_no_traceback
from mutants import mutants
from net_support import MS

from zaudio.wire.codec import TO_WORKER, decode, encode
from zaudio.wire.messages import VERSION, Channel, Goodbye, Heartbeat, Hello, Result, Welcome

pytestmark = pytest.mark.covers(
    "20,000 mutated messages to both sockets of a real coordinator; then a good worker completes the job",
    number=40,
    note="2,000; all: `make test-all`",
    bound="exit 0, no traceback, promises hold",
    measured="4.0 s",
    removed="`codec.py`: `type(values) is not list or not values or ...`",
)

COUNT = 10_000  # messages that are sent to each socket at least
MADE = 1.25  # mutants for each of them, of which some are no message at all, or too long for it
WAYS = {Channel.VENTILATOR: 100, Channel.SINK: 1}  # connections: one with many hellos a second is not heard
A_PART = 6000  # bytes: below what the ventilator's socket takes, so that no connection is cut


@pytest.mark.timeout(240)
@pytest.mark.parametrize("count", [COUNT // 10, extended(COUNT)])
def test_mutated_messages_and_then_a_good_worker_completes_the_job(scene, count):
    job = scene.coordinator(durations={"worker_timeout": 120_000 * MS})
    ventilator, port = job.endpoint, int(job.endpoint.rpartition(":")[2])
    sink = f"{ventilator.rpartition(':')[0]}:{port + 1}"
    with zmq.Context() as context:
        context.setsockopt(zmq.LINGER, 0)
        context.setsockopt(zmq.SNDTIMEO, int(30_000 * MS * 1000))  # a coordinator that died takes nothing
        with context.socket(zmq.DEALER) as socket:
            socket.connect(ventilator)
            welcome = knock(socket, bytes(16))
        known = as_one_that_said_hello(welcome)
        for seed, (endpoint, channel) in enumerate([(ventilator, Channel.VENTILATOR), (sink, Channel.SINK)]):
            with ExitStack() as stack:
                ways = [stack.enter_context(context.socket(zmq.DEALER)) for _ in range(WAYS[channel])]
                for socket in ways:
                    socket.connect(endpoint)
                made = enumerate(mutants(int(MADE * count), seed=seed + 40, known=known))
                assert sum(send(ways[number % len(ways)], parts) for number, parts in made) >= count
                for socket in ways:
                    if channel is Channel.VENTILATOR:
                        knock(socket, b"b" * 16)  # behind all of them, so they were all read
                    else:
                        ask_again(socket, welcome)
    assert job.code is None, job.said
    assert_no_traceback(job)
    scene.assert_good_worker_completes(job)


def as_one_that_said_hello(welcome):
    lease = (welcome.job, welcome.incarnation, bytes(16))
    result = encode(Result(*lease, 0, 1, 4000, 1, 0.1, -1), bytes(4000))
    # No Ready: it would be given chunks, and three of its kind that never answer are a chunk's end.
    return [encode(Heartbeat(*lease)), encode(Goodbye(*lease, "over")), result]


def send(socket, parts):
    """Send it, if it is a message at all; whatever came back meanwhile is thrown away."""
    if not parts or max(map(len, parts)) > A_PART:
        return False
    while socket.poll(0):
        socket.recv_multipart()
    socket.send_multipart(parts)
    return True


def knock(socket, session):
    """Say hello until it is heard; returns the welcome."""
    hello = encode(Hello(VERSION, session, "stranger", 1, "host", "software", ("invert",), (), b""))
    deadline = time.monotonic() + 30_000 * MS
    while time.monotonic() < deadline:
        socket.send_multipart(hello)
        while socket.poll(1000):
            message = decode(socket.recv_multipart(), frozenset().union(*TO_WORKER.values()))
            if isinstance(message, Welcome) and message.session == session:
                return message
    raise AssertionError("it is not welcomed")


def ask_again(socket, welcome):
    """A stranger's heartbeat on the sink's socket is answered."""
    result = Result(welcome.job, welcome.incarnation, b"?" * 16, 0, 1, 1, 1, 0.1, -1)
    socket.send_multipart(encode(result, b"x"))
    deadline = time.monotonic() + 30_000 * MS
    while time.monotonic() < deadline:
        if socket.poll(1000):
            socket.recv_multipart()
        elif not socket.poll(0):
            return
    raise AssertionError("it still answers")
