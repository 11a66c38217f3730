"""Results: publishes the results of a batch, of either kind: a sealed folder or a file that plays.

    publish        a small recording and its samples  -> its result, published
    made_by        a writer that has sealed           -> its result, not published yet
    made_before    a job that was found done          -> its result
    is_there       an entry of the manifest           -> whether its result is there
    end            a publication                      -> the end of its recording

Rules:

- This module alone tells the two kinds apart. A result gets its name in the manifest when it is whole on the disk,
  before the instant of its publication.
- An error after publication takes nothing back: the recording is done, and the error becomes a warning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zaudio import disk
from zaudio.audio.marks import FileMark, is_marked, read_mark, tidy
from zaudio.audio.small import write_small
from zaudio.batching.ends import Begun, Ends, Made
from zaudio.batching.lots import Small
from zaudio.batching.manifest import Entry
from zaudio.errors import DiskFullError, UsageError, VerificationError
from zaudio.job.fileoutput import FileOutput
from zaudio.job.outputs import Output, open_folder
from zaudio.job.ready import DoneJob
from zaudio.job.request import Request
from zaudio.result import Description, ResultWriter, look_at, publish_small, verify
from zaudio.settings import Playable


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """The result of a small recording, to be published.

    Attributes:
        small: The recording.
        described: The description of its result.
        samples: The result.
    """

    small: Small
    described: Description
    samples: bytearray


Before = Callable[[Made], None]


def end(
    ends: Ends,
    begun: Begun,
    request: Request,
    publication: Callable[[Before], Made],
    warnings: tuple[str, ...],
    measured: tuple[str, ...] = (),
) -> None:
    """Publish a result, and end its recording: also by a failure, which becomes its report.

    Args:
        ends: Takes the end.
        begun: The recording.
        request: The job.
        publication: Publishes. It calls what it is given with the result, before the instant of publication.
        warnings: Sentences for the user.
        measured: Sentences about what was measured.

    Raises:
        DiskFullError: There is no room for the result, or the disk has none to make its name durable.
        StorageError: The manifest cannot be written to.
    """
    noted: list[Made] = []

    def before(made: Made) -> None:
        ends.note_done(begun, made)
        noted.append(made)

    try:
        made = publication(before)
    except Exception as error:  # it costs this result alone
        if not (noted and _is_published(request, noted[0])):
            ends.failed(begun.named, error, warnings)
            return
        ends.done(begun, noted[0], (*warnings, str(error)), measured)
        if isinstance(error, DiskFullError):
            raise
    else:
        ends.done(begun, made, warnings, measured)


def publish(request: Request, whole: Whole, before: Before) -> Made:
    """Publish the result of a small recording.

    Args:
        request: The job.
        whole: The result.
        before: Called with it when it is durable, before the instant of publication.

    Raises:
        UsageError: The folder or the file cannot be used.
        StorageError: The system refused.
    """
    small, described = whole.small, whole.described
    if small.layout is not None:
        mark = write_small(
            request.output,
            described.signal,
            small.layout,
            whole.samples,
            overwrite=request.overwrite,
            fresh=request.fresh,
            before=lambda mark: before(_made(described, file=mark)),
        )
        return _made(described, file=mark)
    with open_folder(request, small.source, described) as folder:
        if folder.unfinished is not None or folder.done:
            raise UsageError(
                f"{request.output}: an interrupted job lies there; `zaudio farm` with this output goes on with it, "
                "and --fresh (fresh=True) discards it"
            )
        tag = publish_small(
            folder, described, whole.samples, before=lambda tag: before(_made(described, tag=tag.hex()))
        )
    return _made(described, tag=tag.hex())


def made_by(writer: Output) -> Made:
    """Return the result of a writer that has sealed it.

    Raises:
        StorageError: The system refused.
    """
    if isinstance(writer, FileOutput):
        return _made(writer.description, file=writer.mark())
    assert isinstance(writer, ResultWriter), "a destination is one of the two"
    return _made(writer.description, tag=writer.tag.hex())


def made_before(work: DoneJob) -> Made:
    """Return the result of a job that was found done: its process had died in the instant of publication.

    Raises:
        VerificationError: There is no result.
        StorageError: The system refused.
    """
    path = work.request.output
    if isinstance(work.request.store, Playable):
        with disk.storage_errors(path):
            return Made(work.started.frames, work.started.bytes, file=read_mark(path))
    described, tag = look_at(path)
    return _made(described, tag=tag.hex())


def is_there(request: Request, entry: Entry, *, thorough: bool) -> bool:
    """Return whether the result of an entry is where it was published.

    Args:
        request: The job.
        entry: What the manifest says about it.
        thorough: Whether it is read as a whole.

    Raises:
        VerificationError: A sealed result is damaged, and must not be replaced.
    """
    if isinstance(request.store, Playable):
        mark = FileMark(entry.sha256, entry.file_size, entry.file_mtime_ns)
        if not is_marked(request.output, mark, thorough=thorough):
            return False
        tidy(request.output)
        return True
    try:
        _, tag = look_at(request.output)
    except VerificationError:
        return False  # it was not published; or it is damaged, and then its name is taken
    if tag.hex() != entry.tag:
        return False
    try:
        if thorough:
            verify(request.output, identity=request.security.identity)
    except VerificationError:
        if request.overwrite:
            return False
        raise
    return True


def _is_published(request: Request, made: Made) -> bool:
    """Return whether a result has its name; one that is committed gets it now."""
    if made.file is not None:
        return is_marked(request.output, made.file, thorough=False)
    try:
        return look_at(request.output)[1].hex() == made.tag
    except (VerificationError, UsageError):  # a FolderBusyError is one
        return False


def _made(described: Description, *, tag: str = "", file: FileMark | None = None) -> Made:
    return Made(described.frames, described.plaintext_bytes, tag, file)
