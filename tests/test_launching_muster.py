"""How many workers each place starts, and which are replaced: in virtual time."""

import pytest

from zaudio.launching.fleet import ENOUGH, useful_of
from zaudio.launching.muster import A_WHILE, PAUSES, Muster, spread
from zaudio.watching.metering import Times


def muster(count=1):
    """A place whose workers were all started at time 0."""
    muster = Muster(count)
    assert muster.due(count, now=0.0) == [*range(count)]
    return muster


def fails(muster, number=0, *, now, hopeless=False):
    """Whether another takes the place of that worker, which fails now."""
    return muster.ended(number, fault=True, hopeless=hopeless, now=now)


def test_as_many_are_started_as_the_quota_says_and_none_is_called_off():
    place = Muster(6)
    assert place.due(2, now=0.0) == [0, 1]
    assert place.due(2, now=1.0) == []
    assert place.due(1, now=2.0) == []
    assert place.due(100, now=3.0) == [2, 3, 4, 5]
    assert (place.capacity, place.held_back) == (6, 0)


def test_a_worker_that_fails_is_replaced_three_times_with_growing_pauses():
    one, now = muster(), 10.0
    for pause in PAUSES:
        assert fails(one, now=now)
        if pause:
            assert one.due(1, now=now + 0.9 * pause) == []
        assert one.due(1, now=now + pause) == [0]
        now += pause + 1
    assert not fails(one, now=now)
    assert one.due(1, now=now + 10 * A_WHILE) == []
    assert one.capacity == 0
    assert len(PAUSES) == 3


def test_a_worker_that_fails_seldom_is_always_replaced():
    two = muster(2)
    for n in range(1, 50):
        now = n * A_WHILE
        assert fails(two, n % 2, now=now)
        assert two.due(2, now=now) == [n % 2]


def test_a_lifetime_that_is_over_is_no_fault():
    one = muster()
    for _ in range(100):
        assert one.ended(0, fault=False, hopeless=False, now=1.0)
        assert one.due(1, now=1.0) == [0]


def test_a_hopeless_worker_is_not_replaced_and_the_others_are():
    two = muster(2)
    assert not fails(two, 0, now=1.0, hopeless=True)
    assert fails(two, 1, now=1.0)
    assert two.due(2, now=1.0) == [1]
    assert two.capacity == 1


def test_a_post_that_was_never_held_takes_the_place_of_one_that_was_given_up():
    place = Muster(2)
    assert place.due(1, now=0.0) == [0]
    assert not fails(place, 0, now=1.0, hopeless=True)
    assert place.due(1, now=1.0) == [1]


@pytest.mark.parametrize(
    ("wanted", "capacities", "quotas"),
    [
        (4, [], []),
        (4, [0, 0], [0, 0]),
        (0, [3, 3], [0, 0]),
        (4, [8], [4]),
        (4, [8, 8, 8], [2, 1, 1]),
        (4, [1, 8, 0, 8], [1, 2, 0, 1]),
        (100, [1, 8, 2], [1, 8, 2]),
        (4, [1] * 10, [1] * 4 + [0] * 6),
    ],
)
def test_workers_are_spread_evenly_as_far_as_each_place_can(wanted, capacities, quotas):
    assert spread(wanted, capacities) == quotas


def test_what_is_of_use_is_believed_after_some_chunks():
    assert useful_of(Times(seconds=10, encrypting=1, op=20, computed=ENOUGH - 1, done=4, chunks=1000)) is None
    assert useful_of(Times(seconds=10, encrypting=1, op=20, computed=ENOUGH, done=4, chunks=1000)) == 20


def test_without_a_cipher_there_is_use_for_as_many_as_there_are_messages():
    assert useful_of(Times(seconds=10, op=20, computed=8, done=8, chunks=1000, together=16)) == 63
