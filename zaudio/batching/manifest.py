"""Manifest: `manifest.jsonl` in the folder of a batch says how each recording ended. A later run reads it.

Rules:

- A line is a JSON object with the fields of `Entry`. Of several lines about one output the last one counts: it says
  how the recording ended when it was last tried.
- A run skips a recording by the last `done` line of its own job. A failure of that job voids the line, unless the
  reason was a result in its way. A failure of another job at the same output does not.
- Lines are only added, each with an fsync. A line that a kill left without its end is cut off.
- `done` is written when a result is whole on the disk, before the instant of its publication. So no result is published
  without its line. The line counts only if the published result has its tag, or the file its size and sum.
- One process at a time has the lock.
- A result has the name of its recording's file without the suffix; a file that plays gets a suffix of its own. A number
  tells equal names apart. A recording keeps the name of its result.
- Names that differ in capitals or in how a letter is composed count as equal: on some file systems they are.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import TracebackType
from typing import NamedTuple, Self

from zaudio import disk
from zaudio.audio.part import JOURNAL, PART
from zaudio.errors import FolderBusyError, OutputExistsError, UsageError
from zaudio.result import ADDRESS

NAME = "manifest.jsonl"
PAGE = "page.secret"
OWN = (NAME, PAGE, ADDRESS)  # names in the folder of a batch that no result has
LINE_MAX = 1 << 16  # bytes
SENTENCE_MAX = 2000  # characters, of up to 12 bytes each: with the longest path, a line stays below that
STATES = ("done", "failed")


@dataclass(frozen=True, slots=True)
class Entry:
    """The end of a recording, as a line says it.

    Attributes:
        input: The absolute path of its file.
        output: The name of its result in the folder of the batch.
        state: ``done`` or ``failed``.
        sentence: Why it failed; empty when it is done.
        error: The name of the error's class; empty when it is done.
        frames: Frames of the result.
        bytes: Bytes of its samples.
        seconds: Seconds from the first grant to the end, those of other recordings included.
        tag: The tag of a sealed result, in hex; empty when it failed.
        size: Bytes of the input.
        mtime_ns: When the input was last written to.
        job: A hash of ops, options and owner of the key: what else the result follows from.
        suffix: The suffix of a file that plays; empty for a sealed result.
        sha256: Of all bytes of that file, in hex.
        file_size: Bytes of that file.
        file_mtime_ns: When that file was last written to.
    """

    input: str
    output: str
    state: str
    sentence: str = ""
    error: str = ""
    frames: int = 0
    bytes: int = 0
    seconds: float = 0.0
    tag: str = ""
    size: int = -1
    mtime_ns: int = -1
    job: str = ""
    suffix: str = ""
    sha256: str = ""
    file_size: int = -1
    file_mtime_ns: int = -1

    def is_of(self, status: os.stat_result, job: str) -> bool:
        """Return whether it says that the file in this state was done by that job."""
        return (self.state, self.size, self.mtime_ns, self.job) == ("done", status.st_size, status.st_mtime_ns, job)


class Named(NamedTuple):
    """A recording of a batch.

    Attributes:
        path: Its file, as it was named.
        name: The name of its result.
        size: Bytes of its file when the batch began: its weight in the progress.
    """

    path: str
    name: str
    size: int = 0


class Manifest:
    """The manifest of a folder, with its lock. A context manager.

    Args:
        folder: The folder of the batch; made if it is missing.

    Raises:
        FolderBusyError: Another batch has the lock.
        UsageError: The folder cannot be used, or the file there is no manifest.
    """

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, NAME)
        self._lock = threading.Lock()  # of the descriptor
        self._entries: dict[str, Entry] = {}  # by output
        self._done: dict[tuple[str, str], Entry] = {}  # by output and job
        self._made: set[str] = set()  # outputs that any job has made
        if not folder:
            raise UsageError("the folder of the results has no name")
        try:
            disk.make_folder(os.path.abspath(folder))
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            reason = "results go to a folder, and there is a file of that name, or above it"
            raise UsageError(f"{folder}: {reason}") from None
        except OSError as error:
            raise UsageError(f"{self.path}: it cannot be opened: {disk.reason(error)}") from error
        except ValueError as error:
            raise UsageError(f"{self.path!r}: it cannot be opened: {error}") from error
        self._folder = os.path.realpath(folder)
        try:
            self._open(folder)
        except BaseException:
            os.close(self._fd)
            raise

    def get(self, output: str) -> Entry | None:
        """Return the last entry about that output."""
        return self._entries.get(output)

    def done_by(self, job: str, output: str) -> Entry | None:
        """Return the last entry by which that job has made the output; None when none stands."""
        return self._done.get((output, job))

    def names(self, suffix: str = "") -> Mapping[str, str]:
        """Return the names of results by the absolute paths of their recordings: of files with that suffix, or sealed.

        Results of the other kinds may lie in the same folder.
        """
        return {entry.input: output for output, entry in self._entries.items() if entry.suffix == suffix}

    def is_own(self, path: str) -> bool:
        """Return whether that is a result that a line names, an unfinished file, or the manifest with its company.

        A pattern such as ``takes/*`` names them too when the results lie beside the recordings.
        """
        above, name = os.path.split(os.path.abspath(path))
        if os.path.realpath(above) != self._folder:
            return False
        return name in OWN or name.endswith((PART, JOURNAL)) or name in self._made

    @property
    def outputs(self) -> Collection[str]:
        """The names of all results, of whatever kind."""
        return self._entries.keys()

    def add(self, entry: Entry) -> None:
        """Add a line and make it durable, unless it is the last about its output already. Any thread may call it.

        Raises:
            StorageError: The system refused.
        """
        entry = replace(entry, sentence=entry.sentence[:SENTENCE_MAX])
        if self.get(entry.output) == entry:
            return
        line = json.dumps(asdict(entry)).encode("ascii") + b"\n"
        with disk.storage_errors(self.path):
            with self._lock:
                self._append(line)
                self._note(entry)
            os.fsync(self._fd)  # beside others: one of them makes the lines of all durable

    def close(self) -> None:
        """Release the lock. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        """Write a line, or nothing: on a full disk, half a line would spoil the next one."""
        end = os.fstat(self._fd).st_size
        try:
            disk.write_all(self._fd, line)
        except OSError:
            os.ftruncate(self._fd, end)
            raise

    def _open(self, folder: str) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderBusyError(folder) from None
        except OSError as error:
            raise UsageError(f"{self.path}: it cannot be locked: {disk.reason(error)}") from error
        with disk.storage_errors(self.path):
            end = 0
            with open(self._fd, "rb", closefd=False) as file:
                file.seek(0)
                for number, line in enumerate(iter(lambda: file.readline(LINE_MAX), b""), 1):
                    if not line.endswith(b"\n") and len(line) < LINE_MAX:
                        break  # a kill left it
                    self._take(number, line)
                    end += len(line)
            os.ftruncate(self._fd, end)
            disk.sync_folder(folder)

    def _take(self, number: int, line: bytes) -> None:
        try:
            self._note(_entry(json.loads(line)))
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"{self.path}: line {number} is no line of a manifest ({error}); move the file away to begin again"
            ) from None

    def _note(self, entry: Entry) -> None:
        self._entries[entry.output] = entry
        if entry.state == "done":
            self._done[entry.output, entry.job] = entry
            self._made.add(entry.output)
        elif entry.error != OutputExistsError.__name__:
            self._done.pop((entry.output, entry.job), None)


def name_all(
    paths: Iterable[str], known: Mapping[str, str], suffix: str = "", *, others: Collection[str] = ()
) -> tuple[list[Named], list[str]]:
    """Give each recording of a batch the name of its result.

    Args:
        paths: The files, in their order.
        known: The names of a manifest, by absolute paths. They stay.
        suffix: The suffix of files that play; empty for sealed results.
        others: Names that other results have.

    Returns:
        The recordings, and the files that were named twice.
    """
    taken = {_alike(name) for name in (*OWN, *known.values(), *others)}
    seen: set[str] = set()
    last: dict[str, int] = {}  # the number that was given last, by name
    named, twice = [], []
    for path in paths:
        whole = os.path.abspath(path)
        if whole in seen:
            twice.append(path)
            continue
        seen.add(whole)
        name = known.get(whole, "")
        if not name:
            # A path with a NUL leads to no file, and its failure is told by a line that can be read again.
            stem = os.path.splitext(os.path.basename(whole.replace("\0", "")))[0] or "recording"
            name = f"{stem}{suffix}"
            while _alike(name) in taken:
                last[_alike(stem)] = last.get(_alike(stem), 1) + 1
                name = f"{stem}-{last[_alike(stem)]}{suffix}"
            taken.add(_alike(name))
        named.append(Named(path, name))
    return named, twice


def _alike(name: str) -> str:
    """Return the same text for all names that a file system may take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _entry(value: object) -> Entry:
    if not isinstance(value, dict) or value.get("state") not in STATES:
        raise ValueError("it is no object with a known state")
    own = {field.name for field in fields(Entry)}
    entry = Entry(**{key: item for key, item in value.items() if key in own})
    if not (isinstance(entry.input, str) and isinstance(entry.output, str) and entry.output):
        raise ValueError("it names no input and output")
    if entry.output in (".", "..", *OWN) or "/" in entry.output or "\0" in entry.output:
        raise ValueError("its output is no name of a result in this folder")  # another one's manifest leads nowhere
    return entry
