import os
import resource

import pytest

from zaudio.errors import UsageError
from zaudio.machine import PAGE, check_limits, descriptors, page_connections, usable_cores


@pytest.mark.parametrize(
    ("workers", "coordinates", "expected"),
    [(0, True, 32), (1, True, 34), (2, True, 36), (30, True, 100), (0, False, 22), (4, False, 22), (5, False, 25)],
)
def test_descriptors_are_those_of_the_process_that_needs_most(workers, coordinates, expected):
    assert descriptors(workers, coordinates=coordinates) == expected


def limited(monkeypatch, descriptors):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))


@pytest.mark.parametrize("workers", [0, 2, 20])
def test_a_page_gets_its_share_and_no_descriptor_of_the_farm(monkeypatch, workers):
    needed = descriptors(workers, coordinates=True, page=True)
    for limit, suffices in ((needed, True), (needed - 1, False)):
        limited(monkeypatch, limit)
        assert (limit - PAGE - page_connections() >= 32 + 2 * workers) == suffices


@pytest.mark.parametrize(
    ("workers", "limit", "sentence"),
    [
        (0, 36, "this process may open 36 files (ulimit -n), and with a page it needs 41; raise it"),
        (3, 46, "may open 46 files (ulimit -n), and with 3 workers and a page it needs 48; take at most 2 workers"),
    ],
)
def test_a_page_counts_as_workers_do(monkeypatch, workers, limit, sentence):
    limited(monkeypatch, limit)
    check_limits(workers, coordinates=True)
    with pytest.raises(UsageError) as raised:
        check_limits(workers, coordinates=True, page=True)
    assert sentence in str(raised.value)


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
