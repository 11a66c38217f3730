"""The errors zaudio raises, each with the exit code that the command line gives it.

    ZaudioError
    ├── UsageError (also ValueError)     2  an argument, a path or an op that cannot be used
    │   ├── OutputExistsError            2  a result is there already and may not be replaced
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
    ├── StoppedError                     1  the job was stopped before its end
    ├── VerificationError                5  a result is damaged, changed or incomplete
    ├── NoWorkerError                   69  nobody could be given a chunk for too long
    ├── NoCoordinatorError              69  nobody answers where the worker was told to ask
    ├── RefusedError                    77  the coordinator refused this worker, or the two do not trust each other
    └── ProtocolError                    1  bytes from a peer that are no message; never leaves `net`

Rules: an error stores its fields and builds its sentence in `__str__`; the fields are its positional arguments, so
it pickles. The sentence says who, what was expected and what came, on one line.
"""

from __future__ import annotations

from typing import ClassVar


class ZaudioError(Exception):
    """Base of all errors that zaudio raises on purpose.

    Attributes:
        exit_code: What the command line exits with when this error ends it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


class UsageError(ZaudioError, ValueError):
    """An argument, a path or an op that cannot be used."""

    exit_code = 2


class OutputExistsError(UsageError):
    """A result is there already.

    Attributes:
        path: The file that would have been replaced.
    """

    def __init__(self, path: str) -> None:
        Exception.__init__(self, path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} exists already; pass --overwrite (overwrite=True) to replace it"


class FolderBusyError(UsageError):
    """Another job holds the lock of the output folder.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: str) -> None:
        Exception.__init__(self, path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: another zaudio job is writing to this folder; wait for it or choose another with -o"


class ResumeError(UsageError):
    """An unfinished job lies in the output folder, and this one cannot go on with it.

    Attributes:
        path: The folder.
        reason: What differs, or what is damaged.
    """

    def __init__(self, path: str, reason: str) -> None:
        Exception.__init__(self, path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.path}: the unfinished job in this folder cannot be resumed: {self.reason}; "
            "pass --fresh (fresh=True) to discard it and begin anew"
        )


class EndpointError(UsageError):
    """A socket address is in use or malformed.

    Attributes:
        endpoint: The address as it was given.
        reason: What is wrong with it.
    """

    def __init__(self, endpoint: str, reason: str) -> None:
        Exception.__init__(self, endpoint, reason)
        self.endpoint = endpoint
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.reason}"


class ExposedError(UsageError):
    """A coordinator would be reachable from other machines, and has no keys to tell its workers by.

    Attributes:
        endpoint: The address as it was given.
    """

    def __init__(self, endpoint: str) -> None:
        Exception.__init__(self, endpoint)
        self.endpoint = endpoint

    def __str__(self) -> str:
        return (
            f"{self.endpoint}: whoever reaches this address could take part and read the recording; "
            "make keys with `zaudio keys init` and pass --keys DIR (keys=DIR), "
            "or accept that with --insecure (insecure=True)"
        )


class KeyFileError(UsageError):
    """A key is missing, damaged, there already, or readable by others.

    Attributes:
        path: The file or folder.
        reason: What is wrong with it, and what to do.
    """

    def __init__(self, path: str, reason: str) -> None:
        Exception.__init__(self, path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class InputError(ZaudioError):
    """The recording cannot be read as audio.

    Attributes:
        path: The file.
        reason: What was expected and what came.
    """

    exit_code = 3

    def __init__(self, path: str, reason: str) -> None:
        Exception.__init__(self, path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class InputChangedError(InputError):
    """The recording shrank, grew, was rewritten or replaced while it was read."""


class JobError(ZaudioError):
    """The job failed and published nothing."""


class ChunkError(JobError):
    """One chunk failed as often as a chunk may.

    Attributes:
        index: The chunk's index.
        start: Its first frame.
        stop: The frame after its last.
        causes: Why, one sentence a failure, oldest first.
    """

    def __init__(self, index: int, start: int, stop: int, causes: tuple[str, ...]) -> None:
        Exception.__init__(self, index, start, stop, causes)
        self.index = index
        self.start = start
        self.stop = stop
        self.causes = causes

    def __str__(self) -> str:
        return (
            f"chunk {self.index} (frames {self.start} to {self.stop}) failed {len(self.causes)} times; "
            f"the last time: {self.causes[-1] if self.causes else 'no cause known'}"
        )


class ConflictError(JobError):
    """Two workers returned different bytes for one chunk. Nothing of the job is kept: one of them is not to be trusted.

    Attributes:
        index: The chunk's index.
        first: The worker whose result was accepted.
        second: The worker whose result differs from it.
    """

    def __init__(self, index: int, first: str, second: str) -> None:
        Exception.__init__(self, index, first, second)
        self.index = index
        self.first = first
        self.second = second

    def __str__(self) -> str:
        return (
            f"chunk {self.index}: workers {self.first} and {self.second} returned different results; "
            "an op must depend on nothing but its samples and parameters"
        )


class WorkersDiedError(JobError):
    """Local workers died before they were ready, three times in a row.

    Attributes:
        cause: The last one's signal or exit code, and the memory that it had.
        stderr: The tail of what it wrote to standard error.
    """

    def __init__(self, cause: str, stderr: str) -> None:
        Exception.__init__(self, cause, stderr)
        self.cause = cause
        self.stderr = stderr

    def __str__(self) -> str:
        lines = self.stderr.strip().splitlines()
        return f"local workers die before they are ready: {self.cause}" + (f": {lines[-1]}" if lines else "")


class StorageError(JobError):
    """The result could not be written: disk full, an I/O error.

    Attributes:
        path: The file or folder.
        reason: The system's word for it.
    """

    def __init__(self, path: str, reason: str) -> None:
        Exception.__init__(self, path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class StoppedError(ZaudioError):
    """The job was stopped before its end."""


class VerificationError(ZaudioError):
    """A result is damaged, changed or incomplete; no plaintext was released.

    Attributes:
        path: The folder or file.
        reason: What does not agree.
    """

    exit_code = 5

    def __init__(self, path: str, reason: str) -> None:
        Exception.__init__(self, path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class NoWorkerError(ZaudioError):
    """Nobody could be given a chunk for as long as the worker timeout allows."""

    exit_code = 69


class NoCoordinatorError(ZaudioError):
    """Nobody answers where the worker was told to ask.

    Attributes:
        endpoint: Where it asked.
        seconds: For how long.
    """

    exit_code = 69

    def __init__(self, endpoint: str, seconds: float) -> None:
        Exception.__init__(self, endpoint, seconds)
        self.endpoint = endpoint
        self.seconds = seconds

    def __str__(self) -> str:
        return f"{self.endpoint}: no coordinator answered within {self.seconds:g} s"


class RefusedError(ZaudioError):
    """The coordinator refused this worker, or one of the two does not trust the other; the sentence says why."""

    exit_code = 77


class ProtocolError(ZaudioError):
    """Bytes from a peer that are no message. Caught, logged and counted in `net`; the peer is dropped."""
