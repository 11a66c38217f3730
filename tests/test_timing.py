"""Timing: what is refused, and that what is accepted can be told to workers."""

import math

import pytest

from zaudio.errors import UsageError
from zaudio.steps import Step
from zaudio.timing import Timing
from zaudio.wire.codec import TO_WORKER, decode, encode
from zaudio.wire.messages import Channel, Welcome

pytestmark = pytest.mark.covers("60 s at first, later max(30 s, 10 x median); `--chunk-timeout` in the place of both")

SECONDS = ("heartbeat", "chunk_timeout", "chunk_timeout_floor", "chunk_timeout_factor", "worker_timeout")


def as_welcome(timing):
    ops = (Step("invert"),)
    return Welcome(
        bytes(16),
        1,
        bytes(16),
        (),
        timing.heartbeat,
        timing.liveness,
        2,
        2**20,
        1,
        44100,
        "f32le",
        0,
        1,
        "reversed",
        ops,
        None,
    )


def test_the_defaults_agree():
    timing = Timing()
    assert timing.dead_after == 5.0
    assert timing.chunk_timeout > timing.dead_after


@pytest.mark.parametrize("name", SECONDS)
def test_a_duration_is_a_finite_number_above_zero(name):
    for value in (0, 0.0, -1, -0.0, math.nan, math.inf, -math.inf, "1", None, [1], 1j):
        with pytest.raises(UsageError, match=name):
            Timing(**{name: value})


@pytest.mark.parametrize("name", ["liveness", "failures"])
def test_a_count_is_a_whole_number_large_enough(name):
    for value in (0, -1, 2.5, 5.0, math.nan, math.inf, "5", None, True):
        with pytest.raises(UsageError, match=name):
            Timing(**{name: value})


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ({"heartbeat": 0.001}, {"heartbeat": 3600.0, "liveness": 2, "chunk_timeout": 7200.5}),
        ({"liveness": 2}, {"liveness": 1000, "heartbeat": 0.01}),
    ],
)
def test_what_is_accepted_can_be_told_to_workers_at_both_limits(low, high):
    for values in (low, high):
        welcome = as_welcome(Timing(**values))
        assert decode(encode(welcome), TO_WORKER[Channel.VENTILATOR]) == welcome


@pytest.mark.parametrize(
    "values",
    [
        {"heartbeat": 0.00099},
        {"heartbeat": 3600.01, "liveness": 2, "chunk_timeout": 1e6},
        {"liveness": 1},
        {"liveness": 1001, "heartbeat": 0.001},
    ],
)
def test_what_no_worker_would_understand_is_refused(values):
    with pytest.raises(UsageError, match=next(iter(values))):
        Timing(**values)


def test_one_failure_may_end_a_job():
    assert Timing(failures=1).failures == 1


def test_a_chunk_may_take_longer_than_a_heartbeat():
    with pytest.raises(UsageError, match=r"chunk_timeout \(1 s\).*a heartbeat \(1 s\)"):
        Timing(chunk_timeout=1.0)
    assert Timing(chunk_timeout=1.001).chunk_timeout == 1.001, "a chunk may be late before its worker is dead"


@pytest.mark.parametrize("seconds", [1.5, 5, 30.0, 45.0, 60.0, 600.0])
def test_what_a_user_says_of_a_chunk_is_the_first_timeout_and_the_least(seconds):
    timing = Timing(worker_timeout=7.0).allowing(seconds)
    assert (timing.chunk_timeout, timing.chunk_timeout_floor) == (seconds, seconds)
    assert (timing.chunk_timeout_factor, timing.worker_timeout) == (10.0, 7.0)


def test_without_a_word_of_the_user_nothing_changes():
    timing = Timing()
    assert timing.allowing(None) is timing
    assert (timing.chunk_timeout, timing.chunk_timeout_floor) == (60.0, 30.0)


@pytest.mark.parametrize("seconds", [0, -1, 1.0, math.nan, math.inf, "5"])
def test_what_a_user_says_of_a_chunk_is_checked(seconds):
    with pytest.raises(UsageError, match="chunk_timeout"):
        Timing().allowing(seconds)


def test_timing_does_not_change():
    with pytest.raises(AttributeError):
        Timing().heartbeat = 2.0
