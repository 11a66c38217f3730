"""Staff: the page's facts about each worker, folded from events. Two that live at once never have the same name.

Rules: pure, and bounded. Of more workers than `KEPT`, those that were lost first are counted and no longer named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from zaudio.web.news import cut

KEPT = 1024  # workers that are remembered by name
REFUSED_KEPT = 64  # the farm tells of fewer by themselves
SHOWN = 256  # a long table already
ODD_SHOWN = 64  # of these, workers that are gone, late or slow, when there is no room for all
RATE_SECONDS = 20.0  # the time over which a worker's rate is smoothed
SLOW = 0.5  # of the median of those that are busy
FEW_CHUNKS = 4  # from a worker of median speed: before it could have given so many, nothing is called slow
NAME_MAX = 120  # characters


@dataclass(slots=True)
class Worker:
    """One worker.

    Attributes:
        sessions: Those of its name that are ready.
        chunks: Chunks of it that count.
        weight: Chunks, those of long ago counted less; `since` is when they were last weighed.
        host: The machine that it says to be on.
        begun: When it first took part.
        sign: When it last gave a sign of life: a result, its coming, or a message of which there is no event.
        held: Messages of chunks that it holds, by their first chunk: when each was granted.
        stuck: Whether it is past a deadline.
        end: How it ended; empty while it takes part.
        dropped: Whether it was sent away for good.
        refused: Whether it was never let in.
        losses: How often it was lost.
    """

    begun: float
    sign: float
    host: str = ""
    sessions: set[str] = field(default_factory=set)
    chunks: int = 0
    weight: float = 0.0
    since: float = 0.0
    held: dict[int, float] = field(default_factory=dict)
    stuck: bool = False
    end: str = ""
    dropped: bool = False
    refused: bool = False
    losses: int = 0

    @property
    def state(self) -> str:
        """One of `STATES`."""
        if self.refused:
            return "refused"
        if self.dropped:
            return "dropped"
        if not self.sessions:
            return "lost"
        if self.stuck:
            return "late"
        return "busy" if self.held else "idle"

    def rate(self, now: float) -> float:
        """Return its chunks a second of late."""
        span = min(now - self.begun, RATE_SECONDS)
        if span <= 0 or not self.sessions:
            return 0.0
        weight = self.weight * math.exp((self.since - now) / RATE_SECONDS)
        return weight / (RATE_SECONDS * (1 - math.exp((self.begun - now) / RATE_SECONDS)))

    def slow(self, now: float, middle: float) -> bool:
        """Return whether it is busy, and gives much less than workers of that rate."""
        known = middle * min(now - self.begun, RATE_SECONDS) >= FEW_CHUNKS
        return self.state == "busy" and known and self.rate(now) < SLOW * middle


STATES = ("busy", "idle", "late", "lost", "dropped", "refused")
GONE = ("lost", "dropped")


class Staff:
    """All workers of a job."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}
        self._refused: dict[tuple[str, str], tuple[float, str]] = {}  # name and host -> when, and why
        self.forgotten = 0  # workers that were lost and are no longer named

    def knows(self, name: str) -> bool:
        """Return whether a worker of that name took part."""
        return name in self._workers

    def has(self, name: str, session: str) -> bool:
        """Return whether a worker takes part."""
        return name in self._workers and session in self._workers[name].sessions

    def rest(self) -> None:
        """Forget the chunks that workers held: the stage, or the job, is over."""
        for worker in self._workers.values():
            worker.held.clear()
            worker.stuck = False

    def join(self, name: str, session: str, *, at: float, host: str = "") -> None:
        """Note that a worker takes part."""
        worker = self._of(name, at)
        worker.host = host[:NAME_MAX]
        worker.sessions.add(session)
        worker.sign, worker.end = at, ""
        self._refused.pop((name, worker.host), None)  # it may now

    def refuse(self, name: str, host: str, reason: str, *, at: float) -> None:
        """Note that a worker cannot take part. It may use any name, even that of another worker."""
        worker = self._workers.get(name)
        if worker is not None and not (worker.sessions or worker.chunks or worker.dropped):
            del self._workers[name]  # it was welcomed, and lost as its machine was known
        if len(self._refused) < REFUSED_KEPT:
            self._refused[name, host[:NAME_MAX]] = at, cut(reason)

    def leave(self, name: str, session: str, reason: str, *, at: float) -> None:
        """Note that a worker is gone."""
        worker = self._of(name, at)
        worker.sessions.discard(session)
        worker.end = cut(reason)
        worker.losses += 1
        if not worker.sessions:
            worker.held.clear()
            worker.stuck = False

    def drop(self, name: str, reason: str, *, at: float) -> None:
        """Note that a worker was sent away for good."""
        worker = self._of(name, at)
        worker.dropped, worker.end = True, cut(reason)
        worker.held.clear()

    def delay(self, name: str, *, at: float) -> None:
        """Note that a worker is past a deadline."""
        self._of(name, at).stuck = True

    def grant(self, name: str, chunk: int, *, at: float) -> None:
        """Note that a worker holds chunks."""
        self._of(name, at).held[chunk] = at

    def end(self, name: str, chunk: int, *, at: float, chunks: int = 0, heard: bool = True) -> float | None:
        """Note that a worker no longer holds chunks.

        Args:
            name: The worker.
            chunk: The first of them.
            at: When.
            chunks: How many of them count as its own; fewer than 0 when they count no longer.
            heard: Whether it gave a sign of life by that.

        Returns:
            Seconds that it held them; None when that is not known.
        """
        worker = self._of(name, at)
        granted = worker.held.pop(chunk, None)
        worker.chunks += chunks
        if heard:
            worker.sign, worker.stuck = at, False
        if chunks > 0:
            worker.weight = worker.weight * math.exp((worker.since - at) / RATE_SECONDS) + chunks
            worker.since = at
        return None if granted is None else at - granted

    def hear(self, signs: Mapping[str, float]) -> None:
        """Take the last signs of life of workers, by name."""
        for name, at in signs.items():
            if (worker := self._workers.get(name)) is not None:
                worker.sign = max(worker.sign, at)

    def counts(self) -> dict[str, int]:
        """Return the number of workers by state."""
        found = dict.fromkeys(STATES, 0)
        for worker in self._workers.values():
            found[worker.state] += 1
        found["lost"] += self.forgotten
        found["refused"] = len(self._refused)
        return found

    def rows(self, now: float) -> list[dict[str, object]]:
        """Return a row for each worker that is shown, those that take part first."""
        middle = self._middle(now)
        named = sorted(self._shown(now, middle), key=lambda item: (item[1].state in GONE, item[0]))
        refused = [(name, _turned_away(host, *why)) for (name, host), why in self._refused.items()]
        return [
            {
                "name": name[:NAME_MAX],
                "host": worker.host,
                "state": worker.state,
                "chunks": worker.chunks,
                "rate": round(worker.rate(now), 3),
                "slow": worker.slow(now, middle),
                "sign": round(max(0.0, now - worker.sign), 1),
                "held": len(worker.held),
                "oldest": round(now - min(worker.held.values()), 1) if worker.held else None,
                "end": worker.end,
                "losses": worker.losses,
            }
            for name, worker in [*named, *refused]
        ]

    def _shown(self, now: float, middle: float) -> list[tuple[str, Worker]]:
        """Return those that a table has room for: some that need a look, the newest, and others by their names."""
        found = sorted(self._workers.items())
        if len(found) <= SHOWN:
            return found
        odd = [(name, one) for name, one in found if one.state in (*GONE, "late") or one.slow(now, middle)]
        odd = sorted(odd, key=lambda item: -item[1].sign)[:ODD_SHOWN]
        names = {name for name, _ in odd}
        return odd + [item for item in found if item[0] not in names][: SHOWN - len(odd)]

    @property
    def more(self) -> int:
        """Workers that `rows` does not name."""
        return max(0, len(self._workers) - SHOWN) + self.forgotten

    def _middle(self, now: float) -> float:
        """Return the median rate of the busy workers."""
        rates = [worker.rate(now) for worker in self._workers.values() if worker.state == "busy"]
        return median(rates) if rates else 0.0

    def _of(self, name: str, at: float) -> Worker:
        worker = self._workers.get(name)
        if worker is None:
            if len(self._workers) >= KEPT:
                self._forget()
            worker = self._workers[name] = Worker(begun=at, sign=at, since=at)
        return worker

    def _forget(self) -> None:
        gone = next((name for name, worker in self._workers.items() if not worker.sessions), None)
        del self._workers[gone if gone is not None else next(iter(self._workers))]
        self.forgotten += 1


def _turned_away(host: str, at: float, reason: str) -> Worker:
    return Worker(begun=at, sign=at, host=host, end=reason, refused=True)
