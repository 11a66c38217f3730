"""Events of a job, a batch and their stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zaudio.events.base import Event, State


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
        recordings: Recordings of a batch, of which all other numbers are 0, for each has its own; 0 for one job.
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
    recordings: int = 0


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
        recordings: In a batch, the recordings that the stage goes over, by their files; small ones share a stage.
    """

    chunks: int
    chunk_frames: int
    bytes: int
    measures: bool = False
    resumed_chunks: int = 0
    resumed_bytes: int = 0
    recordings: tuple[str, ...] = ()


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
        output: The folder of its result, or its file.
        state: ``done``, ``failed`` or ``skipped``.
        sentence: Why it failed; empty otherwise.
    """

    input: str
    output: str
    state: str
    sentence: str = ""
