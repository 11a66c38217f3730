"""Reading ahead in a thread: order, errors, stopping."""

import threading
from types import SimpleNamespace

import pytest
import xxhash
from net_support import wait_until

from zaudio.core.actions import Grant, Peer, Send
from zaudio.errors import InputChangedError
from zaudio.net import reader as readers
from zaudio.net.reader import Read, Reader
from zaudio.plan import Plan
from zaudio.wire.messages import Channel, Sent

PEER = Peer(Channel.VENTILATOR, b"route")
SESSION = bytes(16)


class Tape:
    """A recording of single bytes. It can be held up, and it can break."""

    def __init__(self, samples):
        self.samples = samples
        self.asked = []
        self.free = threading.Event()
        self.free.set()
        self.breaks_at = None
        self.entered = threading.Event()

    def read(self, start, stop):
        self.entered.set()
        self.free.wait(60)
        self.asked.append((start, stop))
        if start == self.breaks_at:
            raise InputChangedError("take.raw", "it shrank")
        return self.samples[start:stop]


@pytest.fixture
def tape():
    return Tape(bytes(range(23)))


@pytest.fixture
def reader(tape):
    rings = []
    reader = Reader((tape,), Plan(23, 5), notify=lambda: rings.append(len(reader.done)))
    reader.rings = rings
    yield reader
    tape.free.set()
    reader.stop()


def grant(index, sequence=1):
    return Grant(PEER, SESSION, sequence, index, 1)


def sent(sequence):
    return Send(PEER, Sent(bytes(16), 1, SESSION, sequence))


def test_chunks_come_out_with_their_frames_and_checksum(reader):
    reader.start()
    for index in range(5):
        reader.ask(grant(index))
    wait_until(lambda: len(reader.done) == 5, "all are read")
    assert all(isinstance(read, Read) for read in reader.done)
    assert [read.grant.index for read in reader.done] == [0, 1, 2, 3, 4]
    # Chunk 0 holds the last frames: output order is the reverse of the recording's.
    assert b"".join(read.payload for read in reversed(reader.done)) == bytes(range(23))
    for read in reader.done:
        assert read.checksum == xxhash.xxh3_64_intdigest(read.payload)
        assert read.span == reader.plan.span(read.grant.index)


def test_what_is_no_grant_does_not_overtake_the_grants_before_it(reader, tape):
    tape.free.clear()
    asked = [grant(0), sent(1), grant(1), sent(2), grant(2)]
    reader.start()
    for action in asked:
        reader.ask(action)
    assert not reader.done
    tape.free.set()
    wait_until(lambda: len(reader.done) == 5, "all are read")
    assert [read.grant if isinstance(read, Read) else read for read in reader.done] == asked


def test_everything_that_is_done_is_told(reader):
    reader.start()
    reader.ask(grant(0))
    wait_until(lambda: reader.rings, "it notified")
    assert reader.rings == [1]


def test_error_surfaces_is_told_and_ends_the_reading(reader, tape):
    tape.breaks_at = reader.plan.span(1).start
    reader.start()
    for index in range(3):
        reader.ask(grant(index))
    wait_until(lambda: len(reader.rings) == 2, "it notified")
    assert isinstance(reader.error, InputChangedError)
    reader.stop()
    assert [read.grant.index for read in reader.done] == [0]
    assert len(tape.asked) == 2


def test_error_that_nobody_foresaw_surfaces_too(reader, tape):
    tape.read = lambda start, stop: 1 / 0
    reader.start()
    reader.ask(grant(0))
    wait_until(lambda: reader.error, "it surfaces")
    assert isinstance(reader.error, ZeroDivisionError)
    assert reader.rings


def test_context_is_read_and_the_ends_of_the_recording_have_none(tape):
    reader = Reader(
        (tape,), Plan(23, 5, needs=lambda start, stop: (max(0, start - 2), min(stop + 2, 23))), notify=lambda: None
    )
    reader.start()
    for index in range(5):
        reader.ask(grant(index))
    wait_until(lambda: len(reader.done) == 5, "all are read")
    reader.stop()
    assert sorted(tape.asked) == [(0, 7), (3, 12), (8, 17), (13, 22), (18, 23)]


def test_stop_forgets_what_was_not_read_and_ends_the_thread(reader, tape):
    tape.free.clear()
    reader.start()
    for index in range(5):
        reader.ask(grant(index))
    stopper = threading.Thread(target=reader.stop)
    stopper.start()
    tape.free.set()
    stopper.join(60)
    assert not stopper.is_alive()
    assert len(tape.asked) < 5
    reader.stop()


def test_stop_before_the_start_is_fine(reader):
    reader.stop()


@pytest.mark.covers(
    "A disk or file system that does not answer while the job ends",
    bound="the end waits 2 s for it at most",
    measured="as told",
    removed="`reader.py`: `join(STOP_PATIENCE)`; `disk.py`: `acquire(timeout=...)`",
)
def test_read_that_does_not_return_does_not_hold_up_the_end(reader, tape, monkeypatch):
    monkeypatch.setattr(readers, "STOP_PATIENCE", 0.01)
    tape.free.clear()
    reader.start()
    reader.ask(grant(0))
    assert tape.entered.wait(60)
    reader.stop()
    assert not tape.asked, "it is still inside"
    tape.free.set()
    wait_until(lambda: tape.asked, "the read returns")


def test_the_seconds_of_reading_are_those_inside_of_a_read(tape, reader, monkeypatch):
    now = [0.0]
    whole = tape.read

    def slow(start, stop):
        now[0] += 2.0
        return whole(start, stop)

    monkeypatch.setattr(readers, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(tape, "read", slow)
    reader.start()
    for index in range(3):
        reader.ask(grant(index))
    wait_until(lambda: len(reader.done) == 3, "all are read")
    assert reader.reading == 6.0
