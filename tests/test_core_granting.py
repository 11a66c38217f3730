"""Granting: which worker is granted which chunk, suspects and stragglers, and when hope is lost. By the clock.

One heartbeat is 0.2 s, silence of 1 s is death, a chunk may take 6 s.
"""

import pytest
from core_support import (
    DEAD,
    HEARTBEAT,
    TIMING,
    checked_desks,
    granted,
    grants,
    only,
    requeued,
    route,
    session,
)

from zaudio.core.actions import Duplicate, Fail, Grant, Requeued
from zaudio.core.granting import WINDOW_LEAST
from zaudio.core.jury import Audit
from zaudio.errors import NoWorkerError, ProtocolError


@pytest.fixture
def desks():
    """Makes desks, and checks them all at the end."""
    yield from checked_desks()


@pytest.fixture
def desk(desks):
    return desks()


# Granting


def test_chunks_are_granted_in_output_order_and_breadth_first(desk):
    for name in "abc":
        desk.hello(name)
    assert granted(desk.ready("a")) == [("a", 0), ("a", 1)]
    assert granted(desk.ready("b")) == [("b", 2), ("b", 3)]
    desk.goodbye("a")
    assert granted(desk.ready("c")) == [("c", 0), ("c", 1)], "what came back goes first"
    actions = desk.result("b", 2) + desk.result("c", 0, 2)
    assert granted(actions) == [("b", 4), ("c", 5)]


def test_the_least_loaded_worker_is_granted_to_first(desks):
    desk = desks(chunks=4, credit=3)
    assert len(granted(desk.join("a"))) == 3
    assert granted(desk.join("b")) == [("b", 3)]
    desk.hello("c")
    assert granted(desk.goodbye("a")) == [("b", 0), ("b", 1)]
    assert granted(desk.ready("c")) == [("c", 2)]


@pytest.mark.parametrize("credit", [1, 2, 64])
def test_nobody_holds_more_than_the_credit(desks, credit):
    desk = desks(chunks=1000, credit=credit, window=1000)
    assert len(granted(desk.join("a"))) == credit
    assert granted(desk.ready("a")) == []
    assert granted(desk.result("a", 0)) == [("a", credit)]


@pytest.mark.parametrize("window", [1, 2, 3, 7, 10, 11])
def test_nothing_is_granted_beyond_the_window(desks, window):
    desk = desks(credit=64, window=window, ciphering=False)
    actions = desk.join("a")
    assert [index for _, index in granted(actions)] == list(range(min(window, 10)))


def test_the_window_begins_at_the_first_chunk_that_the_cipher_has_not_finished_with(desks):
    desk = desks(credit=64, window=3, ciphering=False)
    desk.join("a")
    assert granted(desk.result("a", 0)) == [], "released, but the cipher is still at it"
    assert granted(desk.progress(ciphered=1)) == [("a", 3)]
    assert granted(desk.result("a", 2)) == []
    assert granted(desk.result("a", 1)) == []
    assert granted(desk.progress(ciphered=2)) == [("a", 4)]
    assert granted(desk.progress(ciphered=3)) == [("a", 5)]
    assert desk.granting._released == 3


def test_the_window_grows_with_the_workers_and_is_capped_by_memory(desks):
    desk = desks(chunks=1000, credit=8, window=50)
    assert desk.granting.window == WINDOW_LEAST
    for name, window in (("a", 24), ("b", 48), ("c", 50)):
        desk.hello(name)
        assert desk.granting.window == window
    assert desks(window=0).granting.window == 1, "it is at least one chunk"


def test_the_job_is_finished_when_all_was_given_to_the_cipher(desks):
    desk = desks(chunks=2)
    desk.join("a")
    desk.result("a", 1)
    assert not desk.granting.finished
    desk.result("a", 0)
    assert desk.granting.finished
    assert desk.leases.in_flight == 0
    assert desks(chunks=0).granting.finished


# Suspects


def test_a_suspect_is_granted_to_an_idle_worker_at_once(desks):
    desk = desks(chunks=4, ciphering=False)
    desk.join("a", "b")
    for name, index in (("a", 0), ("b", 2), ("b", 3)):
        desk.result(name, index)
    assert grants(desk.failed("a", 1)) == [("b", 1, 2)]


def test_a_worker_with_a_suspect_is_given_nothing_else(desk):
    desk.join("a")
    desk.failed("a", 0)
    assert grants(desk.result("a", 1)) == [("a", 0, 2)]
    assert granted(desk.ready("a")) == []
    assert granted(desk.later(0.1).tick()) == []
    assert granted(desk.result("a", 0, 2)) == [("a", 2), ("a", 3)], "and is itself again afterwards"


def test_the_least_loaded_worker_is_kept_free_for_a_suspect(desks):
    desk = desks(chunks=100, credit=4, window=100)
    desk.join("a", "b")
    desk.failed("a", 0)
    taken = []
    for lease in desk.leases.held(session("a")):
        taken += grants(desk.result("a", lease.index))
    assert taken == [("a", 0, 2)], "it was drained, and got the suspect alone"
    assert granted(desk.result("b", 4)) == [("b", 8)], "the other goes on with new ones"


def test_a_suspect_is_granted_though_others_always_have_something_to_do(desks):
    desk = desks(chunks=200, credit=4, window=200)
    desk.join("a", "b", "c")
    desk.failed("a", 0)
    for _ in range(12):  # everyone returns what is oldest, in turn
        for name in "abc":
            head = desk.leases.head(session(name))
            if head is not None and head.attempt == 1:
                desk.result(name, head.index)
        if desk.leases.live(0):
            break
    (holder,) = desk.leases.live(0)
    assert desk.leases.load(holder) == 1


# After a rejected result


def test_a_chunk_whose_result_was_rejected_waits_a_moment_for_others_that_are_full(desks):
    desk = desks(chunks=20, window=20)
    desk.join("a", "b")
    assert [each.index for each in desk.leases.held(session("b"))] == [2, 3]
    assert grants(desk.result("a", 0, length=3)) == [("a", 4, 1)], "later chunks go on"
    assert granted(desk.result("a", 1)) == [("a", 5)]
    assert grants(desk.result("b", 2)) == [("b", 0, 2)], "the first that has credit"


def test_it_goes_back_to_the_same_worker_after_a_heartbeat(desks):
    desk = desks(chunks=20, window=20)
    desk.join("a", "b")
    desk.result("a", 0, length=3)
    desk.alive("a", "b")
    desk.later(HEARTBEAT)
    assert grants(desk.result("a", 1)) == [("a", 0, 2)]


def test_it_goes_back_at_once_to_the_only_worker(desks):
    desk = desks(chunks=20, window=20)
    desk.join("a")
    desk.hello("b")  # which is not ready
    assert grants(desk.result("a", 0, length=3)) == [("a", 0, 2)]


def test_it_goes_back_when_the_others_are_lost(desks):
    desk = desks(chunks=20, window=20)
    desk.join("a", "b")
    desk.result("a", 0, length=3)
    desk.goodbye("b")
    assert ("a", 0, 2) in grants(desk.result("a", 1))


def test_when_only_that_chunk_is_left_the_worker_idles_for_a_moment(desks):
    desk = desks(chunks=4)
    desk.join("a", "b")
    assert grants(desk.result("a", 0, length=3)) == []
    assert grants(desk.result("a", 1)) == []
    assert grants(desk.wait(HEARTBEAT + 0.06, "a", "b"))[:1] == [("a", 0, 2)]


# Stragglers


def test_the_chunk_that_the_cipher_waits_for_is_granted_once_more_when_nothing_else_is_left(desks):
    desk = desks(chunks=2)
    assert grants(desk.join("a")) == [("a", 0, 1), ("a", 1, 1)]
    assert grants(desk.join("b")) == [("b", 0, 2)]
    assert grants(desk.join("c")) == [], "at most two are at it"


def test_a_grant_says_whether_another_worker_is_at_the_chunk_already(desks):
    desk = desks(chunks=2)
    assert [grant.repeated for grant in only(desk.join("a"), Grant)] == [False, False]
    assert [grant.repeated for grant in only(desk.join("b"), Grant)] == [True]
    desk.gone("b")
    desk.failed("a", 0)
    assert [grant.repeated for grant in only(desk.result("a", 1), Grant)] == [False], "to grant again is no repetition"


def test_a_full_window_is_reason_enough_for_a_straggler(desks):
    desk = desks(chunks=100, window=2)
    desk.join("a")
    assert grants(desk.join("b")) == [("b", 0, 2)]


def test_while_the_cipher_is_busy_nothing_is_granted_twice(desks):
    desk = desks(chunks=3, window=3, ciphering=False)
    desk.join("a")
    desk.result("a", 0)
    assert grants(desk.join("b")) == [], "chunk 0 is released, and the cipher is at it"
    assert grants(desk.progress(ciphered=1)) == [("b", 1, 2)]


def test_new_chunks_go_before_stragglers(desks):
    desk = desks(chunks=3)
    desk.join("a")
    assert grants(desk.join("b")) == [("b", 2, 1)], "it is idle no more"


def test_a_chunk_that_has_its_result_is_not_granted_once_more(desks):
    desk = desks(chunks=1)
    desk.join("a", "b")
    assert grants(desk.result("b", 0, 2)) == [], "though another is still at it"
    assert grants(desk.wait(1.0, "a", "b")) == []


def test_a_suspect_is_never_a_straggler(desks):
    desk = desks(chunks=1)
    desk.join("a")
    desk.failed("a", 0)
    assert desk.leases.live(0) == (session("a"),)
    assert grants(desk.join("b")) == []


def test_the_loss_of_one_of_two_attempts_requeues_nothing(desks):
    desk = desks(chunks=1)
    desk.join("a", "b")
    assert requeued(desk.goodbye("a")) == []
    assert desk.count(Requeued) == 0
    assert desk.leases.live(0) == (session("b"),)


# Doubt


def test_chunks_of_a_worker_that_may_be_dead_are_granted_once_more_before_new_ones(desks):
    desk = desks()
    desk.join("a", "b")
    desk.result("b", 2)
    assert grants(desk.wait(1.4 * HEARTBEAT, "b")) == []
    desk.result("b", 3)  # there is credit, and a is silent for longer than it may be
    assert grants(desk.wait(0.2 * HEARTBEAT, "b")) == []
    assert granted(desk.result("b", 4)) == [("b", 0)]
    assert granted(desk.result("b", 5)) == [("b", 1)]
    assert granted(desk.result("b", 0, 2)) == [("b", 6)], "each once"
    assert desk.count(Requeued) == 0
    desk.alive("a")
    assert len(only(desk.result("a", 0), Duplicate)) == 1, "it lived, and its result would have been as good"


def test_nothing_of_a_worker_that_was_heard_of_again_is_granted_once_more(desks):
    desk = desks()
    desk.join("a", "b")
    desk.wait(1.6 * HEARTBEAT, "b")
    desk.wait(HEARTBEAT, "a", "b")
    assert granted(desk.result("b", 2)) == [("b", 4)]


def test_a_worker_to_whom_nothing_can_be_sent_is_in_doubt_at_once(desks):
    desk = desks()
    desk.join("a", "b")
    assert desk.desk.unreachable(session("a"), now=desk.now) == []
    desk.wait(HEARTBEAT, "b")
    assert granted(desk.result("b", 2)) == [("b", 0)]
    desk.wait(HEARTBEAT, "a", "b")
    assert granted(desk.result("b", 3)) == [("b", 4)], "it came back: its other chunk is its own"


def test_suspects_and_audited_chunks_are_not_granted_once_more_in_doubt(desks):
    desk = desks(audit=Audit(100, bytes(32)))
    desk.join("a", "b")
    desk.desk.unreachable(session("a"), now=desk.now)
    desk.join("c")
    assert desk.leases.asked(0) == {session("a"), session("b")}, "two are asked anyway"


# Hope


def test_a_job_without_workers_ends_after_the_worker_timeout(desk):
    assert only(desk.wait(TIMING.worker_timeout), Fail) == []
    (fail, *_) = only(desk.wait(0.1), Fail)
    assert isinstance(fail.error, NoWorkerError)
    assert str(fail.error) == "no worker could be given a chunk for 30 s"


def test_a_ready_worker_is_hope(desk):
    desk.wait(29.0)
    desk.join("a")
    assert only(desk.wait(29.0, "a"), Fail) == []


def test_a_worker_that_is_never_ready_is_no_hope_and_is_told_of(desk):
    desk.hello("a")
    (fail, *_) = only(desk.wait(30.1, "a"), Fail)
    assert "for 30 s; 1 worker prepares its ops still, and a longer --worker-timeout" in str(fail.error)


def test_the_time_in_which_workers_wait_in_a_queue_is_not_counted(desk):
    desk.desk.expect(awaited=True, given_up="")
    assert only(desk.wait(10 * TIMING.worker_timeout), Fail) == []
    desk.desk.expect(awaited=False, given_up="")
    assert only(desk.wait(TIMING.worker_timeout), Fail) == []
    assert only(desk.wait(0.1), Fail) != []


def test_when_none_can_come_the_job_ends_with_its_last_worker(desk):
    desk.join("a")
    desk.hello("b")
    desk.goodbye("b", "it lacks scipy")
    desk.desk.expect(awaited=False, given_up="no worker can come: attic: it is out")
    assert only(desk.wait(5.0, "a"), Fail) == [], "this one is at work"
    (fail, *_) = only(desk.wait(DEAD + HEARTBEAT), Fail)
    assert str(fail.error) == "no worker can come: attic: it is out", "which says all that is known"


def test_a_job_whose_chunks_are_all_there_needs_no_worker(desks):
    desk = desks(chunks=1)
    desk.join("a")
    desk.result("a", 0)
    desk.goodbye("a")
    desk.desk.expect(awaited=False, given_up="no worker can come")
    assert only(desk.wait(5.0), Fail) == []


def test_a_stuck_worker_is_no_hope(desk):
    desk.join("a")
    desk.wait(6.1, "a")
    assert only(desk.wait(29.0, "a"), Fail) == []
    assert only(desk.wait(1.5, "a"), Fail) != []


def test_hope_runs_from_when_the_last_worker_was_lost(desk):
    desk.join("a")
    desk.wait(5.0, "a")
    desk.goodbye("a")
    assert only(desk.wait(29.9), Fail) == []
    assert only(desk.wait(0.2), Fail) != []


def test_a_finished_job_needs_no_worker(desks):
    desk = desks(chunks=1)
    desk.join("a")
    desk.result("a", 0)
    desk.goodbye("a")
    assert only(desk.wait(40.0), Fail) == []


@pytest.mark.parametrize("why", ["an op", "a version", "bytes", "preparing"])
def test_why_the_last_worker_could_not_take_part_is_said_when_hope_is_lost(desk, why):
    if why == "an op":
        desk.hello("a", ops=())
        expected = "worker a was refused: it lacks invert"
    elif why == "a version":
        desk.hello("a", version=9)
        expected = "worker a was refused: it speaks protocol version 9, this coordinator speaks 1"
    elif why == "bytes":
        desk.desk.refuse(route("a"), ProtocolError("junk"))
        expected = "a peer does not speak protocol version 1: junk"
    else:
        desk.hello("a")
        desk.goodbye("a", "its echo cannot be tuned")
        expected = "worker a: its echo cannot be tuned"
    (fail, *_) = only(desk.wait(30.1), Fail)
    assert str(fail.error) == f"no worker could be given a chunk for 30 s; {expected}"
