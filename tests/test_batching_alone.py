"""A long recording of a batch: when its writer lets go of memory, and how its end is waited for."""

import threading
from types import SimpleNamespace

import pytest
from net_support import PATIENCE

from zaudio.batching.alone import Bell, Early
from zaudio.errors import StorageError


@pytest.fixture
def writer():
    return SimpleNamespace(finished=0, error=None, put=lambda payload: None)


def test_a_writer_is_drained_when_it_has_finished_with_every_payload(writer):
    early = Early(writer)
    assert early.drained
    early.put(b"one")
    early.put(b"two")
    writer.finished = 1
    assert not early.drained
    writer.finished = 2
    assert early.drained


def test_a_writer_that_failed_is_not_waited_for(writer):
    early = Early(writer)
    early.put(b"one")
    writer.error = StorageError("out", "no space")
    assert early.drained


def test_a_bell_wakes_all_that_wait_each_for_its_own():
    woken, farm, state = [], [], {"first": False, "second": False}
    bell = Bell(lambda: farm.append("woken"))

    def wait(name):
        bell.wait(lambda: state[name])
        woken.append(name)

    threads = {name: threading.Thread(target=wait, args=(name,)) for name in state}
    for thread in threads.values():
        thread.start()
    for name, thread in threads.items():
        state[name] = True
        bell.ring()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert (woken, len(farm)) == (["first", "second"], 2)
