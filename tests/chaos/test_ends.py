"""How jobs end before their time: a second coordinator is turned away, signals are obeyed, and nothing is lost."""

import signal
import time

import pytest
from extended import extended, product
from faults import delay
from harness import CHUNK, CHUNKS, assert_promises, running
from net_support import MS, children, kill, wait_until

SIGNALS = {"SIGINT": (signal.SIGINT, 130), "SIGTERM": (signal.SIGTERM, 143)}
PLACES = "local workers", "workers from elsewhere"
SLACK = 1500 * MS  # for a busy machine, on top of a bound


@pytest.fixture
def gated(scene):
    """A job whose workers are all inside an op, and stay there until the file of that name exists."""
    gate = scene.folder / "gate"
    job = scene.farm(op=f"farm_ops:gated:gate={gate}")
    wait_until(lambda: len(list(scene.folder.glob("gate.*"))) == 2, "both workers are at it")
    return job, gate


def assert_refused_within_1_s(job):
    """After a command that does nothing; on a machine that is so busy that this takes long, so may the rest."""
    began = time.monotonic()
    job.scene.zaudio("ops").finish(code=0)
    nothing = time.monotonic() - began
    job.finish(code=2, within=1000 * MS + SLACK + 2 * nothing)


@pytest.mark.covers(
    "a second coordinator in the same folder",
    number=25,
    bound="exit 2 within 1 s of a command that does nothing (+ 1.5 s for a busy machine)",
    measured=(
        "1.0 s from its start, of which 0.7 to 0.8 s more than the command that does nothing; the machine was busy"
    ),
    removed="`folder.py`: `if not publication.try_lock(self._fd, self.path):`",
)
@pytest.mark.extended
def test_second_coordinator_in_the_same_folder_is_refused_and_the_first_unharmed(scene, gated):
    first, gate = gated
    second = scene.farm()
    assert_refused_within_1_s(second)
    assert "another zaudio job is writing to this folder" in second.err
    assert_promises(second)
    assert running(first)
    gate.touch()
    first.finish(code=0)
    assert_promises(first)


@pytest.mark.covers(
    "a second coordinator on the same port",
    number=25,
    bound="the same",
    measured="the same",
    removed="`sockets.py`: `if error.errno == errno.EADDRINUSE:` (the sentence)",
)
@pytest.mark.extended
def test_second_coordinator_on_the_same_port_is_refused_and_the_first_unharmed(scene):
    gate = scene.folder / "gate"  # the first must not end before the second has tried, however slow that is to start
    first = scene.coordinator(op=f"farm_ops:gated:gate={gate}")
    worker = scene.worker(first, "--once")
    wait_until(lambda: list(scene.folder.glob("gate.*")), "the worker is at it")
    second = scene.coordinator(output=scene.folder / "other")
    assert_refused_within_1_s(second)
    assert f"tcp://{scene.host}:5555: the address is in use; another coordinator may be running there" in second.err
    assert_promises(second)
    assert running(first)
    gate.touch()
    first.finish(code=0)
    worker.finish(code=0)
    assert_promises(first)
    assert sum(first.report["shares"].values()) == CHUNKS


@pytest.mark.covers(
    "SIGINT or SIGTERM in mid-job, with local workers and with others",
    number=26,
    note="SIGINT and local workers; each with each: `make test-all`",
    bound="exit 130 or 143 within 5 s; the resume skips what was done",
    measured="0.5 s and 0.7 s",
    removed="`pipeline.py`: `self._leave()` (the resume)",
)
@pytest.mark.parametrize(("name", "place"), product(SIGNALS, PLACES, keep=[("SIGINT", PLACES[0])]))
def test_interrupted_job_ends_within_5_s_and_is_resumed(scene, name, place):
    (number, code), elsewhere = SIGNALS[name], place == "workers from elsewhere"
    op, gate = scene.held(12)  # so that it cannot end before it hears the signal
    scene.durations["join"] = 2000 * MS  # the last fsync has that long
    job = scene.coordinator(op=op) if elsewhere else scene.farm(op=op)
    worker = scene.worker(job, "--once") if elsewhere else None
    wait_until(lambda: job.written > 3 * 4 * CHUNK, "three chunks are written")  # others may be accepted before them
    job.signal(number)
    job.finish(within=5000 * MS, code=code)
    assert_promises(job)
    gate.touch()
    if worker is not None:
        worker.finish(code=0)
    again = scene.resume(job, op=op)
    assert_promises(again)
    assert again.report["resumed_chunks"] >= 3, "an interrupted job keeps what it has"


@pytest.mark.covers("SIGINT while an fsync does not return; while all workers are stopped")
def test_stopped_workers_do_not_hold_up_an_interruption(scene, gated):
    job, _ = gated
    for path in scene.folder.glob("gate.*"):
        kill(int(path.suffix[1:]), signal.SIGSTOP)
    job.signal(signal.SIGINT)
    job.finish(within=5000 * MS, code=130)
    assert_promises(job)


@pytest.mark.covers(
    "SIGINT or SIGTERM while the result is published",
    number=26,
    note="SIGTERM: `make test-all`",
    bound="exit 0 with the report",
    measured="exit 0",
    removed="`cli/attending.py`: `stopped(job, signals)`: before it, the exit code was 130 with the result in place",
)
@pytest.mark.parametrize("number", [signal.SIGINT, extended(signal.SIGTERM)])
def test_job_that_is_interrupted_while_it_publishes_is_done(scene, number):
    job = scene.farm(prefix=delay(1000 * MS, calls="renameat", paths=["result.raw.part"]))
    wait_until(lambda: (scene.output / "result.commit").exists() or job.code is not None, "it is being published")
    (coordinator,) = children(job.pid)
    kill(coordinator, number)
    job.finish(code=0)
    assert_promises(job)
    assert job.report["chunks"] == CHUNKS
