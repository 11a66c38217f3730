"""The class of machines of a job, from stage to stage and from life to life."""

import pytest

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.job.classes import JobClass
from zaudio.signal import Signal
from zaudio.steps import Step

SIGNAL = Signal(100, 1, 44100, sample_format("f32le"))
A, B, C = (Step(name, (("x", 0.1),)) for name in "abc")


def test_a_later_stage_asks_for_the_numbers_of_the_ops_that_an_earlier_one_had():
    machines = JobClass()
    assert machines.expected((A, B), SIGNAL) == (0, 0)
    machines.learn((A, B), SIGNAL, (7, 2**63), "first")
    machines.learn((A, C), SIGNAL, (7, 0), "second")
    assert machines.expected((A, B, C), SIGNAL) == (7, 2**63, 0)
    assert machines.expected((B, A), SIGNAL) == (0, 0), "an op is another one behind others"
    assert machines.expected((A,), Signal(101, 1, 44100, SIGNAL.format)) == (0,)
    assert machines.name == "first"


def test_a_class_that_is_asked_for_is_asked_of_the_first_stage_alone():
    machines = JobClass("0123ab")
    assert machines.to_ask == "0123ab"
    machines.learn((A,), SIGNAL, (7,), "0123ab")
    assert machines.to_ask == ""
    assert JobClass().to_ask == ""


def test_a_later_life_stays_in_the_class():
    first, second = JobClass(), JobClass("first")
    first.learn((A, B), SIGNAL, (7, 9), "first")
    second.restore(first.name, first.kept)
    assert (second.name, second.to_ask, second.expected((A, B), SIGNAL)) == ("first", "", (7, 9))
    with pytest.raises(
        UsageError, match=r"begun by machines of class first, and goes on with those; leave --class out"
    ):
        JobClass("other").restore(first.name, first.kept)
