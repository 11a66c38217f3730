"""Events of chunks: grants, results, and grants that came to nothing."""

from __future__ import annotations

from dataclasses import dataclass

from zaudio.events.base import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted(Event):
    """A worker is given chunks to compute.

    Attributes:
        worker: Its name.
        chunk: The first of the chunks, in output order.
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
    """A result is taken as that of its chunks.

    Attributes:
        worker: The name of the worker that computed it.
        chunk: The first of the chunks, in output order.
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
    """A result came that cannot be accepted. It may name chunks that the job does not have: `chunk` -1 and `chunks` 0.

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
