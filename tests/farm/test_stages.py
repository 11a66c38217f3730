"""Several stages on one farm, in virtual time: workers go from one to the next, and nothing else does."""

from extended import examples
from hypothesis import given
from hypothesis import strategies as st
from network import HEARTBEAT, JOB_ID, LATENCY, Farm, Fault, Faults, checksum

from zaudio.core.jury import Audit
from zaudio.wire.messages import Channel, Result

NEXT, LAST = b"n" * 16, b"p" * 16


def sound(farm):
    """Whether every chunk of the stage came out as that stage's op computes it."""
    job_id = farm.desk.job.id
    return [farm.accepted[index] for index in range(len(farm.plan))] == [
        checksum(index, job_id) for index in range(len(farm.plan))
    ]


def test_workers_of_one_stage_are_those_of_the_next_without_a_new_connection():
    farm = Farm(20, workers=3, seconds=0.01)
    for chunks, job_id in ((20, JOB_ID), (7, NEXT), (40, LAST)):
        if job_id != JOB_ID:
            farm.next_stage(chunks, job_id)
        report = farm.run(settle=False)
        assert report.error is None
        assert sound(farm)
        assert sorted(report.shares) == ["w0", "w1", "w2"]
        assert report.lost == []
    assert len(farm.sessions) == 3, "nobody started again"
    assert len(farm._links) == 6, "each has its two connections, and never had others"


def test_the_next_stage_begins_at_once_and_not_at_the_next_heartbeat():
    farm = Farm(20, workers=3, seconds=0.01)
    farm.run()
    farm.next_stage(3, NEXT)
    assert farm.run(settle=False).seconds < 10 * LATENCY + 0.02 < HEARTBEAT


def test_a_late_result_of_an_earlier_stage_is_refused():
    farm = Farm(1, workers=2, seconds=0.5)
    farm.workers["w1"].seconds = 0.9  # it is granted the one chunk too, and is late with it
    assert farm.run(settle=False).error is None
    farm.workers["w1"].cut(up=False)  # it does not hear that the second stage begins
    farm.next_stage(4, NEXT)
    farm.after(0.6, farm.workers["w1"].heal)
    report = farm.run()
    assert report.error is None
    assert report.rejected == 1
    assert sound(farm)


def test_a_result_that_is_under_way_when_a_stage_begins_is_refused_and_its_worker_takes_part():
    farm = Farm(1, workers=2, seconds=0.1)
    farm.run(settle=False)  # both were granted the one chunk, and one of the two results has come
    farm.next_stage(6, NEXT)
    report = farm.run()
    assert report.error is None
    assert report.rejected == 1
    assert sound(farm)
    assert sorted(report.shares) == ["w0", "w1"]


def test_a_result_that_comes_when_its_worker_holds_the_same_chunk_of_the_next_stage_is_not_mistaken_for_that_one():
    rejected = 0
    for seed in range(20):
        farm = Farm(
            1, workers=2, seed=seed, faults=Faults(by_type={Result: Fault(delay=1.0, delay_most=0.3, reorder=1.0)})
        )
        farm.run(settle=False)
        farm.next_stage(1, NEXT)
        for worker in farm.workers.values():
            worker.seconds = 0.5
        report = farm.run()
        assert report.error is None
        assert sound(farm)
        rejected += report.rejected
    assert rejected > 10


def test_a_worker_that_dies_between_two_stages_is_missed_in_the_second_and_one_that_comes_late_takes_part():
    farm = Farm(10, workers=3)
    farm.run()
    farm.workers["w0"].crash()
    farm.next_stage(60, NEXT)
    farm.add("late", at=0.3)
    report = farm.run()
    assert report.error is None
    assert sound(farm)
    assert sorted(report.shares) == ["late", "w1", "w2"]
    assert [(loss.name, loss.reason) for loss in report.lost] == [("w0", "it did not come to the next stage")]


def test_a_worker_that_does_not_come_is_missed_once_however_short_the_stages_are():
    farm = Farm(10, workers=2)
    farm.run()
    farm.workers["w0"].crash()
    lost = []
    for number in range(20):
        farm.next_stage(10, bytes([number]) * 16)
        report = farm.run(settle=False)
        assert report.seconds < 5, "no stage is long enough to miss it"
        lost += report.lost
    assert [loss.name for loss in lost] == ["w0"]


def test_a_worker_that_hears_nothing_of_a_new_stage_is_told_when_it_speaks():
    farm = Farm(10, workers=2)
    farm.run()
    farm.workers["w0"].cut(up=False)  # the Again is lost
    farm.next_stage(60, NEXT)
    farm.after(0.1, farm.workers["w0"].heal)
    report = farm.run()
    assert report.error is None
    assert report.shares["w0"] > 10
    assert sound(farm)


def test_a_liar_of_one_stage_takes_no_part_in_the_next():
    farm = Farm(
        10, workers=4, audit=Audit(100, bytes(32)), op=lambda worker, *_: "wrong" if worker.name == "w1" else "ok"
    )
    farm.run()
    assert [liar.name for liar in farm.liars] == ["w1"]
    farm.next_stage(30, NEXT)
    again = farm.link(Channel.VENTILATOR, farm.workers["w1"])  # its session's hello, by any connection
    farm.carry(again, farm.workers["w1"].session._introduction.hello(), up=True)
    report = farm.run()
    assert report.error is None
    assert report.lost == [], "it was never taken in"
    assert sorted(report.shares) == ["w0", "w2", "w3"]
    assert sound(farm)


PROBABILITY = st.sampled_from([0.0, 0.0, 0.1, 0.25])
WHATEVER = {
    "chunks": st.lists(st.sampled_from([0, 1, 2, 17, 40]), min_size=2, max_size=4),
    "workers": st.integers(1, 4),
    "credit": st.sampled_from([1, 2, 8]),
    "window": st.sampled_from([1, 5, 100]),
    "fault": st.builds(Fault, drop=PROBABILITY, delay=PROBABILITY, duplicate=PROBABILITY, reorder=PROBABILITY),
    "seed": st.integers(0, 2**16),
    "outboxes": st.booleans(),
    "strays": st.booleans(),
    "crash": st.booleans(),
}


@examples(60)
@given(**WHATEVER)
def test_whatever_the_network_does_each_stage_has_its_own_results(
    chunks, workers, credit, window, fault, seed, outboxes, strays, crash
):
    farm = Farm(
        chunks[0],
        workers=workers,
        credit=credit,
        window_most=window,
        faults=Faults(fault, until=120.0),
        seed=seed,
        outboxes=outboxes,
        strays=strays,
    )
    for number, count in enumerate(chunks):
        if number:
            if crash:
                farm.workers["w0"].crash()
                farm.after(0.5, farm.workers["w0"].start)
            farm.next_stage(count, bytes([JOB_ID[0] + number]) * 16)
        report = farm.run(settle=number == len(chunks) - 1)
        assert report.error is None
        assert sound(farm)
