"""Many workers in virtual time: the shipped Desk feeds them, and `workers_useful` says where more are of no use."""

import sys
from pathlib import Path

import pytest

from zaudio import events
from zaudio.core.telling import Teller
from zaudio.timing import Timing
from zaudio.watching.limiting import Limit, judge
from zaudio.watching.metering import Meter

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
virtual_farm = pytest.importorskip("virtual_farm")
Setting, VirtualFarm, run = virtual_farm.Setting, virtual_farm.VirtualFarm, virtual_farm.run

MIB = 1 << 20
CIPHER = 100  # chunks a second
OP = 0.1  # seconds a chunk: ten workers keep that cipher busy


def farm(workers, **other):
    """A farm whose runs are all the same."""
    given = {"op": OP, "chunks": 20 * workers, "cipher": CIPHER * MIB, "counts_desk": False}
    return Setting(workers=workers, **given | other)


def metered(setting):
    """Run a farm; return its outcome and the times that the events of its Desk amount to."""
    meter, job = Meter(), "6a" * 16

    def hear(action, now):
        if (event := teller.tell(action, now)) is not None:
            meter.apply(event)

    made = VirtualFarm(setting, 0, hear)
    teller = Teller(made.desk, job=job, stage=events.MAIN)
    meter.apply(events.StageBegan(at=0.0, job=job, chunks=setting.chunks, chunk_frames=1, bytes=1, measures=False))
    outcome = made.run()
    size = setting.chunks * setting.chunk_bytes
    meter.apply(events.Advanced(at=made.now, job=job, chunks=setting.chunks, bytes=size, encrypting=outcome.ciphering))
    return outcome, meter.times(made.now)


def rate(outcome):
    return outcome.setting.chunks / outcome.seconds


def test_the_rate_bends_at_the_number_of_workers_that_is_called_useful():
    few, times = metered(farm(5, chunks=500))
    useful = times.workers_useful
    assert useful == pytest.approx(OP * CIPHER, abs=1)
    enough, times = metered(farm(useful, chunks=500))
    assert times.workers_useful == pytest.approx(useful, abs=1), "the number of workers that are there changes nothing"
    many, times = metered(farm(3 * useful, chunks=500))
    assert times.workers_useful == pytest.approx(useful, abs=1)
    assert judge(times).limit is Limit.CIPHER
    assert rate(few) == pytest.approx(5 / OP, rel=0.05), "each counts"
    assert rate(enough) > 0.95 * CIPHER
    assert rate(many) < 1.05 * rate(enough), "more are of no use"


def test_a_hundred_workers_of_which_one_vanishes_each_second_keep_nine_tenths_of_the_ideal():
    """Without doubt before loss, it is 0.71: the window is full before the death is known."""
    outcome = run(farm(100, op=1.0, chunks=3000, cipher=1.38e9, deaths=1.0, vanish=True))
    assert outcome.deaths > 30
    assert outcome.efficiency > 0.9


@pytest.mark.extended
@pytest.mark.parametrize(("deaths", "least"), [(0.0, 0.95), (1.0, 0.9)])
def test_a_thousand_workers_reach_the_rate_that_is_wanted_of_them(deaths, least):
    outcome = run(farm(1000, op=1.0, chunks=60_000, cipher=1.38e9, deaths=deaths))
    assert outcome.efficiency >= least


def test_a_wait_of_doubt_is_shorter_than_that_of_loss():
    assert Timing().heartbeat < Timing().doubt_after < Timing().dead_after
