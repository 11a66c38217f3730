"""Refusals: each is told to its worker; to users sixteen different ones, and a sum of the others."""

import pytest
from core_support import Desk, only, route, session

from zaudio.core.actions import TurnedAway
from zaudio.core.refusals import EVERY, NAMED, Refusals
from zaudio.errors import ProtocolError
from zaudio.events import Refused
from zaudio.steps import Step


def refusal(number, **more):
    return TurnedAway(f"w{number}", "host", "it lacks gain", **more)


@pytest.fixture
def refusals():
    refusals = Refusals()
    yield refusals
    refusals.check()


def test_different_refusals_are_told_once_and_others_are_a_sum(refusals):
    told = [each for number in range(NAMED + 5) for each in refusals.take(refusal(number % (NAMED + 2)))]
    assert told == [refusal(number) for number in range(NAMED)]
    assert refusals.sum_up(now=5.0) == [refusal(2, more=5)]


def test_a_sum_is_told_every_ten_seconds_at_most(refusals):
    told = []
    for tick in range(200):  # twenty seconds of a flood
        for number in range(100):
            told += refusals.take(refusal(100 * tick + number))
        told += refusals.sum_up(now=tick / 10)
    assert len(told) == NAMED + 20 / EVERY
    assert refusals.sum_up(now=20.0)
    assert refusals.sum_up(now=99.0) == [], "nothing came"


def test_a_flood_of_hellos_makes_few_events_though_each_is_answered():
    desk = Desk(10)
    actions = []
    for number in range(1000):
        actions += desk.hello(f"w{number}", version=9)
    assert len(only(actions, TurnedAway)) == NAMED
    assert [each.more for each in only(desk.wait(1.0), TurnedAway)] == [1000 - NAMED]
    desk.check()


def test_a_flood_of_garbage_makes_few_events():
    desk = Desk(10)
    told = [
        each
        for number in range(1000)
        for each in only(desk.desk.refuse(route(f"w{number}"), ProtocolError(f"garbage {number}")), TurnedAway)
    ]
    assert len(told) == NAMED


def test_the_next_stage_of_a_farm_does_not_tell_of_the_same_one_again():
    first = Desk(10)
    assert only(first.hello("old", version=2), TurnedAway)
    second = Desk(10, register=first.register, job_id=b"n" * 16)
    assert only(second.hello("old", version=2), TurnedAway) == []


def test_a_machine_of_another_class_is_told_of_with_its_host():
    desk = Desk(10, ops=(Step("gain"),))
    for name, number in (("a", 5), ("b", 6)):
        desk.hello(name, ops=("gain",), host=f"of-{name}")
        actions = desk.ready(name, received=0, held=(), numbers=(number,))
    (told,) = only(actions, TurnedAway)
    assert (told.name, told.host) == ("b", "of-b")
    assert told.reason.startswith("op gain gives other bits on host of-b")
    assert not desk.desk.knows(session("b"))


def test_a_peer_that_the_gate_refused_is_told_of_by_its_address_and_key():
    desk = Desk(10)
    assert desk.desk.turned_away("10.0.0.7", "its key is not admitted", "k" * 40) == [
        TurnedAway("", "10.0.0.7", "its key is not admitted", "k" * 40)
    ]


@pytest.mark.parametrize(
    ("worker", "host", "key", "named"),
    [
        ("studio", "far", "", "studio"),
        ("", "10.0.0.7", "abc", "a worker with key abc"),
        ("", "10.0.0.7", "", "a peer at 10.0.0.7"),
        ("", "", "", "a peer at (unknown)"),
    ],
)
def test_a_refused_worker_is_named_as_well_as_it_is_known(worker, host, key, named):
    assert Refused(at=0.0, job="", worker=worker, host=host, reason="", key=key).named == named
