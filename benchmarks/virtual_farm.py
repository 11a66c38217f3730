"""A farm of many workers in virtual time: the shipped Desk, and all that is around it as queues with a given speed.

    run(Setting(workers=1000, op=1.0, chunks=60_000)) -> Outcome

Real are the Desk and its messages: each decision is the one that a coordinator would make. Modelled are:

- the coordinator's thread: it takes one thing after the other. A message, a grant and a result cost it what `Costs`
  says; to that the processor time is added that the Desk took, here and now;
- the reader's thread, the cipher and the link, each way: one chunk after the other, at a given rate;
- workers: they hold chunks in a queue, compute one at a time, and say alive once a heartbeat. They are no `Session`s:
  ten thousand of those would take most of the time, and say nothing of the coordinator. `tests/farm` has real ones.

A worker that dies says nothing. Its connections close, and the Desk learns of it by silence alone, as of a worker on
another machine. Some time later another worker comes in its place.
"""

from __future__ import annotations

import gc
import heapq
import random
import time
import types
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from virtual_setting import Outcome, Setting

from zaudio.core.actions import Accepted, DeskAction, Duplicate, Fail, Grant, Joined, Lost, Peer, Released, Send
from zaudio.core.desk import Desk
from zaudio.core.job import Job, Ways
from zaudio.core.register import Register
from zaudio.formats import sample_format
from zaudio.plan import Plan
from zaudio.signal import Signal
from zaudio.steps import Step
from zaudio.timing import Timing
from zaudio.wire.messages import VERSION, Again, Channel, Heartbeat, Hello, Message, Ready, Result, Sent, Welcome

FRAME_BYTES = 4
CREDIT = 2  # chunks; as in zaudio.job.stages
JOB_ID = b"j" * 16
Hear = Callable[[DeskAction, float], None]
SMALL_BYTES = 150  # of a message without samples, with its envelope and TCP's


def run(setting: Setting, *, seed: int = 0, hear: Hear | None = None) -> Outcome:
    """Run a farm to the end of its job.

    Args:
        setting: The farm.
        seed: Of all that is random.
        hear: Called with each action of the Desk and the time, as `Stage` tells them.

    Raises:
        ZaudioError: The job failed.
    """
    return VirtualFarm(setting, seed, hear or (lambda *_: None)).run()


class Worker:
    """A worker's behaviour: a queue of chunks, one of which is computed."""

    def __init__(self, farm: VirtualFarm, number: int) -> None:
        self.farm = farm
        self.session = number.to_bytes(16, "big")
        self.name = f"w{number}"
        self.ventilator = Peer(Channel.VENTILATOR, self.session)
        self.sink = Peer(Channel.SINK, self.session)
        self.lease = (JOB_ID, 1, self.session)
        self.alive = True
        self.received = 0
        self.queue: deque[Grant] = deque()
        self.down = self.up = 0.0  # when the last message arrived, each way: none overtakes another

    def start(self) -> None:
        """Say hello."""
        self.farm.carry(self, Hello(VERSION, self.session, self.name, 1, "host", "model", ("invert",), (), b""))

    def take(self, message: Message | Grant) -> None:
        """Take a message; a Grant stands for a chunk with its samples."""
        if not self.alive:
            return
        match message:
            case Grant():
                self.received = message.sequence
                self.queue.append(message)
                if len(self.queue) == 1:
                    self.compute()
            case Sent():
                self.received = max(self.received, message.sequence)
            case Welcome():
                self.farm.carry(self, Ready(*self.lease, 0, (), reads=False))
                self.farm.after(self.farm.timing.heartbeat, self.beat)
            case Again():
                self.start()

    def compute(self) -> None:
        """Begin with the first chunk."""
        setting = self.farm.setting
        seconds = setting.op * (1 + setting.spread * self.farm.random.uniform(-1, 1))
        self.farm.after(seconds, self.computed, seconds)

    def computed(self, seconds: float) -> None:
        """Give the result, and begin with the next."""
        if not self.alive:
            return
        grant = self.queue.popleft()
        length = self.farm.plan.span(grant.index).frames * FRAME_BYTES
        self.farm.carry(self, Result(*self.lease, grant.index, grant.attempt, length, 1, seconds, slot=-1), length)
        if self.queue:
            self.compute()

    def beat(self) -> None:
        """Say alive, and so again after a heartbeat."""
        if self.alive:
            self.farm.carry(self, Heartbeat(*self.lease), sink=False)
            held = tuple((grant.index, grant.attempt) for grant in self.queue)
            self.farm.carry(self, Ready(*self.lease, self.received, held, reads=False))
            self.farm.after(self.farm.timing.heartbeat, self.beat)


class VirtualFarm:
    """The coordinator, its link, and the workers."""

    def __init__(self, setting: Setting, seed: int, hear: Hear) -> None:
        self.setting = setting
        self.timing = Timing()
        self.random = random.Random(seed)
        self.now = 0.0
        self.outcome = Outcome(setting)
        frames = setting.chunk_bytes // FRAME_BYTES
        self.plan = Plan(setting.chunks * frames, frames)
        job = Job(
            id=JOB_ID,
            incarnation=1,
            plan=self.plan,
            chunk_frames=frames,
            ops=(Step("invert"),),
            signal=Signal(self.plan.frames, 1, 44100, sample_format("f32le")),
            grid=0,
            credit=CREDIT,
            window_most=setting.memory // (2 * setting.chunk_bytes),
            timing=self.timing,
        )
        self.desk = Desk(
            job,
            ways=Ways(("tcp://:2",)),
            register=Register(),
            frame_bytes=FRAME_BYTES,
            offers=lambda offered, name: name in offered,
            now=0.0,
        )
        self._hear = hear
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._workers: dict[bytes, Worker] = {}
        self._living: list[Worker] = []
        self._todo: deque[tuple[Callable[..., float], tuple[Any, ...]]] = deque()  # of the coordinator's thread
        self._serving = False
        self._held = 0
        self._free = {"reader": 0.0, "down": 0.0, "up": 0.0, "cipher": 0.0}  # when each is free again
        self._ciphered = 0
        self._began: float | None = None
        self._failure: Exception | None = None
        self._look = min(
            -time.thread_time() + time.thread_time() for _ in range(1000)
        )  # what it takes to read that clock

    def run(self) -> Outcome:
        """Run to the end of the job. See `run`."""
        setting = self.setting
        for _ in range(setting.workers):
            self.after(self.random.uniform(0, min(1.0, 0.05 * setting.op + 0.001 * setting.workers)), self._come)
        if setting.deaths:
            self.after(1 / setting.deaths, self._die)
        self.after(0.0, self._wake)
        half = False
        while self._ciphered < setting.chunks:
            if self._failure is not None:
                raise self._failure
            self.now, _, do, arguments = heapq.heappop(self._events)
            do(*arguments)
            if not half and 2 * self._ciphered >= setting.chunks:
                half = True
                self.outcome.brain = deep_size(self.desk)
        self.outcome.seconds = self.now - (self._began or 0.0)
        return self.outcome

    # What others use

    def at(self, when: float, do: Callable[..., None], *arguments: object) -> None:
        """Call that at that time."""
        self._order += 1
        heapq.heappush(self._events, (when, self._order, do, arguments))

    def after(self, seconds: float, do: Callable[..., None], *arguments: object) -> None:
        """Call that after so many seconds."""
        self.at(self.now + seconds, do, *arguments)

    def carry(self, worker: Worker, message: Message, payload: int = 0, *, sink: bool = True) -> None:
        """Carry a message of a worker to the coordinator."""
        self.outcome.bytes += SMALL_BYTES + payload
        sink = sink and not isinstance(message, Hello)
        if not sink:
            self.at(self.now + self.setting.latency, self._arrive, worker.ventilator, message)
            return
        passed = self._through("up", payload / self.setting.bandwidth) if payload else self.now
        worker.up = max(worker.up, passed + self.setting.latency)
        self.at(worker.up, self._arrive, worker.sink, message)

    # Workers come and go

    def _come(self) -> None:
        worker = Worker(self, len(self._workers) + 1)
        self._workers[worker.session] = worker
        self._living.append(worker)
        worker.start()

    def _die(self) -> None:
        if self._living:
            place = self.random.randrange(len(self._living))
            self._living[place], self._living[-1] = self._living[-1], self._living[place]
            self._living.pop().alive = False
            self.outcome.deaths += 1
            self.after(self.setting.replaced_after, self._come)
        self.after(1 / self.setting.deaths, self._die)

    # The coordinator's thread

    def _arrive(self, peer: Peer, message: Message) -> None:
        self._do_next(self._receive, peer, message)

    def _do_next(self, work: Callable[..., float], *arguments: object) -> None:
        self._todo.append((work, arguments))
        if not self._serving:
            self._serving = True
            self.at(self.now, self._serve)

    def _serve(self) -> None:
        """Do one thing, and the next when that is done. Time is judged when there is nothing else, or long due."""
        due = self.desk.next_deadline()
        if self.now >= (due if not self._todo else due + self.timing.heartbeat):
            seconds = self._ask(self.desk.tick, now=self.now)
        elif self._todo:
            work, arguments = self._todo.popleft()
            seconds = work(*arguments)
        else:
            self._serving = False
            return
        self.outcome.busy += seconds
        self.at(self.now + seconds, self._serve)

    def _wake(self) -> None:
        """Wake the thread when a tick is due."""
        if not self._serving:
            self._serving = True
            self._serve()
        self.at(max(self.desk.next_deadline(), self.now + self.timing.heartbeat / 8), self._wake)

    def _receive(self, peer: Peer, message: Message) -> float:
        self.outcome.received += 1
        if not isinstance(message, Result):
            return self.setting.costs.message + self._ask(self.desk.receive, peer, message, now=self.now)
        # Half of a chunk's cost lies on its way out, half on its way back.
        told: list[DeskAction] = []
        seconds = self._ask(self.desk.receive, peer, message, now=self.now, checksum=1, told=told)
        if any(isinstance(action, Accepted) for action in told):
            self._hold(message.length)
            self.outcome.operating += message.seconds
        return self.setting.costs.chunk / 2 + seconds

    def _ask(
        self,
        verb: Callable[..., list[DeskAction]],
        *arguments: object,
        told: list[DeskAction] | None = None,
        **named: Any,
    ) -> float:
        """Ask the Desk, do what it says; return the seconds that it took the thread."""
        began = time.thread_time()
        actions = verb(*arguments, **named)
        took = max(0.0, time.thread_time() - began - self._look)
        self.outcome.desk += took
        if told is not None:
            told += actions
        return (took if self.setting.counts_desk else 0.0) + self._do(actions)

    def _do(self, actions: Iterable[DeskAction]) -> float:
        seconds = 0.0
        for action in actions:
            self._hear(action, self.now)
            match action:
                case Grant() | Send(message=Sent()):
                    # A Sent must not overtake chunks, so it goes by the reader too.
                    length = self.plan.span(action.index).frames * FRAME_BYTES if isinstance(action, Grant) else 0
                    self._hold(length)
                    self.at(self._through("reader", length / self.setting.reader), self._do_next, self._send, action)
                case Send():
                    seconds += self._send(action)
                case Released():
                    length = self.plan.span(action.index).frames * FRAME_BYTES
                    self.outcome.ciphering += length / self.setting.cipher
                    self.at(self._through("cipher", length / self.setting.cipher), self._cipher_done, length)
                case Joined() if self._began is None:
                    self._began = self.now
                case Lost():
                    self.outcome.lost += 1
                case Duplicate():
                    self.outcome.repeated += 1
                case Fail():
                    self._failure = action.error
        return seconds

    def _send(self, action: Grant | Send) -> float:
        setting, grant = self.setting, isinstance(action, Grant)
        worker = self._workers[action.peer.route]
        self.outcome.sent += 1
        seconds = setting.costs.chunk / 2 if grant else setting.costs.message
        length = self.plan.span(action.index).frames * FRAME_BYTES if isinstance(action, Grant) else 0
        if not worker.alive and not setting.vanish:  # the kernel of its machine closed the connection
            self._hold(-length)
            if isinstance(action, Grant):
                return seconds + self._ask(self.desk.undelivered, action, now=self.now)
            return seconds + self._ask(self.desk.unreachable, worker.session, now=self.now)
        self.outcome.bytes += SMALL_BYTES + length
        passed = self.now
        if grant:
            passed = self._through("down", length / setting.bandwidth)
            self.at(passed, self._hold, -length)
        arrival = passed + setting.latency
        if action.peer.channel is Channel.VENTILATOR:
            worker.down = arrival = max(worker.down, arrival)
        self.at(arrival, worker.take, action if isinstance(action, Grant) else action.message)
        return seconds

    def _cipher_done(self, length: int) -> None:
        self._hold(-length)
        self._ciphered += 1
        self._do_next(self._progress)

    def _progress(self) -> float:
        return self._ask(self.desk.progressed, ciphered=self._ciphered, now=self.now)

    def _through(self, what: str, seconds: float) -> float:
        """Pass something through a queue that serves one at a time; return when it is through."""
        self._free[what] = max(self._free[what], self.now) + seconds
        return self._free[what]

    def _hold(self, length: int) -> None:
        self._held += length
        self.outcome.held = max(self.outcome.held, self._held)


def deep_size(root: object) -> int:
    """Return the bytes of an object and of all that it refers to, classes, modules and functions apart."""
    import sys

    apart = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
    seen: set[int] = set()
    rest, total = [root], 0
    while rest:
        each = rest.pop()
        if id(each) in seen or isinstance(each, apart):
            continue
        seen.add(id(each))
        total += sys.getsizeof(each)
        rest.extend(gc.get_referents(each))
    return total
