"""Classes of machines: the first ready worker's is the job's, and others are sent away before any grant."""

from dataclasses import replace

import pytest
from core_support import checked_desks, granted, messages, only

from zaudio.core.actions import Fail, Joined, Lost, Requeued
from zaudio.core.classes import KNOWN, Classes, Machine, StageClass, class_name, op_keys
from zaudio.core.register import Register
from zaudio.formats import sample_format
from zaudio.signal import Signal
from zaudio.steps import Step, Table
from zaudio.wire.messages import Refused

CHAIN = (Step("invert"), Step("gain", (("factor", 0.5),)))
OPS = ("invert", "gain", "measure")
SIGNAL = Signal(100, 1, 44100, sample_format("f32le"))
A, B = Machine("alpha", "zaudio 1, x86_64"), Machine("beta", "zaudio 1, arm64")


@pytest.fixture
def desk():
    yield from checked_desks()


def arrive(desk, name, numbers, *, host=None):
    """Hello and ready of a worker; what the ready does."""
    desk.hello(name, ops=OPS, host=host or name)
    return desk.ready(name, received=0, held=(), numbers=numbers)


# A desk


def test_the_first_ready_worker_makes_the_class_and_another_is_sent_away(desk):
    desk = desk(ops=CHAIN)
    assert desk.desk.class_name == ""
    assert granted(arrive(desk, "alpha", (5, 6)))
    assert (desk.desk.machine_class, desk.desk.class_name) == ((5, 6), class_name(CHAIN, (5, 6)))
    actions = arrive(desk, "beta", (5, 7))
    assert granted(actions) == []
    assert only(actions, Joined | Requeued | Fail) == []
    [refused] = messages(actions)
    assert refused == Refused(
        "op gain gives other bits on host beta (software of beta) than on host alpha (software of alpha): "
        "a job has one class of machines; use those like alpha, "
        f"or start it with --class {class_name(CHAIN, (5, 7))} for those like beta"
    )
    assert [lost.reason for lost in only(actions, Lost)] == [refused.reason]
    assert desk.desk.machine_class == (5, 6)


def test_a_worker_that_was_sent_away_is_not_welcomed_again(desk):
    desk = desk(ops=CHAIN)
    arrive(desk, "alpha", (5, 6))
    [refused] = messages(arrive(desk, "beta", (4, 6)))
    assert messages(desk.hello("beta", ops=OPS)) == [refused]


def test_workers_of_one_class_take_part_together(desk):
    desk = desk(ops=CHAIN)
    arrive(desk, "alpha", (5, 6))
    assert [granted(arrive(desk, name, (5, 6))) != [] for name in ("gamma", "delta")] == [True, True]


@pytest.mark.parametrize(
    ("first", "second"), [((0, 6), (5, 6)), ((5, 0), (0, 6)), ((), (5, 6)), ((5, 6), ()), ((0, 0), (5, 6))]
)
def test_a_number_that_says_nothing_is_of_every_class(desk, first, second):
    desk = desk(ops=CHAIN)
    arrive(desk, "alpha", first)
    assert only(arrive(desk, "beta", second), Joined)
    both = [max(pair) for pair in zip(first or (0, 0), second or (0, 0), strict=True)]
    assert desk.desk.machine_class == tuple(both), "what one says of an op, it says for all"


@pytest.mark.parametrize("numbers", [(5,), (5, 6, 7)])
def test_numbers_that_are_not_one_for_each_op_are_refused(desk, numbers):
    [refused] = messages(arrive(desk(ops=CHAIN), "alpha", numbers))
    assert refused.reason == f"it says {len(numbers)} numbers of its class, and the job has 2 ops"


def test_a_class_that_a_worker_says_later_is_looked_at_too(desk):
    desk = desk(ops=CHAIN)
    arrive(desk, "alpha", ())
    arrive(desk, "beta", (5, 6))
    assert [type(message) for message in messages(desk.ready("alpha", numbers=(5, 7)))] == [Refused]


def test_a_demanded_class_is_that_of_all_workers(desk):
    for demand in ({"machine_class": (5, 6)}, {"class_name": class_name(CHAIN, (5, 6))}):
        here = desk(ops=CHAIN, **demand)
        assert [type(message) for message in messages(arrive(here, "beta", (5, 7)))] == [Refused]
        assert only(arrive(here, "alpha", (5, 6)), Joined)


def test_sentences_about_a_demanded_class_name_the_machine(desk):
    here = desk(ops=CHAIN, machine_class=(5, 6))
    [refused] = messages(arrive(here, "beta", (5, 7)))
    assert refused.reason == (
        "op gain gives other bits on host beta (software of beta) than in the class that this job asks for"
    )
    here = desk(ops=CHAIN, class_name="abcdef012345")
    [refused] = messages(arrive(here, "beta", (5, 7)))
    name = class_name(CHAIN, (5, 7))
    assert (
        refused.reason == f"host beta (software of beta) is of class {name}, and this job asks for class abcdef012345"
    )
    [refused] = messages(arrive(here, "gamma", ()))
    assert "is of class (none)" in refused.reason


def test_the_reason_is_told_when_no_worker_is_of_the_class(desk):
    here = desk(ops=CHAIN, machine_class=(5, 6))
    arrive(here, "beta", (5, 7))
    failed, *_ = only(here.wait(31.0), Fail)
    assert "worker beta was sent away: op gain gives other bits on host beta" in str(failed.error)


# From stage to stage


def test_the_class_outlives_a_stage(desk):
    register = Register()
    arrive(desk(ops=CHAIN, register=register), "alpha", (5, 6))
    later = desk(ops=CHAIN, register=register, job_id=b"k" * 16)
    assert later.desk.machine_class == (5, 6)
    assert [type(message) for message in messages(arrive(later, "beta", (5, 7)))] == [Refused]


def test_an_op_has_the_same_class_wherever_the_ops_in_front_of_it_are_the_same(desk):
    register = Register()
    arrive(desk(ops=(*CHAIN, Step("measure")), register=register), "alpha", (5, 6, 7))
    longer = desk(ops=(*CHAIN, Step("invert")), register=register)
    assert longer.desk.machine_class == (5, 6, 0)
    other = desk(ops=CHAIN[::-1], register=register)
    assert other.desk.machine_class == (0, 0)


# By itself


def test_keys_tell_ops_signals_and_tables_apart():
    table = Table("t", "<f8", bytes(8))
    chains = [
        (CHAIN, SIGNAL),
        (CHAIN, replace(SIGNAL, frames=101)),
        (CHAIN, replace(SIGNAL, format=sample_format("f32be"))),
        ((CHAIN[0], Step("gain", (("factor", 0.25),))), SIGNAL),
        ((CHAIN[0], Step("gain", (("factor", 0.5),), (table,))), SIGNAL),
        ((CHAIN[0], Step("gain", (("factor", 0.5),), (replace(table, numbers=b"\1" * 8),))), SIGNAL),
        ((CHAIN[0], Step("gain", (("factor", 0.5),), version="2")), SIGNAL),
    ]
    keys = [op_keys(ops, signal)[1] for ops, signal in chains]
    assert len(set(keys)) == len(chains)
    assert op_keys(*chains[0])[0] == op_keys(*chains[3])[0], "what follows does not matter"


def test_the_name_of_a_class_says_what_ops_give_and_nothing_else():
    name = class_name(CHAIN, (5, 6))
    assert len(name) == 12
    assert int(name, 16) >= 0
    assert name != class_name(CHAIN, (5, 7))
    assert name == class_name((*CHAIN, Step("mine:do")), (5, 6, 0))
    assert class_name(CHAIN, ()) == class_name(CHAIN, (0, 0)) == ""


def test_the_memory_is_bounded():
    classes = Classes()
    for number in range(1, KNOWN + 10):
        classes.learn(number.to_bytes(4, "big"), number, A)
        classes.learn(number.to_bytes(4, "big"), number + 1, B)
    classes.check()
    assert classes.get((1).to_bytes(4, "big")) is None
    assert classes.get(KNOWN.to_bytes(4, "big")) == (KNOWN, A), "the first that is said stays"


def test_what_is_expected_counts_before_what_is_known():
    classes = Classes()
    assert StageClass(CHAIN, SIGNAL, classes).judge((5, 6), A) == ""
    resumed = StageClass(CHAIN, SIGNAL, classes, expected=(5, 9))
    assert resumed.numbers == (5, 9)
    assert "than in the class that this job asks for" in resumed.judge((5, 6), A)
    assert resumed.judge((5, 9), B) == ""
