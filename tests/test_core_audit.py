"""Audits at the Desk: when two workers are asked, which one a third proves wrong, and what follows for a liar."""

import pytest
from core_support import Desk, checksum, grants, messages, only, requeued, result, session

from zaudio.core.actions import Accepted, Duplicate, Fail, Liar, Lost, Noted, Rejected, Released, Withdrawn
from zaudio.errors import ConflictError, NoWorkerError
from zaudio.wire.messages import Refused


class Some:
    """An audit of the chunks that the test names."""

    def __init__(self, *indexes):
        self.indexes = indexes

    def covers(self, index):
        return index in self.indexes


@pytest.fixture
def desk():
    """Ten chunks, of which 0 and 4 are audited."""
    desk = Desk(10, audit=Some(0, 4))
    yield desk
    desk.check()


def kinds(actions, *kinds):
    return [action for action in actions if isinstance(action, kinds)]


# Two are asked


def test_an_audited_chunk_is_granted_to_two_workers_at_once(desk):
    desk.join("a")
    assert ("b", 0, 2) in grants(desk.join("b"))
    assert set(desk.leases.live(0)) == {session("a"), session("b")}


def test_a_chunk_that_is_not_audited_is_granted_once(desk):
    desk.join("a", "b")
    assert len(desk.leases.live(1)) == 1


def test_it_is_released_only_when_two_agree(desk):
    desk.join("a", "b")
    assert kinds(desk.result("a", 0, 1), Noted, Accepted, Released) == [Noted(session("a"), 0, 1)]
    assert kinds(desk.result("b", 0, 2), Noted, Accepted, Released) == [Accepted(session("b"), 0, 2), Released(0)]


def test_the_same_worker_does_not_confirm_itself(desk):
    desk.join("a")
    desk.result("a", 0, 1)
    assert kinds(desk.result("a", 0, 1), Noted, Accepted, Duplicate) == [Duplicate(session("a"), 0, 1)]
    for _ in range(3):
        for lease in desk.leases.held(session("a")):
            assert lease.index != 0
            desk.result("a", lease.index, lease.attempt)
    assert desk.assembler.released == 0
    assert not desk.assembler.accepted(0)


def test_what_a_worker_said_before_it_left_still_counts(desk):
    desk.join("a")
    desk.result("a", 0, 1)
    desk.goodbye("a")
    assert ("b", 0, 2) in grants(desk.join("b"))
    assert Released(0) in desk.result("b", 0, 2)


def test_a_second_worker_that_dies_is_replaced_by_another(desk):
    desk.join("a", "b")
    desk.result("a", 0, 1)
    assert 0 in requeued(desk.gone("b"))
    assert ("c", 0, 3) in grants(desk.join("c"))


def test_a_suspect_is_granted_alone_to_who_was_not_asked(desk):
    desk.join("a", "b")
    desk.failed("a", 0, 1)
    assert desk.leases.failures(0) == 1
    granted = grants(desk.join("c"))
    assert granted == [("c", 0, 3)], "and nothing behind it"
    assert not [lease for lease in desk.leases.held(session("c")) if lease.index != 0]


def test_no_payload_is_kept_of_a_result_that_decides_nothing(desk):
    """A Noted is not an Accepted: the shell keeps payloads of those alone."""
    desk.join("a", "b")
    assert not kinds(desk.result("a", 0, 1), Accepted)
    assert not desk.assembler.accepted(0)


# They differ


def differ(desk):
    """a and b have given different results of chunk 0; returns what c is granted."""
    desk.join("a", "b")
    desk.result("a", 0, 1)
    actions = desk.result("b", 0, 2, checksum=7)
    assert kinds(actions, Noted) == [Noted(session("b"), 0, 2)]
    assert not kinds(actions, Liar, Fail), "neither is believed, neither is blamed"
    return grants(desk.join("c"))


def test_a_third_worker_is_asked_when_two_differ(desk):
    assert ("c", 0, 3) in differ(desk)


@pytest.mark.parametrize(("sum_", "liar"), [(checksum(0), "b"), (7, "a")])
def test_the_third_decides_and_the_liar_is_named_and_dropped(desk, sum_, liar):
    differ(desk)
    actions = desk.result("c", 0, 3, checksum=sum_)
    assert kinds(actions, Liar) == [Liar(session(liar), liar, 0)]
    assert kinds(actions, Accepted, Released)[:2] == [Accepted(session("c"), 0, 3), Released(0)]
    assert [lost.name for lost in only(actions, Lost)] == [liar]
    assert "is not that of two others" in next(m.reason for m in messages(actions) if isinstance(m, Refused))
    assert not desk.desk.knows(session(liar))


def test_a_liar_cannot_come_back(desk):
    differ(desk)
    desk.result("c", 0, 3)
    (refused,) = messages(desk.hello("b", life=2))
    assert isinstance(refused, Refused)
    assert refused.reason == "its result of chunk 0 is not that of two others"
    assert desk.ready("b") != []
    assert not desk.leases.held(session("b"))


def test_nothing_more_is_accepted_of_a_liar(desk):
    differ(desk)
    held = [lease for lease in desk.leases.held(session("b")) if lease.index != 0]
    assert held
    desk.result("c", 0, 3)
    for lease in held:
        (rejected,) = kinds(desk.result("b", lease.index, lease.attempt), Accepted, Noted, Rejected)
        assert rejected.reason == "its worker gave a wrong result before"


def test_three_different_results_fail_the_job(desk):
    differ(desk)
    (fail,) = only(desk.result("c", 0, 3, checksum=8), Fail)
    assert isinstance(fail.error, ConflictError)
    assert (fail.error.first, fail.error.second) == ("a", "b")


def test_three_different_results_of_a_run_name_a_chunk_as_the_user_counts_them():
    desk = Desk(10, run=4, audit=Some(0))
    differ(desk)
    (fail,) = only(desk.result("c", 0, 3, checksum=8), Fail)
    assert fail.error.index == 0


def test_a_late_result_that_two_others_contradict_convicts_its_worker():
    desk = Desk(3, audit=Some(0))
    desk.join("a", "b", "c")
    for lease in (*desk.leases.held(session("a")), *desk.leases.held(session("b"))):
        if lease.index != 0:
            desk.result("a" if lease.session == session("a") else "b", lease.index, lease.attempt)
    assert session("c") in desk.leases.live(0), "the cipher waits, and c was idle"
    desk.result("a", 0, 1)
    desk.result("b", 0, 2)
    actions = desk.result("c", 0, 3, checksum=9)
    assert kinds(actions, Duplicate, Liar, Fail) == [Duplicate(session("c"), 0, 3), Liar(session("c"), "c", 0)]
    desk.check()


# What a liar said before


def test_results_of_a_liar_that_are_not_released_yet_are_withdrawn_and_computed_again():
    desk = Desk(6, audit=Some(0), credit=4)
    desk.join("liar")
    for index in (1, 2):
        assert desk.result("liar", index, 1)
    desk.result("liar", 0, 1, checksum=7)
    desk.join("b", "c")
    for name in ("b", "c"):
        lease = next((x for x in desk.leases.held(session(name)) if x.index == 0), None)
        actions = desk.result(name, 0, lease.attempt)
    assert kinds(actions, Liar, Withdrawn, Accepted, Released) == [
        Liar(session("liar"), "liar", 0),
        Withdrawn(1, "liar"),
        Withdrawn(2, "liar"),
        Accepted(session("c"), 0, 3),
        Released(0),
    ]
    assert desk.jury.dropped == {session("liar"): 0}, "nothing was released on its word"
    again = [lease.index for name in "bc" for lease in desk.leases.held(session(name))]
    assert {1, 2} <= set(again)
    desk.check()


def test_an_attempt_of_a_chunk_that_is_computed_again_never_has_the_number_of_an_earlier_one():
    desk = Desk(6, audit=Some(0), credit=4)
    desk.join("liar")
    desk.result("liar", 1, 1)
    assert not desk.leases.asked(1), "it is accepted, and forgotten"
    desk.result("liar", 0, 1, checksum=7)
    desk.join("b", "c")
    for name in ("b", "c"):
        desk.result(name, 0, next(x.attempt for x in desk.leases.held(session(name)) if x.index == 0))
    (lease,) = [lease for name in "bc" for lease in desk.leases.held(session(name)) if lease.index == 1]
    assert lease.attempt > 1
    name = "b" if lease.session == session("b") else "c"
    desk.result(name, 1, lease.attempt)
    assert desk.assembler.accepted(1)


def test_what_was_released_on_the_word_of_a_liar_is_counted():
    desk = Desk(4, audit=Some(2))
    desk.join("liar")
    for index in (0, 1):
        desk.result("liar", index, 1)
    desk.result("liar", 2, 1, checksum=7)
    desk.join("b", "c")
    for name in ("b", "c"):
        lease = next(x for x in desk.leases.held(session(name)) if x.index == 2)
        desk.result(name, 2, lease.attempt)
    assert desk.jury.dropped == {session("liar"): 16}
    assert desk.assembler.released >= 3


def test_what_a_liar_said_of_other_audited_chunks_counts_no_more():
    desk = Desk(3, audit=Some(0, 1), credit=2)
    desk.join("liar")
    desk.result("liar", 1, 1, checksum=7)
    desk.result("liar", 0, 1, checksum=7)
    desk.join("b", "c")
    for name in ("b", "c"):
        desk.result(name, 0, next(x.attempt for x in desk.leases.held(session(name)) if x.index == 0))
    assert session("liar") in desk.jury.dropped
    assert session("liar") not in desk.leases.asked(1)
    assert desk.jury._noted.get(1, {}).keys() <= {session("b"), session("c")}
    for name in ("b", "c"):
        for lease in desk.leases.held(session(name)):
            desk.result(name, lease.index, lease.attempt)
    assert desk.assembler.finished
    desk.check()


# Too few workers


def test_one_worker_alone_ends_the_job_after_the_worker_timeout_with_the_reason(desk):
    desk.join("a")
    for _ in range(10):
        for lease in desk.leases.held(session("a")):
            desk.result("a", lease.index, lease.attempt)
    assert not desk.leases.held(session("a"))
    assert not only(desk.wait(29.5, "a"), Fail)
    (fail, *_) = only(desk.wait(1, "a"), Fail)
    assert isinstance(fail.error, NoWorkerError)
    assert str(fail.error) == (
        "chunk 0 is audited, and for 30 s there was no second worker to compute it too; "
        "an audit takes two workers at least"
    )


def test_two_workers_that_differ_wait_for_a_third_as_long(desk):
    desk.join("a", "b")
    desk.result("a", 0, 1)
    desk.result("b", 0, 2, checksum=7)
    for _ in range(10):
        for name in ("a", "b"):
            for lease in desk.leases.held(session(name)):
                desk.result(name, lease.index, lease.attempt)
    (fail, *_) = only(desk.wait(31, "a", "b"), Fail)
    assert str(fail.error) == (
        "chunk 0 is audited, and for 30 s there was no third worker to decide between the different results of two"
    )


def test_a_second_worker_that_comes_in_time_is_enough(desk):
    desk.join("a")
    desk.result("a", 0, 1)
    assert not only(desk.wait(29, "a"), Fail)
    desk.join("b")
    assert not only(desk.wait(5, "a", "b"), Fail)


def test_one_worker_is_enough_while_nothing_that_the_cipher_needs_is_audited():
    desk = Desk(10, audit=Some(9), window=2)
    desk.join("a")
    for _ in range(9):
        assert not only(desk.wait(5, "a"), Fail)
        desk.result("a", desk.leases.head(session("a")).index, 1)
    assert desk.assembler.released == 9


def test_a_result_of_a_stranger_is_still_rejected(desk):
    desk.join("a")
    assert desk.take(result("x", 0, 1)) != []
    assert not desk.leases.said(0)
    assert desk.count(Rejected) == 1


def test_counts_of_samples_travel_with_the_result_and_are_taken_back_with_it():
    desk = Desk(6, audit=Some(0), credit=4)
    desk.join("liar")
    (accepted,) = only(desk.result("liar", 1, 1, clipped=3, zeroed=4), Accepted)
    assert (accepted.clipped, accepted.zeroed) == (3, 4)
    desk.result("liar", 0, 1, checksum=7, clipped=100)
    desk.join("b", "c")
    for name in ("b", "c"):
        lease = next((x for x in desk.leases.held(session(name)) if x.index == 0), None)
        actions = desk.result(name, 0, lease.attempt, clipped=5, zeroed=6)
    assert kinds(actions, Withdrawn, Accepted) == [Withdrawn(1, "liar", 3, 4), Accepted(session("c"), 0, 3, 5, 6)]
    desk.check()
