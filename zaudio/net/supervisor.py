"""Supervisor: starts worker processes by fork, watches them, replaces them.

It is the body of the coordinator's starter process and of `zaudio worker -n 4`: it imports once and forks before any
ZeroMQ context exists, so that eight workers cost one start-up.

Rules:

- A worker writes to its own pipe: `ready` when it is, or why it cannot be, and `done` when it leaves in order. The end
  of that pipe is its death, and a death even with exit code 0 when it was not done: an op may end the process.
- A worker that dies is replaced at once. Three that die in a row before they were ready end it all. One that leaves,
  with `once`, because no coordinator answers is not replaced, nor is one that a coordinator elsewhere refused.
- The lifeline is a pipe that nobody writes to: when whoever holds its other end is gone, workers leave by themselves,
  and what is left after a second is killed.
- A worker's standard error is passed on, and its tail is kept to explain a death. What it prints to standard output
  goes there too: the starter's own standard output carries events.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import selectors
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn

from zaudio.core.session import PATIENCE
from zaudio.errors import NoCoordinatorError, RefusedError, UsageError, WorkersDiedError, ZaudioError
from zaudio.net.addresses import check_endpoint
from zaudio.net.keys import ClientKeys, worker_keys
from zaudio.net.outbox import Outbox
from zaudio.net.pool import Died, GaveUp, PoolEvent, Unable, cause_of_death, obituary
from zaudio.net.worker import Shell, Worker
from zaudio.ops.functions import Allowed, import_allowed

FAILED_STARTS = 3  # in a row; one may be bad luck, three are not
PR_SET_PDEATHSIG = 1  # of Linux's prctl(2)
TAIL = 2048  # bytes of standard error that explain a death
MAXRSS_MIB = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss, which counts bytes there and KiB elsewhere
LIFELINE_PATIENCE = 1.0  # s that workers have to leave when the lifeline broke
LEAVE_PATIENCE = 4.0  # s, when they were asked to leave in order: everything ends within 5

log = logging.getLogger("zaudio.worker")


@dataclass(slots=True, eq=False)
class _Child:
    number: int
    name: str
    session: bytes
    pid: int
    life: int  # read end of its own pipe
    stderr: int  # read end of its standard error
    said: bytes = b""
    tail: bytes = b""
    killed: str = ""

    @property
    def ready(self) -> bool:
        return self.said.startswith(b"ready")


class Supervisor:
    """The worker processes of one `zaudio worker` or of one job.

    Args:
        endpoint: Where they connect.
        names: What each is called; as many as there are names.
        allowed: What they may be asked for; imported already.
        once: Whether they end with the first job.
        report: Called with every event.
        lifeline: A descriptor that becomes readable when everything is to end.
        make_outbox: Makes the outbox of the worker with that number, in its own process.
        read: Folders below which they read recordings themselves.
        lifetime: Seconds after which each of them leaves; None for no end.
        idle_timeout: Seconds without a chunk after which each of them leaves; None for no end.
        commands: Where commands come from, a line of JSON each; None for nowhere.
        keys: What they are admitted by, if the coordinator has keys.
    """

    def __init__(
        self,
        endpoint: str,
        names: Iterable[str],
        *,
        allowed: Allowed,
        once: bool,
        report: Callable[[PoolEvent], None],
        lifeline: int,
        make_outbox: Callable[[int], Outbox | None] = lambda _: None,
        read: Sequence[str] = (),
        lifetime: float | None = None,
        idle_timeout: float | None = None,
        commands: int | None = None,
        keys: ClientKeys | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._names = tuple(names)
        self._allowed = allowed
        self._once = once
        self._report = report
        self._lifeline = lifeline
        self._make_outbox = make_outbox
        self._read = tuple(read)
        self._lifetime = lifetime
        self._idle_timeout = idle_timeout
        self._commands = commands
        self._keys = keys
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, _Child] = {}  # pid -> child
        self._failed_starts = 0
        self._over = False  # no death is reported or replaced any more
        self.unanswered = 0  # workers that left since no coordinator answered, which those with `once` do
        self.cut_off = False  # the lifeline broke

    def run(self) -> None:
        """Until every worker has ended in order, the lifeline broke, or it is given up."""
        try:
            self._selector.register(self._lifeline, selectors.EVENT_READ, self._lose_lifeline)
            if self._commands is not None:
                self._selector.register(self._commands, selectors.EVENT_READ, self._command)
            for number, name in enumerate(self._names):
                self._start(number, name)
            while self._children and not self._over:
                self._turn(None)
        finally:
            self._end()
            self._selector.close()

    def _turn(self, timeout: float | None) -> None:
        for key, _ in self._selector.select(timeout):
            if key.fd in self._selector.get_map():  # one before it may have closed it
                key.data()

    # One worker

    def _start(self, number: int, name: str) -> None:
        session = os.urandom(16)
        life, life_write = os.pipe()
        stderr, stderr_write = os.pipe()
        # Until the child has handlers of its own, a signal must not run those of the process it came from.
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        pid = os.fork()
        if pid == 0:
            self._become_worker(number, name, session, life_write, stderr_write)
        child = self._children[pid] = _Child(number, name, session, pid, life, stderr)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)  # now: a signal that raises must not forget this child
        os.close(life_write)
        os.close(stderr_write)
        os.set_blocking(stderr, False)
        self._selector.register(life, selectors.EVENT_READ, lambda: self._hear_life(child))
        self._selector.register(stderr, selectors.EVENT_READ, lambda: self._hear_stderr(child))

    def _become_worker(self, number: int, name: str, session: bytes, life: int, stderr: int) -> NoReturn:
        code = 1
        try:
            _die_with_parent()
            null = os.open(os.devnull, os.O_RDONLY)
            for descriptor, standard in ((null, 0), (stderr, 1), (stderr, 2)):
                os.dup2(descriptor, standard)
            outbox = self._make_outbox(number)
            _close_all_but(3, {life, self._lifeline})
            worker = Worker(
                self._endpoint,
                allow=self._allowed,
                read=self._read,
                name=name,
                once=self._once,
                lifetime=self._lifetime,
                idle_timeout=self._idle_timeout,
                keys=self._keys,
            )
            code = _work(worker, session, outbox, self._lifeline, life)
        except BaseException:  # noqa: BLE001  # nothing may return from a forked child
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _hear_life(self, child: _Child) -> None:
        chunk = os.read(child.life, 4096)
        child.said += chunk
        if child.ready:
            self._failed_starts = 0
        if not chunk:
            self._bury(child)

    def _hear_stderr(self, child: _Child) -> bool:
        """Pass on what it wrote. False when there is no more for now."""
        try:
            chunk = os.read(child.stderr, 65536)
        except BlockingIOError:
            return False
        if not chunk:
            self._selector.unregister(child.stderr)
            return False
        child.tail = (child.tail + chunk)[-TAIL:]
        with contextlib.suppress(OSError):
            os.write(2, chunk)
        return True

    def _bury(self, child: _Child) -> None:
        _, status, used = os.wait4(child.pid, 0)
        while child.stderr in self._selector.get_map() and self._hear_stderr(child):
            pass
        del self._children[child.pid]
        for descriptor in (child.life, child.stderr):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
            os.close(descriptor)
        if not self._over:
            self._judge(child, os.waitstatus_to_exitcode(status), used.ru_maxrss / MAXRSS_MIB)

    def _judge(self, child: _Child, code: int, mib: float) -> None:
        if code == 0 and child.said.endswith(b"done\n"):
            return
        if code == NoCoordinatorError.exit_code and self._once:
            self.unanswered += 1
            return
        tail = child.tail.decode(errors="replace")
        own = self._commands is not None
        if code == RefusedError.exit_code and not (own and child.ready):
            # Another would be as bad: same machine, same line, same key. One of a coordinator's own may do better.
            self._over = not child.ready
            self._report(Unable(child.said.decode(errors="replace").rpartition("ready\n")[2]))
            return
        cause = child.killed or cause_of_death(code)
        self._report(Died(child.session, child.name, obituary(cause, mib, tail), tail))
        if not child.ready:
            self._failed_starts += 1
        if self._failed_starts >= FAILED_STARTS:
            self._over = True
            self._report(GaveUp(obituary(cause, mib, ""), tail))  # the error itself says what it last wrote
        else:
            self._start(child.number, child.name)

    # Orders and ends

    def _command(self) -> None:
        assert self._commands is not None
        lines = os.read(self._commands, 65536).splitlines()
        if not lines:
            self._selector.unregister(self._commands)
        for line in lines:
            order = json.loads(line)
            for child in self._children.values():
                if child.session.hex() == order["kill"]:
                    child.killed = order["reason"]
                    os.kill(child.pid, signal.SIGKILL)

    def _lose_lifeline(self) -> None:
        self._selector.unregister(self._lifeline)
        self._over = self.cut_off = True

    def _end(self) -> None:
        """End what still runs: in order first, and by SIGKILL when that does not help."""
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
            self._turn(left)


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
    """Run that many workers until they end: what `zaudio worker -n` does.

    Raises:
        RefusedError: The coordinator refused them.
        NoCoordinatorError: With `once`, nobody answered any of them.
        WorkersDiedError: They die before they are ready.
        UsageError: `allow` names what cannot be imported, or `keys` no worker's keys.
    """
    client = worker_keys(os.fspath(keys)) if keys is not None else None
    endpoint = check_endpoint(endpoint)
    allowed = import_allowed(allow)
    base = name or f"{os.uname().nodename}-{os.getpid()}"
    ends: list[PoolEvent] = []

    def report(event: PoolEvent) -> None:
        if isinstance(event, Died):
            log.warning("worker %s: %s", event.name, event.cause)
        else:
            ends.append(event)

    lifeline, ours = os.pipe()  # the workers close their copy of `ours`: it is open as long as this process lives
    try:
        names = [f"{base}-{number + 1}" for number in range(processes)]
        supervisor = Supervisor(
            endpoint,
            names,
            allowed=allowed,
            once=once,
            report=report,
            lifeline=lifeline,
            read=read,
            lifetime=lifetime,
            idle_timeout=idle_timeout,
            keys=client,
        )
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
        raise NoCoordinatorError(endpoint, PATIENCE)


def main() -> None:
    """The starter process: reads what to start from standard input, reports events on standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = b""
    while not line.endswith(b"\n"):  # byte by byte: what follows the line are commands
        byte = os.read(0, 1)
        if not byte:
            return
        line += byte
    job = json.loads(line)
    events = os.dup(1)
    os.dup2(2, 1)  # whatever a module prints while it is imported is no event

    def report(event: PoolEvent) -> None:
        fields = {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(event).items()}
        with contextlib.suppress(OSError):  # the coordinator is gone; the lifeline says so too
            os.write(events, json.dumps({"event": type(event).__name__, **fields}).encode() + b"\n")

    try:
        allowed = import_allowed(job["allow"])
    except UsageError as error:
        report(Unable(str(error)))
        return
    names = [f"local-{number + 1}" for number in range(job["count"])]
    outbox = job.get("outbox")
    keys = ClientKeys(*(key.encode() for key in job["keys"])) if "keys" in job else None

    def make_outbox(number: int) -> Outbox | None:
        if outbox is None:
            return None
        token = bytes.fromhex(outbox["tokens"][number])
        return Outbox(job["memory"], number, outbox["slots"], outbox["slot_bytes"], token)

    # Not `once`: the lifeline ends them. A coordinator that answers nobody for a while may only be stopped (Ctrl-Z).
    supervisor = Supervisor(
        job["endpoint"],
        names,
        allowed=allowed,
        once=False,
        report=report,
        lifeline=job["lifeline"],
        make_outbox=make_outbox,
        read=["/"] if outbox is not None else [],
        commands=0,
        keys=keys,
    )
    try:
        supervisor.run()
    finally:
        if supervisor.cut_off:  # a coordinator that was killed could not
            shutil.rmtree(job["folder"], ignore_errors=True)
    os._exit(0)  # nothing is left to clean up, the coordinator waits, and taking an interpreter down costs it 30 ms


def _work(worker: Worker, session: bytes, outbox: Outbox | None, lifeline: int, life: int) -> int:
    """The life of one worker process. Returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor handles it, and tells
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))

    def ready() -> None:
        os.write(life, b"ready\n")

    try:
        with Shell(worker, session, outbox=outbox, lifeline=lifeline, on_ready=ready) as shell:
            shell.run()
    except RefusedError as error:
        os.write(life, str(error).encode())
        return error.exit_code
    except NoCoordinatorError as error:  # the same goes for the others: it is said once, for all of them
        return error.exit_code
    except ZaudioError as error:
        sys.stderr.write(f"zaudio: {error}\n")
        return error.exit_code
    os.write(life, b"done\n")
    return 0


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _close_all_but(first: int, kept: set[int]) -> None:
    """Close what a forked child inherited, from descriptor `first` on."""
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
