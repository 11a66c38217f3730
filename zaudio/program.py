"""The program: settings that a process of ours makes before anything else, in place of inherited ones.

`NoCoreDumps` keeps its memory off the disk while a secret is in it, `PrintsAside` what modules print off the results.

Rules: it imports the standard library's first modules only, because the current folder may still be on `sys.path`.
"""

from __future__ import annotations

import os
import signal
import sys
from _thread import allocate_lock  # built in, as `threading` is not
from types import TracebackType

TYPE_CHECKING = False  # that of `typing`, which a file of the current folder could answer
if TYPE_CHECKING:
    from typing import TextIO

STANDARD = (0, 1, 2)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # of the libraries under numpy and models
KEPT_BYTES = 31 << 20  # just below the greatest size by which glibc moves its thresholds
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4  # of Linux's prctl(2)

_keeps_freed_memory = False  # a fork inherits it with the C library's state


def begin() -> None:
    """Make this process independent of its parent's settings. A program calls this first."""
    drop_current_folder()
    open_standard_descriptors()
    # A parent that ignores or blocks it, as some daemons do, would keep us from learning how our children end.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP))


def compute_in_one_thread() -> None:
    """Let libraries that are loaded from now on compute in one thread, unless the user says otherwise.

    There is one worker per core: more threads would only fight over the cores.
    """
    for name in THREADS:
        os.environ.setdefault(name, "1")


def keep_freed_memory() -> None:
    """Let the C library keep the memory of freed buffers and arrays for the next ones, in this process. Idempotent.

    Else it gives their pages back to the system, and the next ones fault for each of them again: up to six sevenths of
    the time of an op, and four fifths of that of reading a sealed result. glibc keeps pieces as large as the largest
    that was freed, and twice as much in all. No page of this one is touched. Elsewhere it does nothing.
    """
    global _keeps_freed_memory
    if not _keeps_freed_memory:  # a second piece would be kept memory, which is written to
        _keeps_freed_memory = True
        bytes(KEPT_BYTES)  # of zeros: the system's pages are zeros, so they are not written to


def open_standard_descriptors() -> None:
    """Open the standard descriptors that are closed on /dev/null: otherwise the next file or socket would be one."""
    for descriptor in STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
    for name, descriptor, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115  open as long as the process is


def drop_current_folder() -> None:
    """Take the current folder from `sys.path`: a recording's folder must not answer an import.

    ``python -m`` puts it first, and so does an empty or relative entry of PYTHONPATH. An absolute entry of PYTHONPATH
    stays, since its user named it; so does an entry behind the standard library, where packages are installed.
    """
    named = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(entry)]
    library = os.path.dirname(os.__file__)
    first = sys.path.index(library) if library in sys.path else len(sys.path)
    kept = [entry for entry in sys.path[:first] if entry in named or not _is_here(entry)]
    sys.path[:first] = kept


def search_path() -> list[str]:
    """Return `sys.path` for another process, without entries that mean the current folder, wherever that is."""
    return [entry for entry in sys.path if isinstance(entry, str) and (os.path.isabs(entry) or not _is_here(entry))]


def _is_here(entry: str) -> bool:
    try:
        return os.path.samefile(entry or os.curdir, os.curdir)
    except OSError:  # there is no such folder, or the current one is gone
        return entry in ("", os.curdir)


class _Overlapping:
    """A context that any threads may be in at a time: the first changes the process, the last restores it.

    Those of `contextlib` would restore a change, if the first of two ended first.
    """

    _lock = allocate_lock()
    _entered = 0  # of each subclass, which sets its own

    def __enter__(self) -> None:
        """Change the process, unless another context has."""
        with self._lock:
            if not type(self)._entered:
                self._change()
            type(self)._entered += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the state before, unless another context goes on."""
        with self._lock:
            type(self)._entered -= 1
            if not type(self)._entered:
                self._restore()

    def _change(self) -> None:
        raise NotImplementedError

    def _restore(self) -> None:
        raise NotImplementedError


class NoCoreDumps(_Overlapping):
    """A context in which the system writes no memory of this process to a disk if it crashes: a secret is in it.

    Swap is out of reach from here.
    """

    _before: tuple[int, int] = (0, -1)  # the soft limit of core files, and whether Linux may dump this process

    def _change(self) -> None:
        NoCoreDumps._before = _forbid_dumps()

    def _restore(self) -> None:
        _restore_dumps(*NoCoreDumps._before)


class PrintsAside(_Overlapping):
    """A context in which this process prints to standard error what it would print to standard output."""

    _before: TextIO | None = None

    def _change(self) -> None:
        PrintsAside._before, sys.stdout = sys.stdout, sys.stderr

    def _restore(self) -> None:
        sys.stdout, PrintsAside._before = PrintsAside._before, None


# Both imports stand inside of functions: a file of the current folder could answer them before `begin`.


def _forbid_dumps() -> tuple[int, int]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    # Linux does not ask that limit where a program takes the dumps, as on most desktops.
    dumpable = _prctl(PR_GET_DUMPABLE, 0)
    if dumpable == 1:
        _prctl(PR_SET_DUMPABLE, 0)
    return soft, dumpable


def _restore_dumps(soft: int, dumpable: int) -> None:
    import resource

    if dumpable == 1:
        _prctl(PR_SET_DUMPABLE, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (soft, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _prctl(option: int, value: int) -> int:
    """Call Linux's prctl(2); return its answer, and -1 on other systems."""
    if sys.platform != "linux":
        return -1
    import ctypes

    return int(ctypes.CDLL(None).prctl(option, value, 0, 0, 0))
