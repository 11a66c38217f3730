"""Roster: who may be given another chunk, least loaded first."""

import pytest
from core_support import route, session

from zaudio.core.register import Register
from zaudio.core.roster import Member, Roster


def member(name: str, *, ready: bool = True, load: int = 0) -> Member:
    member = Member(session(name), name, route(name), 0.0)
    member.ready, member.load = ready, load
    return member


@pytest.fixture
def roster():
    roster = Roster(3, Register())
    yield roster
    roster.check()


def test_workers_are_found_counted_and_listed_while_they_live(roster):
    a, b = member("a"), member("b")
    roster.add(a)
    roster.add(b)
    assert len(roster) == 2
    assert list(roster) == [a, b]
    assert roster.get(session("a")) is a
    roster.remove(a)
    assert roster.get(session("a")) is None
    assert list(roster) == [b]
    assert list(roster.idle()) == [b]


def test_a_worker_can_be_removed_while_all_are_looked_at(roster):
    for name in "abc":
        roster.add(member(name))
    for each in roster:
        roster.remove(each)
    assert len(roster) == 0


def test_the_least_loaded_comes_first(roster):
    busy, half, idle = member("busy", load=2), member("half", load=1), member("idle")
    for each in (busy, half, idle):
        roster.add(each)
    assert roster.least_loaded() is idle
    assert roster.least_loaded(but=idle) is half
    assert list(roster.idle()) == [idle]
    idle.load = 3
    roster.place(idle)
    assert roster.least_loaded() is half
    assert list(roster.idle()) == []


@pytest.mark.parametrize("why", ["not ready", "stuck", "alone", "no credit left"])
def test_who_is_not_available_is_not_offered(roster, why):
    it = member("it")
    roster.add(it)
    assert roster.least_loaded() is it
    it.ready = why != "not ready"
    it.stuck = why == "stuck"
    it.alone = why == "alone"
    it.load = 3 if why == "no credit left" else 0
    it.head = object() if it.alone else None
    roster.place(it)
    assert not roster.available(it)
    assert roster.least_loaded() is None
    assert list(roster.idle()) == []
    roster.remove(it)


def test_who_becomes_available_again_is_offered_again(roster):
    it = member("it", ready=False)
    roster.add(it)
    assert roster.least_loaded() is None
    it.ready = True
    roster.place(it)
    assert roster.least_loaded() is it
    assert roster.least_loaded(but=it) is None


def test_check_finds_a_worker_whose_place_was_forgotten():
    roster = Roster(2, Register())
    it = member("it")
    roster.add(it)
    it.load = 1
    with pytest.raises(AssertionError, match="bucket of its load"):
        roster.check()
    it.load, it.stuck = 0, True
    with pytest.raises(AssertionError, match="offered chunks"):
        roster.check()
