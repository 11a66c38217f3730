"""Farms of several classes of machines, and of workers that take long to prepare, in virtual time."""

import pytest
from network import DEAD, Farm, Fault, Faults

from zaudio.core.jury import Audit
from zaudio.core.session import State
from zaudio.errors import NoWorkerError

NEXT = b"n" * 16
OLD, NEW = (5,), (7,)


def of_classes(chunks, *, old=2, new=2, late=(), **of_farm):
    """A farm whose first workers are of one class, and the others of another; those of `late` take a second longer."""
    farm = Farm(chunks, workers=old + new, **of_farm)
    for number, worker in enumerate(farm.workers.values()):
        worker.numbers = OLD if number < old else NEW
        worker.prepare_seconds = 1.0 if worker.numbers in late else 0.01
    return farm


def working(farm):
    """The workers that have not been sent away."""
    return [worker.numbers for worker in farm.workers.values() if worker.session.state is State.READY]


@pytest.mark.parametrize("late", [OLD, NEW])
def test_the_class_that_is_ready_first_computes_everything_and_the_other_is_refused(late):
    farm = of_classes(60, late=(late,))
    first = NEW if late == OLD else OLD
    report = farm.run()
    assert report.error is None
    assert working(farm) == [first, first]
    assert {farm.workers[name].numbers for name in report.shares} == {first}
    assert report.requeued == 0, "nothing was granted to the others"
    for worker in farm.workers.values():
        if worker.numbers == late:
            assert worker.session.state is State.REFUSED
            assert "op invert gives other bits on host host" in str(worker.session.error)


def test_an_audit_drops_no_honest_worker_of_another_class():
    def other_bits(worker, index, attempt):
        return "ok" if worker.numbers == OLD else "wrong"

    farm = of_classes(60, late=(NEW,), op=other_bits, audit=Audit(100, bytes(32)))
    report = farm.run()
    assert report.error is None
    assert farm.liars == []
    assert farm.audited == 60
    assert working(farm) == [OLD, OLD]


def test_the_next_stage_keeps_the_class_though_the_other_one_is_faster():
    farm = of_classes(10, new=0)
    assert farm.run(settle=False).error is None
    assert farm.desk.machine_class == OLD
    late = farm.add("late", at=0.0)
    late.numbers = NEW
    for worker in farm.workers.values():
        worker.prepare_seconds = 0.5 if worker is not late else 0.0
    farm.next_stage(30, NEXT)
    report = farm.run()
    assert report.error is None
    assert late.session.state is State.REFUSED
    assert "late" not in report.shares


def test_a_resumed_job_waits_for_machines_of_its_class():
    farm = of_classes(40, first=7, machine_class=OLD, late=(OLD,))
    report = farm.run()
    assert report.error is None
    assert working(farm) == [OLD, OLD]


def test_a_job_whose_class_nobody_has_ends_with_the_reason():
    farm = of_classes(40, machine_class=(9,))
    error = farm.run().error
    assert isinstance(error, NoWorkerError)
    assert "was sent away: op invert gives other bits on host host (software) than in the class" in str(error)


@pytest.mark.parametrize("seed", range(5))
def test_classes_stay_apart_whatever_is_lost(seed):
    faults = Faults(Fault(drop=0.2, delay=0.2, duplicate=0.2, reorder=0.2), until=110.0)
    farm = of_classes(60, late=(NEW,), seed=seed, faults=faults)
    report = farm.run()
    assert report.error is None
    assert len({farm.workers[name].numbers for name in report.shares}) == 1


# Preparing


def test_a_worker_may_prepare_for_longer_than_silence_lasts():
    farm = Farm(20, workers=2)
    for worker in farm.workers.values():
        worker.prepare_seconds = 10 * DEAD
    report = farm.run()
    assert report.error is None
    assert report.lost == []
    assert len(farm._links) == 4, "nobody gave a connection up"


@pytest.mark.parametrize("seed", range(5))
def test_a_stage_that_ends_while_a_worker_prepares_does_not_keep_it_from_the_next(seed):
    farm = Farm(20, workers=2, seed=seed)
    farm.workers["w1"].prepare_seconds = 5.0
    assert farm.run(settle=False).error is None
    farm.workers["w1"].prepare_seconds = 0.1
    farm.next_stage(100, NEXT)
    report = farm.run()
    assert report.error is None
    assert sorted(report.shares) == ["w0", "w1"]


def test_a_worker_that_is_stopped_while_it_prepares_takes_part_later():
    farm = Farm(100, workers=2)
    slow = farm.workers["w1"]
    slow.prepare_seconds = 0.5
    farm.after(0.2, slow.stop)
    farm.after(0.2 + 3 * DEAD, slow.go_on)
    report = farm.run()
    assert report.error is None
    assert "w1" in report.shares
