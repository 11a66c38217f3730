"""Lifetime: when a worker leaves by itself, by the clock."""

import math

import pytest

from zaudio.core.lifetime import LAST_CHUNK, SPREAD, Lifetime

OVER = "its lifetime is over"


def lifetime(seconds=None, idle=None, *, share=0.0):
    """A worker's time that begins at 100."""
    lifetime = Lifetime(seconds, idle, share=share)
    lifetime.start(100.0)
    return lifetime


@pytest.mark.parametrize("busy", [False, True])
def test_without_a_limit_a_worker_stays(busy):
    endless = lifetime()
    assert endless.over(10**9, busy=busy) == ""
    assert endless.deadline(busy=busy) == math.inf


def test_an_idle_worker_leaves_when_its_lifetime_is_over():
    it = lifetime(10.0)
    assert it.deadline(busy=False) == 110.0
    assert it.over(109.9, busy=False) == ""
    assert it.over(110.0, busy=False) == OVER


def test_a_busy_worker_leaves_when_it_has_finished_the_chunk_that_it_is_at():
    it = lifetime(10.0)
    it.finish_chunk()
    assert it.over(110.0, busy=True) == ""
    assert it.deadline(busy=True) == 110.0 + LAST_CHUNK
    it.finish_chunk()
    assert it.over(111.0, busy=True) == OVER, "the others that it holds go back"


def test_a_chunk_that_never_ends_is_waited_for_only_so_long():
    it = lifetime(10.0)
    assert it.over(110.0, busy=True) == ""
    assert it.over(109.9 + LAST_CHUNK, busy=True) == ""
    assert it.over(110.0 + LAST_CHUNK, busy=True) == OVER


def test_a_worker_leaves_when_it_had_no_chunk_for_its_idle_timeout():
    it = lifetime(idle=3.0)
    assert it.over(102.0, busy=True) == ""
    assert it.deadline(busy=True) == math.inf
    assert it.deadline(busy=False) == 105.0
    assert it.over(104.9, busy=False) == ""
    assert it.over(105.0, busy=False) == "it had no chunk for 3 s"


@pytest.mark.parametrize(("late", "leaves"), [(2.0, 105.0), (60.0, 163.0)])
def test_seconds_in_which_a_worker_slept_were_not_idle(late, leaves):
    it = lifetime(idle=3.0)
    it.excuse(late, 100.0 + late)
    assert it.deadline(busy=False) == leaves


def test_no_more_is_excused_than_has_passed():
    it = lifetime(idle=3.0)
    it.excuse(50.0, 101.0)
    assert it.deadline(busy=False) == 104.0


def test_workers_of_one_start_live_shorter_and_idle_longer_each_by_its_share():
    assert lifetime(10.0, share=1.0).deadline(busy=True) == pytest.approx(100.0 + 10.0 * (1 - SPREAD))
    assert lifetime(10.0, share=0.5).deadline(busy=True) == pytest.approx(100.0 + 10.0 * (1 - SPREAD / 2))
    assert lifetime(idle=10.0, share=1.0).deadline(busy=False) == pytest.approx(100.0 + 10.0 * (1 + SPREAD))
