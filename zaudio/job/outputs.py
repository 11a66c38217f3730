"""Outputs: where the result of a job goes: the folder of a sealed result, or a file that plays.

    claim    request, recording, course  -> Claim: the name is taken, an earlier life of the job is found

Rules: this is where the rooms of audio and of results meet. A claim refuses all that can be refused. What is opened is
closed by the exit stack of the caller, in reverse order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Protocol

from zaudio.audio import Source
from zaudio.audio.container import Container, container_of
from zaudio.audio.metadata import Metadata, carry
from zaudio.audio.rendering import AudioFile, FileLayout, Origin, file_layout
from zaudio.audio.tagging import wave_chunks
from zaudio.audio.wave import WaveFile
from zaudio.errors import OutputExistsError, UsageError
from zaudio.job.fileoutput import FileOutput
from zaudio.job.inputs import is_part_of
from zaudio.job.request import Request
from zaudio.job.stages import signal_of
from zaudio.net.destination import Destination
from zaudio.ops.chain import Course, Pass
from zaudio.ops.spec import OpSpec, parse_chain
from zaudio.plan import Order, Plan
from zaudio.result import (
    UNVERSIONED,
    Description,
    JobRecord,
    KeyFile,
    Machines,
    MeasuredOp,
    RawKey,
    ResultFolder,
    ResultWriter,
    Settlement,
    WrappedKey,
    check_free,
    decode_note,
    is_reserved,
    result_of,
)
from zaudio.settings import Playable, Sealed
from zaudio.signal import Signal


class Output(Destination, Protocol):
    """The destination of a result, as a job sees it: it is opened and published, and keeps notes for later lives."""

    @property
    def job_id(self) -> bytes:
        """The job's id in all its lives; known when it is open."""

    @property
    def incarnation(self) -> int:
        """The number of this life, from 1; known when it is open."""

    @property
    def page_token(self) -> str:
        """Text that lets its bearer see the page of the job; known when it is open."""

    @property
    def kept(self) -> bool:
        """Whether a later start can continue from something here."""

    def open(self, signal: Signal, order: Order, *, notify: Callable[[], None], check_stop: Callable[[], None]) -> int:
        """Open the destination; return the bytes that an earlier life of the job has left in it.

        Args:
            signal: The results, put together.
            order: The order of their frames.
            notify: Called from any thread when `finished`, `sealed` or `error` changed.
            check_stop: Called now and then while an earlier life's bytes are read. An exception of it ends that.
        """

    def publish(self) -> dict[str, str]:
        """Give the result its final names, all or none; return its paths."""

    def abort(self) -> None:
        """Close everything; keep only files from which a later life can continue. Idempotent."""

    def disown(self) -> None:
        """Abort, and keep nothing: the bytes so far are in doubt."""

    def note(self, note: MeasuredOp | Machines) -> None:
        """Keep that for a later life, durable, before any payload is put."""

    def describe_by(self, describe: Callable[[], Settlement]) -> None:
        """Ask that function, once, when the first payload comes or the result is sealed."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The traces of an earlier life of a job.

    Attributes:
        measured: The ops that its measuring stages made.
        machines: The class of machines that it was computed by; None when it is not known.
        described: The description of the result; None when that is not kept.
        begun: Whether there are bytes of the result.
    """

    measured: tuple[MeasuredOp, ...]
    machines: Machines | None
    described: Description | None
    begun: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """An output whose name is taken by this job.

    Attributes:
        output: The destination, to be opened; None when the job is done already.
        described: The description of the result, as far as it is known.
        paths: The paths of the result, when the job is done already.
        earlier: What an earlier life of the job left; None for a new job.
        container: The kind of file that people find: ``raw``, ``WAV`` or ``FLAC``.
        sentences: What a user should know.
    """

    output: Output | None
    described: Description
    paths: Mapping[str, str]
    earlier: Earlier | None
    container: str
    sentences: tuple[str, ...] = ()


def check_output(request: Request) -> None:
    """Make sure that an output can have its name, as far as can be told before the recording is read.

    A stream would be lost, and reading and decoding takes time.

    Raises:
        OutputExistsError: It is there already, and must not be replaced.
        UsageError: Its name says no kind of file, or belongs to a sealed result; or it is the input.
    """
    path = request.output
    if isinstance(request.store, Sealed):
        if not request.overwrite:
            check_free(path)
        return
    container_of(path)
    if os.path.basename(path) and is_reserved(path, os.path.dirname(path) or ".") and result_of(path) is not None:
        raise UsageError(f"{path} belongs to a sealed result; choose another output")
    _check_other(request.input, path)  # first: --overwrite is no way out
    if os.path.isfile(path) and not request.overwrite and not os.path.lexists(f"{path}.part.journal"):
        raise OutputExistsError(path)


def with_format(request: Request, source: Source, output: Signal) -> Request:
    """Return the request with ops that make the output's format, behind those that were asked for.

    Args:
        request: The job.
        source: The recording.
        output: The signal behind the ops.
    """
    store, more = request.store, list[str]()
    if isinstance(store, Playable) and store.dither:
        more.append("dither")
    keeps_bits = isinstance(store, Playable) or store.inside == "wav"
    if isinstance(store, Playable) and store.format is not None:
        if store.format != output.format.name or store.dither:
            more.append(f"convert:format={store.format}")
    elif keeps_bits and source.bits == 24 and (output.format.dtype[1], output.format.bits) == ("i", 32):
        more.append(f"convert:format=s24{output.format.name[3:]}")
    return replace(request, specs=(*request.specs, *parse_chain(more))) if more else request


def describe(specs: tuple[OpSpec, ...], course: Course, plan: Plan, *, header: int = 0) -> Description:
    """Return the description of a result, as far as it is known before anything is measured."""
    output = course.output
    format = output.format.name
    return Description(
        frames=output.frames,
        channels=output.channels,
        samplerate=output.samplerate,
        format=f"{format[:3]}le" if header else format,  # of a WAV
        chunk_frames=plan.chunk_frames,
        ops=tuple(map(str, specs)),
        grid=course.foreseen.grid,
        versions=tuple(version or UNVERSIONED for version in course.versions),
        order=plan.order,
        header_bytes=header,
    )


def settled(described: Description, main: Pass, plan: Plan) -> Description:
    """Return the description of a result when everything is measured."""
    return replace(described, chunk_frames=plan.chunk_frames, grid=main.grid)


def claim(request: Request, source: Source, course: Course, plan: Plan, stack: ExitStack) -> Claim:
    """Take the name of an output.

    Args:
        request: The job, its ops as they are applied.
        source: The recording.
        course: The stages.
        plan: The chunks of the main stage, as far as they are known.
        stack: Closes the output.

    Raises:
        OutputExistsError: A result is there already, and must not be replaced.
        ResumeError: An unfinished job lies there that is another one, or is damaged.
        UsageError: The output cannot go there, or cannot hold the result.
        StorageError: The system refused.
    """
    metadata, dropped = _carried(request, source, course)
    if isinstance(request.store, Playable):
        return _claim_file(request, source, course, plan, metadata, dropped, stack)
    header = b""
    if request.store.inside == "wav":
        chunks, homeless = wave_chunks(metadata)
        header = WaveFile(course.output, chunks, metadata.speakers).header
        if homeless:
            dropped += (f"metadata that a WAV has no place for is dropped: {', '.join(homeless)}",)
    else:
        dropped = ()
    return _claim_folder(request, source, course, plan, header, dropped, stack)


def _carried(request: Request, source: Source, course: Course) -> tuple[Metadata, tuple[str, ...]]:
    """Return the metadata of the result, and sentences about those that are dropped."""
    if isinstance(request.store, Sealed) and request.store.inside == "raw":
        return Metadata(), ()
    found = source.metadata()
    graph, start = course.foreseen.graph(), 0
    for op, signal in zip(reversed(graph.ops), reversed(graph.signals[:-1]), strict=True):
        start = op.source_frame(start, signal)
    carried = carry(found.metadata, signal_of(source), course.output, request.order, start=start)
    return carried.metadata, (*found.dropped, *carried.dropped)


# The folder of a sealed result


def _claim_folder(
    request: Request,
    source: Source,
    course: Course,
    plan: Plan,
    header: bytes,
    dropped: tuple[str, ...],
    stack: ExitStack,
) -> Claim:
    described = describe(request.specs, course, plan, header=len(header))
    folder = stack.enter_context(open_folder(request, source, described))
    container = Container.WAV.value if header else Container.RAW.value
    if folder.done:
        return Claim(None, described, folder.paths, None, container)
    writer = ResultWriter(folder, described, header)
    stack.callback(writer.abort)
    earlier = None
    if folder.unfinished is not None:
        journal = folder.unfinished.journal
        begun = any(checkpoint.length for checkpoint in journal.checkpoints)
        earlier = Earlier(journal.measured, journal.machines, journal.description, begun)
    return Claim(writer, described, folder.paths, earlier, container, dropped)


def open_folder(request: Request, source: Source, described: Description) -> ResultFolder:
    """Open the folder of a sealed result.

    Raises:
        UsageError: It cannot be used, or another job or an older result lies in it.
        StorageError: The system refused.
    """
    # Before the folder is opened: that alone may remove a file with the name of a part, or rename it.
    if is_reserved(request.input, request.output):
        raise UsageError(f"{request.input} is the input and would be replaced; choose another folder")
    if is_part_of(request.input, request.output):
        raise UsageError(f"{request.input} is the input and cannot be the output; choose another folder")
    key_out = request.security.key_out
    if key_out is not None and is_reserved(os.fspath(key_out), request.output):
        raise UsageError(f"{os.fspath(key_out)} belongs to the result; name a key_out elsewhere, or none")
    job = None
    if source.resumable:
        signal = signal_of(source)
        job = JobRecord(source.fingerprint(), described, str(signal) if signal != described.signal else "")
    return ResultFolder(
        request.output,
        overwrite=request.overwrite,
        job=job,
        key_store=RawKey() if request.recipient is None else WrappedKey(request.recipient, request.identity),
        fresh=request.fresh,
        key_file=KeyFile(os.fspath(key_out)) if key_out is not None else None,
    )


# A file that plays


def lay_out(request: Request, source: Source, course: Course) -> tuple[FileLayout, tuple[str, ...]]:
    """Return the bytes of a file besides its samples, and sentences about metadata that is dropped.

    Raises:
        UsageError: The kind of file cannot hold the result, or the file is the recording.
    """
    metadata, dropped = _carried(request, source, course)
    layout = _layout(request, course, metadata)
    _check_other(request.input, request.output)
    return layout, (*dropped, *layout.dropped)


def _layout(request: Request, course: Course, metadata: Metadata) -> FileLayout:
    of_batch = isinstance(request.store, Playable) and bool(request.store.ending)
    return file_layout(request.output, course.output, metadata, of_batch=of_batch)


def _claim_file(
    request: Request,
    source: Source,
    course: Course,
    plan: Plan,
    metadata: Metadata,
    dropped: tuple[str, ...],
    stack: ExitStack,
) -> Claim:
    path = request.output
    _layout(request, course, metadata)  # refuses what the kind of file cannot hold, before the name is taken
    _check_other(request.input, path)
    described = describe(request.specs, course, plan)
    origin = None
    if source.resumable:
        fingerprint = source.fingerprint()
        ops = tuple(f"{op} ({version})" for op, version in zip(described.ops, _versions(described), strict=True))
        origin = Origin(fingerprint, ops, fingerprint.decoder)
    file = AudioFile(
        path,
        course.output,
        order=plan.order,
        metadata=metadata,
        origin=origin,
        overwrite=request.overwrite,
        fresh=request.fresh,
    )
    stack.callback(file.abort)
    paths = {"result": path}
    if file.done:
        return Claim(None, described, paths, None, file.container.value)
    return Claim(FileOutput(file), described, paths, _earlier(file), file.container.value, dropped + file.sentences)


def _versions(described: Description) -> tuple[str, ...]:
    return described.versions or (UNVERSIONED,) * len(described.ops)


def _check_other(recording: str, path: str) -> None:
    """Make sure that the output is not the recording, whatever the recording is."""
    try:
        same = os.path.samefile(recording, path)
    except (OSError, ValueError):
        return  # one of them is not there
    if same:
        raise UsageError(f"{path} is the input; give the output another name")


def _earlier(file: AudioFile) -> Earlier | None:
    if not file.resumed:
        return None
    notes = [decode_note(note) for note in file.notes]
    machines = [note for note in notes if isinstance(note, Machines)]
    measured = tuple(note for note in notes if isinstance(note, MeasuredOp))
    return Earlier(measured, machines[-1] if machines else None, None, begun=False)
