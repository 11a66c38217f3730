"""Starter: the process that starts local workers, as the coordinator holds it.

Rules:

- It is a process of our own: never the coordinator, and never `multiprocessing`, which would import the user's script
  again.
- It is launched before it is told what to do, so that its imports and the coordinator's run side by side. Hence this
  module imports next to nothing.
- The current folder is not on its path: of what lies there, it imports the modules that a job names, and no other.
- The coordinator holds the only write end of a pipe, the lifeline. However the coordinator ends, the pipe closes, and
  starter and workers end within a second.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import IO, Self

from zaudio.net import brood
from zaudio.program import STANDARD, THREADS, search_path

CLOSE_PATIENCE = 2.0  # s for it to end its workers, which get 1 s, before it is killed itself

# It finds zaudio where we found it, also when that is a folder that its path must not have.
_PROGRAM = """
import sys
home, needed, *sys.path = sys.argv[1:]
from importlib.machinery import PathFinder
class Home:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [home]) if name == "zaudio" else None
sys.meta_path.insert(0, Home)
from zaudio.net.starting import main
main(needed.split())
"""
_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Starter:
    """A starter process, and an anonymous piece of memory that it shares with us.

    Args:
        memory: The memory of a starter before this one, which keeps owning it; None to make a piece.
        preload: Modules that it imports before it is told what to do; see `zaudio.needed`.

    Attributes:
        memory: The descriptor of that memory, empty at first; -1 where this system has no such memory.
        fd: The descriptor that becomes readable when the process reports something, or ends. The kernel tells of its
            end where it can: a process that a user's module started may hold the pipe of its reports.
        lifeline: The number that the descriptor of the lifeline's read end has in the starter.
    """

    def __init__(self, *, memory: int | None = None, preload: Sequence[str] = ()) -> None:
        self._owns_memory = memory is None
        self.memory = _create_memory() if memory is None else memory
        self.lifeline, self._lifeline = map(_above_standard, os.pipe())
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, _HOME, " ".join(preload), *search_path()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[self.lifeline, self.memory] if self.memory >= 0 else [self.lifeline],
                env=_environment(),
                process_group=0,  # Ctrl-C in a terminal is the coordinator's to handle
            )
        finally:
            os.close(self.lifeline)
        reports = _pipe(self._process.stdout).fileno()
        os.set_blocking(reports, False)
        self.fd = reports
        self._death = brood.watch(self._process.pid)
        self._either = None
        if self._death >= 0:
            self._either = select.epoll()
            self._either.register(reports, select.EPOLLIN)
            self._either.register(self._death, select.EPOLLIN)
            self.fd = self._either.fileno()

    def tell(self, line: bytes) -> None:
        """Pass an encoded order to the process; if the process has ended, do nothing: `read` says so."""
        with contextlib.suppress(OSError):
            _pipe(self._process.stdin).write(line)
            _pipe(self._process.stdin).flush()

    def read(self) -> bytes | None:
        """Return output since the last call: None if nothing came yet, `b""` at the end."""
        ended = self._death >= 0 and brood.is_dead(self._process.pid)  # before what it said last
        said: bytes | None = _pipe(self._process.stdout).read()
        return b"" if said is None and ended else said

    def wait(self) -> int:
        """Wait for its end; return its exit code, or a signal as a negative number."""
        return self._process.wait()

    def cut(self) -> None:
        """Close the lifeline: starter and workers end soon. Idempotent."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def close(self) -> None:
        """End it and its workers, within about a second. Idempotent."""
        self.cut()
        if self._owns_memory and self.memory >= 0:
            os.close(self.memory)
            self.memory = -1
        with contextlib.suppress(OSError):
            _pipe(self._process.stdin).close()
        if self._death >= 0:
            # `wait` with a timeout sleeps between its looks, half as long again as the end takes, and a user waits.
            poll = select.poll()
            poll.register(self._death, select.POLLIN)
            poll.poll(CLOSE_PATIENCE * 1000)
        try:
            self._process.wait(timeout=0 if self._death >= 0 else CLOSE_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._either is not None:
            self._either.close()
            self._either = None
        if self._death >= 0:
            os.close(self._death)
            self._death = -1
        _pipe(self._process.stdout).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _create_memory() -> int:
    create: Callable[[str], int] | None = getattr(os, "memfd_create", None)
    try:
        return _above_standard(create("zaudio-outbox")) if create is not None else -1
    except OSError:
        return -1


def _above_standard(descriptor: int) -> int:
    """Return the descriptor under a number that is no standard one: in our child, those are others."""
    if descriptor > max(STANDARD):
        return descriptor
    other = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, max(STANDARD) + 1)
    os.close(descriptor)
    return other


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "the starter was given pipes"
    return stream


def _environment() -> dict[str, str]:
    threads = dict.fromkeys(THREADS, "1")  # see `compute_in_one_thread`
    # Let glibc keep freed memory: otherwise a fresh array for each chunk would fault in each of its pages again.
    memory = {"MALLOC_MMAP_THRESHOLD_": str(64 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
    return threads | memory | dict(os.environ)
