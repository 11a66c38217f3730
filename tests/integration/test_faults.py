"""Workers and ops that go wrong, with real processes: the same result, or one error that names the cause."""

import os
import re
import signal
import sys
from dataclasses import replace

import pytest
from extended import extended
from farm_support import (
    NAMES,
    PATIENT,
    PROMPT,
    decrypted,
    finish,
    inverted,
    launch,
    launch_script,
    listing,
    noise,
    numbered,
    on,
    write_raw,
)
from net_support import MS, PATIENCE, alive, children, kill, wait_until

from zaudio import Coordinator, NoWorkerError, Timing, UsageError
from zaudio.errors import ChunkError, ConflictError, WorkersDiedError
from zaudio.events import Duplicate, Lost, Requeued, Stuck

CHUNK = 40_000  # frames of 4 bytes: long enough to travel alone, so that a worker computes one at a time
BAD = 10 * CHUNK  # first frame of the chunk that ops stumble over
CHUNKS = 16
MEMORY = r"with at most \d+ MiB of memory"
STUCK = 1200 * MS
IMPATIENT = replace(PROMPT, liveness=4, chunk_timeout=STUCK, chunk_timeout_floor=STUCK)


@pytest.fixture
def recording(tmp_path):
    return write_raw(tmp_path / "x.raw", numbered(CHUNKS * CHUNK))


def farm(recording, tmp_path, op, **settings):
    settings = {"workers": 2, "chunk": f"{CHUNK}f", "timing": PATIENT, **settings}
    return Coordinator(recording, tmp_path / "out", ops=op, **settings)


def assert_reference(tmp_path):
    assert decrypted(tmp_path / "out") == inverted(numbered(CHUNKS * CHUNK)).tobytes()


def assert_bad_chunk_ends_the_job(tmp_path, recording, op, cause, **settings):
    """The job fails by the chunk that holds BAD, whose three failures have that cause; nothing is published."""
    with pytest.raises(ChunkError) as failure:
        farm(recording, tmp_path, op, **settings).run()
    error = failure.value
    assert (error.index, error.start, error.stop) == (CHUNKS - 11, BAD, BAD + CHUNK)
    assert len(error.causes) == 3
    assert all(re.fullmatch(cause, one) for one in error.causes), error.causes
    assert "chunk 5 (frames 400000 to 440000) failed 3 times; the last time: worker local-" in str(error)
    assert not set(listing(tmp_path / "out")) & set(NAMES), "nothing is published; what was done is kept"


def local_workers():
    """Process ids of the local workers: the children of the starter, which is a child of this process."""
    return [pid for starter in children(os.getpid()) for pid in children(starter)]


# Workers


@on("sockets")
def test_one_worker_killed_and_one_stopped_in_mid_job_change_nothing(tmp_path, lane):
    samples = noise(2_000_003)
    path = write_raw(tmp_path / "x.raw", samples)
    events = []
    with Coordinator(
        path,
        tmp_path / "out",
        ops=f"farm_ops:gated:gate={tmp_path / 'gate'}",
        workers=4,
        chunk="64KiB",
        timing=PROMPT,
        on_event=events.append,
        **lane,
    ) as job:
        wait_until(lambda: len(_waiting(tmp_path)) == 4, "all are at it")
        killed, stopped, *_ = _waiting(tmp_path)
        kill(killed)
        # Before that, the others could do its chunk too, and the job end.
        wait_until(lambda: any(isinstance(event, Lost) for event in events), "its death is noticed")
        kill(stopped, signal.SIGSTOP)
        (tmp_path / "gate").touch()
        report = job.wait(timeout=PATIENCE)
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()
    assert report.requeued >= 1
    assert any(isinstance(event, Lost) and "SIGKILL" in event.reason for event in events)


@pytest.mark.extended
def test_killed_local_worker_is_replaced(tmp_path, recording, lane):
    gate = tmp_path / "gate"
    with farm(recording, tmp_path, f"farm_ops:gated:gate={gate}", **lane) as job:
        waiting = wait_until(lambda: _waiting(tmp_path) if len(_waiting(tmp_path)) == 2 else None, "both are at it")
        kill(waiting[0])
        wait_until(lambda: len(_waiting(tmp_path)) == 3, "a third took the place of the first")
        assert len([pid for pid in _waiting(tmp_path) if alive(pid)]) == 2
        gate.touch()
        report = job.wait(timeout=PATIENCE)
    assert_reference(tmp_path)
    assert report.requeued >= 1


def _waiting(tmp_path):
    return [int(path.suffix[1:]) for path in tmp_path.glob("gate.*")]


@pytest.mark.extended
def test_stopped_worker_that_comes_back_late_is_a_duplicate_at_most(tmp_path, recording):
    gate, events = tmp_path / "gate", []
    # From elsewhere: a local one would be killed.
    settings = {"bind": "tcp://127.0.0.1:0", "timing": PROMPT, "on_event": events.append}
    with farm(recording, tmp_path, f"farm_ops:gated:gate={gate}", **settings) as job:
        worker = launch("worker", job.endpoint, "--allow", "farm_ops", "--once")
        wait_until(lambda: len(_waiting(tmp_path)) == 3, "all are at it")
        kill(worker.pid, signal.SIGSTOP)
        wait_until(lambda: any(isinstance(event, Lost) for event in events), "its silence is noticed")
        kill(worker.pid, signal.SIGCONT)
        wait_until(lambda: job.progress.workers == 3, "it is back")
        gate.touch()
        report = job.wait(timeout=PATIENCE)
    assert finish(worker)[0] == 0
    assert worker.pid in _waiting(tmp_path)
    assert len(_waiting(tmp_path)) == 3, "it is the same process that came back"
    assert report.requeued >= 1
    assert_reference(tmp_path)


@on("shared memory")
def test_starter_killed_is_replaced_with_all_its_workers(tmp_path, recording, lane):
    gate = tmp_path / "gate"
    with farm(recording, tmp_path, f"farm_ops:gated:gate={gate}", **lane) as job:
        first = wait_until(lambda: _waiting(tmp_path) if len(_waiting(tmp_path)) == 2 else None, "both are at it")
        (starter,) = children(os.getpid())
        kill(starter)
        wait_until(lambda: not any(map(alive, first)), "its workers end by themselves")
        wait_until(lambda: len(_waiting(tmp_path)) == 4, "two others are at it")
        gate.touch()
        job.wait(timeout=PATIENCE)
    assert_reference(tmp_path)


@pytest.mark.extended
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_starter_killed_takes_a_worker_along_that_lets_no_thread_run(tmp_path, recording):
    op = f"farm_ops:hogs_at:value={BAD},tally={tmp_path}/tally"
    with farm(recording, tmp_path, op) as job:
        wait_until((tmp_path / "tally").exists, "one is inside the call")
        first = local_workers()
        (starter,) = children(os.getpid())
        kill(starter)
        wait_until(lambda: not any(map(alive, first)), "they have ended")
        job.wait(timeout=PATIENCE)
    assert_reference(tmp_path)


@pytest.mark.extended
def test_coordinator_stopped_for_a_while_goes_on_with_the_same_workers(tmp_path):
    gate = tmp_path / "gate"
    write_raw(tmp_path / "x.raw", numbered(CHUNKS * CHUNK))
    process = launch_script(
        "import sys; from zaudio import Coordinator, Timing; "
        "timing = Timing(heartbeat=float(sys.argv[4])); "
        "Coordinator(*sys.argv[1:3], ops=sys.argv[3], workers=2, chunk='40000f', timing=timing).run()",
        tmp_path / "x.raw",
        tmp_path / "out",
        f"farm_ops:gated:gate={gate}",
        200 * MS,
    )
    first = wait_until(lambda: _waiting(tmp_path) if len(_waiting(tmp_path)) == 2 else None, "both are at it")
    kill(process.pid, signal.SIGSTOP)
    gate.touch()
    # Past the workers' liveness of five heartbeats, and the 5 s that one from elsewhere with --once waits for another.
    with pytest.raises(AssertionError, match="a worker gives up"):
        wait_until(lambda: not all(map(alive, first)), "a worker gives up", within=1000 * MS + 6)
    kill(process.pid, signal.SIGCONT)
    code, _, err = finish(process)
    assert code == 0, err
    assert_reference(tmp_path)


# Ops


@pytest.mark.covers("a chunk that kills its worker", note="each way to fail: `make test-all`")
@pytest.mark.parametrize(
    ("op", "cause"),
    [
        extended(
            f"farm_ops:raises_at:value={BAD}",
            r"worker local-\d: ValueError: there is a 400000 on track one \(\S+farm_ops\.py:\d+\)",
        ),
        (f"farm_ops:dies_at:value={BAD},number=11", r"worker local-\d: it died of signal 11 \(SIGSEGV\), " + MEMORY),
        extended(f"farm_ops:exits_at:value={BAD},code=0", r"worker local-\d: it exited with code 0, " + MEMORY),
        extended(f"farm_ops:exits_at:value={BAD},code=3", r"worker local-\d: it exited with code 3, " + MEMORY),
    ],
)
def test_chunk_that_fails_three_times_ends_the_job_and_is_named(tmp_path, recording, op, cause):
    assert_bad_chunk_ends_the_job(tmp_path, recording, op, cause)


@pytest.mark.extended
def test_chunk_that_kills_three_workers_ends_the_job_and_is_named(tmp_path, recording, lane):
    op, cause = f"farm_ops:dies_at:value={BAD}", r"worker local-\d: it died of signal 9 \(SIGKILL\), " + MEMORY
    assert_bad_chunk_ends_the_job(tmp_path, recording, op, cause, **lane)


@pytest.mark.extended
def test_what_a_worker_last_wrote_before_it_died_is_in_the_error_on_one_line(tmp_path, recording):
    op = f"farm_ops:complains_at:value={BAD},code=7"
    with pytest.raises(ChunkError) as failure:
        farm(recording, tmp_path, op).run()
    cause = r'worker local-\d: it exited with code 7, with at most \d+ MiB of memory; it last wrote "out of \[luck\]"'
    assert all(re.fullmatch(cause, one) for one in failure.value.causes), failure.value.causes
    assert str(failure.value).endswith('; it last wrote "out of [luck]"')
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("op", "sentence"),
    [
        extended("farm_ops:leaves", "SystemExit: this op is a script"),
        extended("farm_ops:mute_error", "MuteError"),
        ("farm_ops:shorter", r"ValueError: .*expected an array of shape \(40000, 1\) back, got \(39999, 1\)"),
        extended("farm_ops:wider", "TypeError: .*expected an array of float32 back, got float64"),
        extended(
            "farm_ops:slow:nonsense=1", "cannot be called with an array and .*unexpected keyword argument 'nonsense'"
        ),
    ],
)
def test_op_that_fails_everywhere_ends_the_job_with_its_own_words(tmp_path, recording, op, sentence):
    with pytest.raises((ChunkError, UsageError), match=sentence):
        farm(recording, tmp_path, op).run()
    assert not (tmp_path / "out" / "result.raw").exists()


@on("sockets")
def test_chunk_that_fails_twice_is_forgiven(tmp_path, recording, lane):
    op = f"farm_ops:raises_at:value={BAD},times=2,tally={tmp_path}/tally"
    events = []
    # One worker: an idle one could be granted the same chunk, and fail at it at the same time.
    report = farm(recording, tmp_path, op, workers=1, on_event=events.append, **lane).run()
    assert_reference(tmp_path)
    assert report.requeued == 2
    assert [event.chunk for event in events if isinstance(event, Requeued)] == [5, 5]


@pytest.mark.extended
@pytest.mark.parametrize("op", ["sticks_at", "hogs_at"])
def test_op_that_does_not_return_once_costs_its_chunk_timeout_at_most(tmp_path, recording, op):
    op = f"farm_ops:{op}:value={BAD},tally={tmp_path}/tally"
    report = farm(recording, tmp_path, op, timing=IMPATIENT).run()
    assert_reference(tmp_path)
    assert report.chunks == CHUNKS


@pytest.mark.extended
def test_op_that_never_returns_is_killed_with_its_worker_three_times(tmp_path, recording):
    events = []
    op = f"farm_ops:sticks_at:value={BAD},tally={tmp_path}/tally,times=9"
    job = farm(recording, tmp_path, op, timing=IMPATIENT, on_event=events.append)
    with pytest.raises(ChunkError, match=r"no result after \d+\.\d s") as failure:
        job.run()
    assert failure.value.start == BAD
    assert sum(isinstance(event, Stuck) for event in events) >= 2
    assert any("past the deadline of a chunk" in event.reason for event in events if isinstance(event, Lost))


def test_op_that_depends_on_its_process_is_found_out_by_a_duplicate(tmp_path):
    """The first worker is granted both chunks; the second one is idle, so it gets chunk 0 too. Chunk 1 is held up."""
    recording = write_raw(tmp_path / "two.raw", numbered(2 * CHUNK))
    gate, limit = tmp_path / "gate", tmp_path / "limit"
    limit.write_text("1")  # chunk 1 begins with sample 0
    ops = [f"farm_ops:gated:gate={gate}", "invert", f"farm_ops:down_to:limit={limit}", "farm_ops:moody"]
    with farm(recording, tmp_path, ops) as job:
        wait_until(lambda: len(_waiting(tmp_path)) == 2, "both are at it")
        gate.touch()
        with pytest.raises(ConflictError, match=r"workers local-\d and local-\d returned different results"):
            job.wait(timeout=PATIENCE)


@pytest.mark.extended
def test_op_may_write_to_the_standard_streams(tmp_path, recording, capfd):
    farm(recording, tmp_path, "farm_ops:chatty").run()
    assert_reference(tmp_path)
    assert "on standard output" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("op", "sentence"),
    [
        ("no_such_module:f", "no_such_module"),
        extended("farm_ops:nothing", "farm_ops has no nothing"),
        extended("farm_ops:np", "expected a function"),
        extended("__main__:f", "__main__"),
        extended("nonsense", "nonsense"),
    ],
)
def test_op_that_is_not_there_is_refused_in_one_sentence(tmp_path, recording, op, sentence):
    with pytest.raises(UsageError, match=sentence) as failure:
        farm(recording, tmp_path, op).run()
    assert "\n" not in str(failure.value)
    assert not (tmp_path / "out" / "result.raw").exists()


@pytest.mark.extended
def test_module_that_kills_the_worker_that_imports_it_ends_the_job(tmp_path, recording, monkeypatch):
    # The coordinator, which imports it too, lives: this is its process.
    (tmp_path / "deadly.py").write_text(
        f"import os\nif os.getpid() != {os.getpid()}:\n    os._exit(3)\ndef f(x):\n    return x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WorkersDiedError, match="it exited with code 3"):
        farm(recording, tmp_path, "deadly:f").run()


@pytest.mark.covers("no worker ever comes")
def test_nobody_comes(tmp_path, recording):
    timing = Timing(heartbeat=0.1, worker_timeout=0.5)
    job = farm(recording, tmp_path, "invert", workers=None, bind="tcp://127.0.0.1:0", timing=timing)
    with pytest.raises(NoWorkerError, match=r"no worker could be given a chunk for 0.5 s"):
        job.run()
    assert listing(tmp_path / "out") == []


@pytest.mark.extended
def test_duplicates_are_counted_in_the_report(tmp_path, recording):
    events = []
    report = farm(recording, tmp_path, "farm_ops:slow:ms=20", workers=3, on_event=events.append).run()
    assert report.duplicates == sum(isinstance(event, Duplicate) for event in events)
    assert_reference(tmp_path)
