"""Roster: the living workers, and which of them may be given another chunk, least loaded first.

Rules: a worker is *available* when it is ready, not stuck, holds no suspect and has credit left. Available workers lie
in buckets by how many leases they hold, so the least loaded one is found without looking at them all. Whoever changes
what availability depends on calls `place`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from zaudio.core.actions import Peer
from zaudio.core.leases import Lease


@dataclass(slots=True, eq=False)
class Worker:
    """What the coordinator knows of one living worker."""

    session: bytes
    name: str
    route: Peer
    heard: float
    identity: str = ""  # what the connection of its first hello authenticated as; no other may speak for it
    sink: Peer | None = None
    ready: bool = False
    alone: bool = False  # holds a suspect, which nothing may be queued behind
    stuck: bool = False  # past a deadline, and nothing was heard of any of its chunks since
    strikes: int = 0  # results of it that were wrong
    losses: int = 0  # grants in a row that never came to it
    sequence: int = 0  # chunks sent to it so far
    head: Lease | None = None  # what it is computing, as far as one can know: its oldest lease
    head_since: float = 0.0
    outbox: bytes = b""  # the shared memory it writes results to; empty for none
    slots: list[int] = field(default_factory=list)  # of its outbox, those that no lease has
    reads: bool = False  # has the recording open itself
    load: int = 0  # leases that take up its credit
    bucket: int = -1  # where it lies in Roster._free; -1 when it is not available

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Its connections: to the sink, if it has one, and to the ventilator."""
        return (self.route,) if self.sink is None else (self.sink, self.route)


class Roster:
    """The living workers of one job."""

    def __init__(self, credit: int) -> None:
        self._credit = credit
        self._workers: dict[bytes, Worker] = {}  # session -> worker
        # _free[k]: the available workers that hold k leases; a dict for its order
        self._free: list[dict[bytes, Worker]] = [{} for _ in range(credit)]

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._workers.values()))

    def get(self, session: bytes) -> Worker | None:
        """The living worker with that session."""
        return self._workers.get(session)

    def add(self, worker: Worker) -> None:
        """A worker has come."""
        self._workers[worker.session] = worker
        self.place(worker)

    def remove(self, worker: Worker) -> None:
        """A worker is gone."""
        del self._workers[worker.session]
        self._unplace(worker)

    def place(self, worker: Worker) -> None:
        """Put a worker where its load and state say."""
        bucket = worker.load if self.available(worker) else -1
        if bucket != worker.bucket:
            self._unplace(worker)
            worker.bucket = bucket
            if bucket >= 0:
                self._free[bucket][worker.session] = worker

    def available(self, worker: Worker) -> bool:
        """Whether this worker may be given another chunk."""
        return worker.ready and not worker.stuck and not worker.alone and worker.load < self._credit

    def least_loaded(self, *, but: Worker | None = None) -> Worker | None:
        """The available worker that holds the least, other than that one."""
        for bucket in self._free:
            for worker in bucket.values():
                if worker is not but:
                    return worker
        return None

    def least_loaded_of_others(self, sessions: Collection[bytes]) -> Worker | None:
        """The available worker that holds the least and is none of those."""
        return next((w for bucket in self._free for w in bucket.values() if w.session not in sessions), None)

    def idle(self) -> Iterator[Worker]:
        """The available workers that hold nothing."""
        return iter(self._free[0].values())

    def check(self) -> None:
        """Assert the invariants."""
        for worker in self._workers.values():
            assert worker.load >= 0, f"{worker.name} has load {worker.load}"
            assert (worker.bucket >= 0) == self.available(worker), f"{worker.name} is offered chunks when it may be"
            assert worker.bucket in (-1, worker.load), f"{worker.name} lies in the bucket of its load"
            assert not worker.alone or worker.head is not None, f"{worker.name} holds a suspect, so it holds something"
        for load, bucket in enumerate(self._free):
            for session, worker in bucket.items():
                assert self._workers.get(session) is worker, "only the living are offered chunks"
                assert worker.bucket == load, "a worker knows its bucket"

    def _unplace(self, worker: Worker) -> None:
        if worker.bucket >= 0:
            del self._free[worker.bucket][worker.session]
            worker.bucket = -1
