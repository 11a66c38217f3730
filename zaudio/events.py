"""Events: all that a user may know of a running job, as frozen dataclasses.

Rules: pure. An event names a worker by its name and a chunk by the user's own number, never a session or a bundle. All
fields are keywords. Every event says when it happened, in which job and in which stage. Events are made in the
coordinator's thread, in the order in which things happen; `zaudio.ledger` counts them, `zaudio.stream` hands them out.

A message to a worker may carry several small chunks. Its event has the one at which its frames start, `chunk`, and how
many chunks travel in it, `chunks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MAIN = "main"  # the name of the stage that makes the result


class State(StrEnum):
    """Where a job stands. A job never goes back, but for `WAITING` and `RUNNING`, which take turns."""

    STARTING = "starting"
    WAITING = "waiting"  # for workers: none is ready
    RUNNING = "running"
    PUBLISHING = "publishing"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def ended(self) -> bool:
        """Whether the job is over."""
        return self in (State.DONE, State.FAILED, State.STOPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened; the base of all events.

    Attributes:
        at: When, in seconds of the monotonic clock.
        job: The job's id, in hex.
        stage: The stage of the job: ``main``, or a measuring one before it, as ``measuring for loudnorm``.
    """

    at: float
    job: str
    stage: str = MAIN


# The job


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """The recording and the output folder are open; the job is known.

    Attributes:
        chunks: Chunks of the result. Where something is to be measured first, `StageBegan` may tell other ones.
        chunk_frames: Frames per chunk.
        frames: Frames of the result.
        channels: Samples per frame of the result.
        samplerate: Frames per second of the result.
        format: The sample format of the result, for example ``f32le``.
        bytes: Bytes of samples of the result.
        resumed_chunks: Chunks that an earlier, interrupted start had done; all of them when the job was done already.
        resumed_bytes: Bytes that it had encrypted.
        warnings: Sentences about oddities of the recording that were overcome, and about metadata that is dropped.
        order: The order of the result's frames, ``reversed`` or ``forward``.
        container: The kind of file that a person gets: ``raw``, ``WAV`` or ``FLAC``.
        incarnation: Which life of the job this is, from 1: it grows by one at each resume. 0 for a job that was done.
    """

    chunks: int
    chunk_frames: int
    frames: int
    channels: int
    samplerate: int
    format: str
    bytes: int
    resumed_chunks: int = 0
    resumed_bytes: int = 0
    warnings: tuple[str, ...] = ()
    order: str = "reversed"
    container: str = "raw"
    incarnation: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Event):
    """More of the recording was read, before a job is known: a stream, what is decoded, or a sealed result.

    Attributes:
        verb: ``reading``, ``decoding`` or ``verifying``.
        bytes: Bytes so far.
        total: Bytes in all; 0 when that is not known.
    """

    verb: str
    bytes: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(Event):
    """The coordinator has come to another state.

    It tells each state once, and never `WAITING`: from `RUNNING` on, that follows from `Joined` and `Lost`.
    """

    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBegan(Event):
    """A stage begins, by its name.

    Attributes:
        chunks: Chunks of the stage.
        chunk_frames: Frames per chunk of the result; 0 for a measuring stage.
        bytes: Bytes of the recording for a measuring stage, of the result for the main one.
        measures: Whether it is a measuring stage.
        resumed_chunks: Chunks that an earlier, interrupted start had done.
        resumed_bytes: Bytes that it had encrypted.
    """

    chunks: int
    chunk_frames: int
    bytes: int
    measures: bool = False
    resumed_chunks: int = 0
    resumed_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Event):
    """A measuring stage is done.

    Attributes:
        sentence: What was measured, as ``denoise: noise of -50.9 dBFS (RMS)``; empty when there is nothing to say.
        earlier: Whether an earlier, interrupted start measured it.
    """

    sentence: str
    earlier: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced(Event):
    """More of the stage is done: encrypted in the main one.

    Attributes:
        chunks: Chunks so far, resumed ones included.
        bytes: Bytes of their results so far, resumed ones included.
        encrypting: Seconds so far that the cipher encrypted. The rest of the time it waits.
        storing: Seconds so far that the cipher waited for the disk; of a file that plays, of its encoder and the disk.
        reading: Seconds so far that the coordinator read the recording, for workers that do not read it themselves.
    """

    chunks: int
    bytes: int
    encrypting: float = 0.0
    storing: float = 0.0
    reading: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Published(Event):
    """The result lies under its final names.

    Attributes:
        paths: ``result``, ``key``, ``iv`` and ``description``.
        recipient: The public key that the encryption key is wrapped for; empty when it is raw.
    """

    paths: Mapping[str, str]
    recipient: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """The job ended without a result.

    Attributes:
        error: The name of the error's class; ``StoppedError`` when the job was stopped.
        sentence: The error's sentence.
    """

    error: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingEnded(Event):
    """A recording of a batch came to its end.

    Attributes:
        input: Its file.
        output: The folder of its result.
        state: ``done``, ``failed`` or ``skipped``.
        sentence: Why it failed; empty otherwise.
    """

    input: str
    output: str
    state: str
    sentence: str = ""


# Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcomed(Event):
    """A worker said hello, and was told its task."""

    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined(Event):
    """A worker is ready for its first chunk, or ready again on a new connection.

    Attributes:
        worker: Its name.
        session: Which worker of that name, in hex: two may have the same. Empty when it does not matter.
        host: The machine that it says to be on.
    """

    worker: str
    session: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost(Event):
    """A worker is gone.

    Attributes:
        worker: Its name.
        reason: Why.
        session: As in `Joined`.
    """

    worker: str
    reason: str
    session: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck(Event):
    """A worker is past the deadline of a chunk. A local one is killed and replaced."""

    worker: str
    chunk: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped(Event):
    """A worker gave a wrong result and is sent away for good: two others agree on another one.

    Attributes:
        worker: Its name.
        chunk: The chunk whose result was wrong.
        reason: The sentence that the worker is told, and its key.
        unchecked: Chunks that had been encrypted on its word alone.
        key: The name of its key, as `zaudio keys revoke` takes it; empty when it has none of its own.
    """

    worker: str
    chunk: int
    reason: str
    unchecked: int
    key: str = ""


# Chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted(Event):
    """A worker is given chunks to compute.

    Attributes:
        worker: Its name.
        chunk: The chunk at which the frames start.
        chunks: How many chunks travel together.
        attempt: Which grant of them this is, from 1.
        repeated: Whether another worker is at them already: everything waits for them, and this worker was idle.
    """

    worker: str
    chunk: int
    chunks: int
    attempt: int
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeued(Event):
    """A grant came to nothing; its chunks are to be granted again."""

    worker: str
    chunk: int
    chunks: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Event):
    """A result is the chunks' result.

    Attributes:
        worker: The name of the worker that computed it.
        chunk: The chunk at which its frames start.
        chunks: How many chunks travelled together.
        audited: Whether two workers agreed on it.
        clipped: Samples that were limited to the range of their integers.
        zeroed: Samples that were not finite, and that ops with memory read as 0.
        seconds: Seconds that its worker says to have computed, reading included where it reads the recording itself.
    """

    worker: str
    chunk: int
    chunks: int
    audited: bool = False
    clipped: int = 0
    zeroed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate(Event):
    """A result came for chunks that had one."""

    worker: str
    chunk: int
    chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Event):
    """A result came that cannot be one. It may name chunks that the job does not have: `chunk` -1 and `chunks` 0.

    Attributes:
        late: Whether it belongs to an earlier stage or life, whose end its worker had not heard of. That is no fault,
            and not counted.
    """

    worker: str
    chunk: int
    chunks: int
    reason: str
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted(Event):
    """A result of audited chunks came, and waits for another worker's to be compared with."""

    worker: str
    chunk: int
    chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn(Event):
    """Chunks were accepted on the word of a dropped worker and not encrypted yet: they are to be done again."""

    worker: str
    chunk: int
    chunks: int
    clipped: int = 0
    zeroed: int = 0


# Of a subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed(Event):
    """A subscriber was too slow: it did not get that many events, which belong here. Only a subscription makes it."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled(Event):
    """A log wrote no lines of some chunks, to keep to a thousand chunks a second. Only a log makes it.

    Attributes:
        count: Events that have no line.
        workers: By worker name, the chunks of its results among them and the seconds that it computed for them.
    """

    count: int
    workers: Mapping[str, tuple[int, float]]
