"""Shared by the tests of `zaudio.net` and of whole farms: waiting for a condition, looking at processes, a Door.

Rules: every wait is a condition with a deadline in MS, the one scaled unit: on a slow machine, `ZAUDIO_TEST_MS=3`
makes all of them three times as long. Processes are found by what they inherited and ended by their id.
"""

import itertools
import os
import selectors
import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from socket import create_server

import xxhash
import zmq

from zaudio.formats import sample_format
from zaudio.ops.chain import graph_of
from zaudio.ops.contract import Kernel, Precision
from zaudio.ops.functions import import_allowed
from zaudio.ops.graph import Graph
from zaudio.signal import Signal
from zaudio.steps import Step
from zaudio.wire.codec import TO_COORDINATOR, decode, encode
from zaudio.wire.messages import Channel, Chunk, Hello, Ready, Refused, Result, Welcome

MS = 0.001 * float(os.environ.get("ZAUDIO_TEST_MS", "1"))  # seconds in a millisecond of these tests
PATIENCE = 60_000 * MS  # until a wait is given up that has no bound of its own: on a busy machine a start takes long
LOOK = 0.005  # seconds between two looks at a condition


def wait_until(condition, what, *, within=PATIENCE):
    """Wait until `condition()` is true; returns what it gave. `what` is a text, or a function that gives it."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        late = time.monotonic() >= deadline
        assert not late, f"after {within:.1f} s still not so: {what() if callable(what) else what}"
        time.sleep(LOOK)
    return value


def alive(pid):
    """Whether that process runs; a zombie does not."""
    return state(pid) not in ("", "Z", "X")


def state(pid):
    """The letter of a process's state; empty when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def parent(pid):
    """The process id of a process's parent; 0 when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def children(pid):
    """The living children of a process."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit() and parent(name) == pid and alive(name))


def processes_with(setting):
    """The living processes, other than this one, whose environment has ``NAME=VALUE``."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and alive(name):
            try:
                with open(f"/proc/{name}/environ", "rb") as environ:
                    if setting.encode() in environ.read().split(b"\0"):
                        found.append(int(name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                pass
    return found


def kill(pid, number=signal.SIGKILL):
    """Send a signal to a process of ours, if it is still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


@contextmanager
def sigint_beside(function):
    """Give SIGINT to another thread than the main one, once that waits in this function; the other one ends here."""
    main = threading.get_ident()
    waits = (threading.Condition.wait, selectors.DefaultSelector.select, zmq.Poller.poll)
    waiting = [each.__code__ for each in waits]

    def is_waiting():
        inner = sys._current_frames()[main]
        frames = [frame.f_code for frame, _ in traceback.walk_stack(inner)]
        begins = threading.Thread.start.__code__ in frames  # a thread, which soon has
        return inner.f_code in waiting and function.__code__ in frames and not begins

    def interrupt():
        wait_until(is_waiting, "the main thread waits")
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    other = threading.Thread(target=interrupt)
    other.start()
    try:
        yield
    finally:
        other.join()


_ports = itertools.count()


def free_port():
    """A port of loopback that nobody has, nor the one above it; the system gives neither to who asks for any."""
    while True:
        port = 10_000 + (998 * os.getpid() + 2 * next(_ports)) % 20_000
        try:
            for each in (port, port + 1):
                create_server(("127.0.0.1", each)).close()
        except OSError:
            continue
        return port


def descriptors():
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


# Graphs


@dataclass(frozen=True)
class Near(Kernel):
    """An op with context: x[i - 2] + 3 x[i] + 5 x[i + 1], with nothing beyond the ends."""

    name = "near"
    precision = Precision.FLOAT64

    def context(self, signal):
        return 2, 1

    def apply(self, samples, place, state):
        return samples[:-3] + 3 * samples[2:-1] + 5 * samples[3:]


def own_graph(ops, name="f32le", channels=1, frames=1000, *, grid=0):
    """A graph of ops that are in no catalogue."""
    return Graph(ops, Signal(frames, channels, 44100, sample_format(name)), grid)


def graph(ops, name="f32le", channels=1, frames=1000, *, allowed=None):
    """A graph of named ops; each is a name, or a name and its parameters."""
    ops = [ops] if isinstance(ops, str) else ops
    steps = [Step(op) if isinstance(op, str) else Step(*op) for op in ops]
    signal = Signal(frames, channels, 44100, sample_format(name))
    return graph_of(steps, signal, 0, allowed or import_allowed([]))


class Door:
    """Where workers knock: answers each hello as it is told to, grants when it is told to, keeps what it hears."""

    def __init__(self, context, ventilator, sink):
        self._ventilator, self._sink = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
        for socket, endpoint in ((self._ventilator, ventilator), (self._sink, sink)):
            socket.setsockopt(zmq.LINGER, 0)
            socket.bind(endpoint)
        self.endpoint = ventilator
        self._sinks = (sink,)
        self._routes = {}  # session -> its route at the ventilator
        self.hellos = {}  # session -> its Hello
        self.ready = set()  # sessions
        self.results = []
        self.refusal = None

    def look(self):
        """Hear what there is; answer hellos."""
        for socket, channel in ((self._ventilator, Channel.VENTILATOR), (self._sink, Channel.SINK)):
            while socket.poll(0):
                route, *parts = socket.recv_multipart()
                message = decode(parts, TO_COORDINATOR[channel])
                if isinstance(message, Hello):
                    self.hellos[message.session] = message
                    self._routes[message.session] = route
                    socket.send_multipart([route, *encode(self._answer(message))])
                elif isinstance(message, Ready):
                    self.ready.add(message.session)
                elif isinstance(message, Result):
                    self.results.append(message)
        return True

    def grant(self, session, payload, *, slot=-1):
        """Grant a worker its first chunk: frames of the recording, from 0 on."""
        frames = len(payload) // 4
        place = (1, 0, 1, 0, frames, 0, frames, len(payload), xxhash.xxh3_64_intdigest(payload), slot)
        chunk = Chunk(bytes(16), 1, session, *place)
        self._ventilator.send_multipart([self._routes[session], *encode(chunk, payload)])

    def send_away(self, session, reason):
        """Refuse a worker that takes part."""
        self._ventilator.send_multipart([self._routes[session], *encode(Refused(reason))])
        self.ready.discard(session)

    def _answer(self, hello):
        if self.refusal is not None:
            return Refused(self.refusal)
        ops = (Step("invert"),)
        return Welcome(
            bytes(16),
            1,
            hello.session,
            self._sinks,
            0.5,
            20,
            2,
            2**20,
            1,
            44100,
            "f32le",
            0,
            100,
            "reversed",
            ops,
            None,
        )

    def close(self):
        self._ventilator.close()
        self._sink.close()
