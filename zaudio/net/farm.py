"""Farm: the one thread of the coordinator that owns both sockets and runs both brains.

Rules: the brains decide, this does. One turn of the loop takes what the sockets, the reader, the cipher and the local
workers have to say, does what the brains answer, and lets time be judged when both sockets are drained; when they are
not for a heartbeat long, also then, so that who talks faster than we listen stops no clock. A peer's fault never raises
out of the loop: it is logged, counted, and the peer is refused.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

import xxhash
import zmq

from zaudio.core.actions import (
    Accepted,
    DeskAction,
    Duplicate,
    Fail,
    Grant,
    Impostor,
    Joined,
    Liar,
    Lost,
    Noted,
    Peer,
    Rejected,
    Released,
    Requeued,
    Send,
    Stuck,
    Withdrawn,
)
from zaudio.core.desk import Desk
from zaudio.core.job import Job, Ways
from zaudio.core.register import Register
from zaudio.errors import ProtocolError, StoppedError, UsageError, WorkersDiedError, ZaudioError
from zaudio.net import sockets
from zaudio.net.authenticator import Authenticator
from zaudio.net.keys import CoordinatorKeys
from zaudio.net.orders import Died, GaveUp, Unable
from zaudio.net.outbox import Buffers, Outboxes
from zaudio.net.pool import Pool
from zaudio.net.reader import Reader
from zaudio.net.wake import Waker
from zaudio.ops.spec import offers
from zaudio.plan import Span
from zaudio.steps import Buffer
from zaudio.wire.codec import TO_COORDINATOR, decode, encode
from zaudio.wire.messages import Channel, Chunk, Failed, Message, Result, Sent, Welcome

MESSAGES_A_TURN = 256  # from one socket, before the others are looked at again
FAREWELL_LINGER = 200  # ms for goodbyes to leave; a worker that does not read may not hold up the end

Event = Joined | Lost | Requeued | Accepted | Duplicate | Rejected | Stuck | Noted | Liar | Withdrawn

log = logging.getLogger("zaudio.coordinator")


class Output(Protocol):
    """What the farm asks of the result: see `zaudio.result.ResultWriter`."""

    @property
    def finished(self) -> int:
        """How many payloads the cipher has finished with."""

    @property
    def sealed(self) -> bool:
        """Whether everything lies on the disk, unpublished."""

    @property
    def error(self) -> ZaudioError | None:
        """What went wrong."""

    def put(self, payload: Buffer) -> None:
        """The next chunk in output order."""

    def seal(self) -> None:
        """There are no more."""


@dataclass(slots=True)
class Tally:
    """What is counted while the farm works; read by other threads, written by the farm's own."""

    done: int = 0  # chunks encrypted, in earlier lives too
    workers: int = 0
    welcomed: float | None = None  # when the first worker was welcomed, on the monotonic clock
    requeued: int = 0
    duplicates: int = 0
    rejected: int = 0
    audited: int = 0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the two sockets are bound: one ventilator and one sink for each way to reach them."""

    ventilator: tuple[str, ...]
    sink: tuple[str, ...]


class Farm:
    """The farm over one job, from the first bind to the last goodbye.

    Args:
        make_job: Makes the job, and says by which ways results come, once it is known where the sinks are bound.
        endpoints: Where to bind.
        frame_bytes: Bytes a frame.
        output: Where results go.
        reader: Where chunks come from; started and stopped here.
        waker: What reader and output wake.
        pool: Local workers, if any; stopped elsewhere.
        outboxes: Where those leave their results, if anywhere.
        skip: Bytes at the beginning of the first result that an earlier life has written already.
        keys: With them, nobody connects whose key is not admitted; without them, everybody may.
        check_input: Raises when the recording is not what it was; asked when a worker fails that reads it itself.
        on_event: Called with every event, in the farm's thread.
    """

    def __init__(
        self,
        make_job: Callable[[tuple[str, ...]], tuple[Job, Ways]],
        endpoints: Endpoints,
        *,
        frame_bytes: int,
        output: Output,
        reader: Reader,
        waker: Waker,
        pool: Pool | None,
        outboxes: Outboxes | None,
        check_input: Callable[[], None],
        on_event: Callable[[Event], None] | None,
        skip: int = 0,
        keys: CoordinatorKeys | None = None,
    ) -> None:
        self.tally = Tally()
        self.shares: Counter[str] = Counter()  # worker name -> accepted chunks
        self.dropped: Counter[str] = Counter()  # liar's name -> chunks that were encrypted on its word alone
        self.bound: Endpoints | None = None
        self._make_job = make_job
        self._endpoints = endpoints
        self._frame_bytes = frame_bytes
        self._output = output
        self._reader = reader
        self._waker = waker
        self._pool = pool
        self._outboxes = outboxes
        self._keys = keys
        self._gate: Authenticator | None = None
        self._check_input = check_input
        self._skip = skip
        self._buffers = Buffers()
        self._on_event = on_event
        self._pool_fd = -1  # what of the pool is polled now
        self._stopped = False
        self._failure: ZaudioError | None = None
        self._payloads: dict[int, Buffer] = {}  # index -> accepted result, until it is released
        self._ciphered = 0
        self._sealing = False

    # From other threads

    def stop(self) -> None:
        """End the job before its end."""
        self._stopped = True
        self._waker.wake()

    # The thread's own

    def run(self, *, on_bound: Callable[[], None], finish: Callable[[], None]) -> None:
        """Bind, run the job, say goodbye.

        Args:
            on_bound: Called once, when workers can connect and `bound` says where.
            finish: Called when the whole result lies on the disk; publishes it.

        Raises:
            ZaudioError: The job failed or was stopped.
        """
        sockets.raise_descriptor_limit()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            server = None
            if self._keys is not None:
                # Before the sockets that ask it: who comes while nobody answers is not admitted.
                self._gate = Authenticator(context, self._keys, now=time.monotonic())
                server = self._keys.server
            self._ventilator = sockets.router(context, part_max=sockets.VENTILATOR_PART_MAX, keys=server)
            # The chunk size, and so the limit of a result, is known before the job is.
            part_max = sockets.sink_part_max(self._reader_payload_max())
            self._sink = sockets.router(context, part_max=part_max, keys=server)
            self._bind()
            self._reader.start()
            on_bound()
            self._loop()
            finish()
            self._part("the job is done")
        except BaseException:
            self._part("the job has ended without a result")
            raise
        finally:
            self._reader.stop()
            context.destroy(linger=FAREWELL_LINGER)

    def _reader_payload_max(self) -> int:
        plan = self._reader.plan
        return min(plan.chunk_frames, plan.frames) * self._frame_bytes

    def _bind(self) -> None:
        ventilators = tuple(sockets.bind(self._ventilator, endpoint) for endpoint in self._endpoints.ventilator)
        sinks = tuple(sockets.bind(self._sink, endpoint) for endpoint in self._endpoints.sink)
        job, ways = self._make_job(sinks)
        register = Register(shared=self._gate.local if self._gate is not None else None)
        self._desk = Desk(
            job, ways=ways, register=register, frame_bytes=self._frame_bytes, offers=offers, now=time.monotonic()
        )
        self._job = job
        self._ciphered = self.tally.done = job.first
        self._copy = job.plan.chunk_frames * self._frame_bytes < sockets.ZERO_COPY_FROM
        _check_welcome(job, ways)
        self.bound = Endpoints(ventilators, sinks)  # from here on there is somebody to part from
        self._guard(set(), time.monotonic())  # so that there is a list before there is a message

    def _loop(self) -> None:
        poller = zmq.Poller()
        for readable in (self._ventilator, self._sink, self._waker.fd):
            poller.register(readable, zmq.POLLIN)
        if self._gate is not None:
            poller.register(self._gate.socket, zmq.POLLIN)
        while not self._output.sealed:
            self._watch_pool(poller)
            deadline = self._desk.next_deadline()
            if self._gate is not None:
                deadline = min(deadline, self._gate.due)
            pause = deadline - time.monotonic()
            ready = {key for key, _ in poller.poll(max(0, math.ceil(pause * 1000)))}  # the one place with milliseconds
            if self._waker.fd in ready:
                self._waker.clear()
            self._turn(ready, time.monotonic())

    def _turn(self, ready: set[object], now: float) -> None:
        if self._stopped:
            raise StoppedError("the job was stopped before its end")
        self._guard(ready, now)
        if self._pool_fd in ready:
            self._hear_pool(now)  # first: a death is known before the hello of who replaces the dead
        drained = all(  # a list: both, always
            [
                self._sink not in ready or self._drain(Channel.SINK, now),
                self._ventilator not in ready or self._drain(Channel.VENTILATOR, now),
            ]
        )
        self._send_what_was_read()
        self._follow_cipher(now)
        due = self._desk.next_deadline()
        if now >= (due if drained else due + self._job.timing.heartbeat):
            self._tick(now)
        self._count()
        for error in (self._failure, self._reader.error, self._output.error):
            if error is not None:
                raise error

    def _guard(self, ready: set[object], now: float) -> None:
        """Answer who knocks, and send away whose key is not admitted any more."""
        if self._gate is None:
            return
        if self._gate.socket in ready:
            self._gate.serve()
        if self._gate.refresh(now):
            self._do(self._desk.admit(self._gate.admitted, now=now))

    def _tick(self, now: float) -> None:
        actions = self._desk.tick(now=now)
        for action in actions:
            # Only here is a loss one by silence: who says goodbye ends by itself, and has yet to tell its starter why.
            if isinstance(action, Lost) and self._pool is not None:
                self._pool.kill(action.session, f"it was killed: {action.reason}")
        self._do(actions)

    # Messages in

    def _drain(self, channel: Channel, now: float) -> bool:
        """Take what came on a socket. False when there may be more."""
        socket = self._sink if channel is Channel.SINK else self._ventilator
        copy = self._copy or channel is Channel.VENTILATOR
        for _ in range(MESSAGES_A_TURN):
            if (received := self._receive(socket, copy=copy)) is None:
                return True
            parts, identity = received
            peer = Peer(channel, bytes(parts[0]), identity)
            try:
                message = decode(parts[1:], TO_COORDINATOR[channel])
            except ProtocolError as error:
                log.warning("%s: no message: %s", channel.value, error)
                self._do(self._desk.refuse(peer, error))
                continue
            if isinstance(message, Result):
                self._receive_result(peer, message, parts[2] if len(parts) > 2 else None, now)
            else:
                log.debug("from %s: %s", channel.value, message)
                if isinstance(message, Failed):
                    self._check_input()  # a recording that changed is to blame before any chunk is
                self._do(self._desk.receive(peer, message, now=now))
        return False

    def _receive(self, socket: zmq.Socket[bytes], *, copy: bool) -> tuple[list[Buffer], str] | None:
        """The parts of the next message, envelope first, and the key that its sender proved to have."""
        if self._gate is not None:
            return sockets.receive_from(socket, copy=copy)
        parts = sockets.receive(socket, copy=copy)
        return (parts, "") if parts is not None else None

    def _receive_result(self, peer: Peer, result: Result, payload: Buffer | None, now: float) -> None:
        if payload is None:
            payload = self._copy_from_outbox(result)
        checksum = xxhash.xxh3_64_intdigest(payload) if payload is not None else None
        audited = payload is not None and self._desk.audits(result.index)
        digest = sha256(payload).digest() if audited and payload is not None else b""
        actions = self._desk.receive(peer, result, now=now, checksum=checksum, digest=digest)
        if payload is not None and any(isinstance(action, Accepted) for action in actions):
            self._payloads[result.index] = payload
            if audited:
                self.tally.audited += self._job.chunks_in(result.index)
        elif payload is not None:
            self._buffers.give_back(payload)
        self._do(actions)

    def _copy_from_outbox(self, result: Result) -> memoryview | None:
        """What lies in the slot that a result names, in memory of our own; None when there is no such slot."""
        if self._outboxes is None or result.length > self._outboxes.slot_bytes:
            return None
        payload = self._buffers.take(result.length)
        if self._outboxes.copy(self._desk.outbox(result.session), result.slot, payload):
            return payload
        self._buffers.give_back(payload)
        return None

    def _watch_pool(self, poller: zmq.Poller) -> None:
        """Poll the local workers' descriptor, which changes when their starter is replaced, and ends with them."""
        fd = self._pool.fd if self._pool is not None and not self._pool.ended else -1
        if fd != self._pool_fd:
            if self._pool_fd >= 0:
                poller.unregister(self._pool_fd)
            if fd >= 0:
                poller.register(fd, zmq.POLLIN)
            self._pool_fd = fd

    def _hear_pool(self, now: float) -> None:
        for event in self._pool.events() if self._pool is not None else ():
            match event:
                case Died():
                    log.warning("local worker %s: %s", event.name, event.cause)
                    self._do(self._desk.gone(event.session, event.cause, now=now))
                case GaveUp():
                    raise WorkersDiedError(event.cause, event.stderr)
                case Unable():
                    raise UsageError(event.reason)

    # Messages out

    def _do(self, actions: Iterable[DeskAction]) -> None:
        for action in actions:
            match action:
                case Released():
                    payload = self._payloads.pop(action.index)
                    self._buffers.lend(payload)
                    self._output.put(memoryview(payload)[self._skip :])
                    self._skip = 0  # chunks are released in output order: it was the first one's
                case Accepted():
                    self.shares[self._desk.name(action.session)] += self._job.chunks_in(action.index)
                    self._tell(action)
                case Grant(by_reference=True):
                    self._grant(action, self._job.plan.span(action.index), None, 0)
                case Grant() | Send(message=Sent()):
                    self._reader.ask(action)
                case Send():
                    self._send(action.peer, action.message)
                case Fail():
                    self._failure = self._failure or action.error
                case Stuck():
                    self._tell(action)
                    if self._pool is not None:
                        self._pool.kill(action.session, "it was killed, past the deadline of a chunk")
                case Joined() | Requeued() | Lost() | Duplicate() | Rejected() | Noted():
                    self._tell(action)
                case Liar():
                    self._drop(action)
                case Withdrawn():
                    self._buffers.give_back(self._payloads.pop(action.index))
                    self.shares[action.name] -= self._job.chunks_in(action.index)
                    self._tell(action)
                case Impostor():
                    log.warning("%s sent a result of a session that it does not speak for", action.peer.identity)

    def _drop(self, liar: Liar) -> None:
        chunk = self._job.chunk_of(liar.index)
        log.warning("worker %s was dropped: its result of chunk %d is not that of two others", liar.name, chunk)
        self.dropped[liar.name] += -(-self._desk.dropped[liar.session] // self._job.chunk_frames)
        if self._pool is not None:
            self._pool.kill(liar.session, "it was killed: its result was not that of two others")
        self._tell(liar)

    def _send(self, peer: Peer, message: Message) -> None:
        if isinstance(message, Welcome) and self.tally.welcomed is None:
            self.tally.welcomed = time.monotonic()
        socket = self._sink if peer.channel is Channel.SINK else self._ventilator
        sent = sockets.send(socket, [peer.route, *encode(message)])
        log.debug("to %s: %s%s", peer.channel.value, message, "" if sent else " (not sent)")

    def _send_what_was_read(self) -> None:
        while self._reader.done:
            read = self._reader.done.popleft()
            if isinstance(read, Send):
                self._send(read.peer, read.message)
                continue
            if self._desk.knows(read.grant.session):
                self._grant(read.grant, read.span, read.payload, read.checksum)

    def _grant(self, grant: Grant, span: Span, payload: Buffer | None, checksum: int) -> None:
        header = Chunk(
            self._job.job,
            self._job.incarnation,
            grant.session,
            grant.sequence,
            grant.index,
            grant.attempt,
            span.start,
            span.stop,
            span.input_start,
            span.input_stop,
            span.input_frames * self._frame_bytes,
            checksum,
            grant.slot,
        )
        sent = sockets.send(self._ventilator, [grant.peer.route, *encode(header, payload)])
        log.debug("granted chunk %d, attempt %d", grant.index, grant.attempt)
        if not sent:
            self._do(self._desk.undelivered(grant, now=time.monotonic()))

    # The cipher

    def _follow_cipher(self, now: float) -> None:
        ciphered = self._job.first + self._output.finished
        self._buffers.settle(ciphered - self._ciphered)
        self._ciphered = ciphered
        self._do(self._desk.progressed(ciphered=ciphered, now=now))
        if self._desk.finished and not self._sealing:
            self._sealing = True
            self._output.seal()

    # Ends

    def _part(self, reason: str) -> None:
        if self.bound is not None:
            for action in self._desk.farewell(reason):
                if isinstance(action, Send):
                    self._send(action.peer, action.message)

    # Saying what happens

    def _tell(self, event: Event) -> None:
        log.debug("%s", event)
        if isinstance(event, Lost):
            log.info("worker %s is gone: %s", event.name, event.reason)
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:
                log.exception("on_event raised; the job goes on")

    def _count(self) -> None:
        tally = self.tally
        tally.done = self._ciphered
        tally.workers = self._desk.workers
        tally.requeued = self._desk.requeued
        tally.duplicates = self._desk.duplicates
        tally.rejected = self._desk.rejected


def _check_welcome(job: Job, ways: Ways) -> None:
    """Make sure that a worker can be told what to do, before there is one."""
    try:
        decode(encode(job.welcome(bytes(16), ways.sinks, job.source)), frozenset({Welcome}))
    except ProtocolError as error:
        raise UsageError(f"workers cannot be told of this job: {error}") from None
