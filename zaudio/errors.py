"""The errors zaudio raises, each with the exit code that the command line gives it.

    ZaudioError
    ├── UsageError (also ValueError)     2  an argument, a path or an op that cannot be used
    │   ├── OutputExistsError            2  a result is there already and must not be replaced
    │   ├── FolderBusyError              2  another job holds the output folder
    │   ├── ResumeError                  2  an unfinished job lies there that this one cannot go on with
    │   ├── EndpointError                2  a socket address is in use or malformed
    │   ├── ExposedError                 2  other machines could take part, and there are no keys
    │   └── KeyFileError                 2  a key is missing, damaged, or readable by others
    ├── InputError                       3  the recording cannot be read as audio
    │   └── InputChangedError            3  the recording changed while it was read
    ├── JobError                         1  the job failed
    │   ├── ChunkError                   1  one chunk failed too often
    │   ├── ConflictError                1  two workers gave different results for one chunk
    │   ├── WorkersDiedError             1  local workers die before they are ready
    │   └── StorageError                 1  the result could not be written
    │       └── DiskFullError            1  the disk has too little room for it
    ├── StoppedError                     1  the job was stopped before its end
    ├── VerificationError                5  a result is damaged, changed or incomplete
    ├── NoWorkerError                   69  no worker could be given a chunk for too long
    ├── NoCoordinatorError              69  no coordinator answers at the given address
    ├── LaunchError                     69  workers cannot be started at the given place
    ├── RefusedError                    77  the coordinator refused this worker, or the two do not trust each other
    └── ProtocolError                    1  bytes from a peer that are no message; never leaves `net`

Rules:

- An error stores its fields, and its class has one template for the sentence: `{0}` stands for the error.
- The sentence names the object at fault, the expectation and the finding, on one line.
- The fields are the positional arguments in their order, so an error pickles, copies and matches
  (`case InputError(path, reason)`).
- A new error is a dataclass with `eq=False`, since two failures are two, and `repr=False`, since `Exception` shows its
  arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class ZaudioError(Exception):
    """Base of all errors that zaudio raises on purpose.

    Attributes:
        exit_code: The exit code of a command that this error ends.
        template: The sentence, with `{0}` for the error itself.
        sentence: The sentence of an error that has no fields of its own.
    """

    exit_code: ClassVar[int] = 1
    template: ClassVar[str] = "{0.sentence}"
    __match_args__: ClassVar[tuple[str, ...]] = ("sentence",)

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        self.__post_init__()

    def __post_init__(self) -> None:
        # Exception pickles, copies and shows its `args`, and sets them to the positional arguments alone.
        self.args = tuple(getattr(self, name) for name in self.__match_args__)

    def __str__(self) -> str:
        return self.template.format(self)


class UsageError(ZaudioError, ValueError):
    """An argument, a path or an op that cannot be used."""

    exit_code = 2


@dataclass(eq=False, repr=False)
class OutputExistsError(UsageError):
    """A result is there already.

    Attributes:
        path: The file that would have been replaced.
    """

    path: str

    template = "{0.path} exists already; pass --overwrite (overwrite=True) to replace it"


@dataclass(eq=False, repr=False)
class FolderBusyError(UsageError):
    """Another job holds the lock of the output folder.

    Attributes:
        path: The folder.
    """

    path: str

    template = "{0.path}: another zaudio job is writing to this folder; wait for its end"


@dataclass(eq=False, repr=False)
class ResumeError(UsageError):
    """An unfinished job lies where the output goes, and this one cannot go on with it.

    Attributes:
        path: The folder, or the part of a file.
        reason: The difference or the damage.
    """

    path: str
    reason: str

    template = (
        "{0.path}: the unfinished job there cannot be resumed: {0.reason}; "
        "pass --fresh (fresh=True) to discard it and start over"
    )


@dataclass(eq=False, repr=False)
class EndpointError(UsageError):
    """A socket address is in use or malformed.

    Attributes:
        endpoint: The address as it was given.
        reason: The fault.
    """

    endpoint: str
    reason: str

    template = "{0.endpoint}: {0.reason}"


@dataclass(eq=False, repr=False)
class ExposedError(UsageError):
    """A coordinator would be reachable from other machines, and has no keys to recognise its workers by.

    Attributes:
        endpoint: The address as it was given.
    """

    endpoint: str

    template = (
        "{0.endpoint}: any machine that reaches this address could take part and read the recording; "
        "make keys with `zaudio keys init` and pass --keys DIR (Security(keys=DIR)), "
        "or accept that with --insecure (Security(insecure=True))"
    )


@dataclass(eq=False, repr=False)
class KeyFileError(UsageError):
    """A key is missing, damaged, there already, or readable by others.

    Attributes:
        path: The file or folder.
        reason: The fault, and its remedy.
    """

    path: str
    reason: str

    template = "{0.path}: {0.reason}"


@dataclass(eq=False, repr=False)
class InputError(ZaudioError):
    """The recording cannot be read as audio.

    Attributes:
        path: The file.
        reason: The expectation and the finding.
    """

    exit_code = 3

    path: str
    reason: str

    template = "{0.path}: {0.reason}"


class InputChangedError(InputError):
    """The recording shrank, grew, was rewritten or replaced while it was read."""


class JobError(ZaudioError):
    """The job failed and published nothing."""


@dataclass(eq=False, repr=False)
class ChunkError(JobError):
    """One chunk failed as often as a chunk may.

    Attributes:
        index: The chunk's index.
        start: Its first frame.
        stop: The frame after its last.
        causes: The reasons, one sentence per failure, oldest first.
    """

    index: int
    start: int
    stop: int
    causes: tuple[str, ...]

    template = "chunk {0.index} (frames {0.start} to {0.stop}) failed {0.failures} times; the last time: {0.last_cause}"

    @property
    def failures(self) -> int:
        """The number of failures."""
        return len(self.causes)

    @property
    def last_cause(self) -> str:
        """The cause of the last failure."""
        return self.causes[-1] if self.causes else "no cause known"


@dataclass(eq=False, repr=False)
class ConflictError(JobError):
    """Two workers returned different bytes for one chunk. One of them is wrong, so nothing of the job is kept.

    Attributes:
        index: The chunk's index.
        first: The worker whose result was accepted.
        second: The worker whose result differs from it.
    """

    index: int
    first: str
    second: str

    template = (
        "chunk {0.index}: workers {0.first} and {0.second} returned different results; "
        "an op must depend on nothing but its samples and parameters"
    )


@dataclass(eq=False, repr=False)
class WorkersDiedError(JobError):
    """Local workers died before they were ready, three times in a row.

    Attributes:
        cause: The last one's signal or exit code, and the memory that it had.
        stderr: The tail of its standard error.
    """

    cause: str
    stderr: str

    template = "local workers die before they are ready: {0.cause}{0.last_line}"

    @property
    def last_line(self) -> str:
        """The last line of standard error, after a colon; empty if there was none."""
        lines = self.stderr.strip().splitlines()
        return f": {lines[-1]}" if lines else ""


@dataclass(eq=False, repr=False)
class StorageError(JobError):
    """The result could not be written: an I/O error, a name that was taken away.

    Attributes:
        path: The file or folder.
        reason: The system's name for the fault.
    """

    path: str
    reason: str

    template = "{0.path}: {0.reason}"


class DiskFullError(StorageError):
    """The disk has too little room for the result, or its owner may use no more of it."""

    template = "{0.path}: {0.reason}; make room on that disk"


class StoppedError(ZaudioError):
    """The job was stopped before its end."""


@dataclass(eq=False, repr=False)
class VerificationError(ZaudioError):
    """A result is damaged, changed or incomplete; no plaintext was released.

    Attributes:
        path: The folder or file.
        reason: The disagreement.
    """

    exit_code = 5

    path: str
    reason: str

    template = "{0.path}: {0.reason}"


class NoWorkerError(ZaudioError):
    """No worker could be given a chunk within the worker timeout, or none can come any more."""

    exit_code = 69


@dataclass(eq=False, repr=False)
class NoCoordinatorError(ZaudioError):
    """No coordinator answers at the address that the worker was given.

    Attributes:
        endpoint: The address.
        seconds: The time for which the worker asked.
    """

    exit_code = 69

    endpoint: str
    seconds: float

    template = "{0.endpoint}: no coordinator answered within {0.seconds:g} s"


@dataclass(eq=False, repr=False)
class LaunchError(ZaudioError):
    """Workers cannot be started at a place that `--workers-on` names.

    Attributes:
        where: The place, or a host of it.
        reason: What is missing there, and its remedy.
    """

    exit_code = 69

    where: str
    reason: str

    template = "{0.where}: {0.reason}"


class RefusedError(ZaudioError):
    """The coordinator refused this worker, or one of the two does not trust the other; the sentence says why."""

    exit_code = 77


class ProtocolError(ZaudioError):
    """Bytes from a peer that are no message. `net` catches, logs and counts them, and drops the peer."""
