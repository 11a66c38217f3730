"""Fixtures of the tests with real processes: each test has a folder for temporary files, and leaves nothing behind."""

import gc
import shutil
import tempfile
import threading
from pathlib import Path

import pytest
import zmq
from farm_support import LANES
from net_support import MS, PATIENCE, descriptors, kill, processes_with, wait_until

from zaudio.watching.stream import Stream


@pytest.fixture(scope="session")
def pyzmq_warm():
    """The thread and the descriptors that pyzmq keeps for good, once it has sent the first buffer without a copy."""
    with zmq.Context() as context, context.socket(zmq.PAIR) as near, context.socket(zmq.PAIR) as far:
        far.bind("inproc://warm")
        near.connect("inproc://warm")
        near.send(bytes(1 << 17), copy=False)
        far.recv()


@pytest.fixture(params=LANES)
def lane(request):
    """Settings of a Coordinator: how its local workers get chunks and give results back. A test runs on each."""
    return LANES[request.param]


@pytest.fixture(autouse=True)
def all_events(monkeypatch):
    """A job of this process ends when its subscribers have had every event, however busy the machine."""
    monkeypatch.setattr(Stream.close, "__defaults__", (PATIENCE,))


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch, tmp_path_factory, pyzmq_warm):
    """After the test: no thread, no process, no descriptor and no temporary folder more than before it."""
    tmp_path_factory.getbasetemp()  # made in the usual place, before there is another
    folder = tempfile.mkdtemp(prefix="zt-", dir="/tmp")  # short, as the address of a socket has to be
    monkeypatch.setenv("TMPDIR", folder)  # inherited by every process of the test, which is how they are found
    monkeypatch.setattr(tempfile, "tempdir", folder)
    threads = set(threading.enumerate())
    before = descriptors()
    mark = f"TMPDIR={folder}"
    try:
        yield
        gc.collect()
        wait_until(lambda: set(threading.enumerate()) <= threads, "the job's threads end", within=10_000 * MS)
        wait_until(lambda: not processes_with(mark), "the job's processes end", within=10_000 * MS)
        wait_until(lambda: descriptors() <= before, "the job's descriptors are closed", within=10_000 * MS)
        assert not list(Path(folder).glob("zaudio-*")), "the job's temporary folder is removed"
    finally:
        for pid in processes_with(mark):
            kill(pid)
        shutil.rmtree(folder, ignore_errors=True)
