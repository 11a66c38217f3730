"""The plan: its ranges are the recording, once each and in the order of the output."""

import dataclasses
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaudio.errors import UsageError
from zaudio.plan import Order, Plan, Span

ORDERS = list(Order)
PLANS = st.builds(Plan, st.integers(0, 300), st.integers(1, 310), st.sampled_from(ORDERS))


def around(start, stop):
    """Three frames of context in front and one behind, of a recording of 40 frames."""
    return max(0, start - 3), min(stop + 1, 40)


def spread(start, stop):
    """Two frames of the recording for three of the output."""
    return start * 2 // 3, -(-stop * 2 // 3)


def spans(plan):
    return [plan.span(index) for index in range(len(plan))]


def assert_is_a_partition(plan):
    frames = []
    for index, span in enumerate(spans(plan)):
        assert span.index == index
        assert 1 <= span.frames <= plan.chunk_frames
        assert span.start % plan.chunk_frames == 0
        covered = range(span.start, span.stop)
        frames += reversed(covered) if plan.order is Order.REVERSED else covered
    every = range(plan.frames)
    assert frames == list(reversed(every) if plan.order is Order.REVERSED else every)


@pytest.mark.parametrize("order", ORDERS)
def test_the_ranges_are_the_recording_around_every_multiple_of_a_chunk(order):
    for frames in (0, 1, 15, 16, 17, 31, 32, 33, 97, 1009):
        assert_is_a_partition(Plan(frames, 16, order))


@given(PLANS)
def test_the_ranges_are_any_recording(plan):
    assert_is_a_partition(plan)


@given(PLANS)
def test_the_input_range_is_the_output_range_where_nothing_else_is_needed(plan):
    for span in spans(plan):
        assert (span.input_start, span.input_stop, span.input_frames) == (span.start, span.stop, span.frames)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("needs", [around, spread])
def test_the_input_range_is_asked_for_of_each_output_range(needs, order):
    for span in spans(Plan(40, 7, order, needs)):
        assert (span.input_start, span.input_stop) == needs(span.start, span.stop)
        assert span.input_frames == span.input_stop - span.input_start


def test_an_input_range_need_not_lie_where_the_output_range_does():
    assert Plan(30, 10, Order.FORWARD, lambda start, stop: (start + 100, stop + 101)).span(1) == Span(
        1, 10, 20, 110, 121
    )


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (0, []),
        (1, [Span(0, 0, 1, 0, 1)]),
        (9, [Span(0, 0, 9, 0, 9)]),
        (10, [Span(0, 0, 10, 0, 10)]),
        (11, [Span(0, 10, 11, 10, 11), Span(1, 0, 10, 0, 10)]),
        (23, [Span(0, 20, 23, 20, 23), Span(1, 10, 20, 10, 20), Span(2, 0, 10, 0, 10)]),
    ],
)
def test_a_plan_by_hand(frames, expected):
    assert spans(Plan(frames, 10)) == expected
    turned = [dataclasses.replace(span, index=len(expected) - 1 - span.index) for span in reversed(expected)]
    assert spans(Plan(frames, 10, Order.FORWARD)) == turned


@pytest.mark.parametrize("index", [-1, 3, 4, 2**60])
def test_a_chunk_that_is_not_there_is_an_index_error(index):
    with pytest.raises(IndexError):
        Plan(23, 10).span(index)


def test_an_empty_recording_has_no_chunk():
    assert len(Plan(0, 10)) == 0
    with pytest.raises(IndexError):
        Plan(0, 10).span(0)


def test_two_hundred_years_of_audio_cost_nothing():
    tracemalloc.start()
    try:
        plan = Plan(2**48, 1, needs=lambda start, stop: (max(0, start - 5), min(stop + 5, 2**48)))
        assert len(plan) == 2**48
        assert plan.span(0) == Span(0, 2**48 - 1, 2**48, 2**48 - 6, 2**48)
        assert plan.span(2**48 - 1) == Span(2**48 - 1, 0, 1, 0, 6)
        assert len(plan.in_bundles(2**40)) == 2**8
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert sys.getsizeof(plan) < 200


@pytest.mark.parametrize("wrong", [{"frames": -1}, {"chunk_frames": 0}, {"chunk_frames": -1}])
def test_a_plan_out_of_range_is_a_usage_error(wrong):
    with pytest.raises(UsageError):
        Plan(**{"frames": 10, "chunk_frames": 10} | wrong)


def test_a_plan_and_a_span_do_not_change():
    for value in (Plan(23, 10), Plan(23, 10).span(0)):
        for field in dataclasses.fields(value):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(value, field.name, 1)


# Bundles


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("many", [2, 3, 100])
def test_bundles_are_the_recording_cut_where_chunks_are_cut(many, order):
    for frames in (0, 1, 9, 10, 11, 29, 30, 31, 97):
        plan = Plan(frames, 10, order)
        bundles = plan.in_bundles(many)
        assert_is_a_partition(bundles)
        assert {bundle.start for bundle in spans(bundles)} <= {span.start for span in spans(plan)}
        assert len(bundles) == -(-len(plan) // many)
        assert sum(-(-bundle.frames // plan.chunk_frames) for bundle in spans(bundles)) == len(plan)


@given(st.integers(0, 40), st.integers(1, 50), st.sampled_from(ORDERS), st.integers(2, 9))
def test_a_bundle_reads_what_its_chunks_read(frames, chunk_frames, order, many):
    plan = Plan(frames, chunk_frames, order, around)
    for bundle in spans(plan.in_bundles(many)):
        inside = [span for span in spans(plan) if bundle.start <= span.start < bundle.stop]
        assert bundle.input_start == min(span.input_start for span in inside)
        assert bundle.input_stop == max(span.input_stop for span in inside)


@pytest.mark.parametrize("many", [-1, 0, 1])
def test_a_bundle_of_one_chunk_is_the_plan_itself(many):
    assert Plan(97, 10).in_bundles(many) == Plan(97, 10)


# Places in the output


@given(PLANS)
def test_every_frame_is_found_in_its_chunk(plan):
    for span in spans(plan):
        assert plan.index_at(span.start) == plan.index_at(span.stop - 1) == span.index


@pytest.mark.parametrize("order", ORDERS)
def test_every_frame_of_the_output_is_found_in_its_chunk(order):
    for frames in (0, 1, 9, 10, 11, 29, 30, 31, 97):
        plan, position = Plan(frames, 10, order), 0
        for span in spans(plan):
            assert plan.output_before(span.index) == position
            for within in range(span.frames):
                assert plan.at_output(position) == (span.index, within)
                position += 1
        assert plan.at_output(position) == (len(plan), 0)
        assert plan.output_before(len(plan)) == frames


@pytest.mark.parametrize("frame", [-1, 31])
def test_no_frame_outside_of_the_output_is_found(frame):
    with pytest.raises(IndexError):
        Plan(30, 10).at_output(frame)
