"""How far a batch is, and how long it will still take: by the bytes of its recordings."""

import dataclasses
from types import SimpleNamespace

from zaudio.batching.work import OpenBatch
from zaudio.events import State
from zaudio.facts import BatchProgress, Progress

HOUR, SECOND = 600_000_000, 170_000

RUNNING = BatchProgress(
    state=State.RUNNING, chunks=11, done=10, bytes=0, bytes_done=0, workers=2, requeued=0, repeated=0, seconds=0.5,
    input_bytes=HOUR + 10 * SECOND, input_bytes_done=10 * SECOND,
)  # fmt: skip


def but(**facts):
    return dataclasses.replace(RUNNING, **facts)


def test_ten_seconds_of_an_hour_are_no_ten_elevenths():
    assert RUNNING.fraction == 10 * SECOND / (HOUR + 10 * SECOND)
    assert RUNNING.eta == HOUR * 0.5 / (10 * SECOND)


def test_the_speed_is_that_of_the_batch_and_not_of_its_stage():
    assert but(bytes=800, bytes_done=0).bytes_per_second == 10 * SECOND / 0.5
    assert but(input_bytes_passed=10 * SECOND).bytes_per_second == but(seconds=0.0).bytes_per_second == 0.0


def test_what_took_no_time_says_nothing_about_the_rest():
    passed = but(input_bytes_passed=9 * SECOND)
    assert passed.fraction == RUNNING.fraction
    assert passed.eta == HOUR * 0.5 / SECOND
    assert but(input_bytes_passed=10 * SECOND).eta is None
    assert but(seconds=0.0).eta is None


def test_the_end_is_the_end_whatever_the_files_became():
    grown = but(input_bytes_done=HOUR * 2)
    assert (grown.fraction, grown.eta) == (1.0, 0.0)
    assert (but(state=State.DONE).fraction, but(state=State.DONE).eta) == (1.0, 0.0)
    assert but(state=State.FAILED).eta is None


def test_files_without_bytes_are_counted():
    assert but(input_bytes=0, input_bytes_done=0).fraction == 10 / 11
    assert but(chunks=0, done=0).fraction == 1.0


def test_the_share_of_a_stage_that_ended_meanwhile_is_not_taken_for_that_of_the_next():
    batch = OpenBatch.__new__(OpenBatch)
    batch._weights, batch._farmed = SimpleNamespace(passed=7), (0, SECOND)
    shares = iter((1.0, 0.0))

    def progress():
        share = next(shares)
        if share:  # another thread goes on to the recording of an hour
            batch._farmed = SECOND, HOUR
        return Progress(State.RUNNING, 4, int(4 * share), 4, int(4 * share), 1, 0, 0, 0.5)

    own, done, passed = batch.done_bytes(progress)
    assert (own.fraction, done, passed) == (0.0, 7 + SECOND, 7)
