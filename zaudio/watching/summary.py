"""Summary: facts about jobs, from a log of their events.

    Digest.take(line)     lines of a file, one by one
    Digest.lives()        -> LifeFacts for each life of each job in it, in their order

Rules: pure, and of bounded memory but for workers, losses and grants that are out. A line that cannot be read is
counted. A log that was sampled or missed events says so, for its numbers are then about right.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from heapq import heappush, heappushpop

from zaudio.events import (
    MAIN,
    Absent,
    Accepted,
    Dropped,
    Event,
    Failed,
    Granted,
    Lost,
    Measured,
    Missed,
    Published,
    Reading,
    RecordingEnded,
    Refused,
    Rejected,
    Requeued,
    Sampled,
    StageBegan,
    Started,
    State,
    StateChanged,
    Welcomed,
)
from zaudio.watching.limiting import judge
from zaudio.watching.lines import NewerError, Record, read
from zaudio.watching.lives import SECONDS, AbsenceAt, BatchFacts, FailureOf, LifeFacts, LossAt, RefusalAt, Share, Slow
from zaudio.watching.metering import Meter, Times

SLOWEST = 10  # chunks that are named
LOSSES_KEPT = 1000  # more than anybody reads; all are counted
OPENING, WAITING, PUBLISHING = "opening", "waiting for workers", "publishing"


class Digest:
    """The lives in a log.

    Attributes:
        lines: Lines that were read.
        damaged: Lines that cannot be read, as the last one of a coordinator that was killed.
        newer: Lines of a newer zaudio, which are left out.
    """

    def __init__(self) -> None:
        self.lines = 0
        self.damaged = 0
        self.newer = 0
        self._lives: dict[tuple[str, int, int], _Life] = {}
        self._ahead: Record | None = None  # the first that tells how a recording is read, for a job without an id yet
        self._again: Counter[tuple[str, int]] = Counter()  # starts of a job without an id, or found done, are lives too

    def take(self, text: str) -> None:
        """Take a line."""
        if not text.strip():
            return
        self.lines += 1
        try:
            record = read(text)
        except NewerError:
            self.newer += 1
            return
        except ValueError:
            self.damaged += 1
            return
        if record.event is None:
            return
        if isinstance(record.event, Reading):
            self._ahead = self._ahead or record
            return
        key = (record.event.job, record.incarnation)
        if isinstance(record.event, Started):
            self._again[key] += 1
        number = (*key, self._again[key])
        if number not in self._lives:
            self._lives[number] = _Life(record, record.event, began=self._ahead or record)
            self._ahead = None
        self._lives[number].take(record.event)

    def lives(self) -> list[LifeFacts]:
        """Return the lives, in the order in which they began."""
        return [life.facts() for life in self._lives.values()]


@dataclass(slots=True)
class _Counts:
    """The counts of a life, besides its times."""

    started: Started | None = None
    main: StageBegan | None = None
    end: str = "cut off"
    sentence: str = ""
    losses: list[LossAt] = field(default_factory=list)
    lost: int = 0
    refusals: list[RefusalAt] = field(default_factory=list)
    refused: int = 0
    absences: list[AbsenceAt] = field(default_factory=list)
    requeued: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    chunks: int = 0  # of the stages that make results
    ended: Counter[str] = field(default_factory=Counter)
    failures: list[FailureOf] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    measured: list[str] = field(default_factory=list)
    missed: int = 0
    sampled: int = 0


class _Life:
    """One life, while its lines come."""

    def __init__(self, record: Record, event: Event, *, began: Record) -> None:
        self._key = (event.job, record.incarnation)
        first = began.event.at if began.event is not None and began.event.at <= event.at else event.at
        self._began = began.wall
        self._at = self._last = first
        self._meter = Meter()
        self._counts = _Counts()
        self._phases: dict[str, float] = {}
        self._phase = (OPENING, first)
        self._over = False
        self._shares: dict[str, Share] = {}
        self._granted: dict[tuple[str, int], float] = {}
        self._slowest: list[Slow] = []
        self._recording = ""  # of a batch: see Slow

    def take(self, event: Event) -> None:
        """Count an event."""
        self._last = max(self._last, event.at)
        if isinstance(event, Started | StageBegan):
            self._settle()  # the meter forgets the workers of the stage before
            self._granted.clear()
            self._recording = _recording(event)
        self._meter.apply(event)
        self._follow_phase(event)
        counts = self._counts
        match event:
            case Granted():
                self._granted[event.worker, event.chunk] = event.at
            case Accepted():
                self._accept(event)
            case Sampled():
                counts.sampled += event.count
                for name, (chunks, _) in event.workers.items():
                    self._share(name).chunks += chunks if event.stage == MAIN else 0
            case Missed():
                counts.missed += event.count
            case Requeued():
                self._granted.pop((event.worker, event.chunk), None)
                counts.requeued[event.reason] += 1
            case Rejected(late=False):
                counts.rejected[event.reason] += 1
            case Lost() if not self._over:
                counts.lost += 1
                if len(counts.losses) < LOSSES_KEPT:
                    counts.losses.append(LossAt(round(event.at - self._at, 6), event.worker, event.reason))
            case Refused():
                counts.refused += event.more or 1
                if not event.more and len(counts.refusals) < LOSSES_KEPT:
                    after = round(event.at - self._at, 6)
                    counts.refusals.append(RefusalAt(after, event.named, event.host, event.reason))
            case Absent() if len(counts.absences) < LOSSES_KEPT:
                counts.absences.append(AbsenceAt(round(event.at - self._at, 6), event.place, event.sentence))
            case Dropped():
                counts.dropped[event.worker] = event.reason
            case Measured():
                counts.measured += [event.sentence] if event.sentence else []
            case Started():
                counts.started = event
            case StageBegan(measures=False):
                counts.main = event
                counts.chunks += event.chunks
            case RecordingEnded():
                counts.ended[event.state] += 1
                if event.state == "failed" and len(counts.failures) < LOSSES_KEPT:
                    counts.failures.append(FailureOf(event.input, event.sentence))
            case Published() | StateChanged(state=State.DONE):
                counts.end = "done"
            case Failed():
                counts.end = "stopped" if event.error == "StoppedError" else "failed"
                counts.sentence = event.sentence

    def facts(self) -> LifeFacts:
        """Return the facts so far."""
        counts, main = self._counts, self._counts.main or self._counts.started
        recordings = counts.started.recordings if counts.started is not None else 0
        total = self._meter.total(self._last)
        times = {**self._meter.ended, total.stage: total}
        phases = dict(self._phases)
        if not self._over:
            _add(phases, self._phase[0], self._last - self._phase[1])
        return LifeFacts(
            job=self._key[0],
            incarnation=self._key[1],
            began=self._began,
            seconds=round(self._last - self._at, 6),
            end=counts.end,
            sentence=counts.sentence,
            chunks=counts.chunks if recordings else main.chunks if main is not None else 0,
            resumed_chunks=main.resumed_chunks if main is not None else 0,
            done=times[MAIN].done if MAIN in times else 0,
            batch=BatchFacts(recordings, dict(counts.ended), list(counts.failures)) if recordings else None,
            phases={name: round(seconds, 6) for name, seconds in phases.items()},
            workers=dict(sorted(self._all_shares().items())),
            slowest=sorted(self._slowest, reverse=True),
            losses=list(counts.losses),
            lost=counts.lost,
            refusals=list(counts.refusals),
            refused=counts.refused,
            absences=list(counts.absences),
            requeued=dict(counts.requeued.most_common()),
            rejected=dict(counts.rejected.most_common()),
            dropped=dict(counts.dropped),
            measured=list(counts.measured),
            limits={name: judge(each).sentence() for name, each in times.items() if each.seconds > 0},
            useful=times.get(MAIN, Times()).workers_useful,
            missed=counts.missed,
            sampled=counts.sampled,
        )

    def _follow_phase(self, event: Event) -> None:
        if self._over:
            return
        now, began = self._phase
        match event:
            case StateChanged(state=State.RUNNING):
                following = WAITING
            case StageBegan() if now not in (OPENING, WAITING):
                following = event.stage
            case Welcomed() if now == WAITING:
                following = event.stage
            case StateChanged(state=State.PUBLISHING):
                following = PUBLISHING
            case Published() | Failed() | StateChanged(state=State.DONE):
                following, self._over = "", True
            case _:
                return
        _add(self._phases, now, event.at - began)
        self._phase = (following, event.at)

    def _accept(self, event: Accepted) -> None:
        if event.stage == MAIN:
            self._share(event.worker).chunks += event.chunks
        granted = self._granted.pop((event.worker, event.chunk), None)
        if granted is None:
            return
        seconds = round(event.at - granted, 6)
        slow = Slow(seconds, event.chunk, event.seconds, event.worker, event.stage, self._recording, event.chunks)
        if len(self._slowest) < SLOWEST:
            heappush(self._slowest, slow)
        else:
            heappushpop(self._slowest, slow)

    def _share(self, worker: str) -> Share:
        return self._shares.setdefault(worker, Share())

    def _settle(self) -> None:
        """Add the workers' times of the stage that ends."""
        self._shares = self._all_shares()

    def _all_shares(self) -> dict[str, Share]:
        shares = {name: Share(**asdict(share)) for name, share in self._shares.items()}
        main = self._meter.times(self._last).stage == MAIN
        for name, labour in self._meter.labour.items():
            share = shares.setdefault(name, Share())
            share.op += labour.op
            share.op_main += labour.op if main else 0.0
            share.transfer += labour.transfer
            share.unused += labour.unused
            share.idle += labour.idle_until(self._last)
            share.ready += labour.ready_until(self._last)
        for share in shares.values():
            for name in SECONDS:
                setattr(share, name, round(getattr(share, name), 6))
        return shares


def _add(phases: dict[str, float], name: str, seconds: float) -> None:
    phases[name] = phases.get(name, 0.0) + max(0.0, seconds)


def _recording(event: Started | StageBegan) -> str:
    if isinstance(event, Started) or not event.recordings:
        return ""
    first, *others = event.recordings
    return f"{first} and {len(others)} more" if others else first
