"""The messages of protocol version 1, as frozen dataclasses. `docs/protocol.md` describes them part by part.

Rules:

- A message has plain values only; a payload travels beside its message, never in it. The tables of a welcome's ops are
  numbers of the message, and travel behind its header all the same.
- Fields travel in the order in which they stand here.
- Each worker has two sockets, and each socket a busy and a quiet way. Chunks go down the ventilator's, results go up
  the sink's.
- A `Heartbeat` travels the quiet way and proves life. `Sent` and `Ready` travel the busy way, behind the chunks and
  results that they speak of, so they prove what has arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from zaudio.reference import Reference
from zaudio.steps import Step

VERSION = 1

Held = tuple[tuple[int, int], ...]  # the (index, attempt) pairs that a worker holds


class Channel(Enum):
    """The coordinator's two sockets; a message travels on one of them."""

    VENTILATOR = "ventilator"
    SINK = "sink"


@dataclass(frozen=True, slots=True)
class Hello:
    """Worker to ventilator: here I am, and this is what I can do. `session` names one life of the worker.

    `reads` are folders below which it can read files itself; `outbox` names the shared memory that its starter gave it,
    and is empty for a worker on another machine.
    """

    version: int
    session: bytes
    name: str
    pid: int
    host: str
    software: str
    ops: tuple[str, ...]
    reads: tuple[str, ...]
    outbox: bytes


@dataclass(frozen=True, slots=True)
class Welcome:
    """Ventilator to worker: the job, and where results go.

    The recording is `frames` frames of `channels` samples at `samplerate` Hz in `format`. Blocks of `grid` frames of
    the output are computed by themselves; with a grid of 0, ranges of `chunk_frames` are, since small chunks travel in
    bundles, as one Chunk. `order` is the order of frames in a result. `source` is for a worker that can read the
    recording itself.
    """

    job: bytes
    incarnation: int
    session: bytes
    sinks: tuple[str, ...]
    heartbeat: float
    liveness: int
    credit: int
    frames: int
    channels: int
    samplerate: int
    format: str
    grid: int
    chunk_frames: int
    order: str
    ops: tuple[Step, ...]
    source: Reference | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Coordinator to worker, on either socket: you cannot take part, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Again:
    """Coordinator to worker, on either socket: I do not know you; say hello again."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Ventilator to worker: one grant, with a payload of `length` bytes, or without for a worker that reads itself.

    The result covers frames `start` to `stop` of the output; the payload holds frames `input_start` to `input_stop` of
    the recording.
    `sequence` counts the chunks sent to this session, from 1. `checksum` is XXH3-64 of the payload, 0 without one.
    `slot` is the place in the worker's outbox for the result, -1 for none: the result then travels as a payload.
    `frames` is the length of the chunk's recording where a stage goes over several, -1 for that of the welcome.
    """

    job: bytes
    incarnation: int
    session: bytes
    sequence: int
    index: int
    attempt: int
    start: int
    stop: int
    input_start: int
    input_stop: int
    length: int
    checksum: int
    slot: int
    frames: int = -1


@dataclass(frozen=True, slots=True)
class Sent:
    """Ventilator to worker, behind the chunks: I have sent you chunks up to this sequence."""

    job: bytes
    incarnation: int
    session: bytes
    sequence: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Worker to ventilator and sink to worker: alive, and nothing else to say."""

    job: bytes
    incarnation: int
    session: bytes


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker to sink, behind the results: chunks up to `received` have come, and of those I still hold `held`.

    `reads`: whether the worker has the recording open and needs no payloads. `numbers` tell classes of machines apart:
    one for each op, a hash of what it makes of a fixed vector here, or 0.
    """

    job: bytes
    incarnation: int
    session: bytes
    received: int
    held: Held
    reads: bool
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """Worker to sink: `length` bytes whose XXH3-64 is `checksum`, as a payload or in that slot of the outbox.

    `seconds` is the time in the ops. `clipped` counts the samples that were limited to the range of their integers,
    `zeroed` those that were not finite and that ops with memory read as 0.
    """

    job: bytes
    incarnation: int
    session: bytes
    index: int
    attempt: int
    length: int
    checksum: int
    seconds: float
    slot: int
    clipped: int = 0
    zeroed: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker to sink: the op raised, on frames `start` to `stop` of the output.

    The first line of `error` says why; lines behind it are a traceback, for a log.
    """

    job: bytes
    incarnation: int
    session: bytes
    index: int
    attempt: int
    start: int
    stop: int
    error: str


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Both ways, on either socket: I leave. The chunks that a worker still held go back, without blame."""

    job: bytes
    incarnation: int
    session: bytes
    reason: str


Message = Hello | Welcome | Refused | Again | Chunk | Sent | Heartbeat | Ready | Result | Failed | Goodbye
