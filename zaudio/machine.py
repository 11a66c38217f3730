"""The machine: the number of its cores, and whether the limits of this process are high enough for what it is to do."""

from __future__ import annotations

import os
import resource

from zaudio.errors import UsageError

DESCRIPTORS_BASE = 40  # of a coordinator or a worker by itself; measured: 28 do not suffice for one local worker
DESCRIPTORS_WORKER = 3  # connections at a coordinator, or pipes at a supervisor
ADDRESS_SPACE_BASE = 320 << 20  # bytes; measured with eight workers, besides what --memory allows


def usable_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_limits(workers: int, *, memory: int = 0) -> None:
    """Check that this process may open as many files, and have as much memory, as so many workers take.

    ZeroMQ ends the process when it meets one of these limits, so they are looked at before.

    Args:
        workers: The workers that this process is to have.
        memory: Bytes that it may hold besides.

    Raises:
        UsageError: A limit is too low.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # the soft one is raised
    needed = DESCRIPTORS_BASE + DESCRIPTORS_WORKER * workers
    if most != resource.RLIM_INFINITY and most < needed:
        fewer = (most - DESCRIPTORS_BASE) // DESCRIPTORS_WORKER
        remedy = f"take at most {fewer} workers (-n), or raise it" if fewer > 0 else "raise it"
        raise UsageError(
            f"this process may open {most} files (ulimit -n), and with {workers} workers it needs {needed}; {remedy}"
        )
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    needed = ADDRESS_SPACE_BASE + memory if memory else 0  # a worker's own need depends on its op
    if most != resource.RLIM_INFINITY and most < needed:
        raise UsageError(
            f"this process may have {most >> 20} MiB of address space (ulimit -v), and it needs {needed >> 20}; "
            "raise it"
        )
