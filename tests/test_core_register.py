"""Register: who may take part, whose session it is, and what of that outlives a stage."""

import pytest
from core_support import SINKS, Desk, checksum, messages, only, result, session

from zaudio.core.actions import Accepted, Grant, Impostor, Liar, Lost, Peer, Rejected
from zaudio.core.register import HELLOS, REVOKED, SESSIONS_KEPT, Register
from zaudio.wire.messages import Again, Channel, Hello, Ready, Refused, Welcome

NEXT = b"n" * 16  # the job's id of the stage that follows
A, B = session("a"), session("b")


def peer(identity: str) -> Peer:
    return Peer(Channel.SINK, b"?", identity)


@pytest.fixture
def register():
    register = Register(shared="local")
    yield register
    register.check()


# A flood


def test_a_connection_that_says_too_many_hellos_is_not_heard_for_the_rest_of_a_second(register):
    flood, other = Peer(Channel.VENTILATOR, b"1"), Peer(Channel.VENTILATOR, b"2")
    assert [register.greet(flood, now=5.0) for _ in range(HELLOS)] == [True] * HELLOS
    assert not register.deaf(flood, now=5.0), "as many as it may"
    assert not register.greet(flood, now=5.5)
    assert register.greet(other, now=5.9)
    assert [register.deaf(flood, now=now) for now in (5.5, 5.9, 6.0)] == [True, True, False]
    assert not register.deaf(other, now=5.9)
    assert register.greet(flood, now=6.0)
    assert not register.deaf(flood, now=6.0)


# Names


def test_the_second_living_worker_of_a_name_is_told_apart_and_each_keeps_its_own(register):
    def come(session):
        name = register.call_apart(session, "attic")
        register.enter(session, name, "local")
        return name

    sessions = [session(name) for name in "abc"]
    names = ["attic", "attic (2)", "attic (3)"]
    assert [come(each) for each in sessions] == names
    assert [come(each) for each in sessions] == names, "the next stage"
    register.leave(sessions[0])
    register.leave(sessions[1])
    assert come(session("d")) == "attic", "another took its place"
    assert come(sessions[1]) == "attic (2)", "it came back"
    assert come(sessions[0]) == "attic (4)", "its name is gone"


def test_a_worker_of_a_name_that_looks_told_apart_takes_nobody_s(register):
    names = []
    for number, name in enumerate(["attic", "attic (2)", "attic"]):
        names.append(register.call_apart(bytes([number]), name))
        register.enter(bytes([number]), names[-1], "local")
    assert names == ["attic", "attic (2)", "attic (3)"]


def test_a_forgotten_session_s_name_is_free(register):
    for number in range(SESSIONS_KEPT + 1):
        gone = number.to_bytes(16)
        register.enter(gone, register.call_apart(gone, str(number)), "local")
    names = []
    for each, name in ((A, "0"), (B, "2")):
        names.append(register.call_apart(each, name))
        register.enter(each, names[-1], "local")
    assert names == ["0", "2 (2)"]


# Who may take part


def test_without_identities_nobody_is_barred(register):
    assert not register.asks
    assert register.bar(peer(""), None) == ""
    assert register.bar(peer("x"), "y") == ""
    assert register.admits("")


def test_an_identity_takes_part_while_it_is_admitted(register):
    register.admit(frozenset({"x"}))
    assert register.asks
    assert (register.admits("x"), register.admits("y")) == (True, False)
    assert register.bar(peer("x"), None) == ""
    assert register.bar(peer("y"), None) == REVOKED
    register.admit(frozenset({"y"}))
    assert register.bar(peer("x"), None) == REVOKED
    assert register.bar(peer("y"), None) == ""


def test_a_session_is_that_of_its_identity_alone(register):
    register.admit(frozenset({"x", "y"}))
    assert register.bar(peer("x"), "x") == ""
    assert register.bar(peer("y"), "x") == "that session belongs to another key"


def test_a_banned_identity_is_refused_under_any_session_and_stays_so_when_it_is_admitted_again(register):
    register.admit(frozenset({"x", "y"}))
    assert register.ban_identity("x", "it lied")
    register.admit(frozenset({"y"}))
    register.admit(frozenset({"x", "y"}))
    assert register.bar(peer("x"), None) == "it lied"
    assert not register.admits("x")
    assert register.admits("y")


def test_an_identity_that_many_share_is_not_banned(register):
    register.admit(frozenset({"local"}))
    assert not register.ban_identity("local", "it lied")
    assert register.admits("local")


def test_where_nobody_has_an_identity_none_is_banned(register):
    assert not register.ban_identity("", "it lied")
    assert register.admits("")


# Sessions


def test_a_session_is_known_by_name_and_identity(register):
    assert (register.name(A), register.identity(A)) == (None, None)
    register.enter(A, "a", "x")
    assert (register.name(A), register.identity(A)) == ("a", "x")


def test_a_banned_session_says_why(register):
    register.ban(A, "it lied")
    assert (register.banned(A), register.banned(B)) == ("it lied", "")


def test_the_oldest_sessions_are_forgotten_first(register):
    for number in range(SESSIONS_KEPT + 2):
        register.ban(session(f"w{number}"), "it lied")
        register.enter(session(f"w{number}"), f"w{number}", "x")
        register.enter(session("w0"), "w0", "x")
        register.check()
    assert register.name(session("w0")) == "w0", "it came again and again"
    assert [register.name(session(f"w{number}")) for number in (1, 2, 3)] == [None, None, "w3"]
    assert [register.banned(session(f"w{number}")) for number in (1, 2)] == ["", "it lied"]


# From one stage to the next


class Every:
    """An audit of all chunks."""

    def covers(self, index):
        return True


def stage(desk: Desk, chunks: int = 10, **of_job: object) -> Desk:
    """The Desk of the stage that follows, on the same farm."""
    return Desk(chunks, now=desk.now, register=desk.register, job_id=NEXT, **of_job)


def say(desk: Desk, key: str, message: object, *, channel: Channel = Channel.SINK, **of_result: object) -> list:
    return desk.desk.receive(Peer(channel, key.encode(), key), message, now=desk.now, **of_result)


def hello(name: str) -> Hello:
    return Hello(1, session(name), name, 1, "host", "software", ("invert",), (), b"")


def join(desk: Desk, name: str, key: str) -> list:
    return say(desk, key, hello(name), channel=Channel.VENTILATOR) + say(
        desk, key, Ready(desk.job.id, 1, session(name), 0, (), False)
    )


def convict(desk: Desk, keys: dict[str, str]) -> None:
    """Let the first of three workers lie about chunk 0, and be found out."""
    for number, (name, key) in enumerate(keys.items()):
        join(desk, name, key)
        attempt = next(x.attempt for x in desk.leases.held(session(name)) if x.index == 0)
        sum_ = 7 if number == 0 else checksum(0)
        message = result(name, 0, attempt, checksum=sum_)
        actions = say(desk, key, message, checksum=sum_, digest=sum_.to_bytes(8, "big"))
    assert [liar.name for liar in only(actions, Liar)] == [next(iter(keys))]


def test_a_liar_of_one_stage_is_kept_out_of_the_next_under_any_session_of_its_key():
    keys = {"liar": "x", "b": "y", "c": "z"}
    first = Desk(10, audit=Every())
    first.desk.admit(frozenset(keys.values()), now=first.now)
    convict(first, keys)
    second = stage(first)
    for name in ("liar", "new"):
        (refused,) = messages(say(second, "x", hello(name), channel=Channel.VENTILATOR))
        assert refused == Refused(
            "a worker with its key was sent away: its result of chunk 0 is not that of two others"
        )
    assert isinstance(messages(say(second, "y", hello("b"), channel=Channel.VENTILATOR))[0], Welcome)
    second.check()


def test_a_liar_without_a_key_is_kept_out_of_the_next_stage_under_its_session():
    first = Desk(10, audit=Every())
    convict(first, {"liar": "", "b": "", "c": ""})
    second = stage(first)
    assert messages(second.hello("liar")) == [Refused("its result of chunk 0 is not that of two others")]
    assert isinstance(messages(second.hello("b"))[0], Welcome)
    second.check()


def test_who_is_admitted_is_known_to_the_next_stage_at_once():
    first = Desk(10)
    first.desk.admit(frozenset({"x"}), now=first.now)
    second = stage(first)
    assert messages(say(second, "y", hello("b"), channel=Channel.VENTILATOR)) == [Refused(REVOKED)]
    assert isinstance(messages(say(second, "x", hello("a"), channel=Channel.VENTILATOR))[0], Welcome)


def test_a_session_of_one_stage_is_nobody_elses_in_the_next():
    first = Desk(10)
    first.desk.admit(frozenset({"x", "y"}), now=first.now)
    join(first, "a", "x")
    second = stage(first)
    assert second.desk.name(A) == "a"
    assert messages(say(second, "y", hello("a"), channel=Channel.VENTILATOR)) == [
        Refused("that session belongs to another key")
    ]


@pytest.mark.parametrize("key", ["", "x"])
def test_a_late_result_of_an_earlier_stage_is_refused_and_its_worker_says_hello_again(key):
    first = Desk(10)
    if key:
        first.desk.admit(frozenset({key}), now=first.now)
    (grant, *_) = only(join(first, "a", key), Grant)
    second = stage(first)
    late = result("a", grant.index, grant.attempt)
    actions = say(second, key, late, checksum=late.checksum)
    assert messages(actions) == [Again()]
    assert [rejected.reason for rejected in only(actions, Rejected)] == ["it belongs to another job"]
    assert not only(actions, Accepted)
    assert not only(actions, Impostor), "it is still the session's own worker"
    assert only(join(second, "a", key), Grant), "and takes part from then on"
    assert [rejected.reason for rejected in only(say(second, key, late, checksum=late.checksum), Rejected)] == [
        "it belongs to another job"
    ]
    second.check()


def test_a_result_of_a_session_that_nobody_knows_is_answered_with_again():
    desk = Desk(10)
    actions = desk.take(result("stranger", 0))
    assert messages(actions) == [Again()]
    assert [rejected.reason for rejected in only(actions, Rejected)] == ["it was never granted"]


def test_with_keys_a_result_of_a_session_that_nobody_knows_is_not_looked_at_and_answered_with_again():
    desk = Desk(10)
    desk.desk.admit(frozenset({"x"}), now=desk.now)
    message = result("stranger", 0)
    assert messages(actions := say(desk, "x", message, checksum=message.checksum)) == [Again()]
    assert only(actions, Impostor)
    assert desk.count(Rejected) == 0


def test_the_ways_of_the_farm_are_what_a_welcome_of_any_stage_names():
    first = Desk(10)
    second = stage(first)
    for desk in (first, second):
        (welcome,) = messages(desk.hello("a"))
        assert (welcome.sinks, welcome.job) == (SINKS, desk.job.id)


def test_the_name_of_a_sessions_key_is_known_also_when_it_was_revoked():
    register = Register(shared="ours")
    register.call({"a": "studio-1", "b": "studio-2"})
    register.enter(b"1", "one", "a")
    register.enter(b"2", "two", "ours")
    register.call({"b": "studio-2"})
    assert (register.key(b"1"), register.key(b"2"), register.key(b"3")) == ("studio-1", "", "")


# From stage to stage


@pytest.fixture
def stages(register):
    """A register of two workers that took part in a stage, and are expected at the next one from 5 s on."""
    for each, name in ((A, "a"), (B, "b")):
        register.call_apart(each, name)
        register.enter(each, name, "")
    register.expect(now=5.0)
    return register


def losses(found):
    return [(loss.name, loss.reason) for loss in found]


def test_a_worker_that_does_not_come_to_the_next_stage_is_lost_once(stages):
    stages.call_apart(A, "a")
    stages.expect(now=9.0)  # another one, which changes nothing for b
    assert stages.missing(now=15.0, after=10.0) == []
    assert losses(stages.missing(now=15.1, after=10.0)) == [("b", "it did not come to the next stage")]
    assert stages.missing(now=16.0, after=10.0) == []
    assert losses(stages.missing(now=19.1, after=10.0)) == [("a", "it did not come to the next stage")]


def test_a_death_between_two_stages_is_told_with_its_cause_and_frees_the_name(stages):
    assert losses(stages.miss(A, "it died of signal 9 (SIGKILL)")) == [("a", "it died of signal 9 (SIGKILL)")]
    assert stages.miss(A, "again") == []
    assert stages.call_apart(session("c"), "a") == "a"
    stages.enter(session("c"), "a", "")
    stages.call_apart(B, "b")
    assert stages.miss(B, "it takes part") == [], "the stage tells of that one"


def test_a_farm_that_slept_expects_its_workers_for_longer(stages):
    stages.excuse(100.0, now=108.0)
    assert stages.missing(now=115.0, after=10.0) == []
    assert len(stages.missing(now=115.1, after=10.0)) == 2


def test_a_stage_tells_of_those_of_the_stage_before_that_died_and_of_those_that_do_not_come():
    first = Desk()
    first.join("killed", "silent", "quick")
    desk = Desk(now=first.now, register=first.register)
    desk.join("quick")
    assert losses(desk.gone("killed")) == [("killed", "it died of signal 9 (SIGKILL)")]
    assert desk.gone("killed") == []
    silence = desk.job.timing.dead_after
    assert only(desk.wait(2 * silence, "quick"), Lost) == []
    assert losses(only(desk.wait(silence, "quick"), Lost)) == [("silent", "it did not come to the next stage")]
    assert only(desk.wait(3 * silence, "quick"), Lost) == []
