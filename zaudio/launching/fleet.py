"""Fleet: the workers that a job starts elsewhere: one thread starts, admits, watches, replaces and ends them.

Rules:

- The thread alone uses the launchers, and waits while they stop.
- `muster.py` decides how many to start, and which to replace.
- A worker's key is admitted before it connects, and revoked when the worker has ended: for this job alone.
- A sentence about a fault is said once: as a warning, and as an event.
- The farm is told when workers wait in a queue, and when none can come any more.
- When the job is over, workers have a while to go by themselves. Then they are ended.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from zaudio.errors import UsageError, ZaudioError
from zaudio.launching.launcher import Handle, Launcher, Orders
from zaudio.launching.muster import FIRST, Muster, spread
from zaudio.net.guests import End, Guests
from zaudio.timing import Timing
from zaudio.watching.metering import Meter, Times
from zaudio.watching.stream import Subscription

TURN = 0.1  # s between two looks: a key waits for this, and so does a replacement
LEAVE = 3.0  # s for workers to go by themselves after the farm's goodbye
STOPPED = 10.0  # s for launchers to end what is left, all at once; each has 5
STOPPING = 256  # launchers that stop at the same time
ENOUGH = 4  # chunks that must have been computed before the cost of the op is believed
LATE = 15.0  # s for a worker to say its key: ssh gives up after 10, and modules may come from a slow disk
WAITS_TOLD = 10.0  # s that workers may wait in a queue before the reason is told
SAID = 16  # sentences that are kept of a place: one that fails in ever new words must not fill the memory
WAITS_KEPT = 8  # reasons of its queue that are kept of a place: ever new ones leave room for what fails there
REASONS = 3  # of places, in the sentence that ends a job

log = logging.getLogger("zaudio.launching")


@dataclass(slots=True)
class Squad:
    """The workers of one place.

    Attributes:
        launcher: Starts them.
        muster: Decides which to replace.
        posted: The number of a post, and the worker that has it.
        keys: The number of a post whose worker has said its key, and that key if it was admitted, else nothing.
        asked: The number of a post whose worker has not said its key, and when it was asked for.
        said: The sentences about it.
        fault: Why a worker failed last.
        waits: Reasons for which workers wait in a queue, and since when; infinity once told.
        is_missed: Whether it was said that workers did not come.
    """

    launcher: Launcher
    muster: Muster
    posted: dict[int, Handle] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict)
    asked: dict[int, float] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    fault: str = ""
    waits: dict[str, float] = field(default_factory=dict)
    is_missed: bool = False


class Bound(Protocol):
    """A farm that is bound."""

    @property
    def endpoint(self) -> str | None:
        """The address where workers connect."""

    @property
    def signs(self) -> Mapping[str, float]:
        """When each worker was last heard of, by name, as of the last heartbeat."""

    def expect(self, *, awaited: bool, given_up: str) -> None:
        """Take note whether workers wait in a queue, and why none can come; empty as long as one could."""


class Fleet:
    """The workers that a job starts elsewhere.

    Args:
        launchers: One for each place, and the number of workers that it is asked for.
        guests: Where their keys are admitted; None for a farm without keys.
        server: The coordinator's public key, Z85; None without keys.
        at_once: Start all, whether they are of use or not.
        beside: Workers that the job has besides.
        others: Returns whether workers may come that nobody starts here.
        queues: Whether a job waits for a queue as long as that takes.
        timing: The job's durations.
        subscribe: Subscribes to the job's events, which tell how many workers are of use.
        tell: Takes a place and a sentence about its workers, once each.
    """

    def __init__(
        self,
        launchers: Sequence[tuple[Launcher, int]],
        *,
        guests: Guests | None,
        server: str | None,
        at_once: bool,
        beside: int,
        others: Callable[[], bool],
        queues: bool,
        timing: Timing,
        subscribe: Callable[[], Subscription],
        tell: Callable[[str, str], None],
    ) -> None:
        self._squads = [Squad(launcher, Muster(count)) for launcher, count in launchers]
        self._at_once = at_once
        self._guests = guests if guests is not None else Guests()
        self._server = server
        self._beside = beside
        self._others = others
        self._queues = queues
        self._timing = timing
        self._tell = tell
        self._events = subscribe() if self._squads else None
        self._meter = Meter()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.warnings: tuple[str, ...] = ()

    @contextlib.contextmanager
    def serving(self, farm: Bound, allow: tuple[str, ...]) -> Iterator[None]:
        """Start workers, and go on until the block is left; then nobody is replaced any more. `close` ends the rest.

        Args:
            farm: Where they connect.
            allow: The functions that the job names as ops.
        """
        if self._squads and farm.endpoint is not None:
            orders = Orders(farm.endpoint, self._server, allow)
            self._thread = threading.Thread(target=self._run, args=(orders, farm), name="zaudio-fleet", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            self._over.set()

    def close(self) -> None:
        """Wait until all workers are gone; end those that do not go by themselves."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(LEAVE + STOPPED)
        else:
            self._stop()  # the farm could not begin, and a check may have connected
        if self._events is not None:
            self._events.close()

    # The thread

    def _run(self, orders: Orders, farm: Bound) -> None:
        try:
            while not self._over.is_set():
                self._listen()
                now = time.monotonic()
                self.turn(orders, now)
                self.doubt(farm.signs, now)
                farm.expect(awaited=self.awaited, given_up=self.given_up)
                self._over.wait(TURN)
            self._see_off(time.monotonic() + LEAVE)
        except Exception:
            log.exception("workers elsewhere are not looked after any more")
            farm.expect(awaited=False, given_up="")
            self._add("workers elsewhere are not looked after any more: an error of zaudio's; see the log")
        finally:
            self._stop()

    def _listen(self) -> None:
        if self._events is not None:
            with contextlib.suppress(TimeoutError):
                for event in self._events.take(timeout=0):
                    self._meter.apply(event)

    def turn(self, orders: Orders, now: float) -> None:
        """Take in what happened, and start workers that are due."""
        for squad in self._squads:
            squad.launcher.alive()
            for number, handle in list(squad.posted.items()):
                if handle.ended is None:
                    self._admit(squad, number, handle)
                else:
                    self._bury(squad, number, handle, now)
            self._miss(squad, now)
            self._tell_waits(squad, now)
        capacities = [squad.muster.capacity for squad in self._squads]
        quotas = spread(sum(capacities) if self._at_once else self._wanted(now), capacities)
        for squad, quota in zip(self._squads, quotas, strict=True):
            due = squad.muster.due(quota, now=now)
            if due:
                self._start(squad, due, orders, now)

    def doubt(self, signs: Mapping[str, float], now: float) -> None:
        """Let launchers look after workers that are silent, before the farm gives them up and blames their chunks."""
        first = self._timing.doubt_after + self._timing.heartbeat  # signs may be a heartbeat old
        last = self._timing.dead_after + self._timing.heartbeat  # longer, and the farm itself is busy
        for squad in self._squads:
            if any(first < now - signs.get(handle.name, now) <= last for handle in squad.posted.values()):
                squad.launcher.hurry()

    @property
    def awaited(self) -> bool:
        """Whether workers wait in a queue for which the job waits."""
        return self._queues and any(handle.waits for squad in self._squads for handle in squad.posted.values())

    @property
    def given_up(self) -> str:
        """Why no worker can come: every place was given up, and nobody else is expected. Empty as long as one could."""
        if any(squad.muster.capacity for squad in self._squads) or self._others():
            return ""
        reasons = [squad.fault for squad in self._squads]
        more = f"; and {len(reasons) - REASONS} places more" if len(reasons) > REASONS else ""
        return f"no worker is left, and none can come: {'; '.join(reasons[:REASONS])}{more}"

    def _start(self, squad: Squad, due: list[int], orders: Orders, now: float) -> None:
        try:
            squad.posted.update(zip(due, squad.launcher.start(len(due), orders), strict=True))
            squad.asked.update(dict.fromkeys(due, now))
        except ZaudioError as error:
            self._fail(squad, str(error))
            for number in due:
                squad.muster.ended(number, fault=True, hopeless=True, now=now)

    def _admit(self, squad: Squad, number: int, handle: Handle) -> None:
        public = handle.public
        if public is None or number in squad.keys:
            return
        squad.keys[number] = ""
        squad.asked.pop(number, None)
        if public:
            try:
                self._guests.admit(public, handle.name)
            except UsageError as error:
                self._warn(squad, f"{handle.name}: {error}")
                return
            squad.keys[number] = public
        log.info("%s is admitted", handle.name)
        handle.admit()

    def _bury(self, squad: Squad, number: int, handle: Handle, now: float) -> None:
        del squad.posted[number]
        squad.asked.pop(number, None)
        self._guests.revoke(squad.keys.pop(number, ""), End(handle.ended or "it left", handle.died))
        log.info("%s has ended: %s", handle.name, handle.ended or "in order")
        squad.muster.ended(number, fault=bool(handle.ended), hopeless=handle.hopeless, now=now)
        if handle.ended:
            self._fail(squad, handle.ended)
        if not squad.muster.capacity and not handle.hopeless:  # else that was why
            self._warn(squad, f"{squad.launcher.where}: no more workers are started there")

    def _miss(self, squad: Squad, now: float) -> None:
        """Say how many workers did not come, when the first of them is late."""
        squad.asked.update((number, now) for number in squad.asked if squad.posted[number].waits)  # its queue says why
        late = [number for number, asked in squad.asked.items() if now >= asked + LATE]
        if late and not squad.is_missed:
            squad.is_missed = True
            missing = f"{len(late)} of {len(squad.posted)} workers did not come within {LATE:g} s"
            self._warn(squad, f"{squad.launcher.where}: {missing}; it is silent, or has no room for them")

    def _tell_waits(self, squad: Squad, now: float) -> None:
        """Say why workers wait in a queue, for each reason once it has lasted."""
        waits = Counter(handle.waits for handle in squad.posted.values() if handle.waits)
        for reason in [each for each, since in squad.waits.items() if each not in waits and since <= now]:
            del squad.waits[reason]  # it did not last
        for reason, count in waits.items():
            if reason not in squad.waits and len(squad.waits) >= WAITS_KEPT:
                continue
            since = squad.waits.setdefault(reason, now)
            if now >= since + WAITS_TOLD:
                squad.waits[reason] = float("inf")
                self._warn(squad, f"{squad.launcher.where}: {count} of {len(squad.posted)} workers wait: {reason}")

    def _wanted(self, now: float) -> int:
        useful = useful_of(self._meter.times(now))
        return max(FIRST, useful - self._beside) if useful is not None else FIRST

    def _see_off(self, deadline: float) -> None:
        """Let workers go by themselves until then. Those that were not let in hear no goodbye: they are not awaited."""
        while time.monotonic() < deadline and any(_are_leaving(squad) for squad in self._squads):
            time.sleep(TURN)
        held_back, count = (sum(each) for each in zip(*map(_held_back, self._squads), strict=True))
        if held_back:
            few = "they were not known to be of use; --all (Network(all_workers=True)) starts all"
            self._add(f"{held_back} of {count} workers were not started: {few}")

    def _stop(self) -> None:
        """End all that is left, at all places at the same time."""
        if not self._squads:
            return
        with ThreadPoolExecutor(min(STOPPING, len(self._squads))) as threads:
            for squad in self._squads:
                threads.submit(squad.launcher.stop)
        for squad in self._squads:
            for public in squad.keys.values():
                self._guests.revoke(public)

    def _fail(self, squad: Squad, sentence: str) -> None:
        squad.fault = sentence
        self._warn(squad, sentence)

    def _warn(self, squad: Squad, sentence: str) -> None:
        if sentence not in squad.said and len(squad.said) < SAID:
            squad.said.append(sentence)
            self._add(sentence)
            self._tell(squad.launcher.where, sentence)

    def _add(self, sentence: str) -> None:
        log.info("%s", sentence)
        self.warnings = (*self.warnings, sentence)


def _are_leaving(squad: Squad) -> bool:
    squad.launcher.alive()
    return any(handle.ended is None and number in squad.keys for number, handle in squad.posted.items())


def _held_back(squad: Squad) -> tuple[int, int]:
    return squad.muster.held_back, squad.muster.count


def useful_of(times: Times) -> int | None:
    """Return the number of workers that are of use in a stage; None when it is unknown."""
    if times.computed < ENOUGH:
        return None
    # Without a cipher, every worker that gets a message is of use.
    return times.messages if times.workers_useful is None else times.workers_useful
