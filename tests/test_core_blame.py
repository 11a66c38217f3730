"""Blame: how credit comes back, which chunk is to blame, and when a chunk is late. By the clock.

One heartbeat is 0.2 s, silence of 1 s is death, a chunk may take 6 s.
"""

import pytest
from core_support import (
    TIMING,
    checked_desks,
    granted,
    grants,
    only,
    requeued,
    session,
)

from zaudio.core.actions import Duplicate, Fail, Rejected, Requeued, Stuck
from zaudio.core.blame import TIMES_NEEDED
from zaudio.errors import ChunkError
from zaudio.timing import Timing


@pytest.fixture
def desks():
    """Makes desks, and checks them all at the end."""
    yield from checked_desks()


@pytest.fixture
def desk(desks):
    return desks()


# Credit


def test_an_accepted_result_frees_its_credit(desk):
    desk.join("a")
    assert granted(desk.result("a", 1)) == [("a", 2)]


def test_a_rejected_result_frees_its_credit_and_its_chunk_is_granted_again(desk):
    desk.join("a")
    actions = desk.result("a", 0, length=3)
    assert requeued(actions) == [0]
    assert grants(actions) == [("a", 0, 2)]
    assert desk.count(Requeued) == 1
    assert desk.leases.failures(0) == 0


def test_a_duplicate_frees_the_credit_of_its_own_attempt(desks):
    desk = desks(chunks=2)
    desk.join("a", "b")
    assert desk.leases.live(0) == (session("a"), session("b"))
    desk.result("b", 0, 2)
    assert desk.leases.load(session("a")) == 2
    desk.result("a", 0, 1)
    assert desk.count(Duplicate) == 1
    assert desk.leases.load(session("a")) == 1


def test_a_result_that_was_never_granted_frees_nobodys_credit(desk):
    desk.join("a")
    assert granted(desk.result("a", 5)) == []
    assert granted(desk.result("a", 0, 2)) == []
    assert desk.count(Rejected) == 2
    assert desk.leases.load(session("a")) == 2


def test_the_same_result_twice_frees_credit_once(desk):
    desk.join("a")
    desk.result("a", 1)
    load = desk.leases.load(session("a"))
    assert granted(desk.result("a", 1)) == []
    assert desk.leases.load(session("a")) == load == 2
    assert desk.count(Duplicate) == 1


# Failures


def test_a_chunk_whose_op_raised_is_granted_again_alone(desk):
    desk.join("a", "b")
    actions = desk.failed("a", 0)
    assert requeued(actions) == [0]
    assert granted(actions) == [], "whoever is the first to be idle gets it"
    assert desk.leases.failures(0) == 1
    assert granted(desk.result("b", 2)) == [("b", 4)]
    assert granted(desk.result("a", 1)) == [("a", 0)]


def test_the_traceback_behind_a_failures_sentence_is_no_part_of_its_cause(desks):
    desk = desks(chunks=3, credit=1)
    desk.join("a")
    text = "ValueError: one (/ops.py:3)\nTraceback (most recent call last):\nValueError: one"
    for attempt in (1, 2):
        (requeued,) = only(desk.failed("a", 0, attempt, text), Requeued)
        assert requeued.reason == "ValueError: one (/ops.py:3)"
    (fail,) = only(desk.failed("a", 0, 3, text), Fail)
    assert fail.error.causes == ("worker a: ValueError: one (/ops.py:3)",) * 3


def test_three_failures_end_the_job_and_name_the_chunk_its_frames_and_the_causes(desks):
    desk = desks(chunks=3, credit=1)
    assert grants(desk.join("a")) == [("a", 0, 1)]
    assert grants(desk.failed("a", 0, 1, "ValueError: one")) == [("a", 0, 2)]
    assert grants(desk.failed("a", 0, 2, "ValueError: two")) == [("a", 0, 3)]
    (fail,) = only(desk.failed("a", 0, 3, "ValueError: three"), Fail)
    assert isinstance(fail.error, ChunkError)
    assert (fail.error.index, fail.error.start, fail.error.stop) == (0, 16, 24)
    assert fail.error.causes == tuple(f"worker a: ValueError: {number}" for number in ("one", "two", "three"))
    assert "3 times" in str(fail.error)


def test_how_many_failures_end_the_job_is_a_matter_of_timing(desks):
    desk = desks(timing=Timing(heartbeat=0.2, failures=1))
    desk.join("a")
    assert only(desk.failed("a", 0), Fail)


def test_a_failure_of_a_lease_that_was_given_up_is_no_blame(desk):
    desk.join("a")
    desk.ready("a", received=2, held=((1, 1),))
    assert desk.failed("a", 0, 1) == []
    assert desk.failed("a", 7, 1) == []
    assert desk.leases.failures(0) == 0


def test_a_failure_of_a_chunk_that_has_its_result_is_no_blame(desks):
    desk = desks(chunks=1)
    desk.join("a", "b")
    desk.result("b", 0, 2)
    assert only(desk.failed("a", 0, 1), Requeued) == []
    assert desk.count(Requeued) == 0
    assert desk.leases.in_flight == 0


def test_a_failed_chunk_that_another_is_at_is_not_granted_a_third_time(desks):
    desk = desks(chunks=1)
    desk.join("a", "b", "c")
    assert desk.leases.live(0) == (session("a"), session("b"))
    assert granted(desk.failed("a", 0, 1)) == []
    assert desk.leases.failures(0) == 1
    assert granted(desk.failed("b", 0, 2))[0][1] == 0


# Which frames failed


@pytest.fixture
def runs(desks):
    """Two chunks of the user's, of 4 frames, travel in each grant."""
    return desks(chunks=3, credit=1, run=2, timing=Timing(heartbeat=0.2, failures=1))


@pytest.mark.parametrize(
    ("frames", "index"), [((16, 20), 1), ((20, 24), 0), ((17, 18), 1), ((23, 24), 0), ((16, 24), 0)]
)
def test_a_failure_names_the_users_chunk_and_the_frames_that_the_worker_named(runs, frames, index):
    runs.join("a")
    (fail,) = only(runs.failed("a", 0, frames=frames), Fail)
    assert (fail.error.index, fail.error.start, fail.error.stop) == (index, *frames)


@pytest.mark.parametrize("frames", [(0, 0), (15, 20), (16, 25), (20, 20), (24, 16), (0, 4), (24, 25), (0, 2**48)])
def test_frames_that_were_not_granted_are_not_believed(runs, frames):
    runs.join("a")
    (fail,) = only(runs.failed("a", 0, frames=frames), Fail)
    assert (fail.error.index, fail.error.start, fail.error.stop) == (0, 16, 24), "all that was granted"


def test_the_users_chunks_are_counted_in_output_order_over_all_grants(runs):
    assert [runs.job.chunk_at(start) for start in range(0, 24, 4)] == [5, 4, 3, 2, 1, 0]
    assert runs.job.chunks_a_grant == 2


def test_a_death_names_all_that_was_granted(runs):
    runs.join("a")
    (fail,) = only(runs.later(0.01).gone("a"), Fail)
    assert (fail.error.index, fail.error.start, fail.error.stop) == (0, 16, 24), "by the chunk that its events name"


def test_the_last_failure_says_which_frames(desks):
    desk = desks(chunks=1, run=4)
    desk.join("a")
    for attempt, frames in ((1, (0, 2)), (2, (2, 4))):
        desk.failed("a", 0, attempt, frames=frames)
    (fail,) = only(desk.failed("a", 0, 3, frames=(6, 8)), Fail)
    assert (fail.error.index, fail.error.start, fail.error.stop) == (0, 6, 8)
    assert len(fail.error.causes) == 3


@pytest.mark.parametrize("index", [9, 10, 11, 2**48])
def test_a_failure_of_a_chunk_that_nobody_has_is_harmless(desk, index):
    desk.join("a")
    assert only(desk.failed("a", index, frames=(0, 8)), Fail) == []
    assert desk.leases.load(session("a")) == 2


# Who was at work


def test_a_chunk_that_was_granted_to_a_worker_that_was_silent_by_then_is_not_to_blame(desks):
    desk = desks(chunks=3, credit=1, ciphering=False)
    desk.join("a", "b", "c")
    assert desk.leases.live(1) == (session("b"),)
    desk.wait(0.5, "b", "c")
    desk.result("a", 0)  # it is heard of, and at nothing from now on
    desk.wait(0.5, "b", "c")
    assert granted(desk.failed("b", 1)) == [("a", 1)], "the idle one, silent for longer than a heartbeat"
    desk.wait(0.6, "b", "c")
    assert not desk.desk.knows(session("a"))
    assert desk.leases.failures(1) == 1, "of b"


def test_a_chunk_granted_in_the_instant_of_a_death_is_not_to_blame(desk):
    desk.join("a")
    desk.gone("a")
    assert desk.leases.failures(0) == 0


# Deadlines


def test_a_chunk_past_its_deadline_makes_its_worker_stuck_and_is_granted_elsewhere(desk):
    desk.join("a")
    assert only(desk.wait(6.0, "a"), Stuck) == []
    actions = desk.wait(0.1, "a")
    assert only(actions, Stuck) == [Stuck(session("a"), 0)]
    assert sorted(requeued(actions)) == [0, 1]
    assert [desk.leases.failures(index) for index in (0, 1)] == [1, 0]
    assert desk.desk.knows(session("a")), "it lives"
    assert granted(desk.wait(1.0, "a")) == [], "and gets nothing more"
    assert granted(desk.join("b")) == [("b", 0)], "the suspect goes alone"


def test_a_stuck_worker_is_blamed_once(desk):
    desk.join("a")
    desk.wait(6.1, "a")
    actions = desk.wait(10.0, "a")
    assert only(actions, Stuck) == []
    assert desk.leases.failures(0) == 1
    assert desk.goodbye("a")
    desk.join("b")
    assert desk.leases.failures(0) == 1


def test_the_death_of_a_stuck_worker_blames_nobody_again(desk):
    desk.join("a")
    desk.wait(6.1, "a")
    desk.gone("a")
    assert desk.leases.failures(0) == 1
    assert desk.count(Requeued) == 2


def test_the_deadline_runs_from_when_a_chunk_became_the_head(desk):
    desk.join("a")
    desk.wait(5.0, "a")
    desk.result("a", 0)
    assert only(desk.wait(5.9, "a"), Stuck) == []
    assert only(desk.wait(0.2, "a"), Stuck) == [Stuck(session("a"), 1)]


def test_a_stuck_worker_that_answers_is_given_chunks_again(desk):
    desk.join("a")
    desk.wait(6.1, "a")
    actions = desk.result("a", 0)
    assert desk.assembler.accepted(0), "its result is as good as any"
    assert grants(actions) == [("a", 1, 2)]
    assert desk.leases.failures(0) == 0, "over and done with"


def test_a_stuck_worker_is_late_with_what_waited_behind_the_head_too(desk):
    desk.join("a")
    desk.wait(6.1, "a")
    desk.result("a", 0)  # now it is at chunk 1, which was taken from it, and was given it once more
    actions = desk.wait(6.1, "a")
    assert only(actions, Stuck) == [Stuck(session("a"), 1)], "nothing granted behind it may wait for ever"
    assert desk.leases.failures(1) == 0, "the chunk that it was given lately only waited there"
    assert desk.leases.waits(1)


def test_nobody_is_late_with_what_a_lost_result_left_at_the_head(desk):
    desk.join("a")
    desk.wait(5.9, "a")
    desk.ready("a", received=2, held=((1, 1),))
    assert only(desk.wait(1.0, "a"), Stuck) == []


@pytest.mark.covers(
    "60 s at first, later max(30 s, 10 x median); `--chunk-timeout` in the place of both",
    number=17,
    bound="as said",
    measured="as said",
    removed="`blame.py`: the end of `chunk_timeout`; `settings.py`: `.allowing(self.chunk_timeout)`",
)
def test_the_deadline_follows_what_chunks_take(desks):
    desk = desks(chunks=100, credit=1)
    blame = desk.blame
    desk.join("a")
    assert blame.chunk_timeout == TIMING.chunk_timeout
    for index in range(TIMES_NEEDED):
        assert blame.chunk_timeout == TIMING.chunk_timeout
        desk.later(0.5).result("a", index)
    assert blame.chunk_timeout == pytest.approx(5.0), "ten medians"
    for index in range(TIMES_NEEDED, 80):
        desk.later(0.01).result("a", index)
    assert blame.chunk_timeout == TIMING.chunk_timeout_floor


@pytest.mark.parametrize("run", [1, 2, 8])
def test_the_first_deadline_of_a_run_is_that_of_all_chunks_in_it(desks, run):
    desk = desks(chunks=100, credit=1, run=run)
    assert desk.blame.chunk_timeout == run * TIMING.chunk_timeout
    desk.join("a")
    assert only(desk.wait(run * TIMING.chunk_timeout, "a"), Stuck) == []
    assert only(desk.wait(0.1, "a"), Stuck) == [Stuck(session("a"), 0)]


def test_what_runs_take_is_measured_as_runs(desks):
    desk = desks(chunks=100, credit=1, run=4)
    desk.join("a")
    for index in range(TIMES_NEEDED):
        desk.later(0.5).result("a", index)
    assert desk.blame.chunk_timeout == pytest.approx(5.0), "ten medians, however many chunks"


def test_what_a_chunk_takes_is_measured_at_the_head_alone(desk):
    desk.join("a")
    desk.later(0.5).result("a", 1)
    assert len(desk.blame._times) == 0
    desk.later(0.5).result("a", 0)
    assert list(desk.blame._times) == pytest.approx([1.0])
