"""Faults by name. Each is done to a process that runs (`kill`, `stop`, `go_on`), or is a prefix of the command line of
one that will (`crash_at_syscall`, `enospc`, `eio`), or is a disk (`small_disk`). For the network see proxy.py and
namespaces.py: `partition`, `heal`, `throttle`, `lose`, `flip_bytes`.

Rules: what a machine lacks is a skip with its name. Prefixes use strace, which follows all threads and processes.
"""

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager

import pytest
from net_support import kill as send_signal

# Every system call by which a job changes what is on the disk. `openat` also reads, so it is told apart by its flags
# nowhere: a kill at a harmless one is a kill too.
MUTATING = (
    "write,writev,pwrite64,openat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,"
    "fsync,fdatasync,ftruncate,fchmod,chmod,fallocate,link,linkat,flock"
)


def kill(process):
    """SIGKILL: no last word, no cleaning up."""
    send_signal(process.pid, signal.SIGKILL)


def stop(process):
    """SIGSTOP: it is there, holds everything, and says nothing."""
    send_signal(process.pid, signal.SIGSTOP)


def go_on(process):
    """SIGCONT."""
    send_signal(process.pid, signal.SIGCONT)


def crash_at_syscall(n, calls=MUTATING, *, path=None):
    """Prefix: the process is killed at the n-th of those system calls (of those to `path`, if it is given)."""
    return _strace(f"inject={calls}:signal=SIGKILL:when={n}", calls, path)


def enospc(n, calls="write,pwrite64,writev", *, path=None):
    """Prefix: the disk is full at the n-th of those system calls (``3+`` from the third on)."""
    return _strace(f"inject={calls}:error=ENOSPC:when={n}", calls, path)


def eio(n, calls="fsync,fdatasync", *, path=None):
    """Prefix: an I/O error at the n-th of those system calls."""
    return _strace(f"inject={calls}:error=EIO:when={n}", calls, path)


def _strace(injection, calls, path):
    need("strace")
    only = [
        argument
        for each in ([path] if isinstance(path, str | os.PathLike) else path or ())
        for argument in ("-P", str(each))
    ]
    # -I4: signals go to the traced command, which ends in its own way. Quiet: what strace says goes to a file.
    return [
        "strace", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", "signal=none", *only, "-e", injection
    ]  # fmt: skip


def count_syscalls(path):
    """Prefix: the system calls go to that file, a line each, in the order that `crash_at_syscall` counts."""
    need("strace")
    return ["strace", "-f", "-qqq", "-o", str(path), "-e", f"trace={MUTATING}", "-e", "signal=none"]


@contextmanager
def small_disk(folder, size):
    """A file system of that many bytes on that folder, which is made."""
    need("mount", root=True)
    os.makedirs(folder)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "zaudio-chaos", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def need(*commands, root=False):
    """Skip the test where a command, or root, is missing."""
    for command in commands:
        if shutil.which(command) is None:
            pytest.skip(f"there is no {command} command here")
    if root and os.geteuid() != 0:
        pytest.skip("this needs root")
