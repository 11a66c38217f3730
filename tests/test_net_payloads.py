"""Payloads: results that wait for their turn, and memory that is used again."""

import sys

import pytest

from zaudio.net.payloads import Payloads


class Destination:
    """Keeps every payload until it is told that it has finished with some."""

    def __init__(self):
        self.finished = 0
        self.taken = []

    def put(self, payload):
        self.taken.append(payload)


@pytest.fixture
def destination():
    return Destination()


@pytest.fixture
def payloads(destination):
    return Payloads(destination)


def pass_on(payloads, *results):
    """Accept and release results, which get the next indices."""
    for index, payload in enumerate(results):
        payloads.keep(index, payload)
        payloads.release(index)


@pytest.mark.parametrize("length", [0, 1, 8, 4096])
def test_a_buffer_has_the_length_that_was_asked_for(payloads, length):
    buffer = payloads.take(length)
    assert buffer.nbytes == length
    assert not buffer.readonly
    assert buffer.contiguous


def test_two_buffers_that_are_out_are_not_the_same_memory(payloads):
    first, second = payloads.take(8), payloads.take(8)
    first[:], second[:] = b"aaaaaaaa", b"bbbbbbbb"
    assert (bytes(first), bytes(second)) == (b"aaaaaaaa", b"bbbbbbbb")


def test_a_buffer_that_was_given_back_is_used_again(payloads):
    first = payloads.take(8)
    memory = first.obj
    payloads.give_back(first)
    assert payloads.take(8).obj is memory
    assert payloads.take(8).obj is not memory


def test_a_shorter_result_does_with_a_longer_buffer_and_not_the_other_way(payloads):
    long = payloads.take(100)
    memory = long.obj
    payloads.give_back(long)
    short = payloads.take(10)
    assert short.obj is memory
    assert short.nbytes == 10
    payloads.give_back(short)
    assert payloads.take(101).obj is not memory


def test_memory_comes_back_once_the_destination_has_finished_with_it_in_that_order(payloads, destination):
    lent = [payloads.take(8) for _ in range(4)]
    pass_on(payloads, *lent)
    other = payloads.take(8)
    assert id(other.obj) not in {id(payload.obj) for payload in lent}, "the destination has all of them"
    assert payloads.settle() == 0
    destination.finished = 1
    assert payloads.settle() == 1
    assert payloads.take(8).obj is lent[0].obj
    destination.finished = 3
    assert payloads.settle() == 3
    assert {id(payloads.take(8).obj) for _ in range(2)} == {id(lent[1].obj), id(lent[2].obj)}
    assert payloads.take(8).obj is not lent[3].obj


def test_results_in_other_memory_keep_their_place_in_the_order_and_are_never_lent(payloads, destination):
    ours = payloads.take(4)
    others = [b"abcd", memoryview(b"abcd"), bytearray(4)]
    pass_on(payloads, others[0], others[1], ours, others[2])
    destination.finished = 2
    payloads.settle()
    assert payloads.take(4).obj is not ours.obj
    destination.finished = 4
    payloads.settle()
    assert payloads.take(4).obj is ours.obj
    for payload in others:
        payloads.give_back(payload)
    assert all(payloads.take(4).obj is not payload for payload in others)


def test_no_more_buffers_are_made_than_are_out_at_once(payloads, destination):
    made = set()
    for _ in range(100):
        taken = [payloads.take(16) for _ in range(3)]
        made |= {id(payload.obj) for payload in taken}
        pass_on(payloads, *taken)
        destination.finished += 3
        payloads.settle()
        destination.taken.clear()
        assert len(made) <= 3


def test_a_result_goes_to_the_destination_when_it_is_released_and_not_before(payloads, destination):
    payloads.keep(1, b"second")
    payloads.keep(0, b"first")
    assert destination.taken == []
    payloads.release(0)
    payloads.release(1)
    assert destination.taken == [b"first", b"second"]


def test_the_first_result_lacks_the_bytes_that_an_earlier_life_has_written(destination):
    payloads = Payloads(destination, skip=4)
    pass_on(payloads, b"12345678", b"abcdefgh")
    assert destination.taken == [b"5678", b"abcdefgh"]


def test_a_withdrawn_result_is_forgotten_and_its_memory_used_again(payloads, destination):
    wrong = payloads.take(4)
    payloads.keep(0, wrong)
    payloads.withdraw(0)
    assert payloads.take(4).obj is wrong.obj
    payloads.keep(0, b"good")
    payloads.release(0)
    assert destination.taken == [b"good"]


def test_no_memory_is_kept_when_the_stage_is_over(payloads):
    buffer, kept = payloads.take(8), payloads.take(8)
    payloads.keep(0, kept)
    payloads.give_back(buffer)
    payloads.clear()
    assert payloads.take(8).obj is not buffer.obj
    assert (payloads._free, payloads._kept) == ([], {})


def test_after_the_stage_only_the_destination_holds_what_it_has(payloads, destination):
    buffer = payloads.take(4096)
    pass_on(payloads, buffer)
    memory = buffer.obj
    del buffer
    destination.taken.clear()
    held = sys.getrefcount(memory)
    payloads.clear()
    assert sys.getrefcount(memory) == held - 1
