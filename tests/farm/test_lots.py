"""A lot on a farm, in virtual time: the Desk's rules are those of one recording."""

import network
import pytest
from extended import examples
from hypothesis import given
from hypothesis import strategies as st
from network import Farm, Fault, Faults, checksum

from zaudio.batching.lots import LINE_CREDIT, LOT_MOST
from zaudio.core.actions import Fail
from zaudio.core.jury import Audit
from zaudio.errors import ChunkError
from zaudio.lot import LotPlan
from zaudio.plan import Plan
from zaudio.timing import Timing


def lot(*lengths):
    return {"lot": LotPlan(tuple(Plan(length, 8) for length in lengths)), "lengths": lengths}


def test_many_small_recordings_keep_all_workers_busy():
    alone = Farm(0, workers=1, seconds=0.1, **lot(*[5] * 60)).run().seconds
    both = Farm(0, workers=2, seconds=0.1, **lot(*[5] * 60)).run()
    assert both.error is None
    assert both.seconds < 0.52 * alone
    assert min(both.shares.values()) >= 29


def over_a_line(workers, monkeypatch):
    """The seconds of 200 recordings, with an op of 50 ms, when a round trip takes 100 ms."""
    monkeypatch.setattr(network, "LATENCY", 0.05)
    farm = Farm(0, workers=workers, seconds=0.05, credit=LINE_CREDIT, timing=Timing(), **lot(*[5] * LOT_MOST))
    began = farm.now
    farm.run(settle=False)
    lengths = [5] * (200 - LOT_MOST)
    farm.lot, farm._of_job["lengths"] = lot(*lengths)["lot"], lengths
    farm.next_stage(len(lengths), b"n" * 16)
    assert farm.run(settle=False).error is None
    return farm.now - began


def test_many_small_recordings_keep_workers_busy_at_the_end_of_a_long_line(monkeypatch):
    alone, both = over_a_line(1, monkeypatch), over_a_line(2, monkeypatch)
    assert alone < 1.1 * 200 * 0.05
    assert both < 0.55 * alone


@examples(40)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(0, 999), st.booleans())
def test_a_lot_comes_out_in_its_order_whatever_the_network_does(lengths, seed, audited):
    farm = Farm(
        0,
        workers=3,
        seed=seed,
        faults=Faults(Fault(drop=0.1, duplicate=0.1, delay=0.2), until=120.0),
        audit=Audit(50, b"s" * 32) if audited else None,
        **lot(*lengths),
    )
    report = farm.run()
    assert report.error is None
    assert [farm.accepted[index] for index in range(len(farm.plan))] == list(map(checksum, range(len(farm.plan))))


@pytest.mark.parametrize("index", [0, 3, 6])
def test_a_chunk_that_fails_for_good_names_its_recording(index):
    failed = []
    farm = Farm(0, workers=2, op=lambda worker, at, attempt: "raise" if at == index else "ok", **lot(20, 5, 9, 8))
    take = farm._do

    def do(actions):
        actions = list(actions)
        failed.extend(action for action in actions if isinstance(action, Fail))
        take(actions)

    farm._do = do
    report = farm.run()
    span = farm.plan.span(index)
    assert isinstance(report.error, ChunkError)
    assert [farm.plan.span(action.index).recording for action in failed] == [span.recording]
    assert (report.error.start, report.error.stop) == (span.start, span.stop)
    assert report.error.index == index - sum(map(len, farm.plan.plans[: span.recording])), "the recording's own number"
    assert all(farm.plan.span(released).recording <= span.recording for released in report.released)
