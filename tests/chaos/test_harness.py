"""The harness itself: a farm without faults keeps every promise, and each promise that is broken is noticed."""

import signal

import pytest
from extended import extended
from faults import crash_at_syscall, go_on, kill, stop
from harness import CHUNKS, Scene, assert_promises, has_samples
from net_support import wait_until


@pytest.mark.extended
def test_job_without_faults_keeps_every_promise(scene):
    job = scene.coordinator(op="farm_ops:slow:ms=5")
    worker = scene.worker(job, "--once")
    job.finish(code=0)
    worker.finish(code=0)
    assert_promises(job)
    assert len(job.events("Accepted")) == CHUNKS
    assert job.report["shares"]
    assert job.peak > 10 << 20


@pytest.mark.extended
def test_killed_worker_and_stopped_worker_change_nothing(scene):
    gate = scene.folder / "gate"
    job = scene.coordinator(op=f"farm_ops:gated:gate={gate}")
    killed, stopped = scene.worker(job), scene.worker(job)
    wait_until(lambda: len(list(scene.folder.glob("gate.*"))) == 2, "both are at it")
    kill(killed)
    stop(stopped)
    job.wait_for("Lost", 2)
    gate.touch()
    scene.assert_good_worker_completes(job)
    go_on(stopped)


@pytest.mark.extended
def test_killed_coordinator_leaves_no_plaintext_and_no_result(scene):
    job = scene.farm(op=scene.held(12)[0])
    job.wait_for("Accepted", 3)
    kill(job)
    job.finish(code=-signal.SIGKILL)
    assert_promises(job)


@pytest.mark.extended
def test_crash_at_a_system_call_kills_the_command(scene):
    job = scene.farm(prefix=crash_at_syscall(1, "fsync"))
    assert job.finish() in (-signal.SIGKILL, 137)
    assert_promises(job)


@pytest.fixture
def finished(tmp_path):
    with Scene(tmp_path) as scene:
        job = scene.farm()
        job.finish(code=0)
        assert_promises(job)
        yield job


def break_ciphertext(job):
    with (job.output / "result.raw").open("r+b") as stream:
        stream.seek(1000)
        byte = stream.read(1)[0]
        stream.seek(1000)
        stream.write(bytes([byte ^ 1]))


def leave_samples(job):
    (job.scene.temporary / "spool").write_bytes(b"abc" + job.scene.samples[::-1].tobytes()[400:464])


def say_the_key(job):
    key = (job.output / "encryption_key.bin").read_bytes()
    job.scene.processes[0].streams[1].write_text(f"zaudio: the key is {key.hex()}\n")


@pytest.mark.parametrize(
    ("wrong", "noticed"),
    [
        (break_ciphertext, "the tag does not agree"),
        extended(lambda job: (job.output / "result.raw.part").write_bytes(b""), "P1"),
        extended(lambda job: (job.output / "encryption_key.bin").chmod(0o644), "P7: encryption_key.bin has mode"),
        extended(say_the_key, "P7: the key was said"),
        extended(leave_samples, "P12: .*spool holds plaintext"),
        extended(lambda job: job.streams[1].write_text("Traceback (most recent call last):\n"), "Traceback"),
        extended(lambda job: job._events.write_text('{"event": "Accepted", "chunk": 1}\n' * 2), "P2: accepted twice"),
        extended(lambda job: setattr(job, "peak", 1 << 40), "P9"),
    ],
)
def test_broken_promise_is_noticed(finished, wrong, noticed):
    wrong(finished)
    with pytest.raises(AssertionError, match=noticed):
        assert_promises(finished)


def test_failure_that_leaves_half_a_result_is_noticed(scene):
    job = scene.farm("--samplerate=0")
    job.finish(code=2)
    scene.output.mkdir(exist_ok=True)
    (scene.output / "result.raw").write_bytes(b"half")
    with pytest.raises(AssertionError, match="P6"):
        assert_promises(job)


@pytest.mark.extended
def test_noise_has_no_samples_in_ciphertext(scene):
    assert has_samples(scene.samples[100:104].tobytes(), scene.samples)
    assert not has_samples(bytes(1 << 20), scene.samples)
    job = scene.farm()
    job.finish(code=0)
    assert not has_samples((job.output / "result.raw").read_bytes(), scene.samples)
