"""The starter process: imports once, forks the local workers of a coordinator, and reports on them.

Rules: the first line on standard input is a Start order, later lines are Kill orders. Only reports go to standard
output. When the lifeline breaks, the coordinator may have been killed: its folder is removed here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterable, Sequence

from zaudio import needed
from zaudio.endpoints import LOCAL
from zaudio.errors import UsageError
from zaudio.net import orders
from zaudio.net.keys import ClientKeys
from zaudio.net.orders import Over, Start, StarterReport, Unable
from zaudio.net.outbox import Outbox
from zaudio.net.settings import WorkerSettings
from zaudio.net.sockets import raise_descriptor_limit
from zaudio.net.supervisor import Supervisor
from zaudio.ops.beside import find_beside
from zaudio.ops.functions import import_allowed
from zaudio.program import begin


def main(preload: Sequence[str] = ()) -> None:
    """Be the starter process, from its first line to its end; import these modules before that line comes."""
    begin()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load(preload)
    line = _read_line()
    if not line:
        return
    raise_descriptor_limit()
    start = orders.decode(line, (Start,))
    load(start.preload)
    reports = os.dup(1)
    os.dup2(2, 1)  # a module that prints while it is imported must not disturb the reports

    def report(event: StarterReport) -> None:
        with contextlib.suppress(OSError):  # the coordinator is gone; the lifeline says so too
            os.write(reports, orders.encode(event))

    try:
        settings = _settings(start)
    except UsageError as error:
        report(Unable(str(error)))
        report(Over())
        return
    names = [f"{LOCAL}{number + 1}" for number in range(start.count)]
    supervisor = Supervisor(
        settings,
        names,
        report=report,
        lifeline=start.lifeline,
        make_outbox=lambda number: _outbox(start, number),
        commands=0,
    )
    try:
        supervisor.run()
        report(Over())
    finally:
        if supervisor.cut_off:  # a coordinator that was killed could not remove it
            shutil.rmtree(start.folder, ignore_errors=True)
    os._exit(0)  # the coordinator waits, nothing is left to clean up, and an orderly interpreter exit takes 30 ms


def load(modules: Iterable[str]) -> None:
    """Import those of these modules that are installed: the op that needs one says what to install.

    Nothing is imported by a name that was sent: other names than those of `zaudio.needed` are left to the ops.
    """
    if needed.SOSFILT[0] in modules:
        with contextlib.suppress(ImportError):
            import zaudio.ops.sosfilt  # noqa: F401  forked workers have it then


def _read_line() -> bytes:
    """Return the first line of standard input; empty when the coordinator has closed it."""
    line = b""
    while not line.endswith(b"\n"):  # byte by byte: the lines behind it are the supervisor's to read
        byte = os.read(0, 1)
        if not byte:
            return b""
        line += byte
    return line


def _settings(start: Start) -> WorkerSettings:
    find_beside(start.allow)
    # Not `once`: the lifeline ends them. A coordinator that does not answer for a while may only be stopped (Ctrl-Z).
    return WorkerSettings(
        start.endpoint,
        import_allowed(start.allow),
        read=("/",) if start.shelf is not None else (),
        keys=ClientKeys(*start.keys) if start.keys is not None else None,
    )


def _outbox(start: Start, number: int) -> Outbox | None:
    shelf = start.shelf
    if shelf is None:
        return None
    return Outbox(start.memory, number, shelf.slots, shelf.slot_bytes, shelf.tokens[number])
