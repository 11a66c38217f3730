"""Lots: the plan of several recordings, and the destination that deals their results."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.into import Dealer
from zaudio.lot import LotPlan
from zaudio.plan import Order, Plan
from zaudio.signal import Signal

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=8)
ORDERS = st.sampled_from(Order)


def plan(*lengths, chunk=8, order=Order.REVERSED):
    return LotPlan(tuple(Plan(length, chunk, order) for length in lengths))


def signals(*lengths):
    return [Signal(length, 1, 44100, sample_format("s16le")) for length in lengths]


def dealt(lengths, payloads, **options):
    """The destination behind those payloads, and what it gave away."""
    given_away = {}
    dealer = Dealer(signals(*lengths), give=given_away.__setitem__, **options)
    for payload in payloads:
        dealer.put(payload)
    return dealer, given_away


@given(LENGTHS, ORDERS)
def test_a_lots_chunks_are_those_of_its_recordings_one_behind_the_other(lengths, order):
    lot = plan(*lengths, order=order)
    expected = [
        (number, span.start, span.stop)
        for number, single in enumerate(lot.plans)
        for span in map(single.span, range(len(single)))
    ]
    spans = [lot.span(index) for index in range(len(lot))]
    assert [(span.recording, span.start, span.stop) for span in spans] == expected
    assert [span.index for span in spans] == list(range(len(expected)))
    assert [lot.of(index) for index in range(len(lot))] == [lot.plans[number] for number, _, _ in expected]


@given(LENGTHS, ORDERS)
def test_what_is_written_before_a_chunk_is_all_that_comes_before_it(lengths, order):
    lot = plan(*lengths, order=order)
    written = 0
    for index in range(len(lot)):
        assert lot.output_before(index) == written
        written += lot.span(index).frames
    assert lot.output_before(len(lot)) == written == lot.frames == sum(lengths)


def test_a_lot_has_no_chunk_beyond_its_last():
    lot = plan(9, 0, 8)
    assert len(lot) == 3
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"chunk {index} of 3"):
            lot.span(index)


def test_the_longest_chunk_is_that_of_any_recording():
    assert plan(3, 0, 5).longest == 5
    assert plan(3, 100).longest == 8
    assert plan(0, 0).longest == 0


def test_a_lot_has_one_order():
    with pytest.raises(UsageError, match="one order"):
        LotPlan((Plan(8, 8), Plan(8, 8, Order.FORWARD)))
    with pytest.raises(UsageError, match="a recording at least"):
        LotPlan(())


@given(LENGTHS)
def test_each_recording_gets_its_own_payloads_and_no_others(lengths):
    lot = plan(*lengths)
    payloads = [bytes([span.recording, span.start]) * span.frames for span in map(lot.span, range(len(lot)))]
    dealer, given_away = dealt(lengths, payloads)
    dealer.seal()
    assert dealer.sealed
    assert list(given_away) == list(range(len(lengths))), "each once, in their order"
    for number, single in enumerate(lot.plans):
        spans = map(single.span, range(len(single)))
        assert given_away[number] == b"".join(bytes([number, span.start]) * span.frames for span in spans)


def test_a_result_is_given_away_as_soon_as_it_is_whole():
    dealer, given_away = dealt((3, 2), [b"abcd"])
    assert given_away == {}
    dealer.put(b"ef")
    assert given_away == {0: b"abcdef"}
    with pytest.raises(UsageError, match="recording 1 of 2 is not whole"):
        dealer.seal()


def test_a_result_that_could_not_be_given_away_is_not_given_twice():
    def refuse(number, result):
        raise OSError("no room")

    dealer = Dealer(signals(1), give=refuse)
    with pytest.raises(OSError, match="no room"):
        dealer.put(b"ab")
    dealer.seal()


def test_a_payload_that_no_recording_has_is_refused():
    dealer, _ = dealt((1,), [b"ab"])
    with pytest.raises(UsageError, match="more than"):
        dealer.put(b"cd")
    with pytest.raises(UsageError, match="more than"):
        dealt((1, 1), [b"abcd"])


def test_payloads_count_as_finished_only_while_there_is_room():
    room = [True]
    dealer, _ = dealt((1, 1, 1), [b"ab"], has_room=lambda: room[0])
    assert dealer.finished == 1
    room[0] = False
    dealer.put(b"cd")
    dealer.put(b"ef")
    assert dealer.finished == 1
    room[0] = True
    assert dealer.finished == 3


def test_a_payload_may_change_once_it_was_put():
    buffer = bytearray(b"ab")
    dealer, given_away = dealt((2,), [buffer])
    buffer[:] = b"xx"
    dealer.put(b"cd")
    assert given_away == {0: b"abcd"}
