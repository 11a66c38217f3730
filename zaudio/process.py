"""The process: what a program of ours sets for itself before anything else, in place of what it inherited.

Rules: it imports the standard library's first modules only, because the current folder may still be on `sys.path`.
"""

from __future__ import annotations

import os
import signal
import sys

STANDARD = (0, 1, 2)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # of the libraries under numpy and models


def begin() -> None:
    """Make this process independent of what started it. The first that a program does."""
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
