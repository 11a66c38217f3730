"""Jury: which chunks are chosen, when a result is noted, when two agree, and which worker lied."""

import pytest
from core_support import job, result, session

from zaudio.core.actions import Accepted, Duplicate, Fail, Liar, Noted
from zaudio.core.jury import AGREED_KEPT, Audit, Jury
from zaudio.errors import ConflictError

SECRET = bytes(range(32))
ALL = Audit(100, SECRET)
TRUE, FALSE, OTHER = b"true", b"false", b"other"
A, B, C, D = (session(name) for name in "abcd")


@pytest.fixture
def jury():
    """A jury over all chunks, which calls sessions by their names and chunks by ten times their index."""
    jury = Jury(ALL, name=lambda session: session.rstrip(b"-").decode(), chunk_of=lambda index: 10 * index)
    yield jury
    jury.check()


def hear(jury, name, digest, *, index=0, attempt=1, out=()):
    """A result of a chunk whose grants went to these workers, attempt 1 first."""
    attempts = {number: session(each) for number, each in enumerate(out, 1)}
    return jury.hear(result(name, index, attempt), digest, attempts)


# The choice


@pytest.mark.parametrize("percent", [0.5, 5, 50, 99])
def test_about_as_many_chunks_are_chosen_as_were_asked_for(percent):
    chosen = sum(Audit(percent, SECRET).covers(index) for index in range(20_000))
    expected = 20_000 * percent / 100
    assert abs(chosen - expected) < 5 * (expected * (1 - percent / 100)) ** 0.5


def test_a_hundred_percent_are_all():
    assert all(ALL.covers(index) for index in range(1000))


def test_the_same_secret_chooses_the_same_and_another_others():
    def choice(secret):
        return [index for index in range(1000) if Audit(50, secret).covers(index)]

    assert choice(SECRET) == choice(SECRET)
    common = set(choice(SECRET)) & set(choice(bytes(32)))
    assert len(common) < 350, "of a thousand, a quarter is in both by chance"


def test_the_choice_never_changes_its_meaning():
    assert [index for index in range(60) if Audit(10, SECRET).covers(index)] == [4, 15, 21, 27, 35, 42]


def test_the_secret_is_not_in_what_a_job_says_of_itself():
    assert repr(SECRET) not in repr(job(audit=ALL))
    assert SECRET.hex() not in repr(job(audit=ALL))


def test_without_an_audit_nothing_is_audited_and_one_answer_is_enough():
    jury = Jury(None)
    assert not jury.sits
    assert not any(jury.audits(index) for index in range(100))
    assert {jury.answers(index) for index in range(100)} == {1}


def test_an_audited_chunk_needs_two_answers_and_another_one():
    audit = Audit(50, SECRET)
    jury = Jury(audit)
    assert jury.sits
    for index in range(100):
        assert jury.audits(index) == audit.covers(index)
        assert jury.answers(index) == (2 if audit.covers(index) else 1)


# Results


def test_the_first_result_is_noted_and_the_second_accepted_when_it_is_the_same(jury):
    assert hear(jury, "a", TRUE) == [Noted(A, 0, 1)]
    assert jury.undecided == {0}
    assert hear(jury, "b", TRUE, attempt=2) == [Accepted(B, 0, 2)]
    assert jury.undecided == frozenset()


def test_a_worker_does_not_agree_with_itself(jury):
    hear(jury, "a", TRUE)
    assert hear(jury, "a", TRUE, attempt=3) == [Duplicate(A, 0, 3)]
    assert hear(jury, "a", FALSE, attempt=4) == [Duplicate(A, 0, 4)]
    assert jury.undecided == {0}


@pytest.mark.parametrize(("third", "liar"), [(TRUE, "b"), (FALSE, "a")])
def test_of_two_that_differ_the_third_says_which_lied(jury, third, liar):
    assert hear(jury, "a", TRUE) == [Noted(A, 0, 1)]
    assert hear(jury, "b", FALSE, attempt=2) == [Noted(B, 0, 2)]
    assert jury.dropped == {}, "neither is believed, neither is blamed"
    assert hear(jury, "c", third, attempt=3) == [Liar(session(liar), liar, 0), Accepted(C, 0, 3)]
    assert jury.dropped == {session(liar): 0}


def test_three_that_differ_fail_the_job_and_name_the_users_chunk(jury):
    hear(jury, "a", TRUE, index=4)
    hear(jury, "b", FALSE, index=4, attempt=2)
    (fail,) = hear(jury, "c", OTHER, index=4, attempt=3)
    assert isinstance(fail, Fail)
    assert isinstance(fail.error, ConflictError)
    assert (fail.error.index, fail.error.first, fail.error.second) == (40, "a", "b")


def test_chunks_are_judged_each_by_itself(jury):
    hear(jury, "a", TRUE, index=0)
    assert hear(jury, "b", FALSE, index=1) == [Noted(B, 1, 1)]
    assert hear(jury, "a", FALSE, index=1, attempt=2) == [Accepted(A, 1, 2)]
    assert jury.undecided == {0}


# A liar


def convict_a(jury):
    """Let a lie about chunk 0."""
    hear(jury, "a", FALSE)
    hear(jury, "b", TRUE, attempt=2)
    assert hear(jury, "c", TRUE, attempt=3) == [Liar(A, "a", 0), Accepted(C, 0, 3)]


def test_a_liars_other_words_count_no_more(jury):
    hear(jury, "a", TRUE, index=5)
    hear(jury, "a", TRUE, index=6)
    hear(jury, "b", OTHER, index=6, attempt=2)
    convict_a(jury)
    assert jury.undecided == {6}, "only b has said something that counts"
    assert hear(jury, "b", TRUE, index=5, attempt=2) == [Noted(B, 5, 2)]
    assert hear(jury, "c", OTHER, index=6, attempt=3) == [Accepted(C, 6, 3)]


def test_frames_that_were_released_on_a_liars_word_alone_are_counted(jury):
    jury.believe(A, 8)
    jury.believe(B, 8)
    jury.believe(A, 3)
    convict_a(jury)
    assert jury.dropped == {A: 11}


# Late results


def test_a_late_result_that_says_the_same_is_no_lie(jury):
    hear(jury, "a", TRUE, out="abcd")
    hear(jury, "b", TRUE, attempt=2, out="abcd")
    assert jury.hear_late(result("c", 0, 3), TRUE) == []
    assert jury.hear_late(result("d", 0, 4), FALSE) == [Liar(D, "d", 0)]
    assert jury.dropped == {D: 0}
    assert jury._agreed == {}, "all attempts have answered"


def test_a_late_result_is_heard_once_and_only_of_its_own_grant(jury):
    hear(jury, "a", TRUE, out="abc")
    hear(jury, "b", TRUE, attempt=2, out="abc")
    assert jury.hear_late(result("d", 0, 3), FALSE) == [], "that grant was c's"
    assert jury.hear_late(result("c", 0, 4), FALSE) == [], "there was no such grant"
    assert jury.hear_late(result("a", 0, 1), FALSE) == [], "it has said its word"
    assert jury.hear_late(result("c", 0, 3), TRUE) == []
    assert jury.hear_late(result("c", 0, 3), FALSE) == [], "and so has c"
    assert jury.hear_late(result("c", 9, 1), FALSE) == [], "nothing is known of that chunk"
    assert jury.dropped == {}


def test_what_is_kept_for_late_results_is_bounded(jury):
    for index in range(AGREED_KEPT + 3):
        hear(jury, "a", TRUE, index=index, out="abc")
        hear(jury, "b", TRUE, index=index, attempt=2, out="abc")
        assert len(jury._agreed) <= AGREED_KEPT
    assert jury.hear_late(result("c", 2, 3), FALSE) == [], "the oldest are forgotten"
    assert jury.hear_late(result("c", 3, 3), FALSE) == [Liar(C, "c", 3)]


# Sentences


def test_a_shortage_of_workers_says_what_they_are_needed_for(jury):
    assert jury.shortage(2, 0, 30) == jury.shortage(2, 1, 30)
    assert jury.shortage(2, 1, 30) == (
        "chunk 20 is audited, and for 30 s there was no second worker to compute it too; "
        "an audit takes two workers at least"
    )
    assert jury.shortage(2, 2, 1.5) == (
        "chunk 20 is audited, and for 1.5 s there was no third worker to decide between the different results of two"
    )


def test_check_finds_a_liar_whose_word_still_counts():
    jury = Jury(ALL)
    hear(jury, "a", TRUE)
    jury.check()
    jury.dropped[A] = 0
    with pytest.raises(AssertionError, match="counts for nothing"):
        jury.check()
