"""Board: all that the page shows of a job, folded from its events: the snapshot.

    Board.apply(event)     events, one by one
    Board.tick(...)        a quarter of a second has passed
    Board.snapshot(now)    -> a dict that JSON takes

Rules: pure, used by one thread. Memory is bounded, however long the job and however many its workers. The farm may be
faster than the subscription holds: progress is the ledger's and stays right; the map and the table miss a little then.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass, replace

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
    Noted,
    Published,
    Refused,
    Rejected,
    Requeued,
    StageBegan,
    Started,
    State,
    StateChanged,
    Stuck,
    Withdrawn,
)
from zaudio.facts import Listed, Progress
from zaudio.watching.limiting import judge
from zaudio.watching.metering import Meter
from zaudio.web.cells import Cells
from zaudio.web.news import cut, news_of
from zaudio.web.series import Series
from zaudio.web.staff import Staff

VERSION = 1  # of the snapshot
NEWS_KEPT = 100
BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # seconds; half a decade each

# A reason is a sentence. For a label it becomes one of these, by a word of it.
_REASONS = (
    ("deadline", "deadline"),
    ("no result after", "deadline"),
    ("no sign of life", "silence"),
    ("not that of two others", "wrong"),
    ("whole", "transfer"),
    ("Error", "op"),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the news.

    Attributes:
        number: Its number.
        seconds: Seconds since the job began.
        mood: Whether it is good or bad.
        sentence: The line.
        first: The number of the oldest line in whose place it stands; its own when it took no place.
        repeats: Chunks that it tells to be granted twice.
    """

    number: int
    seconds: float
    mood: str
    sentence: str
    first: int
    repeats: int = 0

    def to_json(self) -> list[object]:
        """Return the line as the page gets it: number, seconds, mood, sentence, and `first`."""
        return [self.number, round(self.seconds, 1), self.mood, self.sentence, self.first]


class Board:
    """The facts of one life of a job.

    Args:
        life: Names this life: numbers of the news count within it.
        title: The recording, as users may see it.

    Attributes:
        seen: The number of the last news.
        report: The report's lines, once there is one.
        final: Whether nothing will change after this.
        jobs: Of a batch, where its recordings stand.
    """

    def __init__(self, life: str, title: str = "") -> None:
        self.life = life
        self.title = title
        self.seen = 0
        self.report: tuple[str, ...] = ()
        self.final = False
        self.jobs = Listed()
        self.started: Started | None = None
        self.cells = Cells(0)
        self.staff = Staff()
        self.meter = Meter()
        self.outcomes: Counter[str] = Counter()
        self.requeued: Counter[str] = Counter()
        self.seconds = [0] * (len(BUCKETS) + 1)  # chunks by the time that they took
        self.seconds_sum = 0.0
        self.audited = 0
        self.refused = 0  # times that a worker was told that it cannot take part
        self.dropped: list[tuple[str, int]] = []
        self.progress: Progress | None = None
        self._bytes = [0, 0]  # of the stages of a batch: of results, and of what was measured
        self._running = 0  # of them, those of the stage that runs
        self._measures = False  # whether that one measures
        self._series = Series()
        self._stage = ""
        self._news: deque[Item] = deque(maxlen=NEWS_KEPT)

    def apply(self, event: Event) -> None:
        """Take an event."""
        self.meter.apply(event)
        told = news_of(event)
        match event:  # the most frequent first
            case Granted(worker=worker, chunk=chunk, chunks=chunks, repeated=repeated):
                self.staff.grant(worker, chunk, at=event.at)
                self.cells.grant(chunk, chunks, repeated=repeated)
            case Accepted(worker=worker, chunk=chunk, chunks=chunks):
                self.cells.accept(chunk, chunks)
                self._time(self.staff.end(worker, chunk, at=event.at, chunks=chunks), chunks)
                self.outcomes["accepted"] += 1
                self.audited += chunks if event.audited else 0
            case Advanced(chunks=chunks):
                self.cells.seal(chunks)
                self._bytes[self._measures] += event.bytes - self._running
                self._running = event.bytes
            case Joined(worker=worker, session=session, host=host) if self.staff.has(worker, session):
                told = None  # it takes part in the next stage too
                self.staff.join(worker, session, at=event.at, host=host)
            case _:
                self._apply_rare(event)
        if told is not None:
            self._note(event.at, *told, repeats=int(isinstance(event, Granted)))

    def _note(self, at: float, mood: str, sentence: str, *, repeats: int = 0) -> None:
        self.seen += 1
        begun = self.started.at if self.started is not None else at
        item = Item(self.seen, max(0.0, at - begun), mood, sentence, self.seen, repeats)
        if item.repeats and self._news and self._news[-1].repeats:  # a slow worker causes many of them
            before = self._news.pop()
            sentence = cut(f"{sentence}; likewise {before.repeats} before it")
            item = replace(item, sentence=sentence, first=before.first, repeats=before.repeats + 1)
        self._news.append(item)

    def _apply_rare(self, event: Event) -> None:
        match event:
            case Duplicate(worker=worker, chunk=chunk):
                self.staff.end(worker, chunk, at=event.at)
                self.outcomes["duplicate"] += 1
            case Noted(worker=worker, chunk=chunk):
                self.staff.end(worker, chunk, at=event.at)
                self.outcomes["noted"] += 1
            case Rejected(worker=worker, chunk=chunk, late=late):
                if self.staff.knows(worker):  # a result for an earlier life is named by its session
                    self.staff.end(worker, chunk, at=event.at)
                self.outcomes["late" if late else "rejected"] += 1
            case Requeued(worker=worker, chunk=chunk, chunks=chunks, reason=reason):
                self.staff.end(worker, chunk, at=event.at, heard=False)
                self.cells.fail(chunk, chunks)
                self.requeued[kind_of(reason)] += 1
            case Withdrawn(worker=worker, chunk=chunk, chunks=chunks):
                self.staff.end(worker, chunk, at=event.at, chunks=-chunks, heard=False)
                self.cells.withdraw(chunk, chunks)
            case Joined(worker=worker, session=session, host=host):
                self.staff.join(worker, session, at=event.at, host=host)
            case Lost(worker=worker, session=session, reason=reason):
                self.staff.leave(worker, session, reason, at=event.at)
            case Refused(host=host, reason=reason, more=more):
                self.refused += more or 1
                if not more:
                    self.staff.refuse(event.named, host, reason, at=event.at)
            case Stuck(worker=worker):
                self.staff.delay(worker, at=event.at)
            case Dropped(worker=worker, reason=reason, unchecked=unchecked):
                self.staff.drop(worker, reason, at=event.at)
                self.dropped.append((worker, unchecked))
            case Started(chunks=chunks, resumed_chunks=done):
                self.started = event
                self._enter(chunks, done)
            case StageBegan(chunks=chunks, resumed_chunks=done):
                self._running, self._measures = 0, event.measures
                self._enter(chunks, done)
            case Failed() | StateChanged(state=State.DONE):
                self.staff.rest()  # what workers hold is of no use any more
            case Published():
                self.staff.rest()
                self.cells.seal(self.cells.chunks)

    @property
    def is_batch(self) -> bool:
        """Whether it shows a batch: progress counts recordings then, and stages follow one another."""
        return self.started is not None and self.started.recordings > 0

    @property
    def bytes_sealed(self) -> int:
        """Bytes of results that are encrypted; of a batch, those that were computed."""
        if self.is_batch:
            return self._bytes[False]
        return self.progress.bytes_done if self.progress is not None and self.progress.stage == MAIN else 0

    def tick(self, progress: Progress, *, now: float) -> None:
        """Take the progress; a point of the throughput may be due."""
        if progress.stage != self._stage and not self.is_batch:
            self._stage = progress.stage
            self._series.reset()
        if not progress.state.ended and progress.workers:
            self._series.add(sum(self._bytes) if self.is_batch else progress.bytes_done, now=now)
        self.progress = progress
        if not self.is_batch:
            self.cells.seal(progress.done)
        self.cells.prune()

    def snapshot(self, now: float, *, after: int = 0) -> dict[str, object]:
        """Return everything that is shown.

        Args:
            now: The time.
            after: The number of the last news that the reader has.
        """
        progress, started = self.progress, self.started
        verdict = judge(self.meter.total(now))
        found: dict[str, object] = {
            "v": VERSION,
            "life": self.life,
            "seen": self.seen,
            "title": self.title,
            "job": started.job if started is not None else "",
            "limit": {
                "kind": verdict.limit.value,
                "words": verdict.words,
                "sentence": verdict.sentence(),
                "useful": verdict.useful,
            },
            "map": self.cells.text(),
            "cells": self.cells.count,
            "of": self.cells.chunks,
            "counts": self.cells.counts(),
            "workers": self.staff.rows(now),
            "more": self.staff.more,
            "staff": self.staff.counts(),
            "outcomes": dict(self.outcomes),
            "audit": {"audited": self.audited, "dropped": [[name, count] for name, count in self.dropped[:16]]},
            "series": {"step": self._series.step, "values": [round(value) for value in self._series.values]},
            "news": [item.to_json() for item in self._news if item.number > after],
            "jobs": [[cut(row.recording), row.state, round(row.share, 4), cut(row.sentence)] for row in self.jobs.rows],
            "jobs_more": self.jobs.more,
            "jobs_counts": dict(self.jobs.counts),
            "report": list(self.report),
            "final": self.final,
        }
        if started is not None and not self.is_batch:
            found["recording"] = {
                "frames": started.frames,
                "channels": started.channels,
                "samplerate": started.samplerate,
                "format": started.format,
            }
        if progress is not None:
            speed = progress.bytes_per_second
            if self.is_batch and progress.seconds:  # the speed of a short stage says little
                speed = self.bytes_sealed / progress.seconds
            found["progress"] = _figures(progress, speed)
        return found

    def _enter(self, chunks: int, done: int) -> None:
        self.cells = Cells(chunks, done)
        self.staff.rest()

    def _time(self, seconds: float | None, chunks: int) -> None:
        if seconds is None or not chunks:
            return
        each = seconds / chunks
        self.seconds[bisect_left(BUCKETS, each)] += chunks
        self.seconds_sum += seconds


def kind_of(reason: str) -> str:
    """Return the kind of a reason: one of few, as a label of metrics must be."""
    return next((kind for word, kind in _REASONS if word in reason), "gone")


def _figures(progress: Progress, speed: float) -> dict[str, object]:
    return {
        "unit": progress.unit,
        "state": progress.state.value,
        "stage": progress.stage,
        "chunks": progress.chunks,
        "done": progress.done,
        "bytes": progress.bytes,
        "bytes_done": progress.bytes_done,
        "bytes_resumed": progress.bytes_resumed,
        "fraction": round(progress.fraction, 5),
        "bytes_per_second": round(speed, 1),
        "eta": None if progress.eta is None else round(progress.eta, 1),
        "seconds": round(progress.seconds, 1),
        "workers": progress.workers,
        "requeued": progress.requeued,
        "repeated": progress.repeated,
    }
