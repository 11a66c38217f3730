"""Waking a poll loop from any thread, once for many wakes and never for nothing."""

import gc
import os
import select
import threading

import pytest
from net_support import MS, PATIENCE

from zaudio.net.wake import Waker


@pytest.fixture
def waker():
    waker = Waker()
    yield waker
    waker.close()


def awake(waker, timeout=0):
    return bool(select.select([waker.fd], [], [], timeout)[0])


def test_it_sleeps_until_it_is_woken_and_again_when_cleared(waker):
    assert not awake(waker)
    waker.wake()
    assert awake(waker)
    waker.clear()
    assert not awake(waker)
    waker.wake()
    assert awake(waker)


def test_clearing_what_is_not_awake_does_nothing(waker):
    waker.clear()
    assert not awake(waker)


def test_a_thousand_wakes_are_one_byte(waker):
    for _ in range(1000):
        waker.wake()
    assert os.read(waker.fd, 4096) == b"\0"


def test_byte_that_comes_after_the_clear_does_not_keep_the_loop_spinning(waker, monkeypatch):
    write = os.write

    def slow_write(fd, byte):
        waker.clear()  # the loop was awake for another reason
        return write(fd, byte)

    monkeypatch.setattr(os, "write", slow_write)
    waker.wake()
    monkeypatch.undo()
    assert awake(waker), "it is woken once more"
    waker.clear()
    assert not awake(waker), "and then it sleeps"


def test_no_wake_is_missed_when_another_thread_wakes_all_the_time(waker):
    done, seen = [0], 0

    def work():
        for _ in range(5000):
            done[0] += 1
            waker.wake()

    thread = threading.Thread(target=work)
    thread.start()
    while seen < 5000:
        assert awake(waker, timeout=PATIENCE), f"{done[0]} were done and only {seen} seen"
        waker.clear()
        seen = done[0]
    thread.join()


def test_waking_after_the_close_writes_nothing(monkeypatch):
    waker, written = Waker(), []
    waker.close()
    monkeypatch.setattr(os, "write", lambda *arguments: written.append(arguments))
    waker.wake()
    monkeypatch.undo()
    waker.close()
    assert written == []


def test_no_byte_is_written_to_a_number_that_the_close_has_freed(waker, monkeypatch):
    write, free, closing = os.write, [], threading.Thread(target=waker.close)

    def slow_write(fd, byte):
        closing.start()
        closing.join(50 * MS)  # as long as it likes, if it does not wait
        free.append(waker._closed)
        return write(fd, byte) if not waker._closed else 0

    monkeypatch.setattr(os, "write", slow_write)
    waker.wake()
    monkeypatch.undo()
    closing.join()
    assert free == [False]


def test_signal_handler_may_wake_what_its_own_thread_wakes(waker, monkeypatch):
    write = os.write

    def interrupted_write(fd, byte):
        monkeypatch.undo()
        waker._awake = False  # the loop has just been awake
        waker.wake()
        return write(fd, byte)

    monkeypatch.setattr(os, "write", interrupted_write)
    waker.wake()
    assert awake(waker)


def test_its_descriptors_are_freed_by_whoever_forgets_it_last():
    waker = Waker()
    both = waker.fd, waker._write
    for descriptor in both:
        os.fstat(descriptor)
    del waker
    gc.collect()
    for descriptor in both:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
