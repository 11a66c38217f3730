"""Supervisor: starts worker processes by fork, watches them, replaces them.

It is the body of the coordinator's starter process and of `zaudio worker -n 4`. It imports once and forks before any
ZeroMQ context exists, so that eight workers cost one start-up. `zaudio.net.children` is the other side of the fork.

Rules:

- The kernel tells of a worker's end (see `zaudio.net.brood`). It is a death even with exit code 0 when the worker did
  not say on its own pipe that it was done: an op may end the process.
- Nothing that an op started outlives its worker: the worker's group is killed, and then all that is left of it.
- A worker that dies is replaced at once. Three deaths in a row before a worker was ready end all workers.
- A worker that leaves, with `once`, because no coordinator answers is not replaced. Nor is one that a coordinator
  elsewhere refused. A coordinator's own worker that it refused is replaced, but a third one in its place is not.
- The lifeline is a pipe that is never written to. When the process at its other end is gone, workers leave by
  themselves, and those left after a second are killed.
- A worker's standard error is passed on, and its tail is kept to explain a death. Its standard output goes there too:
  the starter's own standard output carries reports.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from zaudio.core.session import PATIENCE
from zaudio.errors import NoCoordinatorError, RefusedError, WorkersDiedError
from zaudio.machine import check_limits
from zaudio.net import brood, children, orders
from zaudio.net.brood import Brood
from zaudio.net.obituary import cause_of_death, obituary
from zaudio.net.orders import Died, GaveUp, Kill, StarterReport, Unable
from zaudio.net.outbox import Outbox
from zaudio.net.settings import WorkerSettings
from zaudio.net.sockets import raise_descriptor_limit

FAILED_STARTS = 3  # in a row; one may be bad luck, three are not
REFUSALS = 3  # of own workers in one place: all of them would be refused, say for the class of this machine
TAIL = 2048  # bytes of standard error that explain a death
MAXRSS_MIB = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss, which counts bytes there and KiB elsewhere
LIFELINE_PATIENCE = 1.0  # s for workers to leave when the lifeline broke
LOOK = 1.0  # s between two looks for the dead that ops left behind, and for a signal that another thread was given
LOOK_FOR_DEAD = 0.1  # s between two looks at each worker, where the kernel does not tell by itself
LEAVE_PATIENCE = 4.0  # s for workers to leave in order when they are asked to: everything ends within 5

log = logging.getLogger("zaudio.worker")


@dataclass(slots=True, eq=False)
class _Child:
    number: int
    name: str
    session: bytes
    pid: int
    death: int  # becomes readable when it dies; -1 where it has to be looked for
    life: int  # read end of its own pipe
    stderr: int  # read end of its standard error
    said: bytes = b""
    tail: bytes = b""
    killed: str = ""

    @property
    def ready(self) -> bool:
        return self.said.startswith(children.READY)

    @property
    def done(self) -> bool:
        return self.said.endswith(children.DONE)

    @property
    def refusal(self) -> str:
        return self.said.decode(errors="replace").rpartition("ready\n")[2]  # it says ready for every job


class Supervisor:
    """The worker processes of one `zaudio worker` or of one coordinator.

    Args:
        settings: The settings that they share.
        names: The name of each; as many workers as names.
        report: Called with every report.
        lifeline: A descriptor that becomes readable when all workers are to end.
        make_outbox: Makes the outbox of the worker with that number, in its own process.
        commands: A descriptor from which `Kill` orders come, for a coordinator's own workers; None for nowhere.

    Attributes:
        unanswered: The number of workers with `once` that left because no coordinator answered.
        cut_off: Whether the lifeline broke.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        names: Iterable[str],
        *,
        report: Callable[[StarterReport], None],
        lifeline: int,
        make_outbox: Callable[[int], Outbox | None] = lambda _: None,
        commands: int | None = None,
    ) -> None:
        self._settings = settings
        self._names = tuple(names)
        self._report = report
        self._lifeline = lifeline
        self._make_outbox = make_outbox
        self._commands = commands
        self._lines = orders.Lines()  # of the commands
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, _Child] = {}  # pid -> child
        self._brood = Brood()
        self._failed_starts = 0
        self._refusals: Counter[int] = Counter()  # by the worker's number
        self._over = False  # no death is reported or replaced any more
        self.unanswered = 0
        self.cut_off = False

    def run(self) -> None:
        """Run until every worker has ended in order, the lifeline broke, or no worker can be started."""
        with self._brood:
            try:
                self._selector.register(self._lifeline, selectors.EVENT_READ, self._lose_lifeline)
                if self._commands is not None:
                    self._selector.register(self._commands, selectors.EVENT_READ, self._command)
                for number, name in enumerate(self._names):
                    self._start(number, name)
                while self._children and not self._over:
                    self._turn(LOOK)
                    self._brood.reap(self._children)
            finally:
                self._end()
                self._selector.close()

    def _turn(self, timeout: float) -> None:
        unwatched = any(child.death < 0 for child in self._children.values())
        for key, _ in self._selector.select(min(timeout, LOOK_FOR_DEAD) if unwatched else timeout):
            # One before it may have buried its child, and the next child's pipes have the same numbers.
            if self._selector.get_map().get(key.fd) is key:
                key.data()
        for child in [child for child in self._children.values() if child.death < 0 and brood.is_dead(child.pid)]:
            self._bury(child)

    # One worker

    def _start(self, number: int, name: str) -> None:
        session = os.urandom(16)
        life, life_write = os.pipe()
        stderr, stderr_write = os.pipe()
        # Until the child has handlers of its own, a signal must not run its parent's.
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        pid = os.fork()
        if pid == 0:
            children.become_worker(
                self._settings,
                name,
                session,
                lambda: self._make_outbox(number),
                lifeline=self._lifeline,
                life=life_write,
                stderr=stderr_write,
            )
        brood.lead_group(pid)
        child = self._children[pid] = _Child(number, name, session, pid, brood.watch(pid), life, stderr)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)  # now: a signal that raises must not forget this child
        os.close(life_write)
        os.close(stderr_write)
        for descriptor in (life, stderr):
            os.set_blocking(descriptor, False)
        if child.death >= 0:
            self._selector.register(child.death, selectors.EVENT_READ, lambda: self._bury(child))
        self._selector.register(life, selectors.EVENT_READ, lambda: self._hear_life(child))
        self._selector.register(stderr, selectors.EVENT_READ, lambda: self._hear_stderr(child))

    def _hear_life(self, child: _Child) -> bool:
        """Take note of a worker's own reports; return False when there are no more for now."""
        if (piece := self._read(child.life)) is None:
            return False
        child.said += piece
        if child.ready:
            self._failed_starts = 0
        return True

    def _hear_stderr(self, child: _Child) -> bool:
        """Pass its output on; return False when there is no more for now."""
        if (piece := self._read(child.stderr)) is None:
            return False
        child.tail = (child.tail + piece)[-TAIL:]
        with contextlib.suppress(OSError):
            os.write(2, piece)
        return True

    def _read(self, pipe: int) -> bytes | None:
        """Return the bytes in a worker's pipe; None when it is empty. A pipe at its end is no longer polled."""
        if pipe not in self._selector.get_map():
            return None
        try:
            piece = os.read(pipe, 65536)
        except BlockingIOError:
            return None
        if not piece:
            self._selector.unregister(pipe)
        return piece or None

    def _bury(self, child: _Child) -> None:
        # A signal that raises must not leave a child here whose process id may be another's.
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        brood.end_group(child.pid)
        _, status, used = os.wait4(child.pid, 0)
        for hear in (self._hear_life, self._hear_stderr):
            while hear(child):
                pass
        del self._children[child.pid]
        for descriptor in (child.life, child.stderr, child.death):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
            if descriptor >= 0:
                os.close(descriptor)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        self._brood.end(self._children)
        if not self._over:
            self._judge(child, os.waitstatus_to_exitcode(status), used.ru_maxrss / MAXRSS_MIB)

    def _judge(self, child: _Child, code: int, mib: float) -> None:
        if code == 0 and child.done:
            return
        if code == NoCoordinatorError.exit_code and self._settings.once:
            self.unanswered += 1
            return
        tail = child.tail.decode(errors="replace")
        own = self._commands is not None
        if code == RefusedError.exit_code and not (own and child.ready):
            # Another worker would be refused too: same machine, same link, same key. A coordinator's own worker that
            # was ready before is replaced all the same.
            self._over = not child.ready
            self._report(Unable(child.refusal))
            return
        cause = child.killed or cause_of_death(code)
        self._report(Died(child.session, child.name, obituary(cause, mib, tail), tail))
        if code == RefusedError.exit_code:
            self._refusals[child.number] += 1
        if not child.ready:
            self._failed_starts += 1
        if self._failed_starts >= FAILED_STARTS:
            self._over = True
            self._report(GaveUp(obituary(cause, mib, ""), tail))  # the error itself has the last line that it wrote
        elif self._refusals[child.number] < REFUSALS:
            self._start(child.number, child.name)

    # Commands and ends

    def _command(self) -> None:
        assert self._commands is not None
        piece = os.read(self._commands, 65536)
        if not piece:
            self._selector.unregister(self._commands)
        for line in self._lines.feed(piece):
            command = orders.decode(line, (Kill,))
            for child in self._children.values():
                if child.session == command.session:
                    child.killed = command.reason
                    os.kill(child.pid, signal.SIGKILL)

    def _lose_lifeline(self) -> None:
        self._selector.unregister(self._lifeline)
        self._over = self.cut_off = True

    def _end(self) -> None:
        """End the workers that still run: first in order, then by SIGKILL."""
        self._over = True
        if not self.cut_off:
            self._signal(signal.SIGTERM)
        self._await(LIFELINE_PATIENCE if self.cut_off else LEAVE_PATIENCE)
        self._signal(signal.SIGKILL)
        self._await(LEAVE_PATIENCE)

    def _signal(self, number: int) -> None:
        for child in self._children.values():
            os.kill(child.pid, number)

    def _await(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while self._children and (left := deadline - time.monotonic()) > 0:
            self._turn(min(left, LOOK))


def supervise(
    endpoint: str,
    processes: int,
    *,
    allow: Sequence[str] = (),
    read: Sequence[str] = (),
    name: str | None = None,
    once: bool = False,
    keys: str | os.PathLike[str] | None = None,
    lifetime: float | None = None,
    idle_timeout: float | None = None,
) -> None:
    """Run that many workers until they end, as `zaudio worker -n` does.

    Raises:
        EndpointError: The endpoint is malformed.
        RefusedError: The coordinator refused them.
        NoCoordinatorError: With `once`, no coordinator answered any of them.
        WorkersDiedError: They die before they are ready.
        UsageError: `allow` names a module that cannot be imported, `keys` no worker's keys, or another setting cannot
            be used.
    """
    settings = WorkerSettings.checked(
        endpoint, allow=allow, read=read, once=once, lifetime=lifetime, idle_timeout=idle_timeout, keys=keys
    )
    check_limits(processes, coordinates=False)
    raise_descriptor_limit()
    base = name or f"{os.uname().nodename}-{os.getpid()}"
    ends: list[StarterReport] = []

    def report(event: StarterReport) -> None:
        if isinstance(event, Died):
            log.warning("worker %s: %s", event.name, event.cause)
        else:
            ends.append(event)

    lifeline, ours = os.pipe()  # the workers close their copy of `ours`: it is open as long as this process lives
    try:
        names = [f"{base}-{number + 1}" for number in range(processes)]
        supervisor = Supervisor(settings, names, report=report, lifeline=lifeline)
        supervisor.run()
    finally:
        os.close(ours)
        os.close(lifeline)
    match ends[-1] if ends else None:
        case Unable(reason):
            raise RefusedError(reason)
        case GaveUp(cause, stderr):
            raise WorkersDiedError(cause, stderr)
    if supervisor.unanswered == processes:
        raise NoCoordinatorError(settings.endpoint, PATIENCE)
