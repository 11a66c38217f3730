"""Ends: how the recordings of a batch end: reports, counts, and the lines of the manifest.

Rules:

- Every recording ends once. Any thread may end one; the farm's thread alone tells of it.
- A recording's `done` line is written before its publication, its `failed` line after the failure.
- A full disk ends the batch and no recording of it: the next run does the rest.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from zaudio.audio.marks import FileMark
from zaudio.batching.manifest import Entry, Manifest, Named
from zaudio.batching.roll import Roll
from zaudio.errors import DiskFullError, JobError, ZaudioError
from zaudio.events import RecordingEnded
from zaudio.facts import RecordingReport
from zaudio.job.stages import Say


@dataclass(frozen=True, slots=True)
class Begun:
    """A recording that is being done.

    Attributes:
        named: Its file, and the name of its result.
        status: The state of its file when it was opened.
        at: When its stage began, on the monotonic clock.
    """

    named: Named
    status: os.stat_result
    at: float


@dataclass(frozen=True, slots=True)
class Made:
    """A result that is whole on the disk.

    Attributes:
        frames: Frames of it.
        bytes: Bytes of its samples.
        tag: The tag of a sealed result, in hex.
        file: The mark of a file that plays; None for a sealed result.
    """

    frames: int
    bytes: int
    tag: str = ""
    file: FileMark | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of a file that plays, in hex."""
        return self.file.sha256 if self.file is not None else ""


class Ends:
    """The ends of a batch's recordings.

    Args:
        folder: The folder of the batch.
        suffix: The suffix of files that play; empty for sealed results.
        manifest: Its manifest, open.
        job: A hash of what a result follows from besides its recording.
        max_fails: The failures that end the batch; None for none.
        take: Takes each report.
        roll: Is told of each end.

    Attributes:
        counts: Recordings that were ``done``, ``failed`` or ``skipped``.
        bytes: Bytes of the results that were made.
    """

    def __init__(
        self,
        folder: str,
        suffix: str,
        manifest: Manifest,
        job: str,
        max_fails: int | None,
        take: Callable[[RecordingReport], None],
        roll: Roll,
    ) -> None:
        self.counts = dict.fromkeys(("done", "failed", "skipped"), 0)
        self.bytes = 0
        self._folder = folder
        self._suffix = suffix
        self._manifest = manifest
        self._job = job
        self._max_fails = max_fails
        self._take = take
        self._roll = roll
        self._lock = threading.Lock()
        self._untold: deque[RecordingReport] = deque()

    def output_of(self, named: Named) -> str:
        """Return the path of a recording's result."""
        return os.path.join(self._folder, named.name)

    def earlier(self, named: Named, status: os.stat_result) -> Entry | None:
        """Return the entry of an earlier run that did this recording as it is now, by this job; None if none did."""
        entry = self._manifest.done_by(self._job, named.name)
        if entry is None or entry.input != os.path.abspath(named.path) or not entry.is_of(status, self._job):
            return None
        return entry

    def note_done(self, begun: Begun, made: Made) -> None:
        """Write the line of a result that is whole, before it is published.

        Raises:
            StorageError: The system refused.
        """
        named, status = begun.named, begun.status
        entry = Entry(
            os.path.abspath(named.path),
            named.name,
            "done",
            frames=made.frames,
            bytes=made.bytes,
            seconds=round(time.monotonic() - begun.at, 3),
            tag=made.tag,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            job=self._job,
            suffix=self._suffix,
        )
        if made.file is not None:
            sha256, size, mtime_ns = made.file
            entry = replace(entry, sha256=sha256, file_size=size, file_mtime_ns=mtime_ns)
        self._manifest.add(entry)

    def done(
        self,
        begun: Begun,
        made: Made,
        warnings: tuple[str, ...],
        measured: tuple[str, ...] = (),
    ) -> None:
        """End a recording whose result is published."""
        self._end(
            RecordingReport(
                begun.named.path,
                self.output_of(begun.named),
                "done",
                frames=made.frames,
                bytes=made.bytes,
                seconds=time.monotonic() - begun.at,
                tag=made.tag,
                sha256=made.sha256,
                warnings=warnings,
                measured=measured,
            )
        )

    def failed(self, named: Named, error: BaseException, warnings: tuple[str, ...] = ()) -> None:
        """End a recording by an error.

        Raises:
            DiskFullError: That was the error. No other recording would fare better, so it ends the batch.
            StorageError: The manifest cannot be written to.
        """
        if isinstance(error, DiskFullError):
            raise error
        sentence = str(error) if isinstance(error, ZaudioError) else f"{type(error).__name__}: {error}"
        kind, output = type(error).__name__, self.output_of(named)
        self._manifest.add(
            Entry(os.path.abspath(named.path), named.name, "failed", sentence, kind, job=self._job, suffix=self._suffix)
        )
        self._end(RecordingReport(named.path, output, "failed", sentence, kind, warnings=warnings))

    def skipped(self, named: Named, entry: Entry) -> None:
        """End a recording that an earlier run had done.

        Raises:
            StorageError: The manifest cannot be written to.
        """
        self._manifest.add(entry)  # the last line may be another job's, whose failure is not the end of this one
        self._end(
            RecordingReport(
                named.path,
                self.output_of(named),
                "skipped",
                frames=entry.frames,
                bytes=entry.bytes,
                tag=entry.tag,
                sha256=entry.sha256,
            )
        )

    def tell(self, say: Say) -> None:
        """Tell of the recordings that have ended; in the farm's thread."""
        while self._untold:
            report = self._untold.popleft()
            say(RecordingEnded, input=report.input, output=report.output, state=report.state, sentence=report.sentence)

    def check(self) -> None:
        """Make sure that fewer recordings failed than end the batch.

        Raises:
            JobError: As many did.
        """
        failed = self.counts["failed"]
        if self._max_fails is not None and failed >= self._max_fails:
            recordings = "1 recording" if failed == 1 else f"{failed} recordings"
            raise JobError(f"{recordings} failed, and --max-fails (max_fails=) is {self._max_fails}")

    def _end(self, report: RecordingReport) -> None:
        with self._lock:
            self.counts[report.state] += 1
            if report.state == "done":
                self.bytes += report.bytes
            self._roll.end(report.input, report.state, report.sentence)
            self._untold.append(report)
            self._take(report)
