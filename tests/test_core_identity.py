"""Identities: a session belongs to the key that said hello with it, and a revoked key is gone at once."""

from dataclasses import replace

import pytest
from core_support import JOB_ID, TIMING, Desk, granted, only, requeued, result, route, session, sink

from zaudio.core.actions import Fail, Impostor, Lost, Send, TurnedAway
from zaudio.core.register import SESSIONS_KEPT, Register
from zaudio.wire.messages import VERSION, Again, Failed, Goodbye, Heartbeat, Hello, Ready, Refused, Welcome

KEYS = {"a": "key of a", "b": "key of b"}
REVOKED = "its key is not admitted any more"
ANOTHERS = "that session belongs to another key"


@pytest.fixture
def desk():
    desk = Desk(6)
    desk.desk.admit(frozenset(KEYS.values()), now=desk.now)
    yield desk
    desk.check()


def hello(name):
    return Hello(VERSION, session(name), name, 1, "host", "software", ("invert",), (), b"")


def say(desk, key, message, *, on=route):
    """The message, from a connection of that key."""
    return desk.desk.receive(replace(on(f"by {key}"), identity=key), message, now=desk.now)


def join(desk, name):
    say(desk, KEYS[name], hello(name))
    return say(desk, KEYS[name], Ready(JOB_ID, 1, session(name), 0, (), False), on=sink)


def answers(actions):
    return [action.message for action in actions if isinstance(action, Send)]


def held(desk, name):
    return [lease.index for lease in desk.leases.held(session(name))]


def hear(desk, key, name):
    """Say a result of that worker, which was never granted, from a connection of that key."""
    message = result(name, 0, 99)
    return desk.desk.receive(replace(sink("x"), identity=key), message, now=desk.now, checksum=message.checksum)


def may(desk, key, name):
    """Whether a result of that worker is looked at when it comes from a connection of that key."""
    return not only(hear(desk, key, name), Impostor)


# Whose session that is


ABOUT_A = [
    hello("a"),
    Heartbeat(JOB_ID, 1, session("a")),
    Ready(JOB_ID, 1, session("a"), 2, (), False),
    Failed(JOB_ID, 1, session("a"), 0, 1, 0, 8, "ValueError: no"),
    Goodbye(JOB_ID, 1, session("a"), "bye"),
]


@pytest.mark.parametrize("message", ABOUT_A, ids=lambda message: type(message).__name__)
def test_nobody_speaks_for_a_session_of_another_key(desk, message):
    join(desk, "a")
    desk.wait(TIMING.dead_after * 0.8)
    refused, *told = say(desk, KEYS["b"], message)
    assert refused == Send(replace(route("by key of b"), identity=KEYS["b"]), Refused(ANOTHERS))
    assert all(isinstance(each, TurnedAway) for each in told)
    assert held(desk, "a") == [0, 1]
    # Nor does it prove life.
    assert [lost.name for lost in only(desk.wait(TIMING.dead_after * 0.4), Lost)] == ["a"]


@pytest.mark.parametrize("message", ABOUT_A, ids=lambda message: type(message).__name__)
def test_the_key_of_a_session_speaks_for_it_from_any_connection(desk, message):
    join(desk, "a")
    actions = desk.desk.receive(replace(sink("elsewhere"), identity=KEYS["a"]), message, now=desk.now)
    assert Refused(ANOTHERS) not in answers(actions)


def test_result_is_taken_from_the_key_of_its_session_alone(desk):
    join(desk, "a")
    assert (may(desk, KEYS["a"], "a"), may(desk, KEYS["b"], "a"), may(desk, "", "a")) == (True, False, False)
    peer = replace(sink("x"), identity=KEYS["b"])
    assert hear(desk, KEYS["b"], "a") == [Send(peer, Refused(ANOTHERS)), Impostor(peer, session("a"))]


def test_result_of_a_lost_session_is_still_taken_from_its_key_alone(desk):
    join(desk, "a")
    desk.desk.gone(session("a"), "it died", now=desk.now)
    assert (may(desk, KEYS["a"], "a"), may(desk, KEYS["b"], "a")) == (True, False)
    assert Refused(ANOTHERS) in answers(say(desk, KEYS["b"], hello("a")))


def test_result_of_a_session_that_nobody_knows_is_not_taken_and_its_sender_says_hello_again(desk):
    assert not may(desk, KEYS["a"], "a")
    assert answers(hear(desk, KEYS["a"], "a")) == [Again()]


def test_what_is_remembered_of_lost_sessions_is_bounded(desk):
    for number in range(SESSIONS_KEPT + 10):
        name = f"w{number}"
        say(desk.later(0.1), KEYS["a"], hello(name))  # a connection says only so many a second
        desk.desk.gone(session(name), "it died", now=desk.now)
    desk.desk.check()
    assert not may(desk, KEYS["a"], "w9")
    assert may(desk, KEYS["a"], "w10")


# Revoked


def test_revoked_worker_is_lost_at_once_and_told_and_its_chunks_go_to_others_without_blame(desk):
    join(desk, "a")
    join(desk, "b")
    assert held(desk, "a") == [0, 1]
    actions = desk.desk.admit(frozenset({KEYS["b"]}), now=desk.now)
    assert [(lost.name, lost.reason) for lost in only(actions, Lost)] == [("a", REVOKED)]
    assert answers(actions) == [Refused(REVOKED)]
    assert sorted(requeued(actions)) == [0, 1]
    assert [desk.leases.failures(index) for index in (0, 1)] == [0, 0]
    assert held(desk, "a") == []


def test_a_worker_that_died_is_lost_by_its_key_and_its_first_chunk_is_to_blame(desk):
    join(desk, "a")
    join(desk, "b")
    desk.later(0.05)
    actions = desk.desk.ended(KEYS["a"], "it died of signal 11", blame=True, now=desk.now)
    assert [(lost.name, lost.reason) for lost in only(actions, Lost)] == [("a", "it died of signal 11")]
    assert [desk.leases.failures(index) for index in (0, 1)] == [1, 0]
    assert desk.desk.ended(KEYS["a"], "it died of signal 11", blame=True, now=desk.now) == []


def test_a_worker_whose_place_was_taken_away_is_lost_by_its_key_and_no_chunk_is_to_blame(desk):
    join(desk, "a")
    join(desk, "b")
    desk.later(0.05)
    actions = desk.desk.ended(KEYS["a"], "PREEMPTED", blame=False, now=desk.now)
    assert losses(actions) == [("a", "PREEMPTED")]
    assert sorted(requeued(actions)) == [0, 1]
    assert [desk.leases.failures(index) for index in (0, 1)] == [0, 0]


@pytest.fixture
def next_stage():
    """The stage behind one in which a and b took part; neither of them has come to it."""
    before = Desk(6)
    before.desk.admit(frozenset(KEYS.values()), now=before.now)
    join(before, "a")
    join(before, "b")
    desk = Desk(6, now=before.now, register=before.register)
    yield desk
    desk.check()


def losses(actions):
    return [(lost.name, lost.reason) for lost in only(actions, Lost)]


def test_the_death_of_a_worker_between_two_stages_is_told_with_its_cause(next_stage):
    actions = next_stage.desk.ended(KEYS["a"], "it died of signal 11", blame=True, now=next_stage.now)
    assert losses(actions) == [("a", "it died of signal 11")]
    assert next_stage.desk.ended(KEYS["a"], "it died of signal 11", blame=True, now=next_stage.now) == []


def test_a_worker_that_is_revoked_between_two_stages_is_lost_at_once(next_stage):
    actions = next_stage.desk.admit(frozenset({KEYS["b"]}), now=next_stage.now)
    assert losses(actions) == [("a", REVOKED)]


def test_a_worker_that_leaves_between_two_stages_is_lost_by_its_own_words(next_stage):
    goodbye = Goodbye(bytes(16), 1, session("a"), "its lifetime is over")  # it knows the stage before alone
    assert only(say(next_stage, KEYS["b"], goodbye), Lost) == [], "nobody else says goodbye for it"
    assert losses(say(next_stage, KEYS["a"], goodbye)) == [("a", "its lifetime is over")]
    assert only(say(next_stage, KEYS["a"], goodbye), Lost) == []


def test_chunks_of_revoked_workers_are_not_granted_to_others_that_are_revoked_too(desk):
    join(desk, "a")
    join(desk, "b")
    actions = desk.desk.admit(frozenset(), now=desk.now)
    assert {lost.name for lost in only(actions, Lost)} == {"a", "b"}
    assert granted(actions) == []


@pytest.mark.parametrize("message", [*ABOUT_A, hello("new")], ids=lambda message: type(message).__name__)
def test_revoked_key_is_refused_whatever_it_says(desk, message):
    join(desk, "a")
    desk.desk.admit(frozenset({KEYS["b"]}), now=desk.now)
    assert answers(say(desk, KEYS["a"], message)) == [Refused(REVOKED)]
    assert not may(desk, KEYS["a"], "a")
    assert desk.workers == 0


def test_revoked_key_that_is_admitted_again_may_come_back(desk):
    join(desk, "a")
    desk.desk.admit(frozenset({KEYS["b"]}), now=desk.now)
    desk.desk.admit(frozenset(KEYS.values()), now=desk.now)
    assert isinstance(answers(say(desk, KEYS["a"], hello("a")))[0], Welcome)


def test_who_is_still_on_the_list_notices_nothing(desk):
    join(desk, "a")
    assert desk.desk.admit(frozenset({KEYS["a"]}), now=desk.now) == []
    assert held(desk, "a") == [0, 1]


def test_job_that_ends_for_want_of_workers_says_that_the_last_one_was_revoked(desk):
    join(desk, "a")
    desk.desk.admit(frozenset(), now=desk.now)
    failures = []
    while not failures:
        desk.later(TIMING.heartbeat)
        failures = only(desk.tick(), Fail)
    assert f"worker a was sent away: {REVOKED}" in str(failures[0].error)


# Convicted


LIED = "its result of chunk 0 is not that of two others"
SENT_AWAY = f"a worker with its key was sent away: {LIED}"


def test_convicted_worker_does_not_come_back_under_another_session_of_its_key(desk):
    join(desk, "a")
    desk.dispatcher.convict(session("a"), 0)
    assert answers(say(desk, KEYS["a"], hello("new"))) == [Refused(SENT_AWAY)]
    assert answers(say(desk, KEYS["a"], hello("a"))) == [Refused(SENT_AWAY)]
    assert isinstance(answers(say(desk, KEYS["b"], hello("b")))[0], Welcome)


def test_other_sessions_of_a_convicted_key_go_with_it_without_blame(desk):
    join(desk, "a")
    say(desk, KEYS["a"], hello("sibling"))
    say(desk, KEYS["a"], Ready(JOB_ID, 1, session("sibling"), 0, (), False), on=sink)
    join(desk, "b")
    actions = desk.dispatcher.convict(session("a"), 0)
    assert {(lost.name, lost.reason) for lost in only(actions, Lost)} == {("a", LIED), ("sibling", SENT_AWAY)}
    assert answers(actions) == [Refused(LIED), Refused(SENT_AWAY)]
    assert not may(desk, KEYS["a"], "sibling"), "what is in flight is not taken"
    assert desk.workers == 1
    assert [desk.leases.failures(index) for index in range(4)] == [0, 0, 0, 0]


def test_worker_that_was_lost_before_it_was_convicted_does_not_come_back_either(desk):
    join(desk, "a")
    desk.desk.gone(session("a"), "it died", now=desk.now)
    assert desk.dispatcher.convict(session("a"), 0) == []
    assert answers(say(desk, KEYS["a"], hello("new"))) == [Refused(SENT_AWAY)]


def test_convicted_key_that_is_revoked_and_admitted_again_stays_out_of_this_job(desk):
    join(desk, "a")
    desk.dispatcher.convict(session("a"), 0)
    desk.desk.admit(frozenset({KEYS["b"]}), now=desk.now)
    desk.desk.admit(frozenset(KEYS.values()), now=desk.now)
    assert answers(say(desk, KEYS["a"], hello("new"))) == [Refused(SENT_AWAY)]


def test_local_workers_share_a_key_and_one_that_was_convicted_takes_no_other_with_it():
    desk = Desk(6, register=Register(shared=KEYS["a"]))
    desk.desk.admit(frozenset(KEYS.values()), now=desk.now)
    join(desk, "a")
    say(desk, KEYS["a"], hello("sibling"))
    actions = desk.dispatcher.convict(session("a"), 0)
    assert [lost.name for lost in only(actions, Lost)] == ["a"]
    assert answers(say(desk, KEYS["a"], hello("a"))) == [Refused(LIED)]
    assert isinstance(answers(say(desk, KEYS["a"], hello("replacement")))[0], Welcome)
    desk.check()


# Without keys


def test_without_keys_nobody_is_asked():
    desk = Desk(6)
    desk.join("a")
    assert may(desk, "", "a")
    assert may(desk, "any", "never seen")
    assert desk.take(result("a", 0))
    desk.gone("a")
    assert may(desk, "", "a")
    desk.check()


def test_what_is_remembered_of_sessions_that_were_sent_away_is_bounded():
    desk = Desk(6)
    for number in range(SESSIONS_KEPT + 10):
        desk.hello(f"w{number}")
        desk.dispatcher.convict(session(f"w{number}"), 0)
    desk.check()
    assert isinstance(answers(desk.hello(f"w{number}"))[0], Refused)


def test_without_keys_one_that_was_convicted_takes_no_other_with_it():
    desk = Desk(6)
    desk.join("a", "b")
    assert [lost.name for lost in only(desk.dispatcher.convict(session("a"), 0), Lost)] == ["a"]
    assert isinstance(answers(desk.hello("c"))[0], Welcome)
    desk.check()
