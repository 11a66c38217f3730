"""Remote: the far end of a launcher: `python -P -m zaudio.launching.remote` runs workers, as its standard input says.

Each message is a line of JSON; `talk.py` is the near end:

    far:  {"zaudio": "0.1.0", "python": "3.11.7", "host": "attic"}
    near: {"worker": 1, "orders": {"name": "attic/1", "endpoint": ..., "server": ..., "allow": [...], ...}}
    far:  {"worker": 1, "public": "<40 characters of Z85>"}        empty when there are no keys
    near: {"worker": 1, "go": true}                                its key is admitted
    far:  {"worker": 1, "ended": "", "hopeless": false}            in order; else one sentence
    far:  {"worker": 1, "ended": "a worker ...", "died": true}     its process died

Rules:

- A worker makes its key pair in its own process, and says the public half only.
- Standard input is the lifeline: at its end all workers go, at the latest 2 s later.
- A near end that lost its power closes nothing. Its workers go by their own time-out, and the far end a minute later.
- Standard output has these lines alone: what ops print goes to standard error.
- Workers are forked, so that numpy is imported once a machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import select
import selectors
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from zaudio.errors import RefusedError, UsageError, ZaudioError
from zaudio.launching.launcher import Orders
from zaudio.net import brood, children
from zaudio.net.brood import Brood
from zaudio.net.keys import guest_keys
from zaudio.net.obituary import cause_of_death
from zaudio.net.orders import Lines
from zaudio.net.settings import WorkerSettings
from zaudio.net.worker import Shell
from zaudio.ops.beside import find_beside
from zaudio.program import begin, compute_in_one_thread
from zaudio.version import VERSION

LIFELINE_PATIENCE = 2.0  # s for workers to leave when the near end is gone; as a coordinator's own workers have
LEAVE_PATIENCE = 5.0  # s after SIGTERM: a batch system asks so, and kills later
IDLE = 60.0  # s without a worker: nobody may be there any more, and the next worker gets another far end
LOOK = 0.2  # s between two looks at what the system does not tell: the dead, a signal
GO = b"go\n"


def main() -> None:
    """Be the far end, from its first line to its end."""
    begin()
    compute_in_one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the near end's to judge
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # so is a terminal that closes: the lifeline tells
    speech = os.dup(1)
    os.dup2(2, 1)
    with Brood() as orphans:
        Remote(0, speech, orphans).run()


@dataclass(slots=True)
class _Child:
    """A worker's process, and the two pipes to it."""

    number: int
    up: int
    down: int
    lines: Lines
    said_end: bool = False


class Remote:
    """The workers of one far end.

    Args:
        hearing: Descriptor of the near end's lines, and the lifeline.
        speech: Descriptor of the lines to it.
        orphans: Ends what ops leave behind.
    """

    def __init__(self, hearing: int, speech: int, orphans: Brood) -> None:
        self._hearing = hearing
        self._speech = speech
        self._orphans = orphans
        self._lines = Lines()
        self._children: dict[int, _Child] = {}  # pid -> child
        self._selector = selectors.DefaultSelector()
        self._asked = False  # SIGTERM came
        self._busy = time.monotonic()  # when a worker was last there

    def run(self) -> None:
        """Run workers until the near end is gone, SIGTERM came, or there was no worker for a while."""
        signal.signal(signal.SIGTERM, self._ask)
        self._say({"zaudio": VERSION, "python": platform.python_version(), "host": socket.gethostname()})
        self._selector.register(self._hearing, selectors.EVENT_READ)
        while self._hearing in self._selector.get_map() and not self._asked and not self._is_idle():
            self._turn(LOOK)
        self._end()

    def _is_idle(self) -> bool:
        if self._children:
            self._busy = time.monotonic()
        return time.monotonic() > self._busy + IDLE

    def _turn(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.fd == self._hearing:
                self._hear()
            elif isinstance(key.data, _Child):
                self._hear_child(key.data)
        for pid in [pid for pid in self._children if brood.is_dead(pid)]:
            self._bury(pid)

    def _hear(self) -> None:
        piece = os.read(self._hearing, 65536)
        if not piece:
            self._selector.unregister(self._hearing)
        for line in self._lines.feed(piece):
            message = json.loads(line)
            if "orders" in message:
                self._start(message["worker"], message["orders"])
            elif "go" in message:
                for child in self._children.values():
                    if child.number == message["worker"]:
                        with contextlib.suppress(OSError):  # it has died; `_turn` says so
                            os.write(child.down, GO)

    def _start(self, number: int, said: dict[str, Any]) -> None:
        up, up_write = os.pipe()
        down_read, down = os.pipe()
        # Until the child has a handler of its own, the signal must not run its parent's, which would end nothing there.
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
        pid = os.fork()
        if pid == 0:
            _become_worker(said, up=up_write, down=down_read)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        brood.lead_group(pid)
        os.close(up_write)
        os.close(down_read)
        os.set_blocking(up, False)
        self._children[pid] = child = _Child(number, up, down, Lines())
        self._selector.register(up, selectors.EVENT_READ, child)

    def _hear_child(self, child: _Child) -> None:
        try:
            piece = os.read(child.up, 65536)
        except BlockingIOError:
            return
        if not piece and child.up in self._selector.get_map():
            self._selector.unregister(child.up)
        for line in child.lines.feed(piece):
            message = json.loads(line)
            child.said_end |= "ended" in message
            self._say({"worker": child.number, **message})

    def _bury(self, pid: int) -> None:
        brood.end_group(pid)
        _, status = os.waitpid(pid, 0)
        child = self._children.pop(pid)
        self._hear_child(child)
        if not child.said_end:
            self._say({"worker": child.number, "ended": f"a worker {_cause(status)}", "died": True})
        if child.up in self._selector.get_map():
            self._selector.unregister(child.up)
        os.close(child.up)
        os.close(child.down)
        self._orphans.end(self._children)

    def _say(self, message: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # the near end is gone; the lifeline says so too
            os.write(self._speech, json.dumps(message).encode() + b"\n")

    def _ask(self, *_: object) -> None:
        self._asked = True

    def _end(self) -> None:
        """End the workers that still run: in order, then by SIGKILL."""
        patience = LEAVE_PATIENCE if self._asked else LIFELINE_PATIENCE
        if self._hearing in self._selector.get_map():
            self._selector.unregister(self._hearing)  # a worker that began now would not be asked to leave
        for pid, child in self._children.items():
            if self._asked:
                os.kill(pid, signal.SIGTERM)
            else:
                os.close(child.down)
                child.down = os.open(os.devnull, os.O_WRONLY)  # a number that `_bury` may close
        deadline = time.monotonic() + patience
        while self._children and time.monotonic() < deadline:
            self._turn(min(LOOK, patience))
        for pid in list(self._children):
            brood.end_group(pid)
            self._bury(pid)


def _become_worker(said: dict[str, Any], *, up: int, down: int) -> NoReturn:
    """Turn this forked child into a worker; end it when the worker ends."""
    try:
        brood.lead_group()
        children.die_with_parent()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        children.disown_forks(up, down)
        children.close_all_but(3, {up, down})
        ended, hopeless = _work(said, up, down)
        os.write(up, json.dumps({"ended": ended, "hopeless": hopeless}).encode() + b"\n")
    except BaseException:  # noqa: BLE001  nothing may return from a forked child
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _work(said: dict[str, Any], up: int, down: int) -> tuple[str, bool]:
    """Live the life of one worker; return why it ended, empty for in order, and whether another would end likewise."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # until there is something to hand back
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    name = str(said.pop("name"))
    orders = orders_of(said)
    sys.path += orders.path
    try:
        find_beside(orders.allow)
        settings = WorkerSettings.checked(
            orders.endpoint, allow=orders.allow, read=orders.read, once=True, lifetime=orders.lifetime
        )
        public = ""
        if orders.server is not None:
            keys = guest_keys(orders.server)
            settings, public = replace(settings, keys=keys), keys.public.decode()
        os.write(up, json.dumps({"public": public}).encode() + b"\n")
        while not select.select([down], [], [], LOOK)[0]:
            pass  # SIGTERM may have come right before the wait: only a wait that ends now and then hears of it
        if not os.read(down, len(GO)):
            return "", False
        with Shell(settings, name, os.urandom(16), lifeline=down) as shell:
            signal.signal(signal.SIGTERM, lambda *_: shell.stop())
            shell.run()
    except ZaudioError as error:
        return str(error), isinstance(error, UsageError | RefusedError)
    return "", False


def orders_of(said: dict[str, Any]) -> Orders:
    """Return the orders that a message holds."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
    return Orders(**fields)


def _cause(status: int) -> str:
    return cause_of_death(os.waitstatus_to_exitcode(status)).removeprefix("it ")


if __name__ == "__main__":
    main()
