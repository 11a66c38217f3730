"""Assembler: what is accepted, in what order it is released, what is a duplicate and what is none of ours."""

import pytest
from core_support import FRAMES, JOB_ID, checksum, result, session

from zaudio.core.actions import Accepted, Duplicate, Fail, Rejected, Released
from zaudio.core.assembly import CHECKSUMS_KEPT, Assembler
from zaudio.core.leases import Leases
from zaudio.errors import ConflictError
from zaudio.plan import Plan


class Bench:
    """An Assembler beside real leases; it does what the Dispatcher does when a result was judged."""

    def __init__(self, chunks: int) -> None:
        self.leases = Leases(chunks)
        plan = Plan(chunks * FRAMES, FRAMES)
        self.assembler = Assembler(plan, job=JOB_ID, incarnation=1, frame_bytes=1, grants=self.leases)
        self.sequence = 0

    def grant(self, name: str, *indexes: int) -> None:
        for index in indexes:
            self.sequence += 1
            self.leases.grant(session(name), index, self.sequence)

    def take(self, name: str, index: int, attempt: int = 1, *, really: int | None = None, **other: object) -> list:
        message = result(name, index, attempt, **other)
        verdicts = self.assembler.receive(message, checksum=message.checksum if really is None else really)
        if any(isinstance(verdict, Accepted) for verdict in verdicts):
            self.leases.accept(index)
        self.leases.free(session(name), index, attempt)
        return verdicts


@pytest.fixture
def bench():
    bench = Bench(7)
    yield bench
    bench.assembler.check()
    bench.leases.check()


def accepted(name: str, index: int, attempt: int = 1) -> Accepted:
    return Accepted(session(name), index, attempt)


def test_a_job_without_chunks_is_finished_from_the_start():
    assembler = Bench(0).assembler
    assert assembler.finished
    assembler.check()


def test_a_job_that_goes_on_releases_from_its_first_chunk_and_takes_none_before_it():
    leases = Leases(7, 4)
    assembler = Assembler(Plan(7 * FRAMES, FRAMES), job=JOB_ID, incarnation=1, frame_bytes=1, grants=leases, first=4)
    assert assembler.released == 4
    leases.grant(session("a"), 4, 1)
    message = result("a", 4, 1)
    assert assembler.receive(message, checksum=message.checksum) == [accepted("a", 4), Released(4)]
    early = result("a", 3, 1)
    assert not any(isinstance(verdict, Released) for verdict in assembler.receive(early, checksum=early.checksum))
    assembler.check()


@pytest.mark.parametrize("chunks", [1, 2, 7])
def test_results_that_come_in_order_are_released_at_once(chunks):
    bench = Bench(chunks)
    for index in range(chunks):
        assert not bench.assembler.finished
        bench.grant("a", index)
        assert bench.take("a", index) == [accepted("a", index), Released(index)]
        assert bench.assembler.released == index + 1
        bench.assembler.check()
    assert bench.assembler.finished


def test_results_wait_for_every_chunk_before_them(bench):
    bench.grant("a", *range(7))
    for index in (6, 2, 1, 5):
        assert bench.take("a", index) == [accepted("a", index)]
    assert bench.assembler.released == 0
    assert bench.take("a", 0) == [accepted("a", 0), Released(0), Released(1), Released(2)]
    assert bench.take("a", 4) == [accepted("a", 4)]
    assert bench.take("a", 3) == [accepted("a", 3), *map(Released, (3, 4, 5, 6))]
    assert bench.assembler.finished


def test_accepted_says_which_chunks_have_their_result(bench):
    bench.grant("a", 0, 1, 2)
    bench.take("a", 0)
    bench.take("a", 2)
    assert [bench.assembler.accepted(index) for index in range(4)] == [True, False, True, False]


def test_the_same_result_twice_is_a_duplicate(bench):
    bench.grant("a", 0, 1, 2)
    bench.take("a", 0)
    bench.take("a", 2)
    assert bench.take("a", 0) == [Duplicate(session("a"), 0, 1)]
    assert bench.take("a", 2) == [Duplicate(session("a"), 2, 1)]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"job": b"x" * 16}, "it belongs to another job"),
        ({"incarnation": 2}, "it belongs to another job"),
        ({"index": 7}, "there are only 7 chunks"),
        ({"length": FRAMES - 1}, f"expected {FRAMES} bytes, got {FRAMES - 1}"),
        ({"length": 0}, f"expected {FRAMES} bytes, got 0"),
        ({"session": session("b")}, "it was never granted"),
        ({"index": 1}, "it was never granted"),
        ({"attempt": 2}, "it was never granted"),
    ],
)
def test_a_result_that_cannot_be_one_is_rejected_with_the_reason(bench, other, reason):
    bench.grant("a", 0)
    message = result("a", **({"index": 0} | other))
    late = "another job" in reason
    assert bench.assembler.receive(message, checksum=message.checksum) == [
        Rejected(message.session, -1 if late else message.index, message.attempt, reason, late)
    ]
    assert not bench.assembler.accepted(0)
    assert bench.take("a", 0) == [accepted("a", 0), Released(0)], "a good one is still welcome"


def test_a_payload_with_another_checksum_is_rejected(bench):
    bench.grant("a", 0)
    assert bench.take("a", 0, really=1) == [Rejected(session("a"), 0, 1, "it was damaged on the way")]


def test_the_odd_chunk_of_the_recording_has_its_own_length():
    leases = Leases(2)
    assembler = Assembler(Plan(FRAMES + 3, FRAMES), job=JOB_ID, incarnation=1, frame_bytes=1, grants=leases)
    leases.grant(session("a"), 0, 1)
    assert isinstance(assembler.receive(result("a", 0), checksum=checksum(0))[0], Rejected)
    short = result("a", 0, length=3)
    assert assembler.receive(short, checksum=checksum(0)) == [accepted("a", 0), Released(0)]


def test_the_result_of_a_lease_that_ran_out_is_accepted(bench):
    bench.grant("a", 0)
    bench.leases.drop(session("a"))
    assert bench.take("a", 0) == [accepted("a", 0), Released(0)]


def test_of_two_attempts_the_first_result_is_accepted_whichever_it_is(bench):
    bench.grant("a", 0)
    bench.grant("b", 0)
    assert bench.take("b", 0, 2) == [accepted("b", 0, 2), Released(0)]
    assert bench.take("a", 0, 1) == [Duplicate(session("a"), 0, 1)]


def test_different_results_of_two_workers_fail_the_job_and_name_both(bench):
    bench.grant("alice", 0)
    bench.grant("bob", 0)
    bench.take("alice", 0)
    duplicate, fail = bench.take("bob", 0, 2, checksum=1)
    assert duplicate == Duplicate(session("bob"), 0, 2)
    assert isinstance(fail, Fail)
    assert isinstance(fail.error, ConflictError)
    assert fail.error.index == 0
    assert session("alice").hex().startswith(fail.error.first)
    assert session("bob").hex().startswith(fail.error.second)


def test_a_doubled_result_does_not_hide_a_conflict_that_comes_after_it(bench):
    bench.grant("a", 0)
    bench.grant("b", 0)
    bench.take("a", 0)
    assert bench.take("a", 0) == [Duplicate(session("a"), 0, 1)]
    assert isinstance(bench.take("b", 0, 2, checksum=1)[-1], Fail)


# What may have become of bob's lease by the time that alice answers for the same chunk
ENDS = {
    "it is live": lambda leases: None,
    "it ran out": lambda leases: leases.spend(session("bob")),
    "he was given up": lambda leases: leases.drop(session("bob")),
    "he was given up and came back": lambda leases: (
        leases.drop(session("bob")),
        leases.adopt(session("bob"), [(0, 1)]),
    ),
    "it was found missing": lambda leases: leases.free(session("bob"), 0, 1),
}


@pytest.mark.covers(
    "two results for one chunk with different bytes, the second one of a worker that was given up long ago",
    by="every order of events:",
)
@pytest.mark.parametrize("before", ENDS)
@pytest.mark.parametrize("after", ENDS)
def test_a_conflict_is_found_whatever_became_of_the_other_lease(before, after):
    bench = Bench(1)
    bench.grant("bob", 0)
    ENDS[before](bench.leases)
    bench.grant("alice", 0)
    assert bench.take("alice", 0, 2) == [accepted("alice", 0, 2), Released(0)]
    ENDS[after](bench.leases)
    duplicate, fail = bench.take("bob", 0, 1, checksum=1)
    assert duplicate == Duplicate(session("bob"), 0, 1)
    assert isinstance(fail.error, ConflictError)
    assert session("alice").hex().startswith(fail.error.first)
    assert session("bob").hex().startswith(fail.error.second)
    bench.leases.check()


def test_a_worker_may_contradict_itself(bench):
    bench.grant("a", 0)
    bench.leases.drop(session("a"))
    bench.grant("a", 0)
    bench.take("a", 0, 2)
    assert isinstance(bench.take("a", 0, 1, checksum=1)[-1], Fail)


def test_of_three_attempts_the_last_may_still_disagree(bench):
    for name in "abc":
        bench.grant(name, 0)
        bench.leases.drop(session(name))
    bench.take("b", 0, 2)
    assert bench.take("c", 0, 3) == [Duplicate(session("c"), 0, 3)]
    assert isinstance(bench.take("a", 0, 1, checksum=1)[-1], Fail)


@pytest.mark.parametrize(("name", "attempt"), [("c", 1), ("b", 3), ("b", 1)])
def test_what_was_never_granted_contradicts_nobody(bench, name, attempt):
    bench.grant("a", 0)
    bench.grant("b", 0)
    bench.take("a", 0)
    assert bench.take(name, 0, attempt, checksum=1) == [Duplicate(session(name), 0, attempt)]


def test_the_checksum_is_forgotten_when_every_other_worker_agreed(bench):
    for name in "abc":
        bench.grant(name, 0)
    bench.take("a", 0)
    assert len(bench.assembler._checksums) == 1
    bench.take("b", 0, 2)
    assert len(bench.assembler._checksums) == 1
    bench.take("c", 0, 3)
    assert len(bench.assembler._checksums) == 0


def test_no_checksum_is_kept_of_a_chunk_that_was_granted_once(bench):
    bench.grant("a", 0, 1)
    bench.take("a", 0)
    bench.leases.drop(session("a"))
    bench.take("a", 1)
    assert len(bench.assembler._checksums) == 0


def test_checksums_are_bounded_whatever_workers_never_answer():
    chunks = CHECKSUMS_KEPT + 10
    bench = Bench(chunks)
    for index in range(chunks):
        bench.grant("a", index)
        bench.grant("silent", index)
        bench.take("a", index)
    assert len(bench.assembler._checksums) == CHECKSUMS_KEPT
    bench.assembler.check()


def test_what_waits_is_all_that_is_remembered():
    bench = Bench(1000)
    for index in range(1000):
        bench.grant("a", index)
        bench.take("a", index)
        assert len(bench.assembler._waiting) == len(bench.assembler._checksums) == 0
