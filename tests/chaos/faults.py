"""Faults by name. Each is done to a process that runs (`kill`, `stop`, `go_on`), or is a prefix of the command line of
one that will (`crash_at_syscall`, `enospc`, `eio`, `delay`), or is a disk (`small_disk`). For the network see proxy.py
and namespaces.py: `partition`, `heal`, `throttle`, `lose`, `flip_bytes`.

Rules: what a machine lacks is a skip with its name. Prefixes use strace, which follows all threads and processes.
"""

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from contextlib import contextmanager

from net_support import kill as send_signal

# Every system call by which a job changes what is on the disk, or takes or gives back the lock on it.
MUTATING = (
    "write,writev,pwrite64,openat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,"
    "fsync,fdatasync,ftruncate,fchmod,chmod,fallocate,link,linkat,flock"
)
WRITES = "write,writev,pwrite64"
FSYNCS = "fsync,fdatasync"


def kill(process):
    """SIGKILL: no last word, no cleaning up."""
    send_signal(process.pid, signal.SIGKILL)


def stop(process):
    """SIGSTOP: it is there, holds everything, and says nothing."""
    send_signal(process.pid, signal.SIGSTOP)


def go_on(process):
    """SIGCONT."""
    send_signal(process.pid, signal.SIGCONT)


def crash_at_syscall(n, calls=MUTATING, *, paths=(), log=os.devnull):
    """Prefix: the process is killed before the n-th of those system calls.

    Args:
        n: From 1. strace counts each call in each thread by itself.
        calls: Names of system calls.
        paths: Count only those that name one of these paths, or that have it open. A name that is relative to an open
            folder is a path of its own.
        log: Where those system calls are listed, for `came`.
    """
    return _inject(f"signal=SIGKILL:when={n}", calls, paths, log)


def enospc(n, calls=WRITES, *, paths=(), log=os.devnull):
    """Prefix: the disk is full at the n-th of those system calls; ``3+`` is from the third on."""
    return _inject(f"error=ENOSPC:when={n}", calls, paths, log)


def eio(n, calls=FSYNCS, *, paths=(), log=os.devnull):
    """Prefix: an I/O error at the n-th of those system calls."""
    return _inject(f"error=EIO:when={n}", calls, paths, log)


def delay(seconds, n=1, calls=FSYNCS, *, paths=(), log=os.devnull):
    """Prefix: the n-th of those system calls takes so long."""
    return _inject(f"delay_enter={seconds}s:when={n}", calls, paths, log)


def count_syscalls(log, calls=MUTATING, *, paths=()):
    """Prefix: the system calls are listed in that file, for `system_calls`."""
    return [*_strace(log, calls, paths), "-y"]


def system_calls(log):
    """What `count_syscalls` has listed: (call, path, how often in one thread) in order; see `crash_at_syscall`."""
    often, order = Counter(), {}
    with open(log) as lines:
        for thread, call, path in filter(None, map(_called, lines)):
            often[thread, call, path] += 1
            order[call, path] = max(order.get((call, path), 0), often[thread, call, path])
    return [(call, path, count) for (call, path), count in order.items()]


def _called(line):
    """The thread, the name and the first path of a system call; None for other lines."""
    found = _BY_NAME.match(line) or _BY_DESCRIPTOR.match(line)
    return found.groups() if found else None


_BY_NAME = re.compile(r'(\d+) +(\w+)\((?:AT_FDCWD[^,]*, |(?<=at\()\d+<[^>]*>, |(?<=at2\()\d+<[^>]*>, )?"([^"]*)"')
_BY_DESCRIPTOR = re.compile(r"(\d+) +(\w+)\(\d+<([^>]*)>")


def came(log):
    """Whether the error that was to be injected came."""
    with open(log) as lines:
        return any("(INJECTED)" in line for line in lines)


def _inject(what, calls, paths, log):
    return [*_strace(log, calls, paths), "-e", f"inject={calls}:{what}"]


def _strace(log, calls, paths):
    need("strace")
    only = [argument for path in paths for argument in ("-P", str(path))]
    return ["strace", "-f", "-qqq", "-o", str(log), "-e", f"trace={calls}", "-e", "signal=none", *only]


@contextmanager
def small_disk(folder, size):
    """A file system of that many bytes on that folder, which is made."""
    need("mount", root=True)
    os.makedirs(folder)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "zaudio-chaos", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def need(*commands, root=False):
    """Skip the test where a command, or root, is missing."""
    for command in commands:
        if shutil.which(command) is None:
            skip(f"there is no {command} command here")
    if root and os.geteuid() != 0:
        skip("this needs root")


def skip(reason):
    """Skip the test."""
    import pytest  # not needed by what soak.py runs

    pytest.skip(reason)
