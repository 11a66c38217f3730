import os

from zaudio.machine import usable_cores


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
