"""Preparation: from a request to a job and a farm that are ready. Every refusal that is possible happens here.

    open_job   keys, recording, ops, output folder, destination -> the main stage
    open_farm  local workers, and where to bind                -> the farm that runs it

Rules:

- Both run in the caller's thread. The recording is read and no output is touched before everything that a user wrote
  was checked against it.
- What is opened is closed by the exit stack of the caller, in reverse order.
"""

from __future__ import annotations

import logging
import os
import shlex
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from zaudio.audio import Source, open_source
from zaudio.core.job import Job
from zaudio.core.jury import SECRET_BYTES, Audit
from zaudio.endpoints import parse_advertise
from zaudio.errors import ConflictError, InputError, UsageError
from zaudio.events import Event, Published, Started, State, StateChanged
from zaudio.machine import check_limits
from zaudio.net.farm import Endpoints, Farm
from zaudio.net.keys import CoordinatorKeys
from zaudio.net.local import LocalWorkers
from zaudio.net.stage import Stage
from zaudio.net.starter import Starter
from zaudio.net.wake import Waker
from zaudio.ops.chain import Course, Pass, make_ops
from zaudio.ops.functions import import_allowed
from zaudio.plan import Plan
from zaudio.request import Request
from zaudio.result import (
    KEY,
    Description,
    JobRecord,
    KeyFile,
    RawKey,
    ResultFolder,
    ResultWriter,
    WrappedKey,
    is_reserved,
    result_of,
)
from zaudio.settings import exposed
from zaudio.signal import Signal
from zaudio.sizes import parse_frames

BUNDLE_BYTES = 256 * 1024  # small chunks travel together, as many as fit: a message costs what 256 KiB of AES costs
BUNDLES_LEAST = 64  # so that 16 workers share a small job of a slow op evenly; more of them share it less evenly
CREDIT = 2  # bundles that a worker holds: one to compute, one to fetch meanwhile

Say = Callable[..., None]  # say(kind, **facts): publish an event of that kind, with the job's id and the time

log = logging.getLogger("zaudio.coordinator")


@dataclass(frozen=True, slots=True)
class DoneJob:
    """A job that was found done: its process had died in the act of publication, which is finished now.

    Attributes:
        request: The wishes of the user.
        started: The facts of the job.
        paths: The files of the result.
        warnings: Sentences for the user.
    """

    request: Request
    started: Started
    paths: Mapping[str, str]
    warnings: tuple[str, ...]

    def tell(self, say: Say) -> None:
        """Say that the result is published."""
        say(Published, paths=self.paths, recipient=str(self.request.recipient or ""))


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that is ready for a farm: one recording, its stages, one result.

    Attributes:
        request: The wishes of the user.
        started: The facts of the job.
        source: The recording.
        writer: The destination of the result.
        stage: The main stage.
        warnings: Sentences for the user.
    """

    request: Request
    started: Started
    source: Source
    writer: ResultWriter
    stage: Stage
    warnings: tuple[str, ...]

    def run(self, farm: Farm, *, say: Say, on_open: Callable[[], None]) -> None:
        """Run the stages, then publish the result.

        Args:
            farm: The farm, entered.
            say: Publishes events of the whole job.
            on_open: Called once, when workers can take part.

        Raises:
            InputChangedError: The recording is not what it was.
            ZaudioError: The job failed; nothing is published.
        """

        def opened() -> None:
            say(StateChanged, state=State.RUNNING)
            on_open()

        try:
            farm.run(self.stage, on_open=opened)
        except ConflictError:
            # One of the two results is encrypted already, and a resume would go on behind it without a word.
            self.writer.disown()
            raise
        say(StateChanged, state=State.PUBLISHING)
        self.source.check()
        paths = self.writer.publish()
        say(Published, paths=paths, recipient=str(self.request.recipient or ""))


def open_job(
    request: Request, stack: ExitStack, *, waker: Waker, publish: Callable[[Event], None], pause: Callable[[], None]
) -> OpenJob | DoneJob:
    """Open the recording, the output folder and the destination.

    Args:
        request: The job.
        stack: Closes what was opened.
        waker: Wakes the farm.
        publish: Takes the events of the stage.
        pause: Called now and then while an interrupted job's output is read. An exception of it ends that.

    Raises:
        UsageError: An op, a size or the output folder cannot be used.
        InputError: The recording cannot be read as audio.
        StorageError: The output folder cannot be written to.
    """
    _refuse_result(request.input)
    source = stack.enter_context(open_source(request.input, request.raw))
    signal = Signal(source.frames, source.channels, source.samplerate, source.format)
    allowed = import_allowed(list(dict.fromkeys(spec.name for spec in request.specs if spec.is_function)))
    main = Course(make_ops(request.specs, allowed), signal).main
    plan = _cut(request, source, main)
    folder = stack.enter_context(_open_folder(request, source, plan))
    if folder.done:
        started = _started(source, plan, job=b"", resumed=source.frames * source.frame_bytes)
        warning = "this job was done already: its publication was interrupted, and is finished now"
        return DoneJob(request, started, folder.paths, (*source.warnings, warning))
    writer = ResultWriter(folder, _describe(request, source, plan))
    stack.callback(writer.abort)
    if folder.unfinished is not None:
        log.info("an interrupted job lies in %s: reading what it wrote", request.output)
    resumed = writer.open(signal, plan.order, notify=waker.wake, pause=pause)
    started = _started(source, plan, job=writer.job_id, resumed=resumed)
    warnings = source.warnings
    if writer.incarnation > 1:
        done = f"{started.resumed_chunks} of {len(plan)} chunks are done"
        warnings = (*warnings, f"resuming an interrupted job: {done}")
    stage = _main_stage(request, source, plan, writer, main, resumed=resumed, notify=waker.wake, publish=publish)
    return OpenJob(request, started, source, writer, stage, warnings)


def open_farm(
    job: OpenJob, stack: ExitStack, *, waker: Waker, starter: Starter | None, keys: CoordinatorKeys | None
) -> Farm:
    """Start local workers, and make the farm. It binds when it is entered.

    Args:
        job: The first job that it will run.
        stack: Closes what was opened.
        waker: Wakes the farm.
        starter: The process that starts local workers, when it was launched ahead of time.
        keys: The coordinator's keys, if it has any.

    Raises:
        UsageError: A limit of this process is too low for so many workers.
    """
    request, stage = job.request, job.stage
    count = _local_workers(request, stage.job)
    check_limits(count, coordinates=True, memory=request.memory)
    local = None
    if count:
        local = LocalWorkers(
            count,
            starter=starter,
            allow=tuple(dict.fromkeys(spec.name for spec in request.specs if spec.is_function)),
            credit=CREDIT,
            slot_bytes=None if request.network.sockets_only else stage.result_max,
            memory=request.memory,
            keys=keys.local if keys is not None else None,
        )
        stack.callback(local.close)
    elif starter is not None:
        starter.close()  # there is nothing for it to do
    elsewhere = None
    if request.bind is not None:
        elsewhere = Endpoints(request.bind, request.network.sink(request.bind))
    advertise = parse_advertise(request.network.advertise)
    return Farm(elsewhere, result_max=stage.result_max, waker=waker, local=local, keys=keys, advertise=advertise)


def warnings_of(request: Request, keys: CoordinatorKeys | None) -> tuple[str, ...]:
    """Return sentences about peers: strangers that can connect, or that no worker is admitted."""
    warnings = []
    endpoint = exposed(request.bind, request.network, request.security)
    if endpoint is not None:
        warnings.append(f"{endpoint}: whoever can reach this address can take part and read the recording")
    if keys is not None and request.bind is not None and not keys.allowed.read():
        command = f"zaudio keys worker NAME --keys {request.security.keys}"
        warnings.append(f"no worker is admitted yet; `{command}` makes a key for one")
    return tuple(warnings)


def _refuse_result(path: str) -> None:
    """Refuse to take ciphertext for samples."""
    folder = result_of(path)
    if folder is not None:
        command = f"zaudio decrypt {shlex.quote(folder)} --forward -o again.raw"
        if not os.path.lexists(os.path.join(folder, KEY)):
            command += " --key FILE"
        raise InputError(path, f"this is a result of zaudio, which is encrypted; get its samples with: {command}")


def _cut(request: Request, source: Source, main: Pass) -> Plan:
    frames = parse_frames(request.chunk, what="chunk", frame_bytes=source.frame_bytes, samplerate=source.samplerate)
    chunk = min(frames, source.frames) * source.frame_bytes
    if request.memory < chunk:
        raise UsageError(
            f"memory: a chunk takes {chunk} bytes, and {request.memory} are allowed; "
            "give more with --memory (Limits(memory=)), or shorter chunks with --chunk (chunk=)"
        )
    if main.grid:
        frames = -(-frames // main.grid) * main.grid
    graph = main.graph()
    return Plan(graph.output.frames, frames, needs=graph.needs)


def _main_stage(
    request: Request,
    source: Source,
    plan: Plan,
    writer: ResultWriter,
    main: Pass,
    *,
    resumed: int,
    notify: Callable[[], None],
    publish: Callable[[Event], None],
) -> Stage:
    """Return the stage that goes on after the bytes that an earlier life wrote."""
    fitting = BUNDLE_BYTES // (plan.chunk_frames * source.frame_bytes)
    bundles = plan.in_bundles(min(fitting, len(plan) // BUNDLES_LEAST))
    frame, rest = divmod(resumed, source.frame_bytes)
    first, skipped = bundles.at_output(frame)
    job = Job(
        job=writer.job_id,
        incarnation=writer.incarnation,
        plan=bundles,
        chunk_frames=plan.chunk_frames,
        ops=main.steps,
        signal=main.signal,
        grid=main.grid,
        credit=CREDIT,
        window_most=_window(request, bundles.chunk_frames * source.frame_bytes),
        timing=request.timing,
        source=source.reference,
        first=first,
        audit=Audit(request.security.audit, os.urandom(SECRET_BYTES)) if request.security.audit else None,
    )
    return Stage(
        job,
        source=source,
        destination=writer,
        frame_bytes=source.frame_bytes,
        notify=notify,
        publish=publish,
        skip=skipped * source.frame_bytes + rest,
    )


def _window(request: Request, bundle_bytes: int) -> int:
    # A bundle is in flight one way, then the other; while two workers are at it, both ways at once. An audited one is
    # at two workers from the start.
    return request.memory // ((4 if request.security.audit else 2) * bundle_bytes)


def _local_workers(request: Request, job: Job) -> int:
    """Return how many there are to be: no more than bundles to do, or three for each that a third may judge."""
    left = len(job.plan) - job.first
    return min(request.workers, left * (3 if job.audit is not None else 1))


def _describe(request: Request, source: Source, plan: Plan) -> Description:
    return Description(
        frames=source.frames,
        channels=source.channels,
        samplerate=source.samplerate,
        format=source.format.name,
        chunk_frames=plan.chunk_frames,
        ops=tuple(str(spec) for spec in request.specs),
    )


def _open_folder(request: Request, source: Source, plan: Plan) -> ResultFolder:
    # Before the folder is opened: that alone may remove a file with the name of a part, or rename it.
    if is_reserved(request.input, request.output):
        raise UsageError(f"{request.input} is the input and would be replaced; choose another folder with -o")
    key_out = request.security.key_out
    if key_out is not None and is_reserved(os.fspath(key_out), request.output):
        raise UsageError(f"{os.fspath(key_out)} belongs to the result; name a key_out elsewhere, or none")
    return ResultFolder(
        request.output,
        overwrite=request.overwrite,
        job=JobRecord(source.fingerprint(), _describe(request, source, plan)),
        key_store=RawKey() if request.recipient is None else WrappedKey(request.recipient, request.identity),
        fresh=request.fresh,
        key_file=KeyFile(os.fspath(key_out)) if key_out is not None else None,
    )


def _started(source: Source, plan: Plan, *, job: bytes, resumed: int) -> Started:
    return Started(
        at=time.monotonic(),
        job=job.hex(),
        chunks=len(plan),
        chunk_frames=plan.chunk_frames,
        frames=source.frames,
        channels=source.channels,
        samplerate=source.samplerate,
        format=source.format.name,
        bytes=source.frames * source.frame_bytes,
        resumed_chunks=plan.at_output(resumed // source.frame_bytes)[0],
        resumed_bytes=resumed,
        warnings=source.warnings,
    )
