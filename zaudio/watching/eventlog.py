"""EventLog: the events of jobs as JSON Lines, in a file that is only ever appended to, or on standard output.

Rules:

- It reads a bounded subscription in a thread of its own, ten times a second. The farm never waits for it. When it is
  too slow, one line has the number of the events that it missed.
- Whole lines are written at once, behind all others: the lives of a job, and several jobs, may share a file. A line
  that an earlier process did not finish is ended first.
- A file that cannot be written to ends the log, with one warning, and never the job. The file is opened when the first
  event comes: a job that is refused leaves no trace.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from zaudio import disk
from zaudio.errors import UsageError
from zaudio.events import Event, Started
from zaudio.watching.lines import line, privacy
from zaudio.watching.stream import Subscription
from zaudio.watching.thinning import Thinner

SIZE = 8192  # events that wait, in a few MiB: a second of the fastest farm
REST = 0.1  # seconds between two looks: a batch costs little more than a single event, and nobody reads faster
STDOUT = "-"

log = logging.getLogger("zaudio.coordinator")


class Followed(Protocol):
    """A job that was not started yet."""

    @property
    def named(self) -> tuple[str, ...]:
        """The paths that the user named."""

    def follow(self, function: Callable[[Subscription], object], size: int) -> None:
        """Call a function with a subscription to the events, in a thread of its own."""


def write_events(job: Followed, to: str | os.PathLike[str]) -> None:
    """Write the events of a job to a log, from its start to its end. Call it before the job starts.

    Args:
        job: A job that was not started: a `Coordinator`, `Rendering`, `Batch`, `Survey` or `Processing`.
        to: The file, to which lines are appended, or ``-`` for standard output.

    Raises:
        UsageError: It is a folder, a special file, or a file that is no log of events.

    Example:
        >>> job = Coordinator("take.raw", "out")  # doctest: +SKIP
        >>> write_events(job, "events.jsonl")  # doctest: +SKIP
        >>> report = job.run()  # doctest: +SKIP
    """
    path = os.fspath(to)
    check(path)
    job.follow(EventLog(path, named=job.named).write, SIZE)


def check(path: str) -> None:
    """Make sure that a file, if it is there, is one that lines of a log may be appended to.

    Raises:
        UsageError: It is not.
    """
    if path == STDOUT or not os.path.lexists(path):
        return
    if os.path.exists(path) and not os.path.isfile(path):
        raise UsageError(f"{path} is not a regular file, so no log of events is written there; - is standard output")
    try:
        with open(path, "rb") as file:
            if file.read(1) not in (b"", b"{"):
                raise UsageError(f"{path} holds something else than a log of events; name another file")
    except OSError as error:
        raise UsageError(f"{path} cannot be read, to go on behind its last line: {disk.reason(error)}") from error


class EventLog:
    """A log of events.

    Args:
        path: The file, or ``-`` for standard output.
        named: The paths that the user named; others are shortened in the lines.
    """

    def __init__(self, path: str, *, named: Iterable[str] = ()) -> None:
        self._path = path
        self._private = privacy(named)
        self._thinner = Thinner()
        self._incarnation = 1
        self._fd = -1

    def write(self, subscription: Subscription) -> None:
        """Write the events of a subscription, until there are no more or the file takes no more."""
        try:
            while events := subscription.take():
                self._write([kept for event in events for kept in self._thinner.take(event)])
                subscription.rest(REST)
            self._write(self._thinner.end())
        except BrokenPipeError:
            pass  # its reader has left, as `head` does
        except OSError as error:
            name = "standard output" if self._path == STDOUT else self._path
            log.warning("the log of events ends here, the job goes on: %s: %s", name, disk.reason(error))
        finally:
            self._close()

    def _write(self, events: Iterable[Event]) -> None:
        # The wall clock may be set while a job runs.
        offset = time.time() - time.monotonic()
        lines = []
        for event in events:
            if isinstance(event, Started):
                self._incarnation = event.incarnation
            lines.append(line(event, offset=offset, incarnation=self._incarnation, private=self._private))
        if lines:
            self._append(("\n".join(lines) + "\n").encode())

    def _append(self, content: bytes) -> None:
        if self._path == STDOUT:
            # Not through Python's buffer: what a reader that has left did not take would fail again at the exit.
            disk.write_all(sys.stdout.fileno(), content)
            return
        if self._fd < 0:
            self._fd = _open(self._path)
            size = os.fstat(self._fd).st_size
            if size and os.pread(self._fd, 1, size - 1) != b"\n":
                content = b"\n" + content  # an earlier process was killed in the middle of a line
        disk.write_all(self._fd, content)

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(OSError):
                os.close(fd)


def _open(path: str) -> int:
    os.makedirs(os.path.dirname(path) or os.curdir, exist_ok=True)
    # It may have become a pipe since it was checked: opening that must not wait.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    fd = os.open(path, flags, disk.PUBLIC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "not a regular file")
    return fd
