"""Worker: the shell around a Session. One thread for both sockets, one that computes.

Rules: the thread that calls `run` owns the sockets and answers heartbeats while the other is inside an op (numpy lets
go of the interpreter lock; an op that does not is what the coordinator's chunk deadline is for). Nothing is imported
because a message says so: the modules of `allow` are imported before the first hello.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import socket as host_socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import xxhash
import zmq

from zaudio.audio.files import InputFile
from zaudio.core.actions import Compute, Connect, ConnectSink, Deliver, Discard, Prepare, Say, SessionAction
from zaudio.core.handshake import Handshakes
from zaudio.core.session import Introduction, Session
from zaudio.errors import EndpointError, InputError, ProtocolError, RefusedError, UsageError, ZaudioError
from zaudio.formats import sample_format
from zaudio.net import addresses, sockets
from zaudio.net.handshakes import Monitor
from zaudio.net.keys import ClientKeys, worker_keys
from zaudio.net.outbox import Outbox
from zaudio.net.wake import Waker
from zaudio.ops.builtin import BUILTIN
from zaudio.ops.chain import Chain, ChunkFailed
from zaudio.ops.functions import Allowed, import_allowed
from zaudio.reference import Reference
from zaudio.reverse import order_into
from zaudio.steps import Buffer
from zaudio.version import VERSION
from zaudio.wire.codec import LIST_MAX, NAME_MAX, TO_WORKER, cut, decode, encode
from zaudio.wire.messages import Channel, Chunk, Failed, Goodbye, Result, Welcome

LEAVING_LINGER = 2000  # ms for results and a goodbye to leave, when leaving in order
FRAME_MAX = 3  # parts of a message looked at; the protocol has at most 2

log = logging.getLogger("zaudio.worker")


@dataclass(frozen=True, slots=True)
class _Task:
    """A chunk for the thread that computes. `job` counts jobs, so that one that is over is recognised."""

    job: int
    chain: Chain
    prepare: Prepare
    chunk: Chunk
    payload: Buffer | None  # None: it is to be read from the recording


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a task: `length` bytes in the outbox or in `payload`, or the text of an error."""

    job: int
    chunk: Chunk
    error: str = ""
    failed: tuple[int, int] = (0, 0)  # the frames on which it was raised
    length: int = 0
    checksum: int = 0
    seconds: float = 0.0
    slot: int = -1
    payload: Buffer | None = None


class Worker:
    """One worker: connects to a coordinator, computes the chunks it is granted, and goes on to the next job.

    Args:
        endpoint: Where the ventilator is, ``tcp://HOST:PORT`` or ``ipc://PATH``.
        allow: Modules (``MODULE`` or ``MODULE:FUNCTION``) whose functions jobs may use as ops. They are imported when
            the worker starts; no job can make it import anything else.
        read: Folders below which it reads recordings itself, as on a file system that it shares with the coordinator.
        name: What the worker is called in reports; host and process id by default.
        once: End after one job, or when no coordinator answers, instead of looking for the next.
        lifetime: Seconds after which it finishes its chunk and leaves; up to a tenth less, so that workers that were
            started together do not all leave at once. None for no end.
        idle_timeout: Seconds without a chunk after which it leaves; up to a tenth more. None for no end.
        keys: The folder of this worker's keys, as `zaudio keys worker` made it; for a coordinator that has keys.

    Raises:
        EndpointError: The endpoint is malformed.
        KeyFileError: There are no keys of a worker in that folder.
        UsageError: A module of `allow` cannot be imported, a folder of `read` cannot be told, or a duration is none.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        allow: Sequence[str] | Allowed = (),
        read: Sequence[str] = (),
        name: str | None = None,
        once: bool = False,
        lifetime: float | None = None,
        idle_timeout: float | None = None,
        keys: str | os.PathLike[str] | ClientKeys | None = None,
    ) -> None:
        host = host_socket.gethostname()
        self.endpoint = addresses.check_endpoint(endpoint)
        self.name = cut(name or f"{host}-{os.getpid()}", NAME_MAX)
        self._allowed = allow if isinstance(allow, Allowed) else import_allowed(allow)
        self._read = _folders(read)
        self._once = once
        self._keys = keys if isinstance(keys, ClientKeys | None) else worker_keys(os.fspath(keys))
        self._lifetime = _duration("lifetime", lifetime)
        self._idle_timeout = _duration("idle_timeout", idle_timeout)
        self._host = cut(host, NAME_MAX)
        self._stopping = ""
        self._waker: Waker | None = None

    def run(self) -> None:
        """Work until the job is over (with `once`), or until `stop`.

        Raises:
            RefusedError: The coordinator refused this worker, its ops cannot be made ready here, or the two do not
                trust each other.
            NoCoordinatorError: With `once`, nobody answered.
        """
        with Shell(self, os.urandom(16)) as shell:
            shell.run()

    def stop(self, reason: str = "it was told to stop") -> None:
        """Leave in order: what is held goes back, `run` returns. From any thread, or a signal handler."""
        self._stopping = reason
        waker = self._waker
        if waker is not None:
            waker.wake()

    def _introduction(self, session: bytes, outbox: Outbox | None) -> Introduction:
        software = f"zaudio {VERSION}, Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}"
        ops = (*BUILTIN, *self._allowed.names)
        token = outbox.token if outbox is not None else b""
        return Introduction(
            session, self.name, os.getpid(), self._host, cut(software, NAME_MAX), ops, self._read, token
        )


class Shell:
    """One run of a worker: sockets, threads, and the session that decides.

    Args:
        worker: The worker.
        session: What this life of the worker is called.
        outbox: Shared memory for results, which its starter gave it.
        lifeline: A descriptor that becomes readable when whoever started this process is gone.
        on_ready: Called when the worker is ready for its first chunk.
    """

    def __init__(
        self,
        worker: Worker,
        session: bytes,
        *,
        outbox: Outbox | None = None,
        lifeline: int | None = None,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self._worker = worker
        self._session = Session(
            worker._introduction(session, outbox),
            worker.endpoint,
            once=worker._once,
            lifetime=worker._lifetime,
            idle_timeout=worker._idle_timeout,
        )
        self._outbox = outbox
        self._lifeline = lifeline
        self._on_ready = on_ready
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._ventilator: zmq.Socket[bytes] | None = None
        self._sink: zmq.Socket[bytes] | None = None
        self._handshakes = Handshakes(worker.endpoint, keys=worker._keys is not None)
        self._monitor: Monitor | None = None  # of the ventilator's socket
        self._poller = zmq.Poller()
        self._waker = worker._waker = Waker()
        self._poller.register(self._waker.fd, zmq.POLLIN)
        if lifeline is not None:
            self._poller.register(lifeline, zmq.POLLIN)
        self._jobs = 0
        self._chain: Chain | None = None
        self._prepared: Prepare | None = None  # what the chain was made for
        self._payload: Buffer | None = None  # of the Chunk that the session looks at now
        self._recording: InputFile | None = None  # open here, when the welcome says where it is
        self._offset = 0
        self._input = bytearray()  # what is read of it; the computing thread's
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._outcomes: deque[_Outcome] = deque()
        self._results: dict[tuple[int, int], Buffer] = {}  # (index, attempt) -> result, until it is delivered
        self._computer = threading.Thread(target=self._compute, name="zaudio-compute", daemon=True)

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        self._jobs += 1  # what waits to be computed is of no use any more
        self._tasks.put(None)
        # Without a sink there was no welcome: the hello that nobody answered need not be waited for.
        linger = LEAVING_LINGER if self._session.finished and self._sink is not None else 0
        self._close_monitor()
        for socket in (self._ventilator, self._sink):
            if socket is not None:
                socket.close(linger=linger)
        self._context.term()
        if self._computer.is_alive():
            self._computer.join(timeout=0.2)  # an op may take long; the thread is a daemon and ends with the process
        self._worker._waker = None
        self._close_recording()
        if not self._computer.is_alive():
            self._waker.close()

    def run(self) -> None:
        """Until the session is finished, or the lifeline broke."""
        self._computer.start()
        self._do(self._session.start(now=time.monotonic()))
        while not self._session.finished:
            pause = self._session.next_deadline() - time.monotonic()
            ready = dict(self._poller.poll(max(0, math.ceil(pause * 1000))))
            if self._lifeline in ready:
                log.info("the process that started this worker is gone")
                return
            if self._waker.fd in ready:
                self._waker.clear()
            self._turn(time.monotonic())
        if self._session.error is not None:
            raise self._session.error

    def _turn(self, now: float) -> None:
        if self._worker._stopping:
            self._do(self._session.leave(self._worker._stopping))
            return
        for channel in (Channel.SINK, Channel.VENTILATOR):
            self._drain(channel, now)
        self._watch_handshakes(now)
        while self._outcomes:
            self._take(self._outcomes.popleft())
        self._do(self._session.tick(now=now))

    # Messages

    def _drain(self, channel: Channel, now: float) -> None:
        while (socket := self._sink if channel is Channel.SINK else self._ventilator) is not None:
            parts = sockets.receive(socket, copy=False)
            if parts is None:
                return
            try:
                message = decode(parts[:FRAME_MAX], TO_WORKER[channel])
            except ProtocolError as error:
                log.warning("the coordinator said something that is no message: %s", error)
                continue
            log.debug("from %s: %s", channel.value, message)
            if isinstance(message, Goodbye):
                log.info("the coordinator says goodbye: %s", message.reason)
            elif isinstance(message, Welcome):
                log.info("welcomed by %s", self._worker.endpoint)
                self._handshakes.welcomed()
            intact = True
            if isinstance(message, Chunk):
                self._payload = parts[1] if len(parts) > 1 else None
                intact = self._is_intact(message)
            self._do(self._session.receive(message, now=now, intact=intact))
            self._payload = None

    def _is_intact(self, chunk: Chunk) -> bool:
        if self._payload is None:
            return self._recording is not None
        return xxhash.xxh3_64_intdigest(self._payload) == chunk.checksum

    def _do(self, actions: Iterable[SessionAction]) -> None:
        for action in actions:
            match action:
                case Say():
                    self._say(action)
                case Deliver():
                    self._deliver(action.result)
                case Compute():
                    assert self._chain is not None
                    assert self._prepared is not None
                    self._tasks.put(_Task(self._jobs, self._chain, self._prepared, action.chunk, self._payload))
                case Connect():
                    self._connect()
                case ConnectSink():
                    self._connect_sink(action.sinks)
                case Prepare():
                    self._do(self._prepare(action))
                case Discard():
                    self._jobs += 1
                    self._results.clear()

    def _say(self, say: Say) -> None:
        socket = self._sink if say.channel is Channel.SINK else self._ventilator
        if socket is None:
            return
        message = say.message
        if isinstance(message, Failed | Goodbye):
            log.info("%s", message)
        sent = sockets.send(socket, encode(message))
        log.debug("to %s: %s%s", say.channel.value, message, "" if sent else " (not sent)")

    def _deliver(self, result: Result) -> None:
        payload = self._results.pop((result.index, result.attempt), None)
        if self._sink is not None:
            sockets.send(self._sink, encode(result, payload))

    # Connections

    def _connect(self) -> None:
        self._close_sink()
        self._close_monitor()
        if self._ventilator is not None:
            self._poller.unregister(self._ventilator)
            self._ventilator.close()
        self._ventilator = sockets.dealer(
            self._context, self._worker.endpoint, keys=self._worker._keys, watch=self._open_monitor
        )
        self._poller.register(self._ventilator, zmq.POLLIN)

    def _open_monitor(self, socket: zmq.Socket[bytes]) -> None:
        self._monitor = Monitor(socket)
        self._poller.register(self._monitor.socket, zmq.POLLIN)

    def _close_monitor(self) -> None:
        if self._monitor is not None:
            self._poller.unregister(self._monitor.socket)
            self._monitor.close()
            self._monitor = None

    def _watch_handshakes(self, now: float) -> None:
        for how in self._monitor.read() if self._monitor is not None and not self._session.finished else ():
            log.debug("a handshake with %s: %s", self._worker.endpoint, how.value)
            reason = self._handshakes.ended(how, now=now)
            if reason:
                raise RefusedError(reason)

    def _connect_sink(self, sinks: tuple[str, ...]) -> None:
        self._close_sink()
        endpoint = addresses.reachable(sinks, self._worker.endpoint)
        if endpoint is None:
            self._do(self._session.unable(f"none of the sinks {', '.join(sinks)} can be reached from here"))
            return
        try:
            self._sink = sockets.dealer(self._context, endpoint, keys=self._worker._keys)
        except EndpointError as error:
            self._do(self._session.unable(str(error)))
            return
        self._poller.register(self._sink, zmq.POLLIN)

    def _close_sink(self) -> None:
        if self._sink is not None:
            self._poller.unregister(self._sink)
            self._sink.close()
            self._sink = None

    # Ops

    def _prepare(self, prepare: Prepare) -> list[SessionAction]:
        try:
            self._chain = Chain(prepare.ops, sample_format(prepare.format), prepare.channels, self._worker._allowed)
        except UsageError as error:
            return self._session.unable(str(error))
        self._prepared = prepare
        self._open_recording(prepare.source)
        actions = self._session.prepared(now=time.monotonic(), reads=self._recording is not None)
        if self._on_ready is not None:
            self._on_ready()
        return actions

    def _open_recording(self, source: Reference | None) -> None:
        """Open the recording, if it can be read here and is the one that is meant."""
        self._close_recording()
        if source is None or not any(source.path.startswith(f"{folder.rstrip('/')}/") for folder in self._worker._read):
            return
        local = self._outbox is not None
        recording: InputFile | None = None
        try:
            recording = InputFile(source.path)
            if not recording.matches(source, local=local):
                raise InputError(source.path, "is not the recording that is meant")
        except ZaudioError as error:
            log.info("chunks come over the socket: %s", error)
            if recording is not None:
                recording.close()
            return
        self._recording, self._offset = recording, source.offset

    def _close_recording(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.close()

    def _take(self, outcome: _Outcome) -> None:
        if outcome.job != self._jobs:
            return  # of a job that is over
        index, attempt = outcome.chunk.index, outcome.chunk.attempt
        if outcome.error:
            start, stop = outcome.failed
            self._do(self._session.failed(index, attempt, outcome.error, start=start, stop=stop))
            return
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
            )
        )

    def _compute(self) -> None:
        """The thread that computes."""
        while (task := self._tasks.get()) is not None:
            if task.job == self._jobs:
                self._outcomes.append(self._apply(task))
                self._waker.wake()

    def _apply(self, task: _Task) -> _Outcome:
        started = time.monotonic()
        chunk = task.chunk
        try:
            payload = task.payload if task.payload is not None else self._read(chunk)
            array = task.chain.run(
                payload,
                task.prepare.chunk_frames,
                lead=chunk.start - chunk.input_start,
                tail=chunk.input_stop - chunk.stop,
                before=task.prepare.before,
                after=task.prepare.after,
            )
            slot = chunk.slot if self._outbox is not None and array.nbytes <= self._outbox.slot_bytes else -1
            outbox = self._outbox.slot(slot, array.nbytes) if self._outbox is not None and slot >= 0 else None
            # Turned round here, where it is spread over all workers and in their caches: the cipher's thread is the one
            # that the whole farm waits for.
            result = outbox if outbox is not None else np.empty(array.nbytes, np.uint8).data
            order_into(_octets(array), result, array.shape[1] * array.itemsize, task.prepare.order)
            checksum = xxhash.xxh3_64_intdigest(result)
        except BaseException as error:  # a user's op may raise anything, SystemExit too: the chunk failed
            log.debug("chunk %d failed", chunk.index, exc_info=True)
            return _failure(task, error)
        seconds = time.monotonic() - started
        return _Outcome(
            task.job,
            chunk,
            length=result.nbytes,
            checksum=checksum,
            seconds=seconds,
            slot=slot,
            payload=result if slot < 0 else None,
        )

    def _read(self, chunk: Chunk) -> memoryview:
        """The frames of a chunk, from the recording."""
        recording = self._recording
        if recording is None:
            raise InputError("the recording", "is not open here any more")
        if len(self._input) < chunk.length:
            self._input = bytearray(chunk.length)
        payload = memoryview(self._input)[: chunk.length]
        frame_bytes = chunk.length // (chunk.input_stop - chunk.input_start)
        recording.read_into(self._offset + chunk.input_start * frame_bytes, payload)
        return payload.toreadonly()


def _duration(name: str, seconds: float | None) -> float | None:
    if seconds is not None and not (isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"{name} is a number of seconds above 0, not {seconds!r}")
    return seconds


def _folders(read: Sequence[str]) -> tuple[str, ...]:
    """The folders as a hello may name them."""
    folders = tuple(os.path.realpath(folder) for folder in read)
    for folder in folders:
        if len(os.fsencode(folder)) > NAME_MAX or folder.encode("utf-8", "replace") != os.fsencode(folder):
            raise UsageError(f"read: expected UTF-8 names of at most {NAME_MAX} bytes, got {folder!r}")
    if len(folders) > LIST_MAX:
        raise UsageError(f"read: expected at most {LIST_MAX} folders, got {len(folders)}")
    return folders


def _octets(array: np.ndarray) -> np.ndarray:
    """The bytes of a contiguous array."""
    return array.reshape(-1).view(np.uint8)


def _failure(task: _Task, error: BaseException) -> _Outcome:
    start, stop = 0, task.chunk.stop - task.chunk.start
    if isinstance(error, ChunkFailed) and error.__cause__ is not None:
        start, stop, error = error.start, error.stop, error.__cause__
    first = task.chunk.start
    return _Outcome(task.job, task.chunk, _sentence(error), (first + start, first + stop))


def _sentence(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  # an error of a user's own class may fail even at this
        text = ""
    if isinstance(error, ZaudioError):
        return cut(text)
    return cut(f"{type(error).__name__}: {text}" if text else type(error).__name__)
