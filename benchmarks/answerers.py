"""Workers that only answer: many to a process, in one poll loop, without the brain of a real one.

    python benchmarks/answerers.py ipc:///tmp/here/v --sessions 1000 --processes 4 --op 1

Each session has two DEALER sockets of its own and speaks the protocol by `zaudio.wire`: hello, ready, heartbeats, and a
result for each chunk: its own bytes and their sum, which came with them. So a session touches no samples, and little
but the coordinator is measured. The sessions say that they are ready only when all are welcomed, so that the job begins
with all of them. With `--op`, a session answers one chunk after the other, each after that many seconds, as if it
computed. It holds the next one meanwhile, so it may hear of it late: all sessions have a turn `TURNS` times a second.
With `--reads`, sessions say that they read the recording by themselves, and answer with zeros.
"""

from __future__ import annotations

import argparse
import functools
import heapq
import multiprocessing
import os
import platform
import random
import resource
import time
from collections import deque
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import xxhash
import zmq

from zaudio.endpoints import reachable
from zaudio.net import sockets
from zaudio.wire.codec import TO_WORKER, Buffer, decode, encode
from zaudio.wire.messages import (
    VERSION,
    Again,
    Channel,
    Chunk,
    Goodbye,
    Heartbeat,
    Hello,
    Ready,
    Refused,
    Result,
    Sent,
    Welcome,
)

BEAT = 1.0  # s between two heartbeats of a session
PAUSE_MS = 50  # the longest sleep of a loop: heartbeats and the common start need no shorter one
AT_ONCE = 16  # messages of one session before the next one's turn
TURNS = 25  # a second: to poll a thousand sockets takes longer than to answer a chunk


class Answerer:
    """One session.

    Args:
        context: The process's.
        endpoint: The ventilator's address.
        name: The session's name.
        op: Seconds that a chunk takes.
        reads: Folders from which it says to read the recording.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, name: str, op: float, reads: tuple[str, ...]
    ) -> None:
        self.welcomed = self.over = False
        self.ventilator = sockets.dealer(context, endpoint)
        self.sink: zmq.Socket[bytes] | None = None
        self._context, self._endpoint, self._name = context, endpoint, name
        self._session = os.urandom(16)
        self._lease: tuple[bytes, int, bytes] = (b"", 0, b"")
        self._received = 0
        self._op = op
        self._reads = reads
        self._held: deque[tuple[Chunk, Buffer | None]] = deque()
        self.due = float("inf")  # when the first of them is done
        self._beat = float("inf")  # from the common start on
        self._say_hello()

    def take(self, socket: zmq.Socket[bytes]) -> None:
        """Answer the messages on one of the two sockets."""
        channel = Channel.SINK if socket is self.sink else Channel.VENTILATOR
        for _ in range(AT_ONCE):
            parts = sockets.receive(socket, copy=False)
            if parts is None:
                return
            match decode(parts, TO_WORKER[channel]):
                case Welcome() as welcome:
                    self._join(welcome)
                case Chunk() as chunk:
                    self._received = chunk.sequence
                    payload = parts[1] if len(parts) > 1 else None
                    if self._op:
                        self._hold(chunk, payload)
                    else:
                        self._answer(chunk, payload)
                case Sent() as sent:
                    self._received = max(self._received, sent.sequence)
                case Again():
                    self._say_hello()
                case Refused() as refused:
                    raise SystemExit(f"{self._endpoint} refused {self._name}: {refused.reason}")
                case Goodbye():
                    self.over = True

    def say_alive(self, now: float) -> None:
        """Send heartbeat and ready, when it is time."""
        if now < self._beat or self.sink is None:
            return
        self._beat = now + BEAT * random.uniform(0.8, 1)  # not all in the same instant
        sockets.send(self.ventilator, encode(Heartbeat(*self._lease)))
        self._say_ready()

    def begin(self, now: float) -> None:
        """Start to say ready: all sessions are welcomed."""
        self._beat = now

    def keep(self) -> None:
        """Prove life before the common start, without being ready."""
        if self.welcomed:
            sockets.send(self.ventilator, encode(Heartbeat(*self._lease)))

    def _say_hello(self) -> None:
        software = f"answerer, Python {platform.python_version()}"
        # It has no outbox: results travel as payloads.
        facts = (os.getpid(), platform.node(), software, ("invert",), self._reads, b"")
        sockets.send(self.ventilator, encode(Hello(VERSION, self._session, self._name, *facts)))

    def _join(self, welcome: Welcome) -> None:
        self._lease = (welcome.job, welcome.incarnation, welcome.session)
        endpoint = reachable(welcome.sinks, self._endpoint)
        if endpoint is None:
            raise SystemExit(f"none of the sinks {', '.join(welcome.sinks)} can be reached")
        if self.sink is None:
            self.sink = sockets.dealer(self._context, endpoint)
        self.welcomed = True

    def _say_ready(self) -> None:
        assert self.sink is not None, "only the welcomed are ready"
        held = tuple((chunk.index, chunk.attempt) for chunk, _ in self._held)
        sockets.send(self.sink, encode(Ready(*self._lease, self._received, held, reads=bool(self._reads))))

    def _hold(self, chunk: Chunk, payload: Buffer | None) -> None:
        if not self._held:
            self.due = time.monotonic() + self._op
        self._held.append((chunk, payload))

    def finish(self) -> None:
        """Answer the chunk that is due; go on with the next."""
        self._answer(*self._held.popleft())
        self.due = self.due + self._op if self._held else float("inf")

    def _answer(self, chunk: Chunk, payload: Buffer | None) -> None:
        assert self.sink is not None, "chunks come to the ready only"
        checksum = chunk.checksum
        if payload is None:
            payload, checksum = zeros(chunk.length)
        lease = (chunk.job, chunk.incarnation, chunk.session, chunk.index, chunk.attempt)
        sockets.send(self.sink, encode(Result(*lease, chunk.length, checksum, seconds=self._op, slot=-1), payload))


@functools.cache
def zeros(length: int) -> tuple[bytes, int]:
    """Return so many zeros, and their checksum."""
    made = bytes(length)
    return made, xxhash.xxh3_64_intdigest(made)


def serve(
    endpoint: str, names: list[str], total: int, welcomed: Synchronized[int], op: float, reads: tuple[str, ...]
) -> None:
    """Run these sessions until the coordinator says goodbye to all of them."""
    with zmq.Context() as context:
        context.set(zmq.MAX_SOCKETS, 2 * len(names) + 16)
        answerers = [Answerer(context, endpoint, name, op, reads) for name in names]
        owners = {answerer.ventilator: answerer for answerer in answerers}
        poller = zmq.Poller()
        for socket in owners:
            poller.register(socket, zmq.POLLIN)
        begun, beat, looked = False, time.monotonic(), 0.0
        due: list[tuple[float, int, Answerer]] = []  # heap: those that compute, by the time when they are done
        while not all(answerer.over for answerer in answerers):
            if begun and op:
                time.sleep(1 / TURNS)
            pause = 0 if due else PAUSE_MS
            for socket, _ in poller.poll(pause):
                answerer = owners[socket]
                idle = answerer.due == float("inf")
                had_sink = answerer.sink is not None
                answerer.take(socket)
                if idle and answerer.due < float("inf"):
                    heapq.heappush(due, (answerer.due, id(answerer), answerer))
                if answerer.sink is not None and not had_sink:
                    owners[answerer.sink] = answerer
                    poller.register(answerer.sink, zmq.POLLIN)
                    with welcomed.get_lock():
                        welcomed.value += 1
            now = time.monotonic()
            while due and due[0][0] <= now:
                answerer = heapq.heappop(due)[2]
                answerer.finish()
                if answerer.due < float("inf"):
                    heapq.heappush(due, (answerer.due, id(answerer), answerer))
            if not begun and welcomed.value >= total:
                begun = True
                for answerer in answerers:
                    answerer.begin(now)
            if begun and now >= looked + PAUSE_MS / 1000:
                looked = now
                for answerer in answerers:
                    answerer.say_alive(now)
            if not begun and now >= beat:
                beat = now + BEAT
                for answerer in answerers:
                    answerer.keep()
        for socket in owners:
            socket.close(linger=0)


def main() -> None:
    parser = argparse.ArgumentParser(description="many workers that only answer")
    parser.add_argument("endpoint", help="where the ventilator is")
    parser.add_argument("--sessions", type=int, default=10, help="workers; 10 by default")
    parser.add_argument("--processes", type=int, default=2, help="that they are spread over; 2 by default")
    parser.add_argument("--op", type=float, default=0.0, help="seconds that a chunk takes; 0 by default")
    parser.add_argument("--reads", action="append", default=[], metavar="DIR", help="say to read recordings below it")
    arguments = parser.parse_args()
    raise_descriptor_limit()
    fork: Any = multiprocessing.get_context("fork")  # before any ZeroMQ context exists
    welcomed = fork.Value("q", 0)
    names = [f"answerer-{number + 1}" for number in range(arguments.sessions)]
    shares = [names[number :: arguments.processes] for number in range(arguments.processes)]
    more = (len(names), welcomed, arguments.op, tuple(arguments.reads))
    processes = [
        fork.Process(target=serve, args=(arguments.endpoint, share, *more), daemon=True) for share in shares if share
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit(1)


def raise_descriptor_limit() -> None:
    """Raise the limit of descriptors: a worker costs each side two, and the usual limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
