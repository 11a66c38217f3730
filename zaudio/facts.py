"""Facts of a job for its user: how far it has come, and the report at its end. `zaudio.watching.ledger` counts them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from zaudio.events import MAIN, State


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has come: the stage that it is in.

    Attributes:
        state: Where it stands.
        chunks: Chunks of the stage.
        done: Chunks that are done: encrypted, in the main stage.
        bytes: Bytes of the result, or of the recording in a measuring stage.
        bytes_done: Bytes that are done.
        workers: Workers that are ready now.
        requeued: Grants that came to nothing and were made again.
        repeated: Grants of chunks that another worker was at, made because this one was idle.
        seconds: Seconds since the first worker was welcomed; 0 before. They stand still after the end.
        bytes_resumed: Bytes of `bytes_done` that an earlier start had encrypted; they took none of `seconds`.
        stage: The name of the stage: ``main``, or as ``measuring for loudnorm``.
        seconds_before: Seconds of `seconds` that went by before this stage.
    """

    state: State
    chunks: int
    done: int
    bytes: int
    bytes_done: int
    workers: int
    requeued: int
    repeated: int
    seconds: float
    bytes_resumed: int = 0
    stage: str = MAIN
    seconds_before: float = 0.0

    @property
    def unit(self) -> str:
        """The word for what `chunks` and `done` count."""
        return "chunks"

    @property
    def fraction(self) -> float:
        """The share of the stage that is done, from 0.0 to 1.0."""
        if self.state is State.DONE:
            return 1.0
        return self.bytes_done / self.bytes if self.bytes > 0 else 0.0

    @property
    def bytes_per_second(self) -> float:
        """The speed of the stage so far, resumed bytes left out; 0.0 before anything is known."""
        seconds = self.seconds - self.seconds_before
        return (self.bytes_done - self.bytes_resumed) / seconds if seconds > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds that the stage will still take; None when that is unknown."""
        if self.state is State.DONE:
            return 0.0
        speed = self.bytes_per_second
        if self.state.ended or speed <= 0:
            return None
        return (self.bytes - self.bytes_done) / speed


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProgress(Progress):
    """How far a batch has come. `chunks` and `done` count recordings; `bytes` are those of the stage that runs.

    The share that is done, the speed and the time left go by bytes of samples: an hour and a second are two recordings,
    too, and an hour of MP3 takes as long as one of WAV.

    Attributes:
        skipped: Recordings that were done by an earlier run.
        failed: Recordings that failed.
        input_bytes: Bytes of the recordings' samples. Of those that were not opened yet it is an estimate, by the bytes
            of their files and what others of the same suffix hold.
        input_bytes_done: Bytes of those that are farmed, skipped or failed; of those in the stage that runs, as large a
            share as of the stage is done.
        input_bytes_passed: Bytes of those that the farm had no work with: skipped, or failed when they were opened.
    """

    skipped: int = 0
    failed: int = 0
    input_bytes: int = 0
    input_bytes_done: int = 0
    input_bytes_passed: int = 0

    @property
    def unit(self) -> str:
        """The word for what `chunks` and `done` count."""
        return "recordings"

    @property
    def fraction(self) -> float:
        """The share of the batch that is done, from 0.0 to 1.0."""
        if self.state is State.DONE or not self.chunks:
            return 1.0
        if not self.input_bytes:
            return self.done / self.chunks
        return min(1.0, self.input_bytes_done / self.input_bytes)

    @property
    def bytes_per_second(self) -> float:
        """The speed of the batch so far, in bytes of samples; 0.0 when nothing is known. A stage may last some ms."""
        made = self.input_bytes_done - self.input_bytes_passed
        return max(0, made) / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds that the batch will still take; None when that is unknown."""
        if self.state is State.DONE:
            return 0.0
        speed = self.bytes_per_second
        if self.state.ended or speed <= 0:
            return None
        return max(0, self.input_bytes - self.input_bytes_done) / speed


@dataclass(frozen=True, slots=True)
class Row:
    """A recording of a batch, for a table.

    Attributes:
        recording: Its file, as it was named.
        state: ``waiting``, ``running``, ``done``, ``failed`` or ``skipped``.
        share: The share of it that is done, from 0.0 to 1.0: of small ones that run together, that of all of them.
        sentence: Why it failed; empty otherwise.
    """

    recording: str
    state: str
    share: float
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """The recordings of a batch, as far as a table has room.

    Attributes:
        rows: Those that run, those that failed, the next that wait, and the last that ended.
        more: Recordings without a row.
        counts: The number of recordings by state.
    """

    rows: tuple[Row, ...] = ()
    more: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """The end of a recording of a batch.

    Attributes:
        input: Its file, as it was named.
        output: The folder of its result, or its file.
        state: ``done``, ``failed``, or ``skipped`` when an earlier run had done it.
        sentence: Why it failed; empty otherwise.
        error: The name of the error's class; empty otherwise.
        frames: Frames of the result.
        bytes: Bytes of its samples.
        seconds: Seconds from the beginning of its stage to its end; those of other recordings count too.
        tag: The tag of a sealed result, in hex.
        warnings: Sentences about oddities of the recording that were overcome.
        measured: Sentences about what was measured before the result was made.
        sha256: SHA-256 of a file that plays, in hex.
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
    warnings: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """The facts of a batch that has ended.

    Attributes:
        recordings: Its recordings.
        done: Those that were done.
        failed: Those that failed.
        skipped: Those that an earlier run had done.
        bytes: Bytes of the results that were made.
        seconds: Seconds from the first worker's welcome to the end.
        workers: Workers that joined; those of the same name count once.
        warnings: Sentences for the user.
        sentence: Why it ended before all its recordings had; empty otherwise.
        error: The name of that error's class; empty otherwise.
    """

    recordings: int
    done: int
    failed: int
    skipped: int
    bytes: int
    seconds: float
    workers: int
    warnings: tuple[str, ...] = ()
    sentence: str = ""
    error: str = ""

    def to_json(self) -> str:
        """Return the report as a JSON object."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Loss:
    """A worker that was lost, by name, and the reason."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of a result.

    Attributes:
        chunks: Chunks of the result.
        chunk_frames: Frames per chunk.
        frames: Frames of the result.
        channels: Samples per frame of the result.
        samplerate: Frames per second of the result.
        format: The sample format of the result, for example ``f32le``.
        bytes: Bytes of samples of the result.
    """

    chunks: int
    chunk_frames: int
    frames: int
    channels: int
    samplerate: int
    format: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Report(Extent):
    """The facts of a finished job: those of `Extent` and more.

    Attributes:
        seconds: Seconds from the first worker's welcome to publication.
        workers: Workers that joined; those of the same name count once.
        requeued: Grants that came to nothing and were made again.
        duplicates: Results for chunks that had one.
        rejected: Results that could not be accepted.
        paths: ``result``, and of a sealed one ``key``, ``iv`` and ``description``.
        shares: Accepted chunks by worker name.
        resumed_chunks: Chunks that an earlier, interrupted start had done.
        recipient: The public key that the encryption key is wrapped for; empty when it is raw.
        audited: Chunks that were accepted because two workers agreed; 0 without an audit.
        dropped: Workers that gave wrong results, by name, each with the number of its chunks that were used unchecked
            before that was found. What an earlier, interrupted start found is not among them.
        dropped_keys: The names of their keys by the same names, for `zaudio keys revoke`; of workers with a key of
            their own.
        repeated: Grants of chunks that another worker was at, made because this one was idle.
        lost: How many workers were lost before the end.
        losses: The first 64 of them, with the reasons.
        refused: How often a worker was told that it cannot take part.
        warnings: Sentences about oddities of the recording that were overcome.
        clipped: Samples that were limited to the range of their integers, as by `gain`; those of chunks that an
            earlier, interrupted start had done are not among them.
        zeroed: Samples that were not finite, and that ops with memory read as 0; counted likewise.
        measured: Sentences about what was measured before the result was made.
        order: The order of its frames, ``reversed`` or ``forward``.
        container: The kind of file that a person gets: ``raw``, ``WAV`` or ``FLAC``.
    """

    seconds: float
    workers: int
    requeued: int
    duplicates: int
    rejected: int
    paths: Mapping[str, str]
    shares: Mapping[str, int]
    resumed_chunks: int = 0
    recipient: str = ""
    audited: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    dropped_keys: Mapping[str, str] = field(default_factory=dict)
    repeated: int = 0
    lost: int = 0
    losses: tuple[Loss, ...] = ()
    refused: int = 0
    warnings: tuple[str, ...] = ()
    clipped: int = 0
    zeroed: int = 0
    measured: tuple[str, ...] = ()
    order: str = "reversed"
    container: str = "raw"

    def to_json(self) -> str:
        """Return the report as a JSON object."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)
