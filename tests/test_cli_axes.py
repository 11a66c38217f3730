import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaudio.cli.axes import (
    FLOOR_DB,
    RANGE_DB,
    RANGE_LEAST_DB,
    decibels,
    full_scale,
    hertz_label,
    hertz_ticks,
    level_ticks,
    range_db,
    spread,
    time_label,
    time_ticks,
)


def labels(first, last, most):
    ticks, step = time_ticks(first, last, most)
    return [time_label(tick, step, last) for tick in ticks]


@pytest.mark.parametrize(
    ("first", "last", "most", "expected"),
    [
        (0, 10, 5, ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"]),
        (0, 0.05, 5, ["0.00 s", "0.01 s", "0.02 s", "0.03 s", "0.04 s", "0.05 s"]),
        (0, 1, 4, ["0.0 s", "0.5 s", "1.0 s"]),
        (59, 61, 4, ["0:59.0", "0:59.5", "1:00.0", "1:00.5", "1:01.0"]),
        (0, 100, 5, ["0:00", "0:30", "1:00", "1:30"]),
        (0, 3600, 4, ["0:00:00", "0:15:00", "0:30:00", "0:45:00", "1:00:00"]),
        (0, 86_400, 6, ["0:00:00", "6:00:00", "12:00:00", "18:00:00", "24:00:00"]),
        (3661, 3700, 4, ["1:01:10", "1:01:20", "1:01:30", "1:01:40"]),
        (0, 30 * 86_400, 5, ["0:00:00", "144:00:00", "288:00:00", "432:00:00", "576:00:00", "720:00:00"]),
    ],
)
def test_times_are_round_and_have_one_form(first, last, most, expected):
    assert labels(first, last, most) == expected


@given(
    first=st.floats(0, 1e5),
    length=st.floats(1e-4, 1e7),
    most=st.integers(2, 20),
)
def test_ticks_stand_within_the_axis_and_are_not_too_many(first, length, most):
    ticks, step = time_ticks(first, first + length, most)
    assert len(ticks) <= most + 1
    assert all(first - step / 1000 <= tick <= first + length + step / 1000 for tick in ticks)
    names = [time_label(tick, step, first + length) for tick in ticks]
    assert len(set(names)) == len(names)


def test_frequencies_have_round_names():
    assert hertz_ticks(24_000, even=True) == [0, 5000, 10_000, 15_000, 20_000]
    assert hertz_ticks(4000, even=False)[-4:] == [200, 500, 1000, 2000]
    assert [hertz_label(hertz) for hertz in (0, 50, 1000, 2500)] == ["0 Hz", "50 Hz", "1 kHz", "2.5 kHz"]


@pytest.mark.parametrize("highest", [0.5, 4000, 22_050, 2**30])
def test_even_frequencies_are_even_and_few(highest):
    ticks = hertz_ticks(highest, even=True)
    assert 3 <= len(ticks) <= 9
    assert np.diff(ticks) == pytest.approx(ticks[1])
    assert ticks[-1] <= highest < ticks[-1] + ticks[1]


def test_places_that_are_too_close_are_left_out():
    assert spread([0, 1, 2, 5, 5.5, 9], 2) == [0, 2, 3, 5]
    assert spread([], 2) == []


def test_levels_are_decibels_with_a_floor():
    assert decibels(np.array([1, 0.1, 0])).tolist() == [0, -10, FLOOR_DB]


@pytest.mark.parametrize(
    ("levels", "ends"),
    [
        ([-12.0, -300, -20], (-40, -10)),  # a range has 30 dB at least
        (list(range(-180, -3)), (-100, 0)),  # and 100 at most
        (list(range(-70, -21)), (-70, -20)),
        ([FLOOR_DB] * 4, (-100, 0)),
        ([], (-100, 0)),
    ],
)
def test_colours_end_at_the_loudest_level_and_at_the_floor_of_the_recording(levels, ends):
    assert range_db(np.array(levels, float)) == ends


@given(bottom=st.integers(-20, -1), size=st.integers(3, 10))
def test_levels_are_named_between_the_ends(bottom, size):
    low, high = bottom * 10, (bottom + size) * 10
    ticks = level_ticks(low, high)
    assert 1 <= len(ticks) <= 4
    assert all(low < tick < high for tick in ticks)


def test_a_range_is_never_empty():
    assert RANGE_LEAST_DB < RANGE_DB


@pytest.mark.parametrize(
    ("greatest", "limit"),
    [(0, 1), (math.nan, 1), (1, 1), (0.51, 1), (0.5, 0.5), (0.025, 0.03), (1.2, 1.5), (1e-9, 1e-6)],
)
def test_the_axis_of_samples_ends_at_a_round_number(greatest, limit):
    assert full_scale(greatest) == pytest.approx(limit)


def test_the_axis_of_absurd_samples_ends_somewhere():
    assert math.isfinite(full_scale(math.inf))
