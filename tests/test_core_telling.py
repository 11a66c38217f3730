"""Teller: what a user is told of what the Desk decides, over the Desk that ships."""

from dataclasses import replace

import pytest
from core_support import DEAD, Desk, only, result, session

from zaudio import events
from zaudio.core import actions
from zaudio.core.telling import Teller, said
from zaudio.events import State
from zaudio.plan import Plan
from zaudio.watching.ledger import Ledger

ABOUT = {"at": 7.0, "job": "6a6a", "stage": "main"}
RUN = 4  # of the user's chunks in a grant; there are 10 grants


class Some:
    """An audit of the chunks that the test names."""

    def __init__(self, *indexes):
        self.indexes = indexes

    def covers(self, index):
        return index in self.indexes


def teller(desk):
    return Teller(desk.desk, "6a6a", "main")


def tell(desk, acts):
    """The events of these actions."""
    told = (teller(desk).tell(action, 7.0) for action in acts)
    return [event for event in told if event is not None]


@pytest.fixture
def desk():
    desk = Desk(10, run=RUN)
    yield desk
    desk.check()


# Workers


def test_a_welcome_is_told_by_the_workers_name(desk):
    assert tell(desk, desk.hello("a")) == [events.Welcomed(**ABOUT, worker="a")]


def test_a_worker_that_is_ready_has_joined_and_is_granted_chunks(desk):
    desk.hello("a")
    joined, *grants = tell(desk, desk.ready("a"))
    assert joined == events.Joined(**ABOUT, worker="a", session=session("a").hex()[:8], host="host")
    assert grants == [
        events.Granted(**ABOUT, worker="a", chunk=0, chunks=RUN, attempt=1),
        events.Granted(**ABOUT, worker="a", chunk=4, chunks=RUN, attempt=1),
    ]


def test_a_lost_worker_and_what_it_held(desk):
    desk.join("a")
    lost, *requeued = tell(desk, desk.goodbye("a", "it was told to stop"))
    assert lost == events.Lost(**ABOUT, worker="a", reason="it was told to stop", session=session("a").hex()[:8])
    assert requeued == [
        events.Requeued(**ABOUT, worker="a", chunk=chunk, chunks=RUN, attempt=1, reason="it was told to stop")
        for chunk in (0, 4)
    ]


def test_a_worker_that_is_past_a_deadline(desk):
    desk.join("a")
    acts = desk.wait(6.0 * RUN + 1, "a")
    stuck = [event for event in tell(desk, acts) if isinstance(event, events.Stuck)]
    assert stuck == [events.Stuck(**ABOUT, worker="a", chunk=0)]


def test_a_worker_that_was_never_known_is_called_by_its_session(desk):
    desk.join("a")
    told = tell(desk, desk.result("stranger", 0, 9))
    assert [event.worker for event in told] == [session("stranger").hex()[:8]]


def test_a_worker_has_its_name_when_it_is_gone(desk):
    desk.join("a")
    desk.wait(DEAD + 1)
    assert [event.worker for event in tell(desk, desk.result("a", 0)) if isinstance(event, events.Accepted)] == ["a"]


# Chunks


def test_a_grant_that_an_idle_worker_is_given_besides_another_is_repeated():
    desk = Desk(1, run=RUN)
    told = tell(desk, [*desk.join("a"), *desk.join("b")])
    grants = [event for event in told if isinstance(event, events.Granted)]
    assert [(event.worker, event.attempt, event.repeated) for event in grants] == [("a", 1, False), ("b", 2, True)]


def test_an_accepted_result_counts_all_chunks_that_travelled_in_it(desk):
    desk.join("a")
    assert events.Accepted(**ABOUT, worker="a", chunk=0, chunks=RUN, seconds=0.1) in tell(desk, desk.result("a", 0))


def test_the_odd_bundle_counts_the_chunks_that_it_has():
    desk = Desk(10, run=RUN)
    desk.desk.job = replace(desk.job, plan=Plan(10 * 8 - 3, 8))  # three of the last 8 frames are missing
    accepted = actions.Accepted(session("a"), 0, 1)
    assert [event.chunks for event in tell(desk, [accepted])] == [3]


def test_a_chunk_is_named_as_in_sentences(desk):
    overdue = actions.Stuck(session("a"), 5)
    assert tell(desk, [overdue])[0].chunk == desk.job.chunk_of(5) == 20


def test_every_grant_is_placed_as_its_job_places_it(desk):
    grant = only(desk.join("a"), actions.Grant)[0]
    for index in range(10):
        (told,) = tell(desk, [replace(grant, index=index)])
        assert (told.chunk, told.chunks) == desk.job.chunks_in(index)


def test_a_duplicate(desk):
    desk.join("a")
    desk.result("a", 0)
    assert tell(desk, desk.result("a", 0)) == [events.Duplicate(**ABOUT, worker="a", chunk=0, chunks=RUN)]


def test_a_rejected_result(desk):
    desk.join("a")
    told = tell(desk, desk.result("a", 1, length=1))
    reason = "expected 8 bytes, got 1"
    assert told[0] == events.Rejected(**ABOUT, worker="a", chunk=4, chunks=RUN, reason=reason)


@pytest.mark.parametrize("index", [10, 2**32 - 1])
def test_a_rejected_result_of_chunks_that_there_are_not(desk, index):
    desk.join("a")
    told = tell(desk, desk.result("a", index))
    assert told == [events.Rejected(**ABOUT, worker="a", chunk=-1, chunks=0, reason="there are only 10 chunks")]


# Audits


@pytest.fixture
def audited():
    """A liar had chunk 1 accepted on its word; two others prove it wrong about chunk 2."""
    desk = Desk(6, run=2, audit=Some(2), credit=3, ciphering=False)
    desk.join("liar", "a", "b")
    return desk


def disputed(desk):
    """What is told while two contradict the liar about chunk 2."""
    told = []
    for name in ("liar", "a", "b"):
        attempt = next((number for number, who in desk.leases.attempts(2).items() if who == session(name)), None)
        wrong = {"checksum": 666} if name == "liar" else {}
        told += tell(desk, desk.take(result(name, 2, attempt, **wrong)))
    return told


def test_a_result_that_waits_for_another_opinion_is_noted(audited):
    assert disputed(audited)[0] == events.Noted(**ABOUT, worker="liar", chunk=4, chunks=2)


def test_an_audited_chunk_is_told_as_such(audited):
    told = [event for event in disputed(audited) if isinstance(event, events.Accepted)]
    assert [(event.chunk, event.audited) for event in told] == [(4, True)]


def test_a_liar_is_dropped_with_the_sentence_that_it_is_told(audited):
    dropped = [event for event in disputed(audited) if isinstance(event, events.Dropped)]
    reason = "its result of chunk 4 is not that of two others"
    assert dropped == [events.Dropped(**ABOUT, worker="liar", chunk=4, reason=reason, unchecked=0)]


def test_what_was_encrypted_on_the_word_of_a_liar_is_told_in_chunks(audited):
    held = audited.leases.held(session("liar"))
    first = [lease for lease in held if lease.index == 0]
    told = tell(audited, audited.result("liar", 0, first[0].attempt))
    assert [event.worker for event in told if isinstance(event, events.Accepted)] == ["liar"]
    dropped = [event for event in disputed(audited) if isinstance(event, events.Dropped)]
    assert [event.unchecked for event in dropped] == [2]


# What has no event


def test_what_only_the_shell_does_is_not_told(desk):
    acts = desk.join("a")
    quiet = [*desk.wait(1.0, "a"), *only(desk.result("a", 0), actions.Released)]
    assert acts != []
    assert quiet != []
    assert tell(desk, quiet) == []


def test_an_error_is_told_by_the_shell_when_the_job_ends(desk):
    acts = desk.wait(31.0)
    assert only(acts, actions.Fail) != []
    assert tell(desk, acts) == []


# All together


def test_a_ledger_that_is_told_everything_agrees_with_the_desk():
    desk = Desk(10, run=RUN)
    ledger, of_desk = Ledger(), teller(desk)

    def hear(acts):
        for action in acts:
            if (event := of_desk.tell(action, desk.now)) is not None:
                ledger.apply(event)
        return acts

    sizes = {"chunks": 40, "chunk_frames": 2, "frames": 80, "channels": 1, "samplerate": 1, "bytes": 80}
    ledger.apply(events.Started(at=desk.now, job="6a6a", format="f32le", **sizes))
    ledger.apply(events.StateChanged(at=desk.now, job="6a6a", state=State.RUNNING))
    held = []
    for name in ("a", "b"):
        hear(desk.hello(name))
        held += only(hear(desk.ready(name)), actions.Grant)
    held += only(hear(desk.goodbye("b")), actions.Grant)
    hear(desk.result("a", 0, 1, length=1))
    for _ in range(200):
        if desk.desk.finished:
            break
        for lease in desk.leases.held(session("a")):
            hear(desk.result("a", lease.index, lease.attempt))
    hear(desk.result("a", 0, 1))
    ledger.apply(events.Published(at=desk.now, job="6a6a", paths={}))
    report = ledger.report()
    assert report.shares == {"a": 40}
    assert (report.requeued, report.duplicates, report.rejected) == (
        desk.count(actions.Requeued),
        desk.count(actions.Duplicate),
        desk.count(actions.Rejected),
    )
    assert (report.workers, report.lost) == (2, 1)


# The log


def test_what_is_rarer_than_chunks_is_a_sentence_and_the_rest_is_traffic():
    worker = {"worker": "attic", **ABOUT}
    chunk = {"chunk": 7, "chunks": 4, **worker}
    sentences = {
        events.Joined(**worker): "worker attic takes part",
        events.Lost(reason="it left", **worker): "worker attic is gone: it left",
        events.Stuck(chunk=7, **worker): "worker attic is past the deadline of chunk 7",
        events.Requeued(attempt=1, reason="no", **chunk): "chunk 7 is to be granted again: worker attic: no",
        events.Rejected(reason="no", **chunk): "the result of chunk 7 by worker attic was rejected: no",
        events.Withdrawn(**chunk): "chunk 7 is to be done again: worker attic was dropped",
        events.Granted(attempt=2, repeated=True, **chunk): (
            "chunk 7 is granted to worker attic too: everything waits for it"
        ),
        events.Granted(attempt=1, **chunk): "",
        events.Accepted(**chunk): "",
        events.Noted(**chunk): "",
    }
    assert {event: said(event) for event in sentences} == sentences


def test_a_refused_worker_is_told_of(desk):
    (told,) = tell(desk, desk.hello("old", version=2))
    assert told == events.Refused(
        **ABOUT, worker="old", host="host", reason="it speaks protocol version 2, this coordinator speaks 1"
    )
    assert said(told) == f"old cannot take part: {told.reason}"
