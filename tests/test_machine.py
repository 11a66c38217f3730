import os

import pytest

from zaudio.machine import descriptors, usable_cores


@pytest.mark.parametrize(
    ("workers", "coordinates", "expected"),
    [(0, True, 32), (1, True, 34), (2, True, 36), (30, True, 100), (0, False, 22), (4, False, 22), (5, False, 25)],
)
def test_descriptors_are_those_of_the_process_that_needs_most(workers, coordinates, expected):
    assert descriptors(workers, coordinates=coordinates) == expected


def test_usable_cores_are_those_that_this_process_may_use():
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_affinity_counts():
    before = os.sched_getaffinity(0)
    one = {min(before)}
    os.sched_setaffinity(0, one)
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
