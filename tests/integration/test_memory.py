"""The coordinator's own memory does not grow with the recording."""

import os
import threading

import pytest
from extended import extended
from farm_support import finish, launch
from net_support import PATIENCE, alive

MEMORY = 32  # MiB
SPARE = 80  # MiB: Python, numpy and libzmq take 20 of it before the first chunk; the allocator keeps some


def private(pid):
    """Private memory of a process in MiB: what it alone has, the page cache not counted."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return (
            sum(int(line.split()[1]) for line in rollup if line.startswith(("Private_Clean", "Private_Dirty"))) / 1024
        )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", [2 * 10**8, extended(2 * 10**9)])
def test_private_memory_does_not_grow_with_the_recording(tmp_path, size):
    with open(tmp_path / "x.raw", "wb") as sparse:
        sparse.truncate(size)
    free = os.statvfs(tmp_path)
    if free.f_bavail * free.f_frsize < size + 10**9:
        pytest.skip(f"the result needs {size // 10**6} MB on the disk, and 1 GB more is to be left")
    process = launch(
        "farm", tmp_path / "x.raw", "-o", tmp_path / "out", "-n", 2, "--memory", f"{MEMORY}MiB", "--progress", "none"
    )
    most, ended = [0.0], threading.Event()

    def watch():
        while not ended.wait(0.02) and alive(process.pid):
            try:
                most[0] = max(most[0], private(process.pid))
            except (FileNotFoundError, ProcessLookupError):
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        code, _, err = finish(process, within=5 * PATIENCE)
    finally:
        ended.set()
        watcher.join()
        for path in (tmp_path / "out").glob("*"):
            path.unlink()  # so much is not kept for whoever looks at failed tests
    assert code == 0, err
    assert 10 < most[0] < MEMORY + SPARE
