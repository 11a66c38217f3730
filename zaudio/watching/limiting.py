"""Limiting: the limit of a stage's speed, judged by the time of its cipher and its workers.

Rules: pure. One cipher encrypts the results of many workers. It is the limit when it works most of the time. Otherwise
it waits for something, and the time of the workers tells for what.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from zaudio.watching.metering import Times

SERIAL = 0.7  # of the time: a cipher that works so much leaves workers less than a third to gain
LEAST = 0.25  # seconds; a verdict on less says nothing
RECENT = 10.0  # seconds
SMALL = 1 << 20  # bytes of a chunk: from the default on, a larger one makes hardly less of the way
MISSING = 0.5  # workers on average: with fewer, there was none for most of the time


class Limit(StrEnum):
    """The thing that a job waits for. See `judge`."""

    UNKNOWN = "unknown"  # too little has happened
    CIPHER = "cipher"
    STORAGE = "storage"  # the disk that takes the result
    READING = "reading"  # the coordinator's disk that gives the recording
    TRANSFER = "transfer"  # chunks and results on their way: the network; on this machine, too many small ones
    OP = "op"  # all the workers compute, and more of them would change nothing
    WORKERS = "workers"  # they compute, and more of them would be of use; or there is none
    COORDINATOR = "coordinator"  # workers wait for grants


_WORDS = {
    Limit.UNKNOWN: "",
    Limit.CIPHER: "limited by cipher",
    Limit.STORAGE: "limited by storage",
    Limit.READING: "limited by reading",
    Limit.TRANSFER: "limited by transfer",
    Limit.OP: "limited by op",
    Limit.WORKERS: "too few workers",
    Limit.COORDINATOR: "limited by coordinator",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The limit of a stage.

    Attributes:
        limit: The thing that it waits for.
        workers: Workers that were ready, on average.
        useful: Workers that would keep the cipher busy; None when that is unknown.
        share: The share of the time that speaks for it: of the cipher's time, or of the workers'.
        plain: Whether nothing was encrypted, as in a file that plays.
        near: Whether mostly the coordinator's own workers waited, for what was on its way.
        small: Whether larger chunks would spend less time on it.
    """

    limit: Limit
    workers: float = 0.0
    useful: int | None = None
    share: float = 0.0
    plain: bool = False
    near: bool = False
    small: bool = False

    @property
    def words(self) -> str:
        """Three words, as for a progress bar; none when nothing is known."""
        return "chunks too small" if self.near and self.small else _WORDS[self.limit]

    def sentence(self) -> str:
        """Return a sentence for people, in the past tense."""
        share = f"{self.share:.0%} of the time"
        match self.limit:
            case Limit.UNKNOWN:
                return "too little happened to say what limited it"
            case Limit.CIPHER:
                return f"the cipher limited it: it worked {share}, so more workers would not have helped"
            case Limit.STORAGE if self.plain:
                return f"writing the file limited it: its encoder and the disk took {share}"
            case Limit.STORAGE:
                return f"the disk of the result limited it: the cipher waited for it {share}"
            case Limit.READING:
                return f"the disk of the recording limited it: the coordinator read {share}"
            case Limit.TRANSFER if self.near:
                remedy = "; larger ones (--chunk) would have helped" if self.small else ""
                return f"handing over chunks limited it: local workers waited for them and for results {share}{remedy}"
            case Limit.TRANSFER:
                return f"the network limited it: workers waited for chunks and results on their way {share}"
            case Limit.OP:
                return f"the op limited it: workers computed {share}, and more of them would not have helped"
            case Limit.WORKERS if self.workers < MISSING:
                return f"it had no workers {share}"
            case Limit.WORKERS:
                useful = f", and {self.useful} would have kept the cipher busy" if self.useful is not None else ""
                return f"the op limited it: {_workers(self.workers)} computed {share}{useful}"
            case Limit.COORDINATOR:
                return f"the coordinator limited it: workers waited for its grants {share}"


def judge(times: Times) -> Verdict:
    """Return the limit of a stage in that interval."""
    seconds = times.seconds
    if seconds < LEAST:
        return Verdict(Limit.UNKNOWN)
    workers, useful = times.ready / seconds, times.workers_useful
    if times.absent > seconds / 2:
        return Verdict(Limit.WORKERS, 0.0, useful, times.absent / seconds)
    if times.encrypting + times.storing >= SERIAL * seconds:
        serial = Limit.CIPHER if times.encrypting >= times.storing else Limit.STORAGE
        share = min(1.0, max(times.encrypting, times.storing) / seconds)
        return Verdict(serial, workers, useful, share, plain=times.encrypting <= 0)
    spent = {Limit.OP: times.op + times.unused, Limit.TRANSFER: times.transfer, Limit.COORDINATOR: times.idle}
    total = sum(spent.values())
    if total <= 0:
        return Verdict(Limit.UNKNOWN, workers, useful)
    limit = max(spent, key=lambda each: spent[each])
    share = spent[limit] / total
    if limit is Limit.OP:
        most = (
            useful if useful is not None else times.messages
        )  # without a cipher, every worker that gets one is of use
        return Verdict(Limit.WORKERS if workers < most - MISSING else Limit.OP, workers, useful, share)
    if limit is Limit.TRANSFER and times.reading >= SERIAL * seconds:
        return Verdict(Limit.READING, workers, useful, min(1.0, times.reading / seconds))
    near = limit is Limit.TRANSFER and times.near > times.transfer / 2
    return Verdict(limit, workers, useful, share, near=near, small=near and 0 < times.chunk_bytes < SMALL)


class Recent:
    """The verdict on the last seconds of a stage, for a display that is looked at while the job runs."""

    def __init__(self) -> None:
        self._earlier: deque[Times] = deque()  # of the same stage, one a second; the first is the last before `RECENT`

    def judge(self, times: Times) -> Verdict:
        """Return the verdict on the time since about ten seconds ago; on the whole stage when that says nothing."""
        if self._earlier and self._earlier[-1].stage != times.stage:
            self._earlier.clear()
        while len(self._earlier) > 1 and self._earlier[1].seconds <= times.seconds - RECENT:
            self._earlier.popleft()
        recent = judge(times - self._earlier[0]) if self._earlier else Verdict(Limit.UNKNOWN)
        if not self._earlier or times.seconds - self._earlier[-1].seconds >= 1.0:
            self._earlier.append(times)
        return recent if recent.limit is not Limit.UNKNOWN else judge(times)


def _workers(number: float) -> str:
    return "1 worker" if round(number, 1) == 1 else f"{round(number, 1):g} workers"
