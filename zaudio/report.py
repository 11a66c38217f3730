"""Progress and Report: what can be said of a job while it runs, and when it is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has come.

    Attributes:
        state: ``starting``, ``waiting for workers``, ``running``, ``publishing`` or ``done``.
        chunks: Chunks of the recording.
        done: Chunks encrypted.
        bytes: Bytes of the recording's samples.
        bytes_done: Bytes encrypted.
        workers: Workers that are ready now.
        requeued: Grants that came to nothing and were made again.
        seconds: Since the first worker was welcomed; 0 before.
        bytes_resumed: Bytes of those done that an earlier start had encrypted; they took none of `seconds`.
    """

    state: str
    chunks: int
    done: int
    bytes: int
    bytes_done: int
    workers: int
    requeued: int
    seconds: float
    bytes_resumed: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What a finished job was.

    Attributes:
        chunks: Chunks of the recording.
        chunk_frames: Frames a chunk.
        frames: Frames of the recording.
        channels: Samples a frame.
        samplerate: Frames a second.
        format: The sample format, for example ``f32le``.
        bytes: Bytes of samples.
        seconds: From the first worker's welcome to publication.
        workers: How many workers took part.
        requeued: Grants that came to nothing and were made again.
        duplicates: Results for chunks that had one.
        rejected: Results that could not be accepted.
        recipient: The public key that the encryption key is wrapped for; empty when it is raw.
        audited: Chunks that were accepted because two workers agreed; 0 without an audit.
        dropped: Workers that were found to give wrong results, by name, and of how many chunks the result was used
            before that, unchecked. What an earlier, interrupted start found is not among them.
        paths: ``result``, ``key``, ``iv`` and ``description``.
        shares: Accepted chunks by worker name.
        resumed_chunks: Chunks that an earlier, interrupted start had done.
    """

    chunks: int
    chunk_frames: int
    frames: int
    channels: int
    samplerate: int
    format: str
    bytes: int
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

    def to_json(self) -> str:
        """The report as a JSON object."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)
