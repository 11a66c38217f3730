"""The plan: its ranges are the recording, once each and from its end to its start."""

import dataclasses
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaudio.errors import UsageError
from zaudio.plan import Chunk, Plan

PLANS = st.builds(Plan, st.integers(0, 300), st.integers(1, 310), st.integers(0, 320))


def chunks(plan):
    return [plan.chunk(index) for index in range(len(plan))]


def assert_is_a_partition_in_reverse(plan):
    stop = plan.frames
    for index, chunk in enumerate(chunks(plan)):
        assert chunk.index == index
        assert chunk.stop == stop
        assert 1 <= chunk.frames <= plan.chunk_frames
        assert chunk.start % plan.chunk_frames == 0
        stop = chunk.start
    assert stop == 0


@pytest.mark.parametrize("context", [0, 1, 3, 100])
@pytest.mark.parametrize("chunk_frames", [1, 2, 7, 16])
@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("times", [0, 1, 2, 5])
def test_the_ranges_are_the_recording_around_every_multiple_of_a_chunk(chunk_frames, extra, times, context):
    assert_is_a_partition_in_reverse(Plan(max(0, times * chunk_frames + extra), chunk_frames, context))


@pytest.mark.parametrize("frames", [0, 1, 97, 1009])
def test_the_ranges_are_a_recording_of_odd_length(frames):
    assert_is_a_partition_in_reverse(Plan(frames, 16))


@given(PLANS)
def test_the_ranges_are_any_recording(plan):
    assert_is_a_partition_in_reverse(plan)


@given(PLANS)
def test_context_is_what_was_asked_for_and_never_beyond_the_recording(plan):
    for chunk in chunks(plan):
        assert chunk.before == min(plan.context, chunk.start)
        assert chunk.after == min(plan.context, plan.frames - chunk.stop)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (0, []),
        (1, [Chunk(0, 0, 1, 0, 0)]),
        (9, [Chunk(0, 0, 9, 0, 0)]),
        (10, [Chunk(0, 0, 10, 0, 0)]),
        (11, [Chunk(0, 10, 11, 3, 0), Chunk(1, 0, 10, 0, 1)]),
        (23, [Chunk(0, 20, 23, 3, 0), Chunk(1, 10, 20, 3, 3), Chunk(2, 0, 10, 0, 3)]),
    ],
)
def test_a_plan_by_hand(frames, expected):
    assert chunks(Plan(frames, 10, context=3)) == expected


@pytest.mark.parametrize("index", [-1, 3, 4, 2**60])
def test_a_chunk_that_is_not_there_is_an_index_error(index):
    with pytest.raises(IndexError):
        Plan(23, 10).chunk(index)


def test_an_empty_recording_has_no_chunk():
    assert len(Plan(0, 10)) == 0
    with pytest.raises(IndexError):
        Plan(0, 10).chunk(0)


def test_two_hundred_years_of_audio_cost_nothing():
    tracemalloc.start()
    try:
        plan = Plan(2**48, 1, context=5)
        assert len(plan) == 2**48
        assert plan.chunk(0) == Chunk(0, 2**48 - 1, 2**48, 5, 0)
        assert plan.chunk(2**48 - 1) == Chunk(2**48 - 1, 0, 1, 0, 5)
        assert len(plan.in_runs(1) if plan.context else plan) == 2**48
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert sys.getsizeof(plan) < 200


@pytest.mark.parametrize("wrong", [(-1, 10, 0), (10, 0, 0), (10, -1, 0), (10, 10, -1)])
def test_a_plan_out_of_range_is_a_usage_error(wrong):
    with pytest.raises(UsageError):
        Plan(*wrong)


def test_a_plan_and_a_chunk_do_not_change():
    for value in (Plan(23, 10), Plan(23, 10).chunk(0)):
        for field in dataclasses.fields(value):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(value, field.name, 1)


# Runs


@pytest.mark.parametrize("frames", [0, 1, 9, 10, 11, 29, 30, 31, 97])
@pytest.mark.parametrize("many", [2, 3, 100])
def test_runs_are_the_recording_cut_where_chunks_are_cut(frames, many):
    plan = Plan(frames, 10)
    runs = plan.in_runs(many)
    assert_is_a_partition_in_reverse(runs)
    assert {run.start for run in chunks(runs)} <= {chunk.start for chunk in chunks(plan)}
    assert len(runs) == -(-len(plan) // many)


@pytest.mark.parametrize("many", [-1, 0, 1])
def test_a_run_of_one_chunk_is_the_plan_itself(many):
    assert Plan(97, 10).in_runs(many) == Plan(97, 10)


def test_with_context_a_run_is_one_chunk():
    assert Plan(97, 10, context=1).in_runs(8) == Plan(97, 10, context=1)


# Going on in the middle of the output


@pytest.mark.parametrize("frames", [0, 1, 9, 10, 11, 29, 30, 31, 97])
def test_every_frame_of_the_output_is_found_in_its_chunk(frames):
    plan, position = Plan(frames, 10), 0
    for chunk in chunks(plan):
        for within in range(chunk.frames):
            assert plan.at_output(position) == (chunk.index, within)
            position += 1
    assert plan.at_output(position) == (len(plan), 0)


@pytest.mark.parametrize("frame", [-1, 31])
def test_no_frame_outside_of_the_output_is_found(frame):
    with pytest.raises(IndexError):
        Plan(30, 10).at_output(frame)
