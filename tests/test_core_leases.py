"""Leases: what is in flight, what waits, and who is to blame."""

import pytest

from zaudio.core.leases import Leases

A, B, C = (letter * 16 for letter in (b"a", b"b", b"c"))
ALL = 10**9  # no limit


@pytest.fixture
def leases():
    leases = Leases(10)
    yield leases
    leases.check()


def test_chunks_never_granted_come_in_output_order(leases):
    for expected in range(10):
        assert leases.waiting(ALL) == expected
        leases.grant(A, expected, expected + 1)
    assert leases.waiting(ALL) is None


def test_no_chunk_of_no_chunks_waits():
    leases = Leases(0)
    assert leases.waiting(ALL) is None
    assert leases.suspect() is None
    leases.check()


@pytest.mark.parametrize("limit", [0, 1, 3, 10, 11])
def test_nothing_at_or_beyond_the_limit_waits(leases, limit):
    count = 0
    while (index := leases.waiting(limit)) is not None:
        leases.grant(A, index, count + 1)
        count += 1
    assert count == min(limit, 10)


def test_a_chunk_that_was_granted_in_vain_goes_before_new_ones(leases):
    leases.grant(A, 0, 1)
    leases.grant(B, 1, 1)
    leases.free(A, 0, 1)
    assert leases.waiting(ALL) == 0
    assert leases.waits(0)
    assert not leases.waits(1)
    assert not leases.waits(2), "it was never granted"


def test_the_lowest_chunk_that_was_granted_in_vain_goes_first(leases):
    for index in range(5):
        leases.grant(A, index, index + 1)
    for index in (3, 1, 4):
        leases.free(A, index, 1)
    assert leases.waiting(ALL) == 1


def test_a_chunk_granted_before_waits_beyond_the_limit_too(leases):
    leases.grant(A, 0, 1)
    leases.free(A, 0, 1)
    assert leases.waiting(0) == 0


def test_attempts_are_numbered_from_1_and_named_by_their_session(leases):
    assert leases.grant(A, 0, 1).attempt == 1
    assert leases.grant(B, 0, 1).attempt == 2
    assert leases.granted(A, 0, 1)
    assert leases.granted(B, 0, 2)
    assert not leases.granted(A, 0, 2)
    assert not leases.granted(A, 0, 3)
    assert not leases.granted(A, 1, 1)
    assert leases.live(0) == (A, B)


def test_an_attempt_stays_granted_after_its_lease_is_gone(leases):
    leases.grant(A, 0, 1)
    leases.drop(A)
    assert leases.granted(A, 0, 1)
    assert leases.load(A) == 0


def test_freeing_a_lease_says_whether_it_was_live(leases):
    leases.grant(A, 0, 1)
    leases.grant(A, 1, 2)
    assert leases.free(A, 0, 1).live
    leases.spend(A)
    assert not leases.free(A, 1, 1).live


@pytest.mark.parametrize(("session", "index", "attempt"), [(B, 0, 1), (A, 1, 1), (A, 0, 2)])
def test_a_lease_that_nobody_holds_is_not_freed(leases, session, index, attempt):
    leases.grant(A, 0, 1)
    assert leases.free(session, index, attempt) is None
    assert leases.load(A) == 1


def test_a_lease_is_freed_once(leases):
    leases.grant(A, 0, 1)
    assert leases.free(A, 0, 1) is not None
    assert leases.free(A, 0, 1) is None


def test_the_head_is_the_oldest_lease(leases):
    assert leases.head(A) is None
    leases.grant(B, 0, 1)
    first, second = leases.grant(A, 1, 1), leases.grant(A, 0, 2)
    assert leases.head(A) is first
    leases.free(A, 1, 1)
    assert leases.head(A) is second
    assert leases.held(A) == [second]


def test_a_spent_lease_takes_up_credit_and_its_chunk_waits(leases):
    lease = leases.grant(A, 0, 1)
    assert leases.spend(A) == [lease]
    assert leases.load(A) == 1
    assert leases.live(0) == ()
    assert leases.waits(0)
    assert leases.spend(A) == [], "it is spent already"


def test_a_dropped_worker_holds_nothing(leases):
    first, second = leases.grant(A, 0, 1), leases.grant(A, 1, 2)
    leases.spend(A)
    third = leases.grant(A, 2, 3)
    assert leases.drop(A) == [third]
    assert leases.held(A) == []
    assert not first.live
    assert not second.live
    assert leases.drop(B) == []


def test_leases_up_to_what_was_received_and_not_held_are_missing(leases):
    kept, lost, under_way = (leases.grant(A, index, index + 1) for index in range(3))
    assert leases.missing(A, 2, [(0, 1)]) == [lost]
    assert leases.missing(A, 3, [(0, 1)]) == [lost, under_way]
    assert leases.missing(A, 3, [(0, 1), (1, 1), (2, 1)]) == []
    assert leases.missing(A, 3, [(0, 2), (1, 1), (2, 1)]) == [kept], "another attempt is another lease"
    assert leases.missing(B, 3, []) == []


def test_what_a_dropped_worker_still_holds_is_adopted_and_takes_up_credit(leases):
    leases.grant(A, 0, 1)
    leases.drop(A)
    leases.grant(A, 1, 7)
    assert leases.adopt(A, [(0, 1), (1, 1)])
    assert leases.load(A) == 2
    assert leases.head(A).index == 0, "what it held before is older than what it was sent since"
    assert leases.live(0) == (), "nobody waits for it"
    leases.check()
    assert not leases.adopt(A, [(0, 1), (1, 1)]), "they are known now"
    assert leases.missing(A, 7, [(1, 1)])[0].index == 0
    assert leases.free(A, 0, 1).live is False


@pytest.mark.parametrize("pair", [(0, 2), (1, 1), (2, 1), (10, 1)])
def test_what_a_worker_cannot_hold_is_not_adopted(leases, pair):
    leases.grant(A, 0, 1)
    leases.grant(B, 1, 1)
    assert not leases.adopt(A, [pair])
    assert leases.load(A) == 1


def test_what_a_worker_holds_of_a_chunk_that_is_over_is_adopted(leases):
    leases.grant(A, 0, 1)
    leases.drop(A)
    leases.accept(0)
    assert leases.adopt(A, [(0, 1)])
    assert leases.in_flight == 0
    assert leases.spend(A) == []


def test_an_accepted_chunk_that_nobody_holds_is_forgotten(leases):
    leases.grant(A, 0, 1)
    leases.accept(0)
    assert leases.in_flight == 1, "somebody is still at it"
    leases.free(A, 0, 1)
    assert leases.in_flight == 0
    assert not leases.granted(A, 0, 1), "it is over and done with"


def test_an_accepted_chunk_never_waits_again(leases):
    leases.grant(A, 0, 1)
    leases.grant(B, 0, 1)
    leases.free(A, 0, 1)
    leases.accept(0)
    leases.drop(B)
    assert not leases.waits(0)
    assert leases.waiting(ALL) == 1
    assert leases.in_flight == 0


def test_a_late_result_takes_a_waiting_chunk_from_the_queue(leases):
    leases.grant(A, 0, 1)
    leases.grant(A, 1, 2)
    leases.drop(A)
    leases.accept(0)
    assert leases.waiting(ALL) == 1
    assert leases.in_flight == 1


def test_blame_adds_up_with_its_causes_and_makes_a_suspect(leases):
    leases.grant(A, 0, 1)
    leases.free(A, 0, 1)
    assert leases.blame(0, "first") == ("first",)
    assert leases.failures(0) == 1
    assert leases.suspect() == 0
    assert leases.waiting(ALL) == 1, "a suspect waits apart"
    leases.grant(B, 0, 1)
    assert leases.suspect() is None
    leases.free(B, 0, 2)
    assert leases.blame(0, "second") == ("first", "second")
    leases.grant(C, 0, 1)
    leases.free(C, 0, 3)
    assert leases.suspect() == 0
    assert leases.failures(0) == 2
    assert leases.failures(1) == 0


def test_a_chunk_blamed_while_somebody_else_is_at_it_waits_as_a_suspect_later(leases):
    leases.grant(A, 0, 1)
    leases.grant(B, 0, 1)
    leases.free(A, 0, 1)
    leases.blame(0, "cause")
    assert leases.suspect() is None
    leases.drop(B)
    assert leases.suspect() == 0


def test_a_chunk_that_is_accepted_is_not_to_blame(leases):
    leases.grant(A, 0, 1)
    leases.grant(B, 0, 1)
    leases.accept(0)
    leases.free(A, 0, 1)
    assert leases.blame(0, "cause") == ()
    leases.free(B, 0, 2)
    assert leases.blame(0, "cause") == ()
    assert leases.blame(9, "cause") == (), "it was never granted"


def test_an_accepted_suspect_never_waits_again(leases):
    leases.grant(A, 0, 1)
    leases.free(A, 0, 1)
    leases.blame(0, "cause")
    leases.accept(0)
    assert leases.suspect() is None
    assert leases.failures(0) == 0


def test_a_million_chunks_cost_what_is_in_flight_costs():
    leases = Leases(10**6)
    for index in range(20_000):
        assert leases.waiting(ALL) == index
        leases.grant(A, index, index + 1)
        if index >= 4:
            leases.accept(index - 4)
            leases.free(A, index - 4, 1)
        assert leases.in_flight <= 5
    leases.check()


def test_the_queues_do_not_grow_with_what_is_granted_in_vain_again_and_again(leases):
    leases.grant(B, 0, 1)
    for sequence in range(1, 1000):
        leases.grant(A, leases.waiting(ALL), sequence)
        leases.drop(A)
        leases.waiting(ALL)
    assert len(leases._waiting) <= 10
    leases.free(B, 0, 1)
    leases.blame(0, "cause")
    for sequence in range(1, 1000):
        leases.grant(A, leases.suspect(), sequence)
        leases.drop(A)
        leases.suspect()
    assert len(leases._suspects) <= 10


def test_leases_of_a_job_that_goes_on_begin_at_its_first_chunk():
    leases = Leases(10, 7)
    assert leases.waiting(10) == 7
    leases.grant(b"a", 7, 1)
    assert leases.waiting(10) == 8
    assert not leases.granted(b"a", 6, 1)
    leases.check()


def test_leases_of_a_job_of_which_nothing_is_left_have_nothing_to_grant():
    leases = Leases(10, 10)
    assert leases.waiting(10) is None
    leases.check()
