"""Lives: the facts of one life of a job, as a log of events tells them. `zaudio.watching.summary` makes them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime


@dataclass(slots=True)
class Share:
    """The work of one worker in one life of a job: chunks of the main stage, seconds in all of them.

    Attributes:
        chunks: Chunks of the result that are its.
        op: Seconds that it computed.
        op_main: Those of them in the main stage.
        transfer: Seconds that it held chunks and had nothing to compute.
        idle: Seconds that it held nothing.
        unused: Seconds that it held chunks of which nothing was accepted.
        ready: Seconds that it took part.
    """

    chunks: int = 0
    op: float = 0.0
    op_main: float = 0.0
    transfer: float = 0.0
    idle: float = 0.0
    unused: float = 0.0
    ready: float = 0.0


SECONDS = ("op", "op_main", "transfer", "idle", "unused", "ready")  # of a Share


@dataclass(frozen=True, slots=True, order=True)
class Slow:
    """A chunk that took long, from its grant to its result; or several that travelled together.

    Attributes:
        seconds: From the grant to the result.
        chunk: The first chunk of the message.
        op: Seconds that its worker computed.
        worker: Its name.
        stage: The stage.
        recording: In a batch, the recording; of small ones that share a stage, the first and the number of the others.
        chunks: How many chunks the message had.
    """

    seconds: float
    chunk: int
    op: float
    worker: str
    stage: str
    recording: str = ""
    chunks: int = 1


@dataclass(frozen=True, slots=True)
class LossAt:
    """A worker that was lost, seconds after the start, and why."""

    seconds: float
    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class RefusalAt:
    """A worker that could not take part, seconds after the start, with its machine or address, and why."""

    seconds: float
    worker: str
    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class AbsenceAt:
    """A sentence about workers that did not come to a place, seconds after the start."""

    seconds: float
    place: str
    sentence: str


@dataclass(frozen=True, slots=True)
class FailureOf:
    """A recording of a batch that failed, and why."""

    recording: str
    sentence: str


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """The recordings of a batch.

    Attributes:
        recordings: Their number.
        ended: Those that were ``done``, ``failed`` or ``skipped``.
        failures: The first of those that failed.
    """

    recordings: int
    ended: dict[str, int]
    failures: list[FailureOf]


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubles:
    """Troubles of a life, by kind.

    Attributes:
        losses: Workers that were lost before the end.
        lost: How many.
        refusals: Workers that could not take part.
        refused: How often a worker was told that, those included that were not told by themselves.
        absences: Workers that the job started elsewhere and that did not come, wait, or failed.
        requeued: Grants that came to nothing, by reason.
        rejected: Results that could not be accepted, by reason.
        dropped: Workers that gave wrong results, and the sentence about each.
    """

    losses: list[LossAt]
    lost: int
    refusals: list[RefusalAt]
    refused: int
    absences: list[AbsenceAt]
    requeued: dict[str, int]
    rejected: dict[str, int]
    dropped: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeFacts(Troubles):
    """The facts of one life of a job.

    Attributes:
        job: The job's id.
        incarnation: Which life.
        began: When its first line was written, in UTC.
        seconds: From its first line to its last.
        end: ``done``, ``failed`` or ``stopped``; ``cut off`` when the log has no end of it.
        sentence: The error's, if it failed.
        chunks: Chunks of the result; of a batch, those of all results that were begun.
        resumed_chunks: Chunks that an earlier life had done.
        done: Chunks that this life encrypted.
        batch: Of a batch, its recordings; None for one job.
        phases: Seconds by phase, in their order.
        workers: The work of each worker.
        slowest: The chunks that took longest, the slowest first.
        measured: Sentences about what was measured.
        limits: For each stage, the sentence about what limited it.
        useful: Workers that would have kept the cipher busy in the main stage; None when that is not known.
        missed: Events that the log was too slow for.
        sampled: Events of chunks that it left out.
    """

    job: str
    incarnation: int
    began: datetime
    seconds: float
    end: str
    sentence: str
    chunks: int
    resumed_chunks: int
    done: int
    batch: BatchFacts | None
    phases: dict[str, float]
    workers: dict[str, Share]
    slowest: list[Slow]
    measured: list[str]
    limits: dict[str, str]
    useful: int | None
    missed: int
    sampled: int

    def to_json(self) -> dict[str, object]:
        """Return it as an object of JSON."""
        return {**asdict(self), "began": self.began.isoformat()}
