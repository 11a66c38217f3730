"""Ledger: the one place that counts. Events go in; Progress, Report and the state come out.

Rules:

- One thread at a time calls `apply`; any thread may call the rest. What they read is never half of an event: `apply`
  makes a new immutable snapshot and puts it in place of the old one in a single assignment. So nobody needs a lock.
- Nothing here grows with the number of events or chunks: shares and names grow with the workers, and of those that
  were lost the first `LOSSES_KEPT` are kept.
- The shell tells a state by `StateChanged`. The state never goes back, but for `WAITING` and `RUNNING`: once `RUNNING`
  was told, it is `WAITING` while no worker is ready, and `RUNNING` while one is. So `WAITING` need not be told; if it
  is, it counts as `RUNNING`.
- `Published` ends a job as `DONE`, also one that was done before it began. So does a `StateChanged`, where there is
  nothing to publish. `Failed` ends it as `STOPPED` for a `StoppedError`, else as `FAILED`. The first end stands: later
  events change neither state nor seconds.
- Progress is that of the stage that runs. Shares, audited chunks and the counts of samples are those of the main stage.
- Requeued grants, duplicates and rejected results are counted as the messages that they are; everything else is counted
  in the user's chunks.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from zaudio.errors import UsageError
from zaudio.events import (
    MAIN,
    Accepted,
    Advanced,
    Dropped,
    Duplicate,
    Event,
    Failed,
    Granted,
    Joined,
    Lost,
    Measured,
    Published,
    Refused,
    Rejected,
    Requeued,
    StageBegan,
    Started,
    State,
    StateChanged,
    Welcomed,
    Withdrawn,
)
from zaudio.facts import Loss, Progress, Report

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


class _Snapshot(NamedTuple):
    """The facts that `progress` reads, of one instant."""

    state: State = State.STARTING  # as it was told; see `Ledger`
    stage: str = MAIN
    measures: bool = False
    chunks: int = 0
    bytes: int = 0
    bytes_resumed: int = 0
    done: int = 0
    bytes_done: int = 0
    workers: int = 0
    requeued: int = 0
    repeated: int = 0
    welcomed: float | None = None  # when the first worker was
    begun: float | None = None  # when the first worker was welcomed to this stage
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
        self._main: StageBegan | None = None
        self._measured: list[str] = []
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
        self._refused = 0

    def apply(self, event: Event) -> None:
        """Count an event. Those that count nothing may come too."""
        match event:  # the most frequent first
            case Granted():
                if event.repeated:
                    self._now = self._now._replace(repeated=self._now.repeated + 1)
            case Accepted():
                self._accept(event)
            case Advanced():
                self._advance(event)
            case Duplicate():
                self._duplicates += 1
            case Requeued():
                self._now = self._now._replace(requeued=self._now.requeued + 1)
            case Rejected(late=False):
                self._rejected += 1
            case Withdrawn():
                self._withdraw(event)
            case Dropped():
                self._dropped[event.worker] += event.unchecked
                if event.key:
                    self._dropped_keys[event.worker] = event.key
            case Welcomed():
                if self._now.begun is None:
                    first = self._now.welcomed if self._now.welcomed is not None else event.at
                    self._now = self._now._replace(welcomed=first, begun=event.at)
            case Joined():
                self._join(event)
            case Lost():
                self._lose(event)
            case Refused(more=more):
                self._refused += more or 1
            case Started():
                self._started = event
                self._enter(event, MAIN, measures=False)
            case StageBegan():
                self._begin(event)
            case Measured():
                self._measured += [event.sentence] if event.sentence else []
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
        snapshot = self._now
        welcomed, begun = snapshot.welcomed, snapshot.begun
        until = snapshot.ended if snapshot.ended is not None else now
        return Progress(
            state=_derived(snapshot),
            chunks=snapshot.chunks,
            done=snapshot.done,
            bytes=snapshot.bytes,
            bytes_done=snapshot.bytes_done,
            workers=snapshot.workers,
            requeued=snapshot.requeued,
            repeated=snapshot.repeated,
            seconds=max(0.0, until - welcomed) if welcomed is not None else 0.0,
            bytes_resumed=min(snapshot.bytes_resumed, snapshot.bytes_done),
            stage=snapshot.stage,
            seconds_before=max(0.0, (begun if begun is not None else until) - welcomed)
            if welcomed is not None
            else 0.0,
        )

    def report(self) -> Report:
        """Return the report of the published job.

        Raises:
            UsageError: The result is not published.
        """
        if self._report is None:
            raise UsageError(f"there is no report: the job is {self.state}, and its result is not published")
        return self._report

    @property
    def workers(self) -> int:
        """The workers that ever joined; those of the same name count once."""
        return len(self._joined)

    # In detail

    def _begin(self, event: StageBegan) -> None:
        if not event.measures:
            self._main = event
        self._stage = ""  # the first worker that joins now replaces those of the stage before
        self._enter(event, event.stage, measures=event.measures)

    def _enter(self, event: Started | StageBegan, stage: str, *, measures: bool) -> None:
        self._now = self._now._replace(
            stage=stage,
            measures=measures,
            chunks=event.chunks,
            bytes=event.bytes,
            bytes_resumed=event.resumed_bytes,
            done=event.resumed_chunks,
            bytes_done=event.resumed_bytes,
            begun=None,
        )

    def _advance(self, event: Advanced) -> None:
        now, done = self._now, event.bytes
        if now.measures:  # of the recording, not of the few numbers that it gives
            done = now.bytes * event.chunks // max(1, now.chunks)
        self._now = now._replace(done=event.chunks, bytes_done=done)

    def _accept(self, event: Accepted) -> None:
        if event.stage != MAIN:
            return
        self._shares[event.worker] += event.chunks
        self._clipped += event.clipped
        self._zeroed += event.zeroed
        if event.audited:
            self._audited += event.chunks

    def _withdraw(self, event: Withdrawn) -> None:
        if event.stage != MAIN:
            return
        self._shares[event.worker] -= event.chunks
        self._clipped -= event.clipped
        self._zeroed -= event.zeroed

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
        main = self._main if self._main is not None else started
        return Report(
            chunks=main.chunks,
            chunk_frames=main.chunk_frames,
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
            resumed_chunks=main.resumed_chunks,
            recipient=published.recipient,
            audited=self._audited,
            dropped=dict(sorted(self._dropped.items())),
            dropped_keys=dict(sorted(self._dropped_keys.items())),
            repeated=self._now.repeated,
            lost=self._lost,
            losses=tuple(self._losses),
            refused=self._refused,
            warnings=started.warnings,
            clipped=self._clipped,
            zeroed=self._zeroed,
            measured=tuple(self._measured),
            order=started.order,
            container=started.container,
        )


def _derived(snapshot: _Snapshot) -> State:
    """Return the state for users: `WAITING` and `RUNNING` follow from the ready workers."""
    if _RANK[snapshot.state] != _RANK[State.RUNNING]:
        return snapshot.state
    return State.RUNNING if snapshot.workers else State.WAITING
