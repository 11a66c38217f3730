"""Ledger: the one place that counts. Events go in; Progress, Report and the state come out.

Rules:

- One thread calls `apply`; any thread may call the rest. What they read is never half of an event: `apply` makes a new
  immutable snapshot and puts it in place of the old one in a single assignment. So nobody needs a lock.
- Nothing here grows with the number of events or chunks: shares and names grow with the workers, and of those that
  were lost the first `LOSSES_KEPT` are kept.
- The shell tells a state by `StateChanged`. The state never goes back, but for `WAITING` and `RUNNING`: once `RUNNING`
  was told, it is `WAITING` while no worker is ready, and `RUNNING` while one is. So `WAITING` need not be told; if it
  is, it counts as `RUNNING`.
- `Published` ends a job as `DONE`, also one that was done before it began. `Failed` ends it as `STOPPED` for a
  `StoppedError`, else as `FAILED`. The first end stands: later events change neither state nor seconds.
- Requeued grants, duplicates and rejected results are counted as the messages that they are; everything else is counted
  in the user's chunks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from zaudio.errors import UsageError
from zaudio.events import (
    Accepted,
    Advanced,
    Dropped,
    Duplicate,
    Event,
    Failed,
    Granted,
    Joined,
    Lost,
    Published,
    Rejected,
    Requeued,
    Started,
    State,
    StateChanged,
    Welcomed,
    Withdrawn,
)

LOSSES_KEPT = 64  # more than anybody reads; a farm that loses workers all day must not keep a line for each

# How far along a state is. A state that is told late, or after the end, changes nothing.
_RANK = {
    State.STARTING: 0,
    State.WAITING: 1,
    State.RUNNING: 1,
    State.PUBLISHING: 2,
    State.DONE: 3,
    State.FAILED: 3,
    State.STOPPED: 3,
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has come.

    Attributes:
        state: Where it stands.
        chunks: Chunks of the recording.
        done: Chunks encrypted.
        bytes: Bytes of the recording's samples.
        bytes_done: Bytes encrypted.
        workers: Workers that are ready now.
        requeued: Grants that came to nothing and were made again.
        repeated: Grants of chunks that another worker was at, made because this one was idle.
        seconds: Seconds since the first worker was welcomed; 0 before. They stand still after the end.
        bytes_resumed: Bytes of `bytes_done` that an earlier start had encrypted; they took none of `seconds`.
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

    @property
    def fraction(self) -> float:
        """The share of the job that is done, from 0.0 to 1.0."""
        if self.state is State.DONE:
            return 1.0
        return self.bytes_done / self.bytes if self.bytes > 0 else 0.0

    @property
    def bytes_per_second(self) -> float:
        """The speed so far, resumed bytes left out; 0.0 before anything is known."""
        return (self.bytes_done - self.bytes_resumed) / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds that the job will still take; None when that is unknown."""
        if self.state is State.DONE:
            return 0.0
        speed = self.bytes_per_second
        if self.state.ended or speed <= 0:
            return None
        return (self.bytes - self.bytes_done) / speed


@dataclass(frozen=True, slots=True)
class Loss:
    """A worker that was lost, by name, and the reason."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """The facts of a finished job.

    Attributes:
        chunks: Chunks of the recording.
        chunk_frames: Frames per chunk.
        frames: Frames of the recording.
        channels: Samples per frame.
        samplerate: Frames per second.
        format: The sample format, for example ``f32le``.
        bytes: Bytes of samples.
        seconds: Seconds from the first worker's welcome to publication.
        workers: Workers that joined; those of the same name count once.
        requeued: Grants that came to nothing and were made again.
        duplicates: Results for chunks that had one.
        rejected: Results that could not be accepted.
        paths: ``result``, ``key``, ``iv`` and ``description``.
        shares: Accepted chunks by worker name.
        resumed_chunks: Chunks that an earlier, interrupted start had done.
        recipient: The public key that the encryption key is wrapped for; empty when it is raw.
        audited: Chunks that were accepted because two workers agreed; 0 without an audit.
        dropped: Workers that were found to give wrong results, by name, and of how many chunks the result was used
            before that, unchecked. What an earlier, interrupted start found is not among them.
        dropped_keys: The names of their keys, as `zaudio keys revoke` takes them, by the same names; of those that have
            one of their own.
        repeated: Grants of chunks that another worker was at, made because this one was idle.
        lost: How many workers were lost before the end.
        losses: The first 64 of them, with the reasons.
        warnings: Sentences about oddities of the recording that were overcome.
        clipped: Samples that were limited to the range of their integers, as by `gain`; those of chunks that an
            earlier, interrupted start had done are not among them.
        zeroed: Samples that were not finite, and that ops with memory read as 0; counted likewise.
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
    dropped_keys: Mapping[str, str] = field(default_factory=dict)
    repeated: int = 0
    lost: int = 0
    losses: tuple[Loss, ...] = ()
    warnings: tuple[str, ...] = ()
    clipped: int = 0
    zeroed: int = 0

    def to_json(self) -> str:
        """Return the report as a JSON object."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)


class _Snapshot(NamedTuple):
    """The facts that `progress` reads, of one instant."""

    state: State = State.STARTING  # as it was told; see `Ledger`
    done: int = 0
    bytes_done: int = 0
    workers: int = 0
    requeued: int = 0
    repeated: int = 0
    welcomed: float | None = None  # when the first worker was
    ended: float | None = None


class Ledger:
    """The counts of one job.

    Attributes:
        _now: The snapshot that other threads read; replaced as a whole.
        _ready: Workers that are ready, each as its name and session; those of the last stage that had any.
    """

    def __init__(self) -> None:
        self._now = _Snapshot()
        self._started: Started | None = None
        self._report: Report | None = None
        self._ready: set[tuple[str, str]] = set()
        self._stage = ""  # theirs
        self._joined: set[str] = set()  # names of all that ever joined
        self._shares: Counter[str] = Counter()  # worker's name -> accepted chunks
        self._dropped: Counter[str] = Counter()  # worker's name -> chunks encrypted on its word alone
        self._dropped_keys: dict[str, str] = {}  # worker's name -> the name of its key
        self._losses: list[Loss] = []
        self._lost = 0
        self._audited = 0
        self._clipped = 0
        self._zeroed = 0
        self._duplicates = 0
        self._rejected = 0

    def apply(self, event: Event) -> None:
        """Count an event. Those that count nothing may come too."""
        match event:  # the most frequent first
            case Granted():
                if event.repeated:
                    self._now = self._now._replace(repeated=self._now.repeated + 1)
            case Accepted():
                self._shares[event.worker] += event.chunks
                self._clipped += event.clipped
                self._zeroed += event.zeroed
                if event.audited:
                    self._audited += event.chunks
            case Advanced():
                self._now = self._now._replace(done=event.chunks, bytes_done=event.bytes)
            case Duplicate():
                self._duplicates += 1
            case Requeued():
                self._now = self._now._replace(requeued=self._now.requeued + 1)
            case Rejected():
                self._rejected += 1
            case Withdrawn():
                self._shares[event.worker] -= event.chunks
                self._clipped -= event.clipped
                self._zeroed -= event.zeroed
            case Dropped():
                self._dropped[event.worker] += event.unchecked
                if event.key:
                    self._dropped_keys[event.worker] = event.key
            case Welcomed():
                if self._now.welcomed is None:
                    self._now = self._now._replace(welcomed=event.at)
            case Joined():
                self._join(event)
            case Lost():
                self._lose(event)
            case Started():
                self._started = event
                self._now = self._now._replace(done=event.resumed_chunks, bytes_done=event.resumed_bytes)
            case StateChanged():
                self._move(event.state, event.at)
            case Published():
                self._report = self._make_report(event)  # first: a reader that sees DONE may ask for it
                self._move(State.DONE, event.at)
            case Failed():
                self._move(State.STOPPED if event.error == "StoppedError" else State.FAILED, event.at)

    # In any thread

    @property
    def state(self) -> State:
        """Where the job stands."""
        return _derived(self._now)

    def progress(self, now: float) -> Progress:
        """Return how far the job has come at that time."""
        snapshot, started = self._now, self._started
        welcomed = snapshot.welcomed
        until = snapshot.ended if snapshot.ended is not None else now
        return Progress(
            state=_derived(snapshot),
            chunks=started.chunks if started is not None else 0,
            done=snapshot.done,
            bytes=started.bytes if started is not None else 0,
            bytes_done=snapshot.bytes_done,
            workers=snapshot.workers,
            requeued=snapshot.requeued,
            repeated=snapshot.repeated,
            seconds=max(0.0, until - welcomed) if welcomed is not None else 0.0,
            bytes_resumed=min(started.resumed_bytes, snapshot.bytes_done) if started is not None else 0,
        )

    def report(self) -> Report:
        """Return the report of the published job.

        Raises:
            UsageError: The result is not published.
        """
        if self._report is None:
            raise UsageError(f"there is no report: the job is {self.state}, and its result is not published")
        return self._report

    # In detail

    def _join(self, event: Joined) -> None:
        if event.stage != self._stage:
            self._stage = event.stage
            self._ready.clear()  # a worker of the stage before joins again, or was lost between the two
        self._joined.add(event.worker)
        self._ready.add((event.worker, event.session))
        self._now = self._now._replace(workers=len(self._ready))

    def _lose(self, event: Lost) -> None:
        self._ready.discard((event.worker, event.session))
        self._now = self._now._replace(workers=len(self._ready))
        if _RANK[self._now.state] >= _RANK[State.PUBLISHING]:
            return  # there was nothing more for it to do
        self._lost += 1
        if len(self._losses) < LOSSES_KEPT:
            self._losses.append(Loss(event.worker, event.reason))

    def _move(self, state: State, at: float) -> None:
        """Take a state that was told, unless the job is further already."""
        if _RANK[state] > _RANK[self._now.state]:
            self._now = self._now._replace(state=state, ended=at if state.ended else None)

    def _make_report(self, published: Published) -> Report:
        started = self._started
        assert started is not None, "a job is published that was not started"
        return Report(
            chunks=started.chunks,
            chunk_frames=started.chunk_frames,
            frames=started.frames,
            channels=started.channels,
            samplerate=started.samplerate,
            format=started.format,
            bytes=started.bytes,
            seconds=self.progress(published.at).seconds,
            workers=len(self._joined),
            requeued=self._now.requeued,
            duplicates=self._duplicates,
            rejected=self._rejected,
            paths=dict(published.paths),
            shares={name: chunks for name, chunks in sorted(self._shares.items()) if chunks},
            resumed_chunks=started.resumed_chunks,
            recipient=published.recipient,
            audited=self._audited,
            dropped=dict(sorted(self._dropped.items())),
            dropped_keys=dict(sorted(self._dropped_keys.items())),
            repeated=self._now.repeated,
            lost=self._lost,
            losses=tuple(self._losses),
            warnings=started.warnings,
            clipped=self._clipped,
            zeroed=self._zeroed,
        )


def _derived(snapshot: _Snapshot) -> State:
    """Return the state for users: `WAITING` and `RUNNING` follow from the ready workers."""
    if _RANK[snapshot.state] != _RANK[State.RUNNING]:
        return snapshot.state
    return State.RUNNING if snapshot.workers else State.WAITING
