"""The instants of a job: every system call by which a coordinator changes its folder, and faults at each of them."""

import pytest
from extended import extended
from farm_support import NAMES
from faults import MUTATING, count_syscalls, system_calls

FRAMES = 500_000  # 2 MB
FEW = "a few"  # which a test names itself: to find all of them takes a job more
PARTS = [FEW, extended(0), *(pytest.param(part, marks=pytest.mark.chaos) for part in range(1, 10))]


def of_part(found, part, also=lambda instant: False):
    """Return the instants of that tenth, each with its number; the first tenth has those of `also` too."""
    return [(n, instant) for n, instant in enumerate(found) if n % 10 == part or (part == 0 and also(instant))]


def instants(scene, calls=MUTATING, *, before=None):
    """Every (system call, path, number) of a job in its folder, in order; what the folder itself gets has path ``.``.

    Args:
        scene: Where the job runs.
        calls: The system calls that count.
        before: Called with the folder first, such as for an earlier life of the job.
    """
    folder = scene.folder / "counted"
    if before is not None:
        before(folder)
    return counted(folder, _names(), lambda prefix: scene.farm(workers=1, output=folder, prefix=prefix), calls)


def counted(folder, names, start, calls=MUTATING):
    """Every (system call, path, number) of a command that changes files of those names in a folder, in order.

    Args:
        folder: The folder; what it gets itself has path ``.``.
        names: The files.
        start: Starts the command with a prefix; returns its Process.
        calls: The system calls that count.
    """
    log = folder.with_suffix(".log")
    paths = [folder, *names, *(folder / name for name in names)]
    start(count_syscalls(log, calls, paths=paths)).finish(code=0)
    found = [
        (call, path.removeprefix(str(folder)).removeprefix("/") or ".", n + 1)
        for call, path, most in system_calls(log)
        for n in range(most)
    ]
    assert all(path in (".", *names) for _, path, _ in found), found
    return found


def at(folder, instant, fault, **more):
    """Prefix: that fault (of faults.py, with what more it takes) at that instant of a job in that folder."""
    call, path, number = instant
    # One and the same file is a name beside an open folder to some calls, and an open file to others.
    return fault(number, call, paths=[folder] if path == "." else [path, folder / path], **more)


def _names():
    names = [*NAMES, "result.commit", "result.journal"]
    return [*names, *(f"{name}.part" for name in names)]
