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
    is_loopback,
    parse_advertise,
    parse_tcp,
    sink_beside,
    sink_names,
)
from zaudio.errors import ConflictError, EndpointError, ExposedError, JobError, StoppedError, UsageError
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
from zaudio.report import Progress, Report
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
from zaudio.signal import Signal
from zaudio.sizes import parse_bytes, parse_frames
from zaudio.steps import Step
from zaudio.timing import Timing

CHUNK = "1MiB"  # large enough that Python's share of a chunk vanishes, small enough for the caches and the window
MEMORY = "128MiB"  # 64 chunks of 1 MiB each way: the window is what 2 to 16 workers need, and no more is of use
BUNDLE_BYTES = 256 * 1024  # small chunks travel together, as many as fit: a message costs what 256 KiB of AES costs
BUNDLES_LEAST = 64  # so that 16 workers share a small job of a slow op evenly; more of them share it less evenly
CREDIT = 2  # runs that a worker holds: one to compute, one to fetch meanwhile

log = logging.getLogger("zaudio.coordinator")


class Coordinator:
    """One job: a recording, what to do with it, and where the result goes.

    Args:
        input: The recording. Raw samples, or a file that libsndfile reads.
        output: The folder for the four files of the result.
        ops: What to do with the samples: a SPEC such as ``"gain:db=-3"``, a function of an importable module, or a
            sequence of these, applied in order.
        workers: Local worker processes. By default the machine's cores, or none when `bind` is given.
        bind: Where workers from elsewhere connect, ``tcp://HOST:PORT`` (port 0 for any). By default nowhere.
        sink_bind: Where their results go; by default the port after that of `bind`, any when that was 0.
        advertise: ``HOST[:PORT[,PORT]]`` under which workers reach ventilator and sink, when that is another than
            they were bound to.
        chunk: Chunk size: bytes (``"1MiB"`` or an int), seconds (``"1s"``) or frames (``"44100f"``).
        memory: Bytes of samples that the coordinator may hold or have in flight (``"128MiB"`` or an int).
        samplerate: Frames a second of raw samples; 44100 by default.
        channels: Samples a frame of raw samples; 1 by default.
        format: Sample format of raw samples; ``f32le`` by default.
        sockets_only: Send chunks to local workers and get results back over sockets, as with remote ones, in place of
            files and shared memory.
        overwrite: Replace a result that is there already, at the instant of publication.
        fresh: Begin anew. Otherwise a job that was interrupted in that folder is resumed, if it is this very one.
        keys: The folder of the coordinator's keys, as `zaudio keys init` made it. Connections are then encrypted, and
            nobody connects whose key is not on its list of workers, which is read again while the job runs.
        insecure: Bind to an address that other machines can reach, and have no keys: whoever reaches it can take part,
            read the recording, and give wrong results.
        worker_timeout: Seconds without anybody who could be given a chunk after which the job ends.
        chunk_timeout: Seconds that a chunk may take, transfer included, before it is given to another worker; longer
            when ten times the median of what chunks take is longer. By default 60 at first, then at least 30.
        starter: The process that starts local workers, launched ahead of time by who knows that it will be needed.
        recipient: Whom to wrap the encryption key for: a public key that `zaudio identity` printed, or a file that
            holds it. By default it is written raw.
        identity: The file with the private key of that very recipient; needed only to resume a job.
        audit: Percentage of chunks, chosen at random, that two workers compute and that count only when both give the
            same; a worker that two others contradict is dropped. 0 for none.
        timing: All durations, instead of `worker_timeout` and `chunk_timeout`.
        on_event: Called with every event (`Joined`, `Lost`, `Requeued`, `Accepted`, `Duplicate`, `Rejected`, `Stuck`,
            and with an audit `Noted`, `Liar`, `Withdrawn`) in the coordinator's own thread. What it raises is logged,
            and the job goes on.

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
        sink_bind: str | None = None,
        advertise: str | None = None,
        chunk: str | int | None = None,
        memory: str | int | None = None,
        samplerate: int | None = None,
        channels: int | None = None,
        format: str | None = None,
        sockets_only: bool = False,
        overwrite: bool = False,
        fresh: bool = False,
        keys: str | os.PathLike[str] | None = None,
        insecure: bool = False,
        worker_timeout: float = 30.0,
        chunk_timeout: float | None = None,
        recipient: str | os.PathLike[str] | None = None,
        identity: str | os.PathLike[str] | None = None,
        audit: float = 0,
        timing: Timing | None = None,
        starter: Starter | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self._input = os.fspath(input)
        self._output = os.fspath(output)
        self._specs = parse_chain(ops)
        self._bind = check_endpoint(bind) if bind is not None else None
        self._sink_bind = check_endpoint(sink_bind) if sink_bind is not None else None
        self._advertise = parse_advertise(advertise)
        self._workers = _count_workers(workers, bind)
        self._chunk = chunk if chunk is not None else CHUNK
        self._memory = parse_bytes(memory if memory is not None else MEMORY, what="memory")
        self._raw = {"samplerate": samplerate, "channels": channels, "format": format}
        self._sockets_only = sockets_only
        self._overwrite = overwrite
        self._fresh = fresh
        self._keys_folder = os.fspath(keys) if keys is not None else None
        self._insecure = insecure
        self._recipient = parse_recipient(os.fspath(recipient)) if recipient is not None else None
        self._identity = read_identity(identity) if identity is not None else None
        self._audit = _check_audit(audit)
        own = Timing(worker_timeout=worker_timeout).allowing(chunk_timeout)
        self._timing = timing if timing is not None else own
        self._starter = starter
        self._on_event = on_event
        self._check_exposure()
        self._check_identity()
        self._warnings: tuple[str, ...] = ()
        self._state = "starting"
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
            source = stack.enter_context(open_source(self._input, **self._raw))  # type: ignore[arg-type]
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
                return Progress("starting", 0, 0, 0, 0, 0, 0, 0.0)
            chunks, size = self._report.chunks, self._report.bytes
            return Progress("done", chunks, chunks, size, size, 0, 0, 0.0, size)
        tally, plan, frame_bytes = self._farm.tally, self._plan, self._source.frame_bytes
        # Output is encrypted from the recording's end: what is done is all from the last finished run's start on.
        frames_done = plan.frames - self._bundles.span(tally.done - 1).start if tally.done else 0
        seconds = time.monotonic() - tally.welcomed if tally.welcomed is not None else 0.0
        state = self._state
        if state == "running" and not tally.workers:
            state = "waiting for workers"
        return Progress(
            state,
            len(plan),
            -(-frames_done // plan.chunk_frames),
            plan.frames * frame_bytes,
            frames_done * frame_bytes,
            tally.workers,
            tally.requeued,
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
            window_most=self._memory // ((4 if self._audit else 2) * bundle_bytes),
            timing=self._timing,
            source=source.reference,
            first=self._first,
            audit=Audit(self._audit, os.urandom(SECRET_BYTES)) if self._audit else None,
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
        self._state = "done"
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
        return min(self._workers, (len(self._bundles) - self._first) * (3 if self._audit else 1))

    def _open_outboxes(self, source: Source, starter: Starter | None, stack: ExitStack) -> Outboxes | None:
        """Shared memory for the results of local workers; without it, they use sockets as all others do."""
        workers = self._local_workers
        bundle_bytes = min(self._bundles.chunk_frames, source.frames) * source.frame_bytes
        if self._sockets_only or starter is None or workers * CREDIT * bundle_bytes > self._memory:
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
            sinks.append(self._sink_bind or sink_beside(self._bind))
        return pool, Endpoints(tuple(ventilators), tuple(sinks))

    def _exposed(self) -> str | None:
        """Where strangers can connect whom nothing keeps out, if anywhere."""
        if self._keys_folder is not None:
            return None
        binds = (self._bind, self._sink_bind)
        return next((bind for bind in binds if bind is not None and not is_loopback(bind)), None)

    def _check_exposure(self) -> None:
        if self._insecure and self._keys_folder is not None:
            raise UsageError("keys and insecure exclude each other: with keys, nobody is let in without one")
        exposed = self._exposed()
        if exposed is not None and not self._insecure:
            raise ExposedError(exposed)

    def _check_identity(self) -> None:
        """An identity that would not be of use is a mistake: without a recipient the key would be written raw."""
        if self._identity is None:
            return
        own = str(self._identity.recipient)
        if self._recipient is None:
            raise UsageError(f"an identity goes with a recipient; pass --recipient {own} (recipient=) too, or neither")
        if str(self._recipient) != own:
            raise UsageError(f"the identity is that of {own}, and the recipient is another; pass that one's, or none")

    def _warn_of_strangers(self) -> tuple[str, ...]:
        exposed = self._exposed()
        if exposed is None:
            return ()
        return (f"{exposed}: whoever can reach this address can take part and read the recording",)

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
        self._state = "running"
        self._bound.set()

    def _finisher(self, source: Source, writer: ResultWriter) -> Callable[[], None]:
        def finish() -> None:
            assert self._farm is not None
            self._state = "publishing"
            source.check()
            paths = writer.publish()
            welcomed = self._farm.tally.welcomed
            seconds = time.monotonic() - welcomed if welcomed is not None else 0.0
            self._report = self._make_report(source, paths, seconds)
            self._state = "done"

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


def _check_audit(percent: float) -> float:
    if not (isinstance(percent, int | float) and 0 <= percent <= 100):
        raise UsageError(f"audit: expected a percentage, 0 to 100, got {percent!r}")
    return percent


def _short_folder() -> str | None:
    """The usual folder for temporary files, unless its name is too long for a socket's address."""
    usual = tempfile.gettempdir()
    return usual if len(usual) < 60 else "/tmp"  # noqa: S108  # mkdtemp makes a folder of its own in it
