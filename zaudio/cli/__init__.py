"""The command line: parses, calls the public API, prints.

Rules: no logic of its own. click is imported when `main` runs; the API, rich and everything that is slow to import,
inside the command that needs it, so that ``zaudio --help`` costs little more than Python itself.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    try:
        from zaudio.cli.app import app

        app(prog_name="zaudio")
    except KeyboardInterrupt:  # in the instant before the commands have their own handlers
        sys.exit(130)
