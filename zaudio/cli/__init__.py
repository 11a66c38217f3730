"""The command line: parses, calls the public API, prints.

Rules: no logic of its own. click is imported when `main` runs; the API, rich and everything that is slow to import,
inside the command that needs it, so that ``zaudio --help`` costs little more than Python itself.
"""

from __future__ import annotations

import os
import signal
import sys

from zaudio.program import begin

TERMINATED = 128 + signal.SIGTERM
LEAVE_IN_ORDER = frozenset({"worker"})  # commands that SIGTERM asks to leave, and that then exit with 0


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    begin()
    # Until the command has handlers of its own: nothing has begun that would have to be cleaned up. What an exception
    # of a handler interrupts here is an import, which may swallow it.
    signal.signal(signal.SIGTERM, end_early)
    try:
        from zaudio.cli.app import app

        app(prog_name="zaudio")
    except KeyboardInterrupt:  # in the instant before the commands have their own handlers
        sys.exit(130)
    except SystemExit as end:
        if end.code == 0:
            _leave()
        raise
    finally:
        _forgive()


def end_early(*_: object) -> None:
    """Handle SIGTERM before the command has begun."""
    os._exit(0 if LEAVE_IN_ORDER.intersection(sys.argv[1:2]) else TERMINATED)


def _forgive() -> None:
    """Give up what standard error did not take: if nobody reads it, Python's last flush would change the exit code."""
    try:
        sys.stderr.flush()
    except (AttributeError, ValueError):  # closed
        pass
    except OSError:
        from zaudio.disk import silence

        silence(sys.stderr)


def _leave() -> None:
    """End without taking the interpreter down, which takes 30 ms once numpy is there: a user waits for the command."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # closed, or nobody reads: Python's own end says so in its own way
        return
    os._exit(0)
