"""Worker: the shell around a Session. One thread has both sockets, another computes.

Rules:

- The thread that calls `run` owns the sockets. It sends heartbeats while the other is inside an op: numpy lets go of
  the interpreter lock. For an op that does not, there is the coordinator's chunk deadline. Ops are set up in the other
  thread too.
- No message makes a worker import anything: the modules of `allow` are imported before the first hello.
"""

from __future__ import annotations

import logging
import os
import platform
import socket as host_socket
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import xxhash

from zaudio.core.actions import Compute, Connect, ConnectSink, Deliver, Discard, Prepare, Say, SessionAction
from zaudio.core.handshake import Handshakes
from zaudio.core.session import Introduction, Session
from zaudio.endpoints import reachable
from zaudio.errors import EndpointError, ProtocolError, RefusedError, UsageError
from zaudio.formats import sample_format
from zaudio.net.computer import Computer, Outcome, Prepared, Work
from zaudio.net.connections import Connections
from zaudio.net.diary import Diary
from zaudio.net.failure import log_failure
from zaudio.net.outbox import Outbox
from zaudio.net.recording import open_recording
from zaudio.net.settings import WorkerSettings
from zaudio.net.wake import Waker
from zaudio.ops.catalogue import KERNELS
from zaudio.ops.chain import graph_of
from zaudio.signal import Signal
from zaudio.steps import Buffer
from zaudio.version import VERSION
from zaudio.wire.codec import TO_WORKER, cut, decode, encode
from zaudio.wire.fields import NAME_MAX
from zaudio.wire.messages import Channel, Chunk, Failed, Goodbye, Result, Welcome

LOOK = 1.0  # s between two looks for a signal that the system gave to another thread, which wakes nobody
LEAVING_LINGER = 2000  # ms for results and a goodbye to leave, when leaving in order
PARTS_MAX = 3  # parts of a message looked at; the protocol has at most 2

log = logging.getLogger("zaudio.worker")


class Worker:
    """One worker: connects to a coordinator, computes the chunks that it is granted, and goes on to the next job.

    Args:
        endpoint: The ventilator's address, ``tcp://HOST:PORT`` or ``ipc://PATH``.
        allow: Modules (``MODULE`` or ``MODULE:FUNCTION``) whose functions jobs may use as ops. They are imported when
            the worker starts; no job can make it import anything else.
        read: Folders below which it reads recordings itself, as on a file system that it shares with the coordinator.
        name: The worker's name in reports; host and process id by default.
        once: End after one job, or when no coordinator answers, instead of looking for the next.
        lifetime: Seconds after which it finishes its chunk and leaves; up to a tenth less, so that workers that were
            started together do not all leave at once. None for no end.
        idle_timeout: Seconds without a chunk after which it leaves; up to a tenth more. None for no end.
        keys: The folder of this worker's keys, as `zaudio keys worker` made it; for a coordinator that has keys.

    Raises:
        EndpointError: The endpoint is malformed.
        KeyFileError: There are no keys of a worker in that folder.
        UsageError: A module of `allow` cannot be imported, a folder of `read` cannot be told, or a duration is no
            number of seconds above 0.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        allow: Sequence[str] = (),
        read: Sequence[str | os.PathLike[str]] = (),
        name: str | None = None,
        once: bool = False,
        lifetime: float | None = None,
        idle_timeout: float | None = None,
        keys: str | os.PathLike[str] | None = None,
    ) -> None:
        self._settings = WorkerSettings.checked(
            endpoint, allow=allow, read=read, once=once, lifetime=lifetime, idle_timeout=idle_timeout, keys=keys
        )
        self.endpoint = self._settings.endpoint
        self.name = cut(name or f"{host_socket.gethostname()}-{os.getpid()}", NAME_MAX)
        self._stopping = ""
        self._shell: Shell | None = None

    def run(self) -> None:
        """Work until the job is over (with `once`), or until `stop`.

        Raises:
            RefusedError: The coordinator refused this worker, its ops cannot be made ready here, or the two do not
                trust each other.
            NoCoordinatorError: With `once`, no coordinator answered.
        """
        with Shell(self._settings, self.name, os.urandom(16)) as shell:
            self._shell = shell
            if self._stopping:  # `stop` was called before there was a shell to tell
                shell.stop(self._stopping)
            try:
                shell.run()
            finally:
                self._shell = None

    def stop(self, reason: str = "it was told to stop") -> None:
        """Leave in order: held chunks go back, and `run` returns. Any thread and any signal handler may call it."""
        self._stopping = reason
        shell = self._shell
        if shell is not None:
            shell.stop(reason)


class Shell:
    """One run of a worker: connections, the computing thread, and the session that decides.

    Args:
        settings: The worker's settings.
        name: The worker's name.
        session: The name of this life of the worker.
        outbox: Shared memory for results, which its starter gave it.
        lifeline: A descriptor that becomes readable when the process that started this one is gone.
        on_ready: Called when the worker is ready for the first chunk of a job.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        name: str,
        session: bytes,
        *,
        outbox: Outbox | None = None,
        lifeline: int | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._session = Session(
            _introduction(settings, name, session, outbox.token if outbox is not None else b""),
            settings.endpoint,
            once=settings.once,
            lifetime=settings.lifetime,
            idle_timeout=settings.idle_timeout,
        )
        self._diary = Diary(name, settings.endpoint)
        self._local = outbox is not None  # its coordinator is on this machine
        self._lifeline = lifeline
        self._on_ready = on_ready
        self._stopping = ""
        self._waker = Waker()
        self._computer = Computer(self._waker.wake, outbox=outbox)
        self._handshakes = Handshakes(settings.endpoint, keys=settings.keys is not None)
        self._connections = Connections(settings.endpoint, settings.keys)
        self._connections.watch(self._waker.fd)
        if lifeline is not None:
            self._connections.watch(lifeline)
        self._payload: Buffer | None = None  # of the Chunk that the session looks at now
        self._results: dict[tuple[int, int], Buffer] = {}  # (index, attempt) -> result, until it is delivered

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        self._computer.stop()
        # Without a sink there was no welcome: the unanswered hello need not leave.
        welcomed = self._session.finished and self._connections.is_open(Channel.SINK)
        self._connections.close(linger=LEAVING_LINGER if welcomed else 0)
        if self._computer.join():
            self._waker.close()

    def run(self) -> None:
        """Run until the session is finished, or the lifeline broke.

        Raises:
            RefusedError: The coordinator refused this worker, its ops cannot be made ready here, or the two do not
                trust each other.
            NoCoordinatorError: With `once`, no coordinator answered.
        """
        self._computer.start()
        self._do(self._session.start(now=time.monotonic()))
        while not self._session.finished:
            ready = self._connections.wait(min(LOOK, self._session.next_deadline() - time.monotonic()))
            if self._lifeline in ready:
                log.info("the process that started this worker is gone")
                return
            if self._waker.fd in ready:
                self._waker.clear()
            self._turn(time.monotonic())
        if self._session.error is not None:
            raise self._session.error

    def stop(self, reason: str = "it was told to stop") -> None:
        """Leave in order. From any thread, or a signal handler."""
        self._stopping = reason
        self._waker.wake()

    def _turn(self, now: float) -> None:
        if self._stopping:
            self._do(self._session.leave(self._stopping))
            return
        for channel in (Channel.SINK, Channel.VENTILATOR):
            self._drain(channel, now)
        self._watch_handshakes(now)
        for outcome in self._computer.outcomes():
            if isinstance(outcome, Prepared):
                self._take_prepared(outcome)
            else:
                self._take(outcome)
        self._do(self._session.tick(now=now))

    # Messages

    def _drain(self, channel: Channel, now: float) -> None:
        while (parts := self._connections.receive(channel)) is not None:
            try:
                message = decode(parts[:PARTS_MAX], TO_WORKER[channel])
            except ProtocolError as error:
                log.warning("the coordinator said something that is no message: %s", error)
                continue
            log.debug("from %s: %s", channel.value, message)
            if isinstance(message, Goodbye):
                self._diary.dismissed(message)
            elif isinstance(message, Welcome):
                log.info("welcomed by %s", self._settings.endpoint)
                self._handshakes.welcomed()
            intact = True
            if isinstance(message, Chunk):
                self._payload = parts[1] if len(parts) > 1 else None
                intact = self._is_intact(message)
            self._do(self._session.receive(message, now=now, intact=intact))
            self._payload = None
            if isinstance(message, Welcome) and not self._session.finished:  # it can do that job
                self._diary.welcomed(message)

    def _is_intact(self, chunk: Chunk) -> bool:
        if self._payload is None:
            return self._computer.reads
        return xxhash.xxh3_64_intdigest(self._payload) == chunk.checksum

    def _do(self, actions: Iterable[SessionAction]) -> None:
        for action in actions:
            match action:
                case Say():
                    self._say(action)
                case Deliver():
                    self._deliver(action.result)
                case Compute():
                    self._computer.ask(action.chunk, self._payload)
                case Connect():
                    self._diary.connects()
                    self._connections.connect()
                case ConnectSink():
                    self._connect_sink(action.sinks)
                case Prepare():
                    self._do(self._prepare(action))
                case Discard():
                    self._computer.discard()
                    self._results.clear()

    def _say(self, say: Say) -> None:
        if not self._connections.is_open(say.channel):
            return
        message = say.message
        if isinstance(message, Failed):
            log_failure(log, f"the op failed on frames {message.start} to {message.stop}", message.error)
        elif isinstance(message, Goodbye):
            self._diary.leaves(message.reason)
        sent = self._connections.send(say.channel, encode(message))
        log.debug("to %s: %s%s", say.channel.value, message, "" if sent else " (not sent)")

    def _deliver(self, result: Result) -> None:
        payload = self._results.pop((result.index, result.attempt), None)
        if self._connections.is_open(Channel.SINK):
            self._connections.send(Channel.SINK, encode(result, payload))

    # Connections

    def _watch_handshakes(self, now: float) -> None:
        for how in self._connections.handshakes() if not self._session.finished else ():
            log.debug("a handshake with %s: %s", self._settings.endpoint, how.value)
            reason = self._handshakes.ended(how, now=now)
            if reason:
                raise RefusedError(reason)

    def _connect_sink(self, sinks: tuple[str, ...]) -> None:
        endpoint = reachable(sinks, self._settings.endpoint)
        if endpoint is None:
            self._do(self._session.unable(f"none of the sinks {', '.join(sinks)} can be reached from here"))
            return
        try:
            self._connections.connect_sink(endpoint)
        except EndpointError as error:
            self._do(self._session.unable(str(error)))

    # Chunks

    def _prepare(self, prepare: Prepare) -> list[SessionAction]:
        try:
            signal = Signal(prepare.frames, prepare.channels, prepare.samplerate, sample_format(prepare.format))
            graph = graph_of(prepare.ops, signal, prepare.grid, self._settings.allowed)
        except UsageError as error:
            return self._session.unable(str(error))
        recording = open_recording(prepare.source, self._settings.read, local=self._local)
        self._computer.prepare(Work(graph, prepare.ops, prepare.chunk_frames, prepare.order, recording))
        return []  # an outcome says when they are ready

    def _take_prepared(self, prepared: Prepared) -> None:
        if prepared.error:
            self._do(self._session.unable(prepared.error))
            return
        now, reads = time.monotonic(), self._computer.reads
        self._do(self._session.prepared(now=now, reads=reads, numbers=prepared.numbers))
        self._on_ready()

    def _take(self, outcome: Outcome) -> None:
        index, attempt = outcome.chunk.index, outcome.chunk.attempt
        if outcome.error:
            start, stop = outcome.failed
            self._do(self._session.failed(index, attempt, outcome.error, start=start, stop=stop))
            return
        self._diary.computed(outcome.chunk)
        if outcome.payload is not None:
            self._results[index, attempt] = outcome.payload
        self._do(
            self._session.completed(
                index,
                attempt,
                length=outcome.length,
                checksum=outcome.checksum,
                seconds=outcome.seconds,
                slot=outcome.slot,
                clipped=outcome.clipped,
                zeroed=outcome.zeroed,
            )
        )


def _introduction(settings: WorkerSettings, name: str, session: bytes, outbox: bytes) -> Introduction:
    software = f"zaudio {VERSION}, Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}"
    return Introduction(
        session=session,
        name=cut(name, NAME_MAX),
        pid=os.getpid(),
        host=cut(host_socket.gethostname(), NAME_MAX),
        software=cut(software, NAME_MAX),
        ops=(*KERNELS, *settings.allowed.names),
        reads=settings.read,
        outbox=outbox,
    )
