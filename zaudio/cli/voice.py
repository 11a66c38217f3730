"""Voice: the commands print results on standard output, and everything else on standard error.

Rules: text from a peer or a file name is made printable first: a line is one line, and no byte of it moves the
cursor. Standard error may be gone (a closed pipe, a lost terminal): that silences a command, and never ends a job.
Results are printed when the work is done, so a reader of standard output that has left is no failure either.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from zaudio import disk
from zaudio.errors import StorageError

if TYPE_CHECKING:
    import logging

VERBOSE = "zaudio.verbose"  # keys of click's context.meta, which all contexts of a command line share
QUIET = "zaudio.quiet"


def out(text: str) -> None:
    """Print one or more lines of a result. Their reader may leave early.

    Raises:
        StorageError: The lines cannot be written; the disk is full, perhaps.
    """
    encoding = sys.stdout.encoding or "utf-8"
    # A file name may hold bytes that are no text, which print() would refuse.
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        print(text, flush=True)
    except BrokenPipeError:
        disk.silence(sys.stdout)
    except OSError as error:
        disk.silence(sys.stdout)
        raise StorageError("standard output", disk.reason(error)) from error


def err(text: str) -> None:
    """Print to standard error, if it is still there."""
    try:
        # One write: the lines of processes that share standard error must not run into one another.
        print(f"{text}\n", end="", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # a closed pipe, a lost terminal, a closed file: a job outlives them
        pass


def command() -> str:
    """Return the command by which this program runs again from here: ``zaudio`` if the shell finds it."""
    if shutil.which("zaudio"):
        return "zaudio"
    beside = os.path.join(os.path.dirname(sys.executable), "zaudio")
    if not os.access(beside, os.X_OK):
        return f"{shlex.quote(sys.executable)} -m zaudio"
    try:
        near = os.path.relpath(beside)
    except OSError:  # the current folder is gone
        near = beside
    return shlex.quote(beside if near.startswith(os.pardir) else near)


def warn(sentence: str) -> None:
    """Print a warning, unless the user asked for quiet."""
    if not is_quiet():
        err(f"zaudio: warning: {printable(sentence)}")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 chunk``, ``2 chunks``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def printable(text: str) -> str:
    r"""Return the text on one line, with an escape for every character that is not printable.

    >>> printable("two\nlines")
    'two\\nlines'
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def is_quiet() -> bool:
    """Return whether -q is on the command line."""
    return bool(click.get_current_context().meta.get(QUIET))


def is_verbose() -> bool:
    """Return whether -v is on the command line."""
    return bool(click.get_current_context().meta.get(VERBOSE))


@contextmanager
def logs() -> Iterator[None]:
    """Send the log of ``zaudio.*`` to standard error: warnings and errors, unless `log_level` changes that."""
    import logging

    logger = logging.getLogger("zaudio")
    level, propagate = logger.level, logger.propagate
    handler = _handler()
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False  # the root logger's fallback would print everything twice
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def log_level(name: str) -> None:
    """Set the lowest level that is logged: ``DEBUG``, ``INFO`` or ``ERROR``."""
    import logging

    logging.getLogger("zaudio").setLevel(name)


def follow(name: str) -> None:
    """Log all but the traffic of that logger until the command's end, also without -v; not with -q."""
    import logging

    if is_quiet() or is_verbose():
        return
    logger = logging.getLogger(name)
    logger.setLevel(logging.INFO)
    click.get_current_context().call_on_close(lambda: logger.setLevel(logging.NOTSET))


def _handler() -> logging.Handler:
    import logging

    class Lines(logging.Formatter):
        """Formats terse lines by default; with -v, lines with time, logger and traceback."""

        def format(self, record: logging.LogRecord) -> str:
            if logging.getLogger("zaudio").level <= logging.INFO:
                return super().format(record)
            level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
            return f"zaudio: {level}{printable(record.getMessage())}"

        def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
            return printable(super().formatMessage(record))

    class Stderr(logging.Handler):
        """Writes to standard error as it is at each line: a progress bar replaces it while it is drawn."""

        def emit(self, record: logging.LogRecord) -> None:
            try:
                err(self.format(record))
            except Exception:  # noqa: BLE001  logging's contract: a bad log call is reported and never raised
                self.handleError(record)

    handler = Stderr()
    handler.setFormatter(Lines("%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S"))
    return handler
