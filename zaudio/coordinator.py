"""Coordinator: one job from input to published result. Composes the recording, the farm, local workers and the result.

Rules: everything that can be refused is refused in `start`, in the caller's thread, before any output is touched or
any chunk is read. Then one thread runs the farm, and what it raises, `wait` raises. Leaving the `with` block stops the
job. No signal handlers are installed here.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from zaudio.audio import Source, open_source
from zaudio.core.audit import SECRET_BYTES, Audit
from zaudio.core.job import Job, Ways
from zaudio.endpoints import (
    check_endpoint,
    from_elsewhere,
    parse_advertise,
    parse_tcp,
    sink_names,
)
from zaudio.errors import ConflictError, EndpointError, JobError, StoppedError, UsageError
from zaudio.events import State
from zaudio.ledger import Progress, Report
from zaudio.machine import usable_cores
from zaudio.net.farm import Endpoints, Event, Farm, Tally
from zaudio.net.keys import CoordinatorKeys, coordinator_keys
from zaudio.net.outbox import Outboxes
from zaudio.net.pool import Pool
from zaudio.net.reader import Reader
from zaudio.net.starter import Starter
from zaudio.net.wake import Waker
from zaudio.ops.chain import prepare_chain
from zaudio.ops.spec import Requested, parse_chain
from zaudio.plan import Plan
from zaudio.result import (
    Description,
    JobRecord,
    KeyStore,
    RawKey,
    ResultFolder,
    ResultWriter,
    WrappedKey,
    is_reserved,
    parse_recipient,
    read_identity,
)
from zaudio.result.recipient import Identity, Recipient
from zaudio.settings import Limits, Network, Raw, Security, check_reach, exposed
from zaudio.signal import Signal
from zaudio.sizes import parse_frames
from zaudio.steps import Step
from zaudio.timing import Timing

CHUNK = "1MiB"  # large enough that Python's share of a chunk vanishes, small enough for the caches and the window
BUNDLE_BYTES = 256 * 1024  # small chunks travel together, as many as fit: a message costs what 256 KiB of AES costs
BUNDLES_LEAST = 64  # so that 16 workers share a small job of a slow op evenly; more of them share it less evenly
CREDIT = 2  # runs that a worker holds: one to compute, one to fetch meanwhile

log = logging.getLogger("zaudio.coordinator")


class Coordinator:
    """One job: a recording, what to do with it, and where the result goes.

    Args:
        input: The recording: raw samples, or a file that libsndfile reads.
        output: The folder for the four files of the result.
        ops: The operations on the samples: a SPEC such as ``"gain:db=-3"``, a function of an importable module, or a
            sequence of these, applied in order.
        workers: Number of local worker processes. By default one per core, or none when `bind` is given.
        bind: The endpoint where workers from elsewhere connect, ``tcp://HOST:PORT`` (port 0 for any free one). By
            default there is none.
        chunk: Chunk size: bytes (``"1MiB"`` or an int), seconds (``"1s"``) or frames (``"44100f"``).
        overwrite: Replace an older result, at the instant of publication.
        fresh: Discard an interrupted job in that folder. By default it is resumed, if it is this very job.
        raw: How raw samples lie in their file: sample rate, channels, format.
        network: How workers reach the farm, besides `bind`.
        security: Keys, the recipient of the encryption key, audits.
        limits: Memory and timeouts.
        timing: All durations, in place of the timeouts of `limits`.
        on_event: Called with every event (`Joined`, `Lost`, `Requeued`, `Accepted`, `Duplicate`, `Rejected`, `Stuck`,
            and with an audit `Noted`, `Liar`, `Withdrawn`) in the coordinator's own thread. What it raises is logged,
            and the job goes on.

    Raises:
        UsageError: A value cannot be used, or two contradict each other.

    Example:
        >>> report = Coordinator("take.raw", "out", ops="invert", workers=4).run()  # doctest: +SKIP
    """

    def __init__(
        self,
        input: str | os.PathLike[str],
        output: str | os.PathLike[str] = "generated_data",
        *,
        ops: Requested | Sequence[Requested] = "invert",
        workers: int | None = None,
        bind: str | None = None,
        chunk: str | int | None = None,
        overwrite: bool = False,
        fresh: bool = False,
        raw: Raw = Raw(),
        network: Network = Network(),
        security: Security = Security(),
        limits: Limits = Limits(),
        timing: Timing | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self._input = os.fspath(input)
        self._output = os.fspath(output)
        self._specs = parse_chain(ops)
        self._bind = check_endpoint(bind) if bind is not None else None
        check_reach(self._bind, network, security)
        self._advertise = parse_advertise(network.advertise)
        self._workers = _count_workers(workers, bind)
        self._chunk = chunk if chunk is not None else CHUNK
        self._overwrite = overwrite
        self._fresh = fresh
        self._raw = raw
        self._network = network
        self._security = security
        self._keys_folder = os.fspath(security.keys) if security.keys is not None else None
        self._memory = limits.memory_bytes
        self._timing = limits.durations(timing)
        self._recipient = parse_recipient(os.fspath(security.recipient)) if security.recipient is not None else None
        self._identity = read_identity(security.identity) if security.identity is not None else None
        _check_identity(self._identity, self._recipient)
        self._on_event = on_event
        self._starter: Starter | None = None
        self._warnings: tuple[str, ...] = ()
        self._state = State.STARTING
        self._farm: Farm | None = None
        self._writer: ResultWriter | None = None
        self._resumed = 0  # bytes that an earlier life of this job has done
        self._first = 0  # the run that it goes on with
        self._thread: threading.Thread | None = None
        self._stopping = False  # `stop` was called since the start began
        self._over = threading.Event()
        self._bound = threading.Event()
        self._report: Report | None = None
        self._failure: BaseException | None = None

    def use(self, starter: Starter) -> None:
        """Start local workers by this process, launched ahead of time; the job closes it, whether it needs it or not.

        Raises:
            UsageError: The job was started already.
        """
        if self._thread is not None or self._report is not None:
            raise UsageError("this coordinator was started already, with a starter of its own")
        self._starter = starter

    # The life of a job

    def run(self) -> Report:
        """Do the whole job.

        Raises:
            ZaudioError: See `start` and `wait`.
        """
        with self:
            return self.wait()

    def start(self) -> None:
        """Open everything, bind, start local workers; the job then goes on in a thread of its own.

        Raises:
            UsageError: An op, a size, an endpoint, a folder of keys or the output folder cannot be used.
            InputError: The recording cannot be read as audio.
            StorageError: The output folder cannot be written to.
            StoppedError: `stop` was called meanwhile, by another thread or a signal handler.
        """
        if self._thread is not None or self._report is not None:
            raise UsageError("this coordinator was started already; make another for another job")
        self._stopping = False  # a `stop` before the start does nothing
        with ExitStack() as stack:
            keys = coordinator_keys(self._keys_folder) if self._keys_folder is not None else None
            source = stack.enter_context(open_source(self._input, self._raw))
            self._source = source
            self._plan = self._make_plan(source)
            fitting = BUNDLE_BYTES // (self._plan.chunk_frames * source.frame_bytes)
            self._bundles = self._plan.in_bundles(min(fitting, len(self._plan) // BUNDLES_LEAST))
            ops = prepare_chain(self._specs, source.format)
            self._check_input()
            folder = stack.enter_context(self._open_folder(source))
            if folder.done:
                self._find_done(source, folder)
                return
            waker = Waker()
            stack.callback(waker.close)
            writer = ResultWriter(folder, self._describe(source))
            stack.callback(writer.abort)
            if folder.unfinished is not None:
                log.info("an interrupted job lies in %s: reading what it wrote", self._output)
            signal = Signal(source.frames, source.channels, source.samplerate, source.format)
            self._resumed = writer.open(signal, self._plan.order, notify=waker.wake, pause=self._go_on)
            skip = self._resume(source, writer)
            starter = self._launch_starter(stack)
            outboxes = self._open_outboxes(source, starter, stack)
            pool, endpoints = self._open_ways(starter, outboxes, keys, stack)
            self._warnings = (
                *source.warnings,
                *self._warnings,
                *self._warn_of_strangers(),
                *self._warn_of_nobody(keys),
            )
            self._farm = Farm(
                lambda sinks: self._make_job(source, ops, sinks, outboxes, writer),
                endpoints,
                frame_bytes=source.frame_bytes,
                output=writer,
                reader=Reader(source, self._bundles, notify=waker.wake),
                waker=waker,
                pool=pool,
                outboxes=outboxes,
                check_input=source.check,
                on_event=self._on_event,
                skip=skip,
                keys=keys,
            )
            self._go_on()  # from here on `stop` finds the farm; before, it left word only
            self._writer = writer
            finish = self._finisher(source, writer)
            resources = stack.pop_all()
            self._thread = threading.Thread(
                target=self._run_farm, args=(resources, finish), name="zaudio-coordinator", daemon=True
            )
            self._thread.start()
            atexit.register(self.stop)  # a program that ends without waiting must not leave a half result behind
        try:
            self._bound.wait()
        except BaseException:  # Ctrl-C, before a `with` block could stop what has begun
            self.stop()
            raise
        if self._failure is not None:
            self._thread.join()
            atexit.unregister(self.stop)
            raise self._failure

    def wait(self, timeout: float | None = None) -> Report:
        """Wait for the end of the job.

        Args:
            timeout: Seconds; None for as long as it takes.

        Raises:
            TimeoutError: The job goes on.
            InputChangedError: The recording changed while it was read.
            JobError: The job failed; nothing was published.
            NoWorkerError: Nobody could be given a chunk for `worker_timeout`.
            StoppedError: `stop` was called.
        """
        if self._thread is None and self._report is not None:
            return self._report  # it was done before it began
        if self._thread is None:
            raise UsageError("this coordinator was not started; call start() or use it in a with statement")
        try:
            ended = self._over.wait(timeout)
        except KeyboardInterrupt:
            self.stop()
            raise
        if not ended:
            raise TimeoutError(f"the job goes on after {timeout:g} s")
        self._thread.join()
        atexit.unregister(self.stop)
        if self._failure is not None:
            raise self._failure
        assert self._report is not None
        return self._report

    def stop(self, *, wait: bool = True) -> None:
        """End the job, if it has not ended: workers are told, nothing is published. The same job can be resumed.

        Args:
            wait: Until it has ended. A signal handler must not: what it interrupts may hold what the job waits for.
        """
        self._stopping = True
        if self._farm is not None:
            self._farm.stop()
        if not wait:
            return
        atexit.unregister(self.stop)
        if self._thread is not None and threading.current_thread() is not self._thread:  # on_event may call this
            self._thread.join()

    def _go_on(self) -> None:
        if self._stopping:
            raise StoppedError("the job was stopped before its end")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # What can be asked while it runs

    @property
    def endpoint(self) -> str | None:
        """Where workers connect: the real port when `bind` said any. None without `bind`."""
        if self._bind is None or self._farm is None or self._farm.bound is None:
            return None
        if self._advertise is not None:
            host, port, _ = self._advertise
            bound = parse_tcp(self._farm.bound.ventilator[-1])
            return f"tcp://{host}:{port or (bound[1] if bound else 0)}"
        return from_elsewhere(self._farm.bound.ventilator[-1], host=socket.gethostname())

    @property
    def sink_endpoint(self) -> str | None:
        """Where results go. None without `bind`."""
        if self._bind is None or self._farm is None or self._farm.bound is None:
            return None
        return from_elsewhere(self._farm.bound.sink[-1], host=socket.gethostname())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know, a sentence each; after `start`."""
        return self._warnings

    @property
    def resumable(self) -> bool:
        """Whether the job has ended, or would end now, with something done that the same job can go on from."""
        return self._report is None and self._writer is not None and self._writer.saved > 0

    @property
    def progress(self) -> Progress:
        """How far the job has come."""
        if self._farm is None:
            if self._report is None:
                return Progress(State.STARTING, 0, 0, 0, 0, 0, 0, 0, 0.0)
            chunks, size = self._report.chunks, self._report.bytes
            return Progress(State.DONE, chunks, chunks, size, size, 0, 0, 0, 0.0, size)
        tally, plan, frame_bytes = self._farm.tally, self._plan, self._source.frame_bytes
        # Output is encrypted from the recording's end: what is done is all from the last finished run's start on.
        frames_done = plan.frames - self._bundles.span(tally.done - 1).start if tally.done else 0
        seconds = time.monotonic() - tally.welcomed if tally.welcomed is not None else 0.0
        state = self._state
        if state is State.RUNNING and not tally.workers:
            state = State.WAITING
        return Progress(
            state,
            len(plan),
            -(-frames_done // plan.chunk_frames),
            plan.frames * frame_bytes,
            frames_done * frame_bytes,
            tally.workers,
            tally.requeued,
            0,
            self._report.seconds if self._report is not None else seconds,
            min(self._resumed, frames_done * frame_bytes),
        )

    # Making what a job is made of

    def _make_plan(self, source: Source) -> Plan:
        chunk_frames = parse_frames(
            self._chunk, what="chunk", frame_bytes=source.frame_bytes, samplerate=source.samplerate
        )
        return Plan(source.frames, chunk_frames)

    def _make_job(
        self,
        source: Source,
        ops: tuple[Step, ...],
        sinks: tuple[str, ...],
        outboxes: Outboxes | None,
        writer: ResultWriter,
    ) -> tuple[Job, Ways]:
        bundle_bytes = self._bundles.chunk_frames * source.frame_bytes
        advertised = None
        if self._advertise is not None:
            host, _, port = self._advertise
            bound = parse_tcp(sinks[-1])
            advertised = f"tcp://{host}:{port or (bound[1] if bound else 0)}"
        tokens = frozenset(outboxes.tokens) if outboxes is not None else frozenset()
        job = Job(
            job=writer.job_id,
            incarnation=writer.incarnation,
            plan=self._bundles,
            chunk_frames=self._plan.chunk_frames,
            ops=ops,
            format=source.format.name,
            channels=source.channels,
            credit=CREDIT,
            # A run is in flight one way, then the other; while two workers are at it, both ways at once.
            # An audited one is at two workers from the start.
            window_most=self._memory // ((4 if self._security.audit else 2) * bundle_bytes),
            timing=self._timing,
            source=source.reference,
            first=self._first,
            audit=Audit(self._security.audit, os.urandom(SECRET_BYTES)) if self._security.audit else None,
        )
        return job, Ways(sink_names(sinks, advertised), tokens)

    def _key_store(self) -> KeyStore:
        """How the encryption key is stored."""
        return RawKey() if self._recipient is None else WrappedKey(self._recipient, self._identity)

    def _describe(self, source: Source) -> Description:
        return Description(
            frames=source.frames,
            channels=source.channels,
            samplerate=source.samplerate,
            format=source.format.name,
            chunk_frames=self._plan.chunk_frames,
            ops=tuple(str(spec) for spec in self._specs),
        )

    def _check_input(self) -> None:
        """Before the folder is opened: that alone may remove what bears the name of a part, or rename it."""
        if is_reserved(self._input, self._output):
            raise UsageError(f"{self._input} is the input and would be replaced; choose another folder with -o")

    def _open_folder(self, source: Source) -> ResultFolder:
        job = JobRecord(source.fingerprint(), self._describe(source))
        store = self._key_store()
        return ResultFolder(self._output, overwrite=self._overwrite, job=job, key_store=store, fresh=self._fresh)

    def _resume(self, source: Source, writer: ResultWriter) -> int:
        """Find the run that the job goes on with; returns how many bytes of its result were written before."""
        frame, rest = divmod(self._resumed, source.frame_bytes)
        self._first, skipped = self._bundles.at_output(frame)
        if writer.incarnation > 1:
            done, chunks = self._plan.at_output(frame)[0], len(self._plan)
            self._warnings = (f"resuming an interrupted job: {done} of {chunks} chunks are done",)
        return skipped * source.frame_bytes + rest

    def _find_done(self, source: Source, folder: ResultFolder) -> None:
        """This very job was published, and its process died in the act: what there was to finish is finished."""
        self._state = State.DONE
        self._resumed = source.frames * source.frame_bytes
        self._warnings = ("this job was done already: its publication was interrupted, and is finished now",)
        self._report = self._make_report(source, folder.paths, 0.0)

    def _launch_starter(self, stack: ExitStack) -> Starter | None:
        """The process that starts local workers, if there is anything for them to do."""
        starter, self._starter = self._starter, None
        if starter is None and self._local_workers:
            starter = Starter()
        if starter is not None:
            stack.callback(starter.close)
        return starter if self._local_workers else None

    @property
    def _local_workers(self) -> int:
        """How many there are to be: no more than runs still to be done, or three for each that a third may judge."""
        return min(self._workers, (len(self._bundles) - self._first) * (3 if self._security.audit else 1))

    def _open_outboxes(self, source: Source, starter: Starter | None, stack: ExitStack) -> Outboxes | None:
        """Shared memory for the results of local workers; without it, they use sockets as all others do."""
        workers = self._local_workers
        bundle_bytes = min(self._bundles.chunk_frames, source.frames) * source.frame_bytes
        if self._network.sockets_only or starter is None or workers * CREDIT * bundle_bytes > self._memory:
            return None
        try:
            outboxes = Outboxes(starter.memory, workers, CREDIT, bundle_bytes)
        except OSError as error:
            log.info("local workers use sockets: no shared memory: %s", error)
            return None
        stack.callback(outboxes.close)
        return outboxes

    def _open_ways(
        self, starter: Starter | None, outboxes: Outboxes | None, keys: CoordinatorKeys | None, stack: ExitStack
    ) -> tuple[Pool | None, Endpoints]:
        """Local workers, and where to bind for them and for others."""
        ventilators, sinks = [], []
        pool = None
        if starter is not None:
            folder = tempfile.mkdtemp(prefix="zaudio-", dir=_short_folder())  # 0700, as mkdtemp makes them
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            ventilators.append(check_endpoint(f"ipc://{folder}/v"))
            sinks.append(f"ipc://{folder}/s")
            allow = tuple(dict.fromkeys(spec.name for spec in self._specs if spec.is_function))
            pool = Pool(
                starter,
                ventilators[0],
                self._local_workers,
                folder=folder,
                allow=allow,
                outboxes=outboxes,
                keys=keys.local if keys is not None else None,
            )
            stack.callback(pool.close)
        if self._bind is not None:
            ventilators.append(self._bind)
            sinks.append(self._network.sink(self._bind))
        return pool, Endpoints(tuple(ventilators), tuple(sinks))

    def _warn_of_strangers(self) -> tuple[str, ...]:
        endpoint = exposed(self._bind, self._network, self._security)
        if endpoint is None:
            return ()
        return (f"{endpoint}: whoever can reach this address can take part and read the recording",)

    def _warn_of_nobody(self, keys: CoordinatorKeys | None) -> tuple[str, ...]:
        if keys is None or self._bind is None or keys.allowed.read():
            return ()
        return (f"no worker is admitted yet; `zaudio keys worker NAME --keys {self._keys_folder}` makes a key for one",)

    # The coordinator's thread

    def _run_farm(self, resources: ExitStack, finish: Callable[[], None]) -> None:
        assert self._farm is not None
        assert self._writer is not None
        try:
            with resources:
                try:
                    self._farm.run(on_bound=self._on_bound, finish=finish)
                except ConflictError:
                    # One of the two results is encrypted already, and a resume would go on behind it without a word.
                    self._writer.disown()
                    raise
        except BaseException as error:
            if isinstance(error, JobError | EndpointError):
                log.debug("the job failed", exc_info=True)
            self._failure = error
        finally:
            self._bound.set()
            self._over.set()

    def _on_bound(self) -> None:
        self._state = State.RUNNING
        self._bound.set()

    def _finisher(self, source: Source, writer: ResultWriter) -> Callable[[], None]:
        def finish() -> None:
            assert self._farm is not None
            self._state = State.PUBLISHING
            source.check()
            paths = writer.publish()
            welcomed = self._farm.tally.welcomed
            seconds = time.monotonic() - welcomed if welcomed is not None else 0.0
            self._report = self._make_report(source, paths, seconds)
            self._state = State.DONE

        return finish

    def _make_report(self, source: Source, paths: Mapping[str, str], seconds: float) -> Report:
        tally, shares = (self._farm.tally, self._farm.shares) if self._farm is not None else (Tally(), Counter[str]())
        return Report(
            chunks=len(self._plan),
            chunk_frames=self._plan.chunk_frames,
            frames=source.frames,
            channels=source.channels,
            samplerate=source.samplerate,
            format=source.format.name,
            bytes=source.frames * source.frame_bytes,
            seconds=seconds,
            workers=sum(chunks > 0 for chunks in shares.values()),
            requeued=tally.requeued,
            duplicates=tally.duplicates,
            rejected=tally.rejected,
            paths=dict(paths),
            shares={name: chunks for name, chunks in sorted(shares.items()) if chunks},
            resumed_chunks=self._plan.at_output(self._resumed // source.frame_bytes)[0],
            recipient=str(self._recipient or ""),
            audited=tally.audited,
            dropped=dict(sorted(self._farm.dropped.items())) if self._farm is not None else {},
        )


def _count_workers(workers: int | None, bind: str | None) -> int:
    if workers is None:
        return 0 if bind is not None else usable_cores()
    if workers < 0:
        raise UsageError(f"workers: expected 0 or more, got {workers}")
    if workers == 0 and bind is None:
        raise UsageError("no local workers and nowhere for others to connect: give workers, or bind")
    return workers


def _check_identity(identity: Identity | None, recipient: Recipient | None) -> None:
    """Refuse an identity that would be of no use: without a recipient the key would be written raw."""
    if identity is None:
        return
    own = str(identity.recipient)
    if recipient is None:
        raise UsageError(
            f"an identity goes with a recipient; pass --recipient {own} (Security(recipient=)) too, or neither"
        )
    if str(recipient) != own:
        raise UsageError(f"the identity is that of {own}, and the recipient is another; pass that one's, or none")


def _short_folder() -> str | None:
    """The usual folder for temporary files, unless its name is too long for a socket's address."""
    usual = tempfile.gettempdir()
    return usual if len(usual) < 60 else "/tmp"  # noqa: S108  # mkdtemp makes a folder of its own in it
