"""How many workers of a place are started, and which are replaced: in virtual time."""

from zaudio.launching.fleet import ENOUGH, useful_of
from zaudio.launching.muster import A_WHILE, FAULTS, FIRST, LONG, PAUSES, REPLACEMENTS, Muster
from zaudio.metering import Times


def muster(count=1):
    """A place whose workers were all started at time 0."""
    muster = Muster(count, at_once=True)
    assert muster.due(None, now=0.0) == [*range(count)]
    return muster


def fails(muster, number=0, *, now, hopeless=False):
    """Whether another takes the place of that worker, which fails now."""
    return muster.ended(number, fault=True, hopeless=hopeless, now=now)


def test_a_few_are_started_until_it_is_known_how_many_are_of_use():
    muster = Muster(100, at_once=False)
    assert muster.due(None, now=0.0) == [0, 1, 2, 3]
    assert FIRST == 4
    assert muster.due(None, now=1.0) == []
    assert muster.due(1, now=2.0) == []
    assert muster.due(6, now=3.0) == [4, 5]
    assert muster.due(2, now=4.0) == []
    assert muster.held_back == 94
    assert len(muster.due(1000, now=5.0)) == 94
    assert muster.held_back == 0


def test_all_are_started_at_once_when_the_user_says_so():
    assert Muster(100, at_once=True).due(1, now=0.0) == [*range(100)]


def test_a_worker_that_fails_is_replaced_three_times_with_growing_pauses():
    one, now = muster(), 10.0
    for pause in PAUSES:
        assert fails(one, now=now)
        if pause:
            assert one.due(None, now=now + 0.9 * pause) == []
        assert one.due(None, now=now + pause) == [0]
        now += pause + 1
    assert not fails(one, now=now)
    assert one.due(None, now=now + 10 * A_WHILE) == []
    assert not one.given_up


def test_a_worker_that_fails_seldom_is_always_replaced():
    two = muster(2)
    for n in range(1, 50):
        assert fails(two, n % 2, now=n * 2 * A_WHILE)
        assert two.due(None, now=n * 2 * A_WHILE) == [n % 2]


def test_a_lifetime_that_is_over_is_no_fault():
    one = muster()
    for _ in range(10 * REPLACEMENTS):
        assert one.ended(0, fault=False, hopeless=False, now=1.0)
        assert one.due(None, now=1.0) == [0]


def test_a_hopeless_worker_is_not_replaced_and_the_others_are():
    two = muster(2)
    assert not fails(two, 0, now=1.0, hopeless=True)
    assert fails(two, 1, now=1.0)
    assert two.due(None, now=1.0) == [1]


def test_a_place_where_too_many_fail_is_given_up():
    place = muster(FAULTS)
    for number in range(FAULTS):
        assert fails(place, number, now=1.0)
    place.due(None, now=1.0)
    assert not fails(place, 0, now=2.0)
    assert place.given_up
    assert place.due(None, now=2.0 + LONG) == []


def test_a_large_place_may_lose_each_of_its_workers_once():
    place = muster(64)
    assert all(fails(place, number, now=1.0) for number in range(64))
    assert not fails(place, 0, now=1.0)


def test_what_is_of_use_is_believed_after_some_chunks():
    times = Times(seconds=10, encrypting=1, op=20, computed=ENOUGH - 1, done=4, chunks=1000)
    assert useful_of(times) is None
    times = Times(seconds=10, encrypting=1, op=20, computed=ENOUGH, done=4, chunks=1000)
    assert useful_of(times) == 20


def test_without_a_cipher_there_is_use_for_as_many_as_there_are_messages():
    assert useful_of(Times(seconds=10, op=20, computed=8, done=8, chunks=1000, together=16)) == 63
