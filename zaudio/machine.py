"""The machine: the number of its cores, and whether the limits of this process are high enough for what it is to do."""

from __future__ import annotations

import os
import resource

from zaudio.errors import UsageError

# Descriptors. The least with which each runs was measured, and a few are added for what an op or a reader opens.
WORKER = 22  # a worker; measured: 18
COORDINATOR = 32  # a coordinator by itself; measured: 27, with an address 29, with keys 30
CONNECTIONS = 2  # of a local worker, at its coordinator
SUPERVISOR = 10  # a supervisor by itself, also a coordinator's; measured: 6
PIPES = 3  # of a worker, at its supervisor
PAGE = 4  # a page by itself: its listener, what it waits with, and the two ends of what wakes it
PAGE_CONNECTIONS = 128  # of a page at most
PAGE_SHARE = 8  # and at most one in so many of those that its process may open: ZeroMQ ends it when none is free
ADDRESS_SPACE_BASE = 320 << 20  # bytes; measured with eight workers, besides what --memory allows


def usable_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def descriptors(workers: int, *, coordinates: bool, page: bool = False) -> int:
    """Return how many descriptors each process of a job on this machine may have to open.

    Args:
        workers: The workers that are started here.
        coordinates: Whether a coordinator starts them.
        page: Whether it shows a page.
    """
    own = COORDINATOR + CONNECTIONS * workers if coordinates else WORKER
    if page:
        own += PAGE
        own += min(PAGE_CONNECTIONS, own // (PAGE_SHARE - 1))  # the share of the sum
    return max(own, SUPERVISOR + PIPES * workers)


def page_connections() -> int:
    """Return how many connections a page of this process may have at once."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return PAGE_CONNECTIONS if limit == resource.RLIM_INFINITY else min(PAGE_CONNECTIONS, limit // PAGE_SHARE)


def check_limits(workers: int, *, coordinates: bool, memory: int = 0, page: bool = False) -> None:
    """Check that this process may open the files, and have the memory, that its workers take.

    ZeroMQ ends the process when it meets one of these limits, so they are looked at before.

    Args:
        workers: The workers that this process is to start.
        coordinates: Whether it is a coordinator.
        memory: Bytes that it may hold besides.
        page: Whether it shows a page.

    Raises:
        UsageError: A limit is too low.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # the soft one is raised
    needed = descriptors(workers, coordinates=coordinates, page=page)
    if most != resource.RLIM_INFINITY and most < needed:
        fewer = [n for n in range(1, workers) if descriptors(n, coordinates=coordinates, page=page) <= most]
        remedy = f"take at most {_workers(fewer[-1])} (-n), or raise it" if fewer else "raise it"
        parts = [_workers(workers)] * bool(workers) + ["a page"] * page
        with_them = f"with {' and '.join(parts)} " if parts else ""
        raise UsageError(f"this process may open {most} files (ulimit -n), and {with_them}it needs {needed}; {remedy}")
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    needed = ADDRESS_SPACE_BASE + memory if memory else 0  # a worker's own need depends on its op
    if most != resource.RLIM_INFINITY and most < needed:
        raise UsageError(
            f"this process may have {most >> 20} MiB of address space (ulimit -v), and it needs {needed >> 20}; "
            "raise it"
        )


def _workers(count: int) -> str:
    return f"{count} worker{'s' if count > 1 else ''}"
