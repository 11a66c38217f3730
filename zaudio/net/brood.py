"""Brood: the deaths of child processes, as the kernel tells them, and the processes that the dead leave behind.

Rules:

- A death is the kernel's to tell. A pipe that a child inherits proves nothing: its own children hold it open.
- A worker leads a process group. The group is signalled before its leader is reaped, while its number is certain.
- This process is a child subreaper (Linux): what a worker started and left behind becomes its child, also out of
  another session. All of these are ended, again and again, until no process is left.
- A process that is killed by SIGKILL cannot do any of this.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Collection
from types import TracebackType
from typing import Self

PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37  # of Linux's prctl(2)
END_PATIENCE = 2.0  # s for killed processes to be gone; longer in the kernel only with a broken disk
END_LOOK = 0.002  # s between two looks at them


def watch(pid: int) -> int:
    """Return a descriptor that becomes readable when that child dies; -1 where the system has none (see `is_dead`)."""
    try:
        return os.pidfd_open(pid) if sys.platform == "linux" else -1
    except OSError:  # an old kernel, or a sandbox
        return -1


def is_dead(pid: int) -> bool:
    """Return whether that child has died. It is not reaped."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def lead_group(pid: int = 0) -> None:
    """Give that child, or this process, a process group of its own. Both sides do, since either may be first."""
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)


def end_group(pid: int) -> None:
    """Kill the process group of a child that is not reaped yet."""
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


class Brood:
    """The children of this process that others have left to it. When it is left, they are all ended."""

    def __init__(self) -> None:
        self._before: frozenset[int] = frozenset()  # children that were there at the start; they are not touched
        self._was_reaper = False

    def __enter__(self) -> Self:
        self._before = frozenset(_children())
        self._was_reaper = _be_subreaper(True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end(())
        _be_subreaper(self._was_reaper)

    def end(self, own: Collection[int]) -> None:
        """Kill and reap all children but `own` ones, and those that these leave behind."""
        deadline = time.monotonic() + END_PATIENCE
        while (left := self._left(own)) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(END_LOOK)
            self.reap(own)

    def reap(self, own: Collection[int]) -> None:
        """Reap the dead among the children that are not `own`."""
        for pid in self._left(own):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def _left(self, own: Collection[int]) -> list[int]:
        return [pid for pid in _children() if pid not in own and pid not in self._before]


def _children() -> list[int]:
    """Return the children of this process; none where the system has no /proc."""
    try:
        # One list for each thread, as the kernel keeps them.
        lists = [_read(f"/proc/self/task/{task}/children") for task in os.listdir("/proc/self/task")]
        return [int(pid) for pids in lists for pid in pids.split()]
    except OSError:
        return _children_by_parent()


def _children_by_parent() -> list[int]:
    """Return the same on kernels that keep no such list."""
    found, own = [], os.getpid()
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        with contextlib.suppress(OSError):
            if name.isdigit() and int(_read(f"/proc/{name}/stat").rpartition(")")[2].split()[1]) == own:
                found.append(int(name))
    return found


def _read(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()


def _be_subreaper(on: bool) -> bool:
    """Let orphans become children of this process, or not; return the earlier setting."""
    if sys.platform != "linux":
        return False
    import ctypes  # here: a coordinator has no use for it, and it is slow to import

    was = ctypes.c_int(0)
    libc = ctypes.CDLL(None)
    libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(was), 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)
    return bool(was.value)
