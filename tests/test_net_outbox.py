"""Outboxes and an Outbox: regions and slots that do not overlap, and refusals."""

import fcntl
import mmap
import os

import pytest

from zaudio.net.outbox import Outbox, Outboxes, region_bytes

PAGE = mmap.ALLOCATIONGRANULARITY


@pytest.fixture
def memory():
    """The descriptor of an empty piece of memory."""
    fd = os.memfd_create("outboxes")
    yield fd
    os.close(fd)


@pytest.fixture
def make(memory):
    """Makes outboxes, and closes them at the end."""
    made = []

    def outboxes(count, slots, slot_bytes):
        made.append(Outboxes(memory, count, slots, slot_bytes))
        return made[-1]

    yield outboxes
    for each in made:
        each.close()


def worker_of(memory, outboxes, number):
    """The side of the worker with that number, as its starter makes it."""
    return Outbox(memory, number, outboxes.slots, outboxes.slot_bytes, outboxes.tokens[number])


def copied(outboxes, number, slot, length):
    buffer = bytearray(length)
    assert outboxes.copy(outboxes.tokens[number], slot, memoryview(buffer))
    return bytes(buffer)


def mark(number, slot, length):
    """Bytes that are no other slot's."""
    return bytes((37 * number + 11 * slot + place) % 251 for place in range(length))


# Regions and slots


@pytest.mark.parametrize("slot_bytes", [1, PAGE - 1, PAGE, PAGE + 1])
@pytest.mark.parametrize(("count", "slots"), [(1, 1), (1, 3), (3, 2)])
def test_every_slot_of_every_worker_keeps_its_own_bytes(memory, make, count, slots, slot_bytes):
    outboxes = make(count, slots, slot_bytes)
    workers = [worker_of(memory, outboxes, number) for number in range(count)]
    for number, worker in enumerate(workers):
        for slot in range(slots):
            worker.slot(slot, slot_bytes)[:] = mark(number, slot, slot_bytes)
    for number in range(count):
        for slot in range(slots):
            assert copied(outboxes, number, slot, slot_bytes) == mark(number, slot, slot_bytes)


def test_what_is_fresh_is_zero(make):
    outboxes = make(2, 2, 100)
    assert [copied(outboxes, number, slot, 100) for number in (0, 1) for slot in (0, 1)] == [bytes(100)] * 4


@pytest.mark.parametrize("length", [0, 1, 99, 100])
def test_a_result_may_be_shorter_than_its_slot(memory, make, length):
    outboxes = make(2, 2, 100)
    worker = worker_of(memory, outboxes, 1)
    worker.slot(0, 100)[:] = b"\xff" * 100
    view = worker.slot(0, length)
    assert view.nbytes == length
    view[:] = mark(1, 0, length)
    assert copied(outboxes, 1, 0, 100) == mark(1, 0, length) + b"\xff" * (100 - length)
    assert copied(outboxes, 1, 0, length) == mark(1, 0, length)


def test_what_was_copied_is_not_changed_by_what_is_written_later(memory, make):
    outboxes = make(1, 1, 4)
    worker = worker_of(memory, outboxes, 0)
    worker.slot(0, 4)[:] = b"abcd"
    buffer = bytearray(4)
    assert outboxes.copy(outboxes.tokens[0], 0, memoryview(buffer))
    worker.slot(0, 4)[:] = b"wxyz"
    assert buffer == b"abcd"


@pytest.mark.parametrize(
    ("slots", "slot_bytes", "pages"),
    [
        (1, 1, 1),
        (1, PAGE - 1, 1),
        (1, PAGE, 1),
        (1, PAGE + 1, 2),
        (2, PAGE // 2, 1),
        (2, PAGE // 2 + 1, 2),
        (3, PAGE, 3),
        (256, 1009, -(-256 * 1009 // PAGE)),
        (1, 0, 1),
    ],
)
def test_a_region_is_whole_pages_and_no_more_than_it_needs(slots, slot_bytes, pages):
    assert region_bytes(slots, slot_bytes) == pages * PAGE


@pytest.mark.parametrize(("count", "slots", "slot_bytes"), [(1, 1, 1), (3, 2, PAGE + 1), (4, 1, PAGE)])
def test_all_of_it_is_allocated_before_it_is_used(memory, make, count, slots, slot_bytes):
    make(count, slots, slot_bytes)
    status = os.fstat(memory)
    assert status.st_size == count * region_bytes(slots, slot_bytes)
    assert status.st_blocks * 512 >= status.st_size


# What is refused


def test_a_token_that_is_nobodys_is_refused(make):
    outboxes = make(2, 2, 8)
    buffer = bytearray(b"unchanged")[:8]
    for token in (b"", bytes(16), outboxes.tokens[0][:15], outboxes.tokens[0] + b"x"):
        assert not outboxes.copy(token, 0, memoryview(buffer))
    assert buffer == b"unchange"


@pytest.mark.parametrize("slot", [-2, -1, 2, 3, 255, 2**40])
def test_a_slot_that_is_not_there_is_refused(make, slot):
    outboxes = make(3, 2, 8)
    for token in outboxes.tokens:
        assert not outboxes.copy(token, slot, memoryview(bytearray(8)))


@pytest.mark.parametrize("length", [9, 10, PAGE, 10 * PAGE])
def test_more_than_a_slot_holds_is_refused(make, length):
    outboxes = make(3, 2, 8)
    assert not outboxes.copy(outboxes.tokens[0], 0, memoryview(bytearray(length)))
    assert outboxes.copy(outboxes.tokens[0], 0, memoryview(bytearray(8)))


def test_memory_that_cannot_be_allocated_is_an_error_that_can_be_caught():
    fd = os.memfd_create("outboxes", os.MFD_ALLOW_SEALING)
    try:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
        with pytest.raises(OSError, match="not permitted"):
            Outboxes(fd, 1, 1, 8)
    finally:
        os.close(fd)


def test_a_system_without_such_memory_is_an_error_that_can_be_caught():
    with pytest.raises(OSError, match="no anonymous shared memory"):
        Outboxes(-1, 1, 1, 8)


def test_tokens_are_16_bytes_and_each_its_own(memory, make):
    outboxes = make(9, 1, 1)
    assert len(set(outboxes.tokens) | set(make(9, 1, 1).tokens)) == 18
    assert {len(token) for token in outboxes.tokens} == {16}
    assert worker_of(memory, outboxes, 3).token == outboxes.tokens[3]


# Processes


def write_in_a_child(memory, outboxes, *, closes):
    """Fork a child that inherits the descriptor and writes all of its slots. Returns how it ended."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            worker = worker_of(memory, outboxes, 1)
            if closes:
                os.close(memory)  # the mapping needs it no more
            for slot in range(outboxes.slots):
                worker.slot(slot, outboxes.slot_bytes)[:] = mark(1, slot, outboxes.slot_bytes)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("slot_bytes", [1, 1009, PAGE + 1])
def test_what_a_child_writes_its_parent_reads_though_the_child_is_gone(memory, make, slot_bytes, closes):
    outboxes = make(3, 2, slot_bytes)
    assert write_in_a_child(memory, outboxes, closes=closes) == 0
    for slot in (0, 1):
        assert copied(outboxes, 1, slot, slot_bytes) == mark(1, slot, slot_bytes)
        assert copied(outboxes, 0, slot, slot_bytes) == copied(outboxes, 2, slot, slot_bytes) == bytes(slot_bytes)


def test_closing_leaves_workers_what_they_have_and_the_descriptor_to_its_owner(memory):
    outboxes = Outboxes(memory, 2, 1, 8)
    worker = worker_of(memory, outboxes, 0)
    outboxes.close()
    assert os.fstat(memory).st_size > 0
    worker.slot(0, 8)[:] = b"12345678"
    assert worker.slot(0, 8) == b"12345678"


def test_outboxes_outlive_the_descriptor():
    fd = os.memfd_create("outboxes")
    outboxes = Outboxes(fd, 1, 1, 8)
    worker = worker_of(fd, outboxes, 0)
    os.close(fd)
    worker.slot(0, 8)[:] = b"12345678"
    assert copied(outboxes, 0, 0, 8) == b"12345678"
    outboxes.close()


def test_closing_is_possible_right_after_copying(memory):
    outboxes = Outboxes(memory, 1, 1, 8)
    buffer = memoryview(bytearray(8))
    assert outboxes.copy(outboxes.tokens[0], 0, buffer)
    assert not outboxes.copy(outboxes.tokens[0], 1, buffer)
    outboxes.close()  # a view of the mapping that was left behind would make this a BufferError
