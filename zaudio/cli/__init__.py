"""The command line: parses, calls the public API, prints.

Rules: no logic of its own. click is imported when `main` runs; the API, rich and everything that is slow to import,
inside the command that needs it, so that ``zaudio --help`` costs little more than Python itself.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    try:
        from zaudio.cli.app import app

        app(prog_name="zaudio")
    except KeyboardInterrupt:  # in the instant before the commands have their own handlers
        sys.exit(130)
    except SystemExit as end:
        if end.code == 0:
            _leave()
        raise


def _leave() -> None:
    """End without taking the interpreter down, which takes 30 ms once numpy is there: a user waits for the command."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # closed, or nobody reads: Python's own end says so in its own way
        return
    os._exit(0)
