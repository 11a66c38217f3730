"""Dispatcher: workers come, live and go, and what becomes of their chunks. By the clock.

One heartbeat is 0.2 s, silence of 1 s is death, a chunk may take 6 s.
"""

import pytest
from core_support import (
    DEAD,
    HEARTBEAT,
    INVERT,
    JOB_ID,
    TIMING,
    Desk,
    checked_desks,
    granted,
    grants,
    messages,
    only,
    recording,
    requeued,
    route,
    session,
    sink,
)
from core_support import result as result_of

from zaudio.core.actions import Duplicate, Fail, Grant, Joined, Lost, Peer, Requeued, Send, Stuck, TurnedAway
from zaudio.core.dispatch import LOSSES, STRIKES
from zaudio.core.register import HELLOS, SESSIONS_KEPT
from zaudio.errors import ConflictError, NoWorkerError, ProtocolError
from zaudio.steps import Step
from zaudio.wire.messages import (
    VERSION,
    Again,
    Channel,
    Failed,
    Goodbye,
    Heartbeat,
    Hello,
    Ready,
    Refused,
    Sent,
    Welcome,
)


@pytest.fixture
def desks():
    """Makes desks, and checks them all at the end."""
    yield from checked_desks()


@pytest.fixture
def desk(desks):
    return desks()


# Coming


def test_a_hello_is_answered_with_the_job(desk):
    (send,) = desk.hello("a")
    assert send.peer == route("a")
    welcome = send.message
    assert isinstance(welcome, Welcome)
    assert (welcome.job, welcome.incarnation, welcome.session) == (JOB_ID, 1, session("a"))
    assert (welcome.heartbeat, welcome.liveness, welcome.credit, welcome.ops) == (HEARTBEAT, 5, 2, INVERT)
    assert desk.desk.knows(session("a"))
    assert desk.workers == 0, "it is not ready yet"


def test_a_worker_gets_chunks_once_its_ready_came_on_the_sinks_socket(desk):
    assert granted(desk.hello("a")) == []
    actions = desk.ready("a")
    assert actions[0] == Joined(session("a"), "a")
    assert granted(actions) == [("a", 0), ("a", 1)]
    assert [grant.sequence for grant in only(actions, Grant)] == [1, 2]
    assert {grant.peer for grant in only(actions, Grant)} == {route("a")}
    assert desk.workers == 1


def test_a_heartbeat_does_not_make_a_worker_ready(desk):
    desk.hello("a")
    assert desk.alive("a") == []
    assert desk.workers == 0


def test_another_protocol_version_is_refused(desk):
    send, refusal = desk.hello("a", version=2)
    assert send.message == Refused("it speaks protocol version 2, this coordinator speaks 1")
    assert refusal == TurnedAway("a", "host", send.message.reason)
    assert not desk.desk.knows(session("a"))


def test_a_worker_that_lacks_an_op_is_refused_with_a_sentence(desks):
    desk = desks(ops=(Step("invert"), Step("mine:echo"), Step("gain")))
    send, _ = desk.hello("a", ops=("invert",))
    assert send.message == Refused("it lacks mine:echo, gain; start it with --allow mine")
    send, _ = desk.hello("b", ops=("invert", "mine:echo"))
    assert send.message == Refused("it lacks gain")
    assert isinstance(desk.hello("c", ops=("gain", "invert", "mine:echo"))[0].message, Welcome)


def test_bytes_of_no_message_are_refused_with_the_version_spoken_here(desk):
    send, refusal = desk.desk.refuse(route("a"), ProtocolError("expected 3 parts, got 1"))
    assert send.peer == route("a")
    assert "protocol version 1" in send.message.reason
    assert "expected 3 parts, got 1" in send.message.reason
    assert refusal == TurnedAway("", "", send.message.reason)


def test_an_unknown_session_is_asked_to_say_hello_again(desk):
    for actions in (desk.alive("a"), desk.ready("a"), desk.failed("a", 0), desk.goodbye("a")):
        assert messages(actions) == [Again()]
    assert only(desk.result("a", 0), Send) == [Send(desk_peer(), Again())]


def desk_peer():
    return only(Desk().result("a", 0), Send)[0].peer


def test_a_known_session_that_speaks_of_another_job_is_asked_to_say_hello_again(desk):
    desk.join("a")
    for job, incarnation in ((b"x" * 16, 1), (JOB_ID, 2)):
        message = Heartbeat(job, incarnation, session("a"))
        assert messages(desk.desk.receive(route("a"), message, now=desk.now)) == [Again()]


def test_a_worker_has_a_name_and_who_never_said_it_has_its_session_in_short(desk):
    desk.join("a")
    assert desk.desk.name(session("a")) == "a"
    desk.goodbye("a")
    assert desk.desk.name(session("a")) == "a", "a late result is still its own"
    assert desk.desk.name(session("b")) == session("b").hex()[:8]


# Reconciliation


def test_a_chunk_that_did_not_arrive_is_granted_again_without_blame(desk):
    desk.join("a")
    actions = desk.at(0.2).ready("a", received=2, held=((1, 1),))
    assert only(actions, Requeued) == [Requeued(0, 1, "a", "it was lost on the way")]
    assert grants(actions) == [("a", 0, 2)]
    assert desk.leases.failures(0) == 0
    assert desk.count(Requeued) == 1


def test_a_chunk_beyond_what_was_received_is_still_on_its_way(desk):
    desk.join("a")
    assert requeued(desk.ready("a", received=1, held=((0, 1),))) == []
    assert requeued(desk.ready("a", received=0, held=())) == []


def test_what_is_held_stays_where_it_is(desk):
    desk.join("a")
    assert desk.ready("a", received=2, held=((0, 1), (1, 1))) == []


def test_a_result_that_was_lost_is_computed_again(desk):
    desk.join("a")
    desk.at(0.1)  # chunk 0 is done, and its result does not arrive
    assert grants(desk.ready("a", received=2, held=((1, 1),))) == [("a", 0, 2)]


def test_a_result_overtaken_by_a_ready_is_accepted_all_the_same(desk):
    desk.join("a")
    desk.ready("a", received=2, held=((1, 1),))
    actions = desk.result("a", 0, 1)
    assert desk.assembler.accepted(0)
    assert granted(actions) == [], "the credit was free already, and was used"
    desk.result("a", 0, 2)
    assert desk.count(Duplicate) == 1
    assert desk.leases.in_flight == 2


def test_a_worker_that_counted_on_is_not_sent_sequences_from_before(desk):
    desk.hello("a")
    actions = desk.ready("a", received=7, held=())
    assert [grant.sequence for grant in only(actions, Grant)] == [8, 9]


def test_what_a_worker_holds_from_before_it_was_given_up_takes_up_its_credit(desk):
    desk.join("a")
    desk.wait(1.2)
    assert not desk.desk.knows(session("a"))
    desk.hello("a")
    assert granted(desk.ready("a", received=2, held=((0, 1), (1, 1)))) == [], "it is busy with these"
    desk.result("a", 0, 1)
    desk.result("a", 1, 1)
    assert desk.assembler.released == 2, "and its results are as good as any"


def test_a_suspect_is_not_granted_to_a_worker_that_is_busy_with_what_it_held_before(desk):
    desk.join("a")
    desk.wait(1.2)
    assert desk.leases.suspect() == 0
    desk.hello("a")
    assert granted(desk.ready("a", received=2, held=((1, 1),))) == []
    assert granted(desk.result("a", 1, 1)) == [("a", 0)]


def test_a_worker_that_comes_back_again_and_again_is_not_given_ever_more(desk):
    desk.join("a")
    held = {(lease.index, lease.attempt): None for lease in desk.leases.held(session("a"))}
    received = 2
    for _ in range(10):
        assert only(desk.wait(1.2), Lost)
        desk.hello("a")
        for grant in only(desk.ready("a", received=received, held=tuple(held)), Grant):
            held[grant.index, grant.attempt] = None
            received = grant.sequence
        desk.check()
    assert len(held) == 2
    assert desk.leases.failures(0) == 1, "it was blamed for the first death; no other chunk of its was waited for"


# The recording


@pytest.mark.parametrize("folders", [("/",), ("/srv",), ("/srv/",), ("/home", "/srv"), ("/srv/takes",), ("/srv//",)])
def test_who_can_read_the_recording_is_told_where_it_is(desks, folders):
    source = recording("/srv/takes/one.raw")
    (send,) = desks(source=source).hello("a", reads=folders)
    assert send.message.source == source


@pytest.mark.parametrize(
    "folders",
    [
        (),
        ("/srv/take",),
        ("/sr",),
        ("/srv/takes/one",),
        ("/srv/takes/one.raw",),
        ("/srv/takes/one.raw/",),
        ("/srv/takes2",),
        ("srv",),
        (".",),
        ("/home", "/SRV"),
    ],
)
def test_who_cannot_read_the_recording_is_not_told_where_it_is(desks, folders):
    (send,) = desks(source=recording("/srv/takes/one.raw")).hello("a", reads=folders)
    assert send.message.source is None


def test_a_recording_that_cannot_be_referred_to_is_nobodys(desk):
    (send,) = desk.hello("a", reads=("/",))
    assert send.message.source is None


def test_only_a_worker_whose_ready_says_so_reads_by_itself(desks):
    desk = desks(source=recording())
    for name in "ab":
        desk.hello(name, reads=("/",))
    actions = desk.ready("a", reads=True) + desk.ready("b", reads=False)
    assert [(grant.session, grant.by_reference) for grant in only(actions, Grant)] == [
        *[(session("a"), True)] * 2,
        *[(session("b"), False)] * 2,
    ]
    desk.ready("a", reads=False)
    assert [grant.by_reference for grant in only(desk.result("a", 0), Grant)] == [False], "it may change its mind"


# Outboxes

OUTBOX, OTHER = b"o" * 16, b"p" * 16


def test_a_worker_with_an_outbox_is_given_a_slot_for_each_result(desks):
    desk = desks(credit=3, outboxes=(OUTBOX,))
    slots = [grant.slot for grant in only(desk.join("a", outbox=OUTBOX), Grant)]
    assert sorted(slots) == [0, 1, 2]
    assert desk.desk.outbox(session("a")) == OUTBOX
    for index in range(3):
        lease = next(lease for lease in desk.leases.held(session("a")) if lease.index == index)
        (grant,) = only(desk.result("a", index, slot=lease.slot), Grant)
        assert grant.slot == lease.slot, "the one that became free"
        desk.check()


@pytest.mark.parametrize("outbox", [b"", b"x" * 16, OTHER])
def test_an_outbox_that_is_none_of_ours_gets_no_slots(desks, outbox):
    desk = desks(outboxes=(OUTBOX,))
    assert [grant.slot for grant in only(desk.join("a", outbox=outbox), Grant)] == [-1, -1]
    assert desk.desk.outbox(session("a")) == b""
    assert desk.desk.outbox(session("nobody")) == b""


def test_no_worker_gets_slots_where_there_are_no_outboxes(desk):
    assert [grant.slot for grant in only(desk.join("a", outbox=OUTBOX), Grant)] == [-1, -1]


@pytest.mark.parametrize("end", ["a result", "a duplicate", "a wrong one", "a failure", "a loss", "not sent"])
def test_a_slot_is_free_once_its_lease_has_ended_however_it_did(desks, end):
    desk = desks(chunks=2, outboxes=(OUTBOX,), credit=2)
    first, second = only(desk.join("a", outbox=OUTBOX), Grant)
    if end == "a duplicate":
        desk.join("b")
        desk.result("b", 0, 2)
    held = ((second.index, 1),)
    {
        "a result": lambda: desk.result("a", 0, slot=first.slot),
        "a duplicate": lambda: desk.result("a", 0, slot=first.slot),
        "a wrong one": lambda: desk.result("a", 0, slot=first.slot, length=3),
        "a failure": lambda: desk.failed("a", 0),
        "a loss": lambda: desk.ready("a", received=2, held=held),
        "not sent": lambda: desk.desk.undelivered(first, now=desk.now),
    }[end]()
    (worker,) = [worker for worker in desk.roster if worker.session == session("a")]
    taken = [lease.slot for lease in desk.leases.held(session("a"))]
    assert sorted(worker.slots + taken) == [0, 1]
    assert second.slot in taken
    assert (first.slot in worker.slots) == (first.slot not in taken)
    desk.check()


def test_a_lease_past_its_deadline_keeps_its_slot_until_it_ends(desks):
    desk = desks(outboxes=(OUTBOX,))
    desk.join("a", outbox=OUTBOX)
    desk.wait(6.1, "a")
    desk.check()
    (worker,) = desk.roster
    assert worker.slots == []
    assert len(only(desk.result("a", 0), Grant)) == 1


def test_a_worker_that_says_hello_again_keeps_its_slots(desks):
    desk = desks(outboxes=(OUTBOX,))
    first, second = only(desk.join("a", outbox=OUTBOX), Grant)
    assert only(desk.hello("a", outbox=OUTBOX, life=2), Lost) == []
    assert desk.desk.outbox(session("a")) == OUTBOX
    desk.ready("a", life=2)
    (grant,) = only(desk.result("a", 0, slot=first.slot), Grant)
    assert grant.slot == first.slot != second.slot


def test_what_a_worker_holds_from_before_it_was_given_up_has_no_slot_any_more(desks):
    desk = desks(credit=3, outboxes=(OUTBOX,))
    desk.join("a", outbox=OUTBOX)
    desk.goodbye("a")
    desk.hello("a", outbox=OUTBOX)
    (grant,) = only(desk.ready("a", received=3, held=((0, 1), (1, 1))), Grant)
    assert grant.slot in range(3)
    desk.check()
    (grant,) = only(desk.result("a", 0, 1), Grant)
    assert grant.slot in range(3)
    desk.check()


def test_a_second_process_with_an_outbox_takes_the_place_of_the_first(desks):
    desk = desks(outboxes=(OUTBOX, OTHER))
    desk.join("a", outbox=OUTBOX)
    desk.join("other", outbox=OTHER)
    actions = desk.later(0.1).hello("b", outbox=OUTBOX)
    assert only(actions, Lost) == [Lost(session("a"), "a", "another process took its place")]
    assert sorted(requeued(actions)) == [0, 1]
    assert isinstance(messages(actions)[-1], Welcome)
    assert not desk.desk.knows(session("a"))
    assert desk.desk.knows(session("other"))
    assert sorted(grant.slot for grant in only(desk.ready("b"), Grant)) == [0, 1]
    assert messages(desk.alive("a")) == [Again()]


def test_nobody_is_to_blame_for_a_place_that_was_taken(desks):
    """The starter of many died, and nobody tells of it but those who take their places."""
    tokens = [bytes([number]) * 16 for number in range(8)]
    desk = desks(chunks=1, credit=1, outboxes=tokens)
    for number, token in enumerate(tokens):
        desk.join(f"a{number}", outbox=token)
    desk.later(0.05)
    for number, token in enumerate(tokens):
        actions = desk.later(0.01).hello(f"b{number}", outbox=token) + desk.ready(f"b{number}")
        assert only(actions, Fail) == []
        assert len(only(actions, Lost)) == 1
    assert desk.leases.failures(0) == 0


def test_a_worker_without_an_outbox_takes_nobodys_place(desks):
    desk = desks(outboxes=(OUTBOX,))
    desk.join("a", "b")
    desk.join("c", outbox=OUTBOX)
    desk.join("d", outbox=b"x" * 16)
    desk.join("e", outbox=b"x" * 16)
    assert all(desk.desk.knows(session(name)) for name in "abcde")


# Silence


def test_a_silent_worker_is_lost_after_five_heartbeats_and_its_chunks_granted_again(desk):
    desk.join("a")
    assert only(desk.wait(DEAD), Lost) == []
    actions = desk.wait(HEARTBEAT)
    (lost,) = only(actions, Lost)
    assert (lost.session, lost.name) == (session("a"), "a")
    assert lost.reason.startswith("no sign of life for 1.")
    assert sorted(requeued(actions)) == [0, 1]
    assert desk.count(Requeued) == 2
    assert not desk.desk.knows(session("a"))


def test_only_the_head_of_a_dead_workers_queue_is_to_blame(desk):
    desk.join("a")
    desk.wait(1.2)
    assert [desk.leases.failures(index) for index in (0, 1)] == [1, 0]


@pytest.mark.parametrize("sign", ["heartbeat", "ready", "failed", "result", "rejected", "hello"])
def test_any_message_on_either_socket_proves_life(desk, sign):
    desk.join("a")
    desk.wait(0.9)
    {
        "heartbeat": lambda: desk.alive("a"),
        "ready": lambda: desk.ready("a"),
        "failed": lambda: desk.failed("a", 0),
        "result": lambda: desk.result("a", 0),
        "rejected": lambda: desk.result("a", 0, length=1),
        "hello": lambda: desk.hello("a"),
    }[sign]()
    assert only(desk.wait(0.9), Lost) == []
    assert only(desk.wait(0.2), Lost) != []


def test_the_late_result_of_a_lost_worker_is_accepted(desk):
    desk.join("a", "b")
    desk.wait(1.2, "b")
    assert not desk.desk.knows(session("a"))
    actions = desk.result("a", 0)
    assert messages(actions) == [Again()], "it is asked to say hello again"
    assert desk.assembler.accepted(0)
    assert desk.leases.suspect() is None, "and nobody has to compute it again"


def test_the_names_of_lost_workers_are_bounded(desk):
    for number in range(SESSIONS_KEPT + 10):
        desk.join(f"w{number}")
        desk.goodbye(f"w{number}")
    assert desk.desk.name(session("w9")) == session("w9").hex()[:8]
    assert desk.desk.name(session("w10")) == "w10"


def test_a_worker_whose_process_died_is_lost_at_once(desk):
    desk.join("a", "b")
    actions = desk.later(0.1).gone("a")
    assert only(actions, Lost) == [Lost(session("a"), "a", "it died of signal 9 (SIGKILL)")]
    assert sorted(requeued(actions)) == [0, 1]
    assert desk.leases.failures(0) == 1
    assert desk.gone("a") == [], "it is known"
    assert desk.gone("stranger") == []


def test_workers_that_die_together_make_no_chunk_fail_three_times(desks):
    """What the first of them held goes to the next in line, which is dead as well and not yet known to be."""
    desk = desks(chunks=1)
    desk.join(*"abcdef")
    actions = desk.wait(3.0)
    assert len(only(actions, Lost)) == 6
    assert only(actions, Fail) == []
    assert desk.leases.failures(0) <= 2, "of the two that were at it"


def test_local_workers_that_die_together_make_no_chunk_fail_three_times(desks):
    desk = desks(chunks=1)
    desk.join(*"abcdef")
    desk.later(0.1)
    actions = [action for name in "abcdef" for action in desk.gone(name)]
    assert only(actions, Fail) == []
    assert len(only(actions, Lost)) == 6


def test_silent_workers_are_noticed_one_after_the_other_and_make_no_chunk_fail_three_times(desks):
    desk = desks(chunks=1)
    desk.join(*"ab")
    for name in "abcdef":
        desk.later(0.03).hello(name)
        desk.ready(name)
    actions = desk.wait(3.0)
    assert len(only(actions, Lost)) == 6
    assert only(actions, Fail) == []


def test_a_chunk_that_kills_three_workers_fails(desks):
    desk = desks(chunks=2, credit=1)
    killed = []
    for name in "abc":
        desk.later(0.5).hello(name)
        desk.ready(name, received=0, held=())
        assert desk.leases.live(0) == (session(name),)
        killed += desk.later(0.01).gone(name)
    (fail,) = only(killed, Fail)
    assert fail.error.index == 0
    assert len(fail.error.causes) == 3
    assert all("SIGKILL" in cause for cause in fail.error.causes)


def test_a_chunk_that_silences_three_workers_fails(desks):
    desk = desks(chunks=2, credit=1)
    actions = []
    for name in "abc":
        desk.later(0.1).hello(name)
        desk.ready(name, received=0, held=())
        actions += desk.wait(1.2)
    (fail,) = only(actions, Fail)
    assert fail.error.index == 0
    assert [cause.split(":")[0] for cause in fail.error.causes] == ["worker a", "worker b", "worker c"]


# Goodbye and hello again


def test_a_worker_that_leaves_hands_its_chunks_back_without_blame(desk):
    desk.join("a")
    actions = desk.goodbye("a")
    assert only(actions, Lost) == [Lost(session("a"), "a", "it was told to stop")]
    assert sorted(requeued(actions)) == [0, 1]
    assert [desk.leases.failures(index) for index in (0, 1)] == [0, 0]
    assert granted(desk.join("b")) == [("b", 0), ("b", 1)]


def test_workers_that_leave_in_order_never_count_against_a_chunk(desk):
    for number in range(10):
        desk.join(f"w{number}")
        assert only(desk.goodbye(f"w{number}"), Fail) == []
    assert desk.leases.failures(0) == 0


def test_a_worker_that_says_hello_again_keeps_what_it_holds_and_gets_nothing_before_it_is_ready(desk):
    desk.join("a")
    (send,) = desk.at(0.1).hello("a", life=2)
    assert isinstance(send.message, Welcome)
    assert send.peer == route("a", 2)
    assert desk.workers == 0
    assert granted(desk.result("a", 0)) == [], "it is not ready"
    actions = desk.ready("a", life=2)
    assert only(actions, Joined) == [Joined(session("a"), "a")]
    assert [(grant.peer, grant.index, grant.sequence) for grant in only(actions, Grant)] == [(route("a", 2), 2, 3)]
    assert desk.count(Requeued) == 0


def test_chunks_sent_on_a_connection_that_was_lost_are_found_missing(desk):
    desk.join("a")
    desk.at(0.1).hello("a", life=2)
    assert requeued(desk.ready("a", received=0, held=(), life=2)) == [], "they may be on their way"
    desk.wait(HEARTBEAT, "a")
    actions = desk.ready("a", received=2, held=(), life=2)  # the mark of what was sent has come behind them
    assert requeued(actions) == [0, 1]
    assert grants(actions) == [("a", 0, 2), ("a", 1, 2)]


def test_a_stale_hello_does_not_lead_chunks_to_a_connection_that_is_closed(desk):
    desk.join("a")
    desk.hello("a", life=2)
    desk.hello("a", life=1)  # the hello of a connection before, read late
    desk.ready("a", life=2)
    desk.alive("a", life=2)
    (grant,) = only(desk.result("a", 0), Grant)
    assert grant.peer == route("a", 2)
    assert route("a", 2) in [action.peer for action in desk.wait(HEARTBEAT + 0.1) if isinstance(action, Send)]


def test_three_wrong_results_send_a_worker_away_and_no_chunk_is_to_blame(desk):
    desk.join("a")
    for attempt in (1, 2):
        assert grants(desk.result("a", 0, attempt, length=3)) == [("a", 0, attempt + 1)]
    actions = desk.result("a", 0, 3, length=3)
    assert any(isinstance(message, Refused) for message in messages(actions))
    assert len(only(actions, Lost)) == 1
    assert desk.leases.failures(0) == 0
    assert isinstance(desk.hello("a")[0].message, Refused), "and it stays away"
    assert granted(desk.join("b")) == [("b", 0), ("b", 1)]


def lose(desk, name, chunks):
    """So many chunks in a row are granted to a worker and do not come to it; ends early when it is sent away."""
    lost, said = 0, []
    for _ in range(chunks):
        if lost < chunks and desk.desk.knows(session(name)):
            sent = max(lease.sequence for lease in desk.leases.held(session(name)))
            said = desk.ready(name, received=sent, held=())
            lost += len(requeued(said))
    return lost, said


@pytest.mark.covers(
    "A line that damages every chunk on its way down",
    bound="sent away after 64 in a row; without others, exit 69 with that word",
    measured="in virtual time",
    removed="`dispatch.py`: `if member.losses >= LOSSES` in `_ready`",
)
def test_worker_to_which_no_chunk_comes_whole_is_sent_away_and_the_job_ends_with_that_word(desk):
    desk.join("a")
    lost, said = lose(desk, "a", 2 * LOSSES)
    assert LOSSES <= lost < LOSSES + desk.job.credit
    assert [message for message in messages(said) if isinstance(message, Refused)]
    assert desk.leases.suspect() is None, "no chunk is to blame"
    desk.hello("a")
    assert not desk.desk.knows(session("a"))
    fails = only(desk.wait(TIMING.worker_timeout + 1), Fail)
    assert isinstance(fails[0].error, NoWorkerError)
    assert "chunks in a row did not come to it whole" in str(fails[0].error)


@pytest.mark.parametrize("sign", ["result", "failed"])
def test_worker_that_gets_one_chunk_in_so_many_is_kept(desk, sign):
    desk.join("a")
    for _ in range(2):  # a third failure would end the job
        lose(desk, "a", LOSSES - desk.job.credit)
        held = desk.leases.held(session("a"))[0]
        getattr(desk, sign)("a", held.index, held.attempt)
    assert lose(desk, "a", LOSSES - desk.job.credit)[0] >= LOSSES - desk.job.credit
    assert desk.desk.knows(session("a"))


@pytest.mark.parametrize("sign", ["result", "failed"])
def test_what_is_said_of_a_chunk_that_was_never_granted_is_no_sign_that_one_came(desk, sign):
    desk.join("a")
    for _ in range(2):
        lose(desk, "a", LOSSES - desk.job.credit)
        getattr(desk, sign)("a", 9, 999)
    assert not desk.desk.knows(session("a"))


def test_wrong_results_that_were_not_awaited_do_not_count(desk):
    desk.join("a")
    for _ in range(5):
        desk.result("a", 0, 7, length=3)  # never granted
        desk.result("a", 9, 1, length=3)
    assert desk.desk.knows(session("a"))
    desk.wait(6.1, "a")  # it is late, and its chunks were given to others
    for index in (0, 1):
        desk.result("a", index, length=3)
    assert desk.desk.knows(session("a"))


def test_wrong_results_are_counted_over_a_workers_whole_life(desks):
    desk = desks(chunks=100)
    desk.join("a", "b")
    for strike in range(STRIKES):
        assert desk.desk.knows(session("a"))
        head = desk.leases.head(session("a"))
        desk.result("a", head.index, head.attempt, length=3)
        for _ in range(3):
            for name in "ab":
                head = desk.leases.head(session(name))
                if head is not None:
                    desk.result(name, head.index, head.attempt)
        assert desk.desk.knows(session("a")) == (strike + 1 < STRIKES)
    assert desk.desk.knows(session("b"))


def test_why_a_worker_was_sent_away_is_said_when_hope_is_lost(desk):
    desk.join("a")
    for attempt in (1, 2, 3):
        desk.result("a", 0, attempt, length=3)
    (fail, *_) = only(desk.wait(30.1), Fail)
    assert "worker a was sent away: 3 of its results had a wrong length or checksum" in str(fail.error)


def test_hellos_of_one_connection_are_answered_up_to_a_number_a_second(desk):
    def flood(connection):
        peer = Peer(Channel.VENTILATOR, connection)
        names = [connection.ljust(14, b"-") + number.to_bytes(2, "big") for number in range(2000)]
        hellos = [Hello(VERSION, name, "flood", 1, "host", "software", ("invert",), (), b"") for name in names]
        return [act for each in hellos for act in desk.desk.receive(peer, each, now=desk.now)]

    assert len(messages(flood(b"one"))) == HELLOS
    assert len(messages(flood(b"two"))) == HELLOS, "others are heard"
    assert flood(b"one") == []
    desk.later(1.0)
    assert len(messages(flood(b"one"))) == HELLOS
    assert len(desk.desk.routes) == 2 * HELLOS, "nothing is remembered of the others"


# Time


def test_heartbeats_go_down_both_sockets_each_heartbeat(desk):
    desk.join("a")
    desk.hello("b")
    sends = [action for action in desk.wait(HEARTBEAT + 0.01, "a", "b") if isinstance(action, Send)]
    assert [(send.peer, send.message) for send in sends] == [
        (sink("a"), Heartbeat(JOB_ID, 1, session("a"))),
        (route("a"), Sent(JOB_ID, 1, session("a"), 2)),
    ], "b has not said that it is ready: it is sent nothing"
    beats = [m for m in messages(desk.wait(2.0, "a", "b")) if isinstance(m, Heartbeat)]
    assert 8 <= len(beats) <= 10, "a tick that comes a hair too early leaves it to the next"


def test_ticks_are_due_a_quarter_of_a_heartbeat_apart(desk):
    assert desk.desk.next_deadline() == pytest.approx(desk.now + HEARTBEAT / 4)
    desk.later(0.05).tick()
    assert desk.desk.next_deadline() == pytest.approx(desk.now + HEARTBEAT / 4)


@pytest.mark.covers("the coordinator stopped for 3 x DEAD", by="by the clock")
def test_a_coordinator_that_slept_loses_nobody(desk):
    desk.join("a", "b")
    desk.wait(0.5, "a", "b")
    assert only(desk.later(3 * DEAD).tick(), Lost) == []
    assert only(desk.wait(0.5), Lost) == []
    assert len(only(desk.wait(1.0), Lost)) == 2, "and then judges as before"


def test_a_coordinator_that_slept_calls_no_chunk_late(desk):
    desk.join("a")
    desk.wait(3.0, "a")
    desk.later(60.0).alive("a")
    assert only(desk.tick(), Stuck) == []
    assert only(desk.wait(2.5, "a"), Stuck) == []
    assert only(desk.wait(1.0, "a"), Stuck) != []


def test_a_coordinator_that_slept_does_not_lose_hope(desk):
    desk.wait(20.0)
    assert only(desk.later(100.0).tick(), Fail) == []
    assert only(desk.wait(9.0), Fail) == []
    assert only(desk.wait(2.0), Fail) != []


def test_a_coordinator_that_is_always_late_still_notices_a_dead_worker(desk):
    desk.join("a")
    lost = []
    for _ in range(10):
        lost += only(desk.later(2.0).tick(), Lost)
    assert len(lost) == 1


# What cannot be sent


def test_a_grant_that_could_not_be_sent_is_taken_back_without_blame(desk):
    grant, second = only(desk.join("a"), Grant)
    desk.hello("b")
    desk.ready("b")
    actions = desk.desk.undelivered(grant, now=desk.now)
    assert only(actions, Requeued) == [Requeued(0, 1, "a", "it could not be sent")]
    assert desk.leases.failures(0) == 0
    assert granted(desk.later(0.05).tick()) == [], "nothing more for a; b has no credit left"
    assert grants(desk.ready("a", received=0, held=())) == [("a", 0, 2)], "until it says that it is ready"
    assert second.index == 1


def test_a_grant_to_a_worker_that_is_gone_since_is_nothing_to_take_back(desk):
    grant, _ = only(desk.join("a"), Grant)
    desk.goodbye("a")
    assert desk.desk.undelivered(grant, now=desk.now) == []


def test_a_suspect_that_could_not_be_sent_is_granted_to_another(desk):
    desk.join("a")
    desk.failed("a", 0)
    (grant,) = only(desk.result("a", 1), Grant)
    desk.desk.undelivered(grant, now=desk.now)
    assert desk.leases.suspect() == 0
    assert granted(desk.join("b")) == [("b", 0)]


# The end


def test_the_farewell_goes_to_everyone_on_every_socket(desk):
    desk.join("a")
    desk.hello("b")
    sends = desk.desk.farewell("the job is done")
    assert [send.peer for send in sends] == [sink("a"), route("a"), route("b")]
    assert sends[0].message == Goodbye(JOB_ID, 1, session("a"), "the job is done")
    assert {send.message.session for send in sends} == {session("a"), session("b")}


def test_the_routes_are_every_connection_of_the_living(desk):
    desk.join("a")
    desk.hello("b")
    assert desk.desk.routes == (route("a"), route("b"))
    desk.gone("a")
    assert desk.desk.routes == (route("b"),)


def test_a_whole_job_leaves_nothing_behind(desks):
    desk = desks(chunks=101, credit=3)
    desk.join("a", "b")
    order = 0
    while not desk.granting.finished:
        order += 1
        for name in "ab":
            held = desk.leases.held(session(name))
            if held:
                lease = held[order % len(held)]
                desk.take(result_of(name, lease.index, lease.attempt))
        desk.check()
    while any(desk.leases.load(session(name)) for name in "ab"):
        for name in "ab":
            for lease in desk.leases.held(session(name)):
                desk.result(name, lease.index, lease.attempt)
    assert desk.leases.in_flight == 0
    assert desk.count(Requeued) == 0
    assert desk.assembler.released == 101


def test_messages_that_are_not_for_a_coordinator_are_harmless(desk):
    desk.join("a")
    for message in (
        Again(),
        Refused("no"),
        Failed(JOB_ID, 1, session("x"), 0, 1, 0, 8, ""),
        Ready(JOB_ID, 1, b"?" * 16, 0, (), reads=False),
    ):
        desk.desk.receive(route("x"), message, now=desk.now)
    desk.check()
    assert desk.desk.knows(session("a"))


@pytest.mark.parametrize(("run", "chunk"), [(1, 0), (4, 0)])  # of a run, the first chunk in it
def test_conflicting_results_fail_the_job_and_name_the_users_chunk(desks, run, chunk):
    desk = desks(chunks=1, run=run)
    desk.join("a", "b")
    desk.result("a", 0, 1)
    (fail,) = only(desk.result("b", 0, 2, checksum=1), Fail)
    assert isinstance(fail.error, ConflictError)
    assert fail.error.index == chunk


def test_a_chunk_whose_result_was_rejected_is_granted_to_another_worker(desks):
    desk = desks(chunks=3)
    desk.join("a", "b")
    desk.result("a", 1)
    assert (desk.leases.load(session("a")), desk.leases.load(session("b"))) == (1, 1)
    actions = desk.result("a", 0, length=3)  # now a holds nothing
    assert grants(actions)[0] == ("b", 0, 2)


# The last signs of life


def test_the_last_sign_of_each_worker_is_known_as_of_the_last_heartbeat(desk):
    desk.join("a")
    desk.join("b")
    began = desk.now
    desk.wait(HEARTBEAT)
    desk.alive("b")
    heard = desk.now
    only_a = desk.desk.signs["a"]
    desk.wait(HEARTBEAT)
    assert (only_a, desk.desk.signs) == (began, {"a": began, "b": heard})
    desk.wait(DEAD)
    assert "a" not in desk.desk.signs
