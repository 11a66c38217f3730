"""Farm: the coordinator's two sockets, the gate in front of them, and its local workers. It outlives stages and jobs.

Rules:

- One thread enters the farm, runs its stages and leaves it, since a ZeroMQ socket belongs to one thread. Any thread may
  call `stop`.
- Sockets are bound once, local workers are forked once. When a stage begins, every worker of the stage before is told
  `Again`: it says hello on the connection that it has, and is welcomed to the new one.
- One turn of the loop handles the news of the sockets, the reader, the destination and the local workers. Time is
  judged when both sockets are drained, or once per heartbeat, so a flooding peer cannot stop the timers.
- A peer's fault never raises out of the loop: it is logged and counted, and the peer is refused.
"""

from __future__ import annotations

import logging
import math
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import zmq

from zaudio.core.actions import Peer, Send
from zaudio.core.desk import Desk
from zaudio.core.job import Ways
from zaudio.core.register import Register
from zaudio.endpoints import from_elsewhere, parse_tcp, sink_names
from zaudio.errors import ProtocolError, StoppedError, UsageError, WorkersDiedError
from zaudio.net import sockets
from zaudio.net.authenticator import Authenticator
from zaudio.net.keys import CoordinatorKeys
from zaudio.net.local import LocalWorkers
from zaudio.net.orders import Died, GaveUp, Unable
from zaudio.net.stage import Stage
from zaudio.net.wake import Waker
from zaudio.ops.spec import offers
from zaudio.steps import Buffer
from zaudio.wire.codec import TO_COORDINATOR, decode, encode
from zaudio.wire.messages import Again, Channel, Message

MESSAGES_A_TURN = 256  # from one socket, before the others are looked at again
FAREWELL_LINGER = 200  # ms for goodbyes to leave; a worker that does not read must not hold up the end

log = logging.getLogger("zaudio.coordinator")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The addresses of the two sockets for workers from elsewhere."""

    ventilator: str
    sink: str


class Farm:
    """Workers, and the ways to them. A context manager: it binds at its beginning and says goodbye at its end.

    Args:
        elsewhere: The addresses to bind for workers from elsewhere; None for local ones alone.
        result_max: Bytes of the longest result of any stage: a limit of a socket is set before it is bound.
        waker: Wakes the loop.
        local: Local workers, if any; closed by their owner.
        keys: With keys, only peers connect whose key is admitted; without them, everybody may.
        advertise: Host and ports by which workers reach the two sockets, when these differ from what is bound; a port
            of 0 stands for the one that is bound.

    Attributes:
        each_turn: Called in the farm's thread, several times a heartbeat, as long as a stage runs.
    """

    def __init__(
        self,
        elsewhere: Endpoints | None,
        *,
        result_max: int,
        waker: Waker,
        local: LocalWorkers | None = None,
        keys: CoordinatorKeys | None = None,
        advertise: tuple[str, int, int] | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self._bound: Endpoints | None = None  # `elsewhere` with its real ports
        self._result_max = result_max
        self._waker = waker
        self._local = local
        self._local_fd = -1  # the descriptor of the local workers that is polled now
        self._keys = keys
        self._gate: Authenticator | None = None
        self._advertise = advertise
        self._register = Register(shared=keys.local.public.decode() if keys is not None else None)
        self._desk: Desk | None = None  # of the last stage that began
        self._before: Desk | None = None  # of the stage before that one
        self._awaited, self._given_up = False, ""  # see `expect`
        self._stopped = False
        self.each_turn: Callable[[], None] = lambda: None

    def stop(self) -> None:
        """End the stage that runs, and let no other begin. From any thread, also inside a signal handler."""
        self._stopped = True
        self._waker.wake()

    def expect(self, *, awaited: bool, given_up: str) -> None:
        """Take note of workers to come; see `Desk.expect`. From any thread."""
        self._awaited, self._given_up = awaited, given_up

    @property
    def endpoint(self) -> str | None:
        """The address where workers from elsewhere connect; None before it is bound, and for local workers alone."""
        if self._bound is None:
            return None
        if self._advertise is not None:
            host, port, _ = self._advertise
            return f"tcp://{host}:{port or _port(self._bound.ventilator)}"
        return from_elsewhere(self._bound.ventilator, host=socket.gethostname())

    @property
    def sink_endpoint(self) -> str | None:
        """The address where they send results; None before it is bound, and for local workers alone."""
        return from_elsewhere(self._bound.sink, host=socket.gethostname()) if self._bound is not None else None

    @property
    def signs(self) -> Mapping[str, float]:
        """When each living worker was last heard of, by name: any message counts. From any thread."""
        desk = self._desk
        return desk.signs if desk is not None else {}

    # The thread's own

    def __enter__(self) -> Self:
        sockets.raise_descriptor_limit()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            server = None
            if self._keys is not None:
                # Before the sockets that ask it: a peer that comes while nobody answers is not admitted.
                self._gate = Authenticator(self._context, self._keys, now=time.monotonic())
                server = self._keys.server
            self._ventilator = sockets.router(self._context, part_max=sockets.VENTILATOR_PART_MAX, keys=server)
            part_max = sockets.sink_part_max(self._result_max)
            self._sink = sockets.router(self._context, part_max=part_max, keys=server)
            self._bind()
        except BaseException:
            self._context.destroy(linger=0)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._say_goodbye("the job is done" if kind is None else "the job has ended without a result")
        finally:
            self._context.destroy(linger=FAREWELL_LINGER)

    def run(self, stage: Stage, *, on_open: Callable[[], None] = lambda: None) -> None:
        """Do one stage: return when all of its results lie sealed at their destination.

        Args:
            stage: The stage, its destination open.
            on_open: Called once, when workers can take part.

        Raises:
            ZaudioError: The stage failed, or the farm was stopped.
        """
        self._raise_if_stopped()
        before = self._desk
        assert stage.result_max <= self._result_max, "the sink takes the results of all stages"
        desk = Desk(
            stage.job,
            ways=self._ways,
            register=self._register,
            frame_bytes=stage.frame_bytes,
            offers=offers,
            now=time.monotonic(),
        )
        keys = self._keys.allowed.home if self._keys is not None else ""
        stage.open(desk, self._ways, self._send, self._local, keys=keys)
        try:
            self._before, self._desk = before, desk
            for peer in before.routes if before is not None else ():
                self._send(peer, Again(), None)
            self._guard(stage, set(), time.monotonic())  # so that there is a list before there is a message
            on_open()
            self._loop(stage, desk)
        finally:
            stage.close()

    def _bind(self) -> None:
        sinks: list[str] = []
        tokens: frozenset[bytes] = frozenset()
        if self._local is not None:
            sockets.bind(self._ventilator, self._local.ventilator)
            sinks.append(sockets.bind(self._sink, self._local.sink))
            tokens = self._local.tokens
        if self._elsewhere is not None:
            ventilator = sockets.bind(self._ventilator, self._elsewhere.ventilator)
            self._bound = Endpoints(ventilator, sockets.bind(self._sink, self._elsewhere.sink))
            sinks.append(self._bound.sink)
        self._ways = Ways(sink_names(sinks, self._advertised_sink()), tokens)

    def _advertised_sink(self) -> str | None:
        if self._advertise is None or self._bound is None:
            return None
        host, _, port = self._advertise
        return f"tcp://{host}:{port or _port(self._bound.sink)}"

    def _say_goodbye(self, reason: str) -> None:
        # A worker that has not taken notice of the last stage takes a goodbye of the one before; all others ignore it.
        for desk in (self._before, self._desk):
            for action in desk.farewell(reason) if desk is not None else ():
                if isinstance(action, Send):
                    self._send(action.peer, action.message, None)

    # The loop

    def _loop(self, stage: Stage, desk: Desk) -> None:
        poller = zmq.Poller()
        for readable in (self._ventilator, self._sink, self._waker.fd):
            poller.register(readable, zmq.POLLIN)
        if self._gate is not None:
            poller.register(self._gate.socket, zmq.POLLIN)
        self._local_fd = -1  # of this poller: none yet
        while not stage.sealed:
            self._watch_local(poller)
            deadline = desk.next_deadline()
            if self._gate is not None:
                deadline = min(deadline, self._gate.due)
            pause = deadline - time.monotonic()
            ready = {key for key, _ in poller.poll(max(0, math.ceil(pause * 1000)))}  # the one place with milliseconds
            if self._waker.fd in ready:
                self._waker.clear()
            self._turn(stage, desk, ready, time.monotonic())

    def _raise_if_stopped(self) -> None:
        if self._stopped:
            raise StoppedError("the job was stopped before its end")

    def _turn(self, stage: Stage, desk: Desk, ready: set[object], now: float) -> None:
        self._raise_if_stopped()
        self._guard(stage, ready, now)
        if self._local_fd in ready:
            self._hear_local(stage, now)  # first: a death is known before the hello of the one that replaces the dead
        drained = all(  # a list: both, always
            [
                self._sink not in ready or self._drain(Channel.SINK, stage, now),
                self._ventilator not in ready or self._drain(Channel.VENTILATOR, stage, now),
            ]
        )
        stage.turn(now)
        self.each_turn()
        due = desk.next_deadline()
        if now >= (due if drained else due + stage.job.timing.heartbeat):
            desk.expect(awaited=self._awaited, given_up=self._given_up)
            stage.tick(now=now)

    def _guard(self, stage: Stage, ready: set[object], now: float) -> None:
        """Let the gate answer; send workers away whose key is not admitted any more."""
        if self._gate is None:
            return
        if self._gate.socket in ready:
            self._gate.serve()
            for stranger in self._gate.take_refused():
                stage.turned_away(stranger.address, stranger.reason, stranger.key)
        if self._gate.refresh(now):
            for identity, end in self._keys.guests.take_ended().items() if self._keys is not None else ():
                stage.ended(identity, end.reason, blame=end.died, now=now)  # first: it says more than a revoked key
            self._register.call(self._gate.names)
            stage.admit(self._gate.admitted, now=now)

    def _watch_local(self, poller: zmq.Poller) -> None:
        """Poll the local workers' descriptor, which changes when their starter is replaced, and ends with them."""
        fd = self._local.fd if self._local is not None else -1
        if fd != self._local_fd:
            if self._local_fd >= 0:
                poller.unregister(self._local_fd)
            if fd >= 0:
                poller.register(fd, zmq.POLLIN)
            self._local_fd = fd

    def _hear_local(self, stage: Stage, now: float) -> None:
        for event in self._local.events() if self._local is not None else ():
            match event:
                case Died():
                    log.warning("local worker %s: %s", event.name, event.cause)
                    stage.gone(event.session, event.cause, now=now)
                case GaveUp():
                    raise WorkersDiedError(event.cause, event.stderr)
                case Unable():
                    raise UsageError(event.reason)

    # Messages

    def _drain(self, channel: Channel, stage: Stage, now: float) -> bool:
        """Handle the messages on a socket; return False when there may be more."""
        router = self._sink if channel is Channel.SINK else self._ventilator
        # Below that size, a view costs more than the copy that it saves.
        copy = stage.result_max < sockets.ZERO_COPY_FROM or channel is Channel.VENTILATOR
        for _ in range(MESSAGES_A_TURN):
            if (received := self._receive(router, copy=copy)) is None:
                return True
            parts, identity = received
            peer = Peer(channel, bytes(parts[0]), identity)
            if self._register.deaf(peer, now=now):
                continue
            try:
                message = decode(parts[1:], TO_COORDINATOR[channel])
            except ProtocolError as error:
                log.warning("%s: no message: %s", channel.value, error)
                stage.refuse(peer, error)
                continue
            log.debug("from %s: %s", channel.value, message)
            stage.receive(peer, message, parts[2] if len(parts) > 2 else None, now=now)
        return False

    def _receive(self, router: zmq.Socket[bytes], *, copy: bool) -> tuple[list[Buffer], str] | None:
        """Return the parts of the next message, envelope first, and the key that its sender proved to have."""
        if self._gate is not None:
            return sockets.receive_from(router, copy=copy)
        parts = sockets.receive(router, copy=copy)
        return (parts, "") if parts is not None else None

    def _send(self, peer: Peer, message: Message, payload: Buffer | None) -> bool:
        router = self._sink if peer.channel is Channel.SINK else self._ventilator
        sent = sockets.send(router, [peer.route, *encode(message, payload)])
        log.debug("to %s: %s%s", peer.channel.value, message, "" if sent else " (not sent)")
        return sent


def _port(endpoint: str) -> int:
    tcp = parse_tcp(endpoint)
    return tcp[1] if tcp is not None else 0
