"""`zaudio.Coordinator` and `zaudio.Worker` from a program: threads, scripts, two at a time, and every way to stop."""

import socket
import sys
import threading
import time
from itertools import pairwise

import pytest
from extended import extended
from farm_support import (
    NAMES,
    PATIENT,
    decrypted,
    finish,
    inverted,
    launch_script,
    listing,
    noise,
    numbered,
    popen,
    write_raw,
)
from net_support import MS, PATIENCE, wait_until

from zaudio import Coordinator, Network, Security, StoppedError, Timing, UsageError, Worker
from zaudio.errors import EndpointError, FolderBusyError, OutputExistsError
from zaudio.events import Accepted, Joined, Missed, Published, State

CHUNK = 40_000  # frames of 4 bytes


@pytest.fixture
def recording(tmp_path):
    return write_raw(tmp_path / "x.raw", numbered(8 * CHUNK))


EXPECTED = inverted(numbered(8 * CHUNK)).tobytes()


def gated(recording, tmp_path, **settings):
    """A job that waits until `gate` is there."""
    settings = {"workers": 2, "chunk": f"{CHUNK}f", "timing": PATIENT, **settings}
    return Coordinator(recording, tmp_path / "out", ops=f"farm_ops:gated:gate={tmp_path / 'gate'}", **settings)


@pytest.mark.extended
def test_wait_with_a_timeout_raises_and_the_job_goes_on(tmp_path, recording):
    with gated(recording, tmp_path) as job:
        with pytest.raises(TimeoutError, match=r"the job goes on after 0.05 s"):
            job.wait(timeout=0.05)
        (tmp_path / "gate").touch()
        report = job.wait(timeout=PATIENCE)
        assert job.wait() is report
    assert decrypted(tmp_path / "out") == EXPECTED


def test_leaving_the_block_stops_the_job(tmp_path, recording):
    with gated(recording, tmp_path) as job:
        wait_until(lambda: list(tmp_path.glob("gate.*")), "a worker is at it")
    with pytest.raises(StoppedError):
        job.wait()
    assert listing(tmp_path / "out") == []


@pytest.mark.extended
def test_error_inside_the_block_is_raised_and_the_job_stopped(tmp_path, recording):
    with pytest.raises(KeyError, match="mine"), gated(recording, tmp_path):
        raise KeyError("mine")
    assert listing(tmp_path / "out") == []


@pytest.mark.extended
def test_stop_may_be_called_any_number_of_times_from_any_thread(tmp_path, recording):
    job = gated(recording, tmp_path)
    job.stop()  # before the start, it does nothing
    job.start()
    threads = [threading.Thread(target=job.stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    job.stop()
    for thread in threads:
        thread.join()
    job.stop()
    with pytest.raises(StoppedError):
        job.wait(timeout=0)


@pytest.mark.extended
def test_stop_from_on_event_stops(tmp_path, recording):
    job = gated(recording, tmp_path, on_event=lambda event: job.stop())
    with pytest.raises(StoppedError):
        job.run()


@pytest.mark.extended
def test_stop_after_the_end_keeps_the_report(tmp_path, recording):
    job = Coordinator(recording, tmp_path / "out", workers=1)
    report = job.run()
    job.stop()
    assert job.wait() is report
    with pytest.raises(UsageError, match="started already"):
        job.start()


def test_wait_before_the_start_says_what_to_do(tmp_path, recording):
    with pytest.raises(UsageError, match="not started"):
        Coordinator(recording, tmp_path / "out", workers=1).wait()


@pytest.mark.extended
def test_progress_goes_from_nothing_to_everything(tmp_path, recording):
    job = gated(recording, tmp_path)
    assert job.progress.state == "starting"
    with job:
        wait_until(lambda: job.progress.workers == 2, "both workers are ready")
        now = job.progress
        assert (now.state, now.chunks, now.done, now.bytes, now.bytes_done) == ("running", 8, 0, len(EXPECTED), 0)
        (tmp_path / "gate").touch()
        seen = [now]
        while seen[-1].state != "done":
            seen.append(job.progress)
        job.wait(timeout=PATIENCE)
    assert all(a.done <= b.done and a.bytes_done <= b.bytes_done for a, b in pairwise(seen))
    end = job.progress
    assert (end.state, end.done, end.bytes_done) == ("done", 8, len(EXPECTED))
    assert end.seconds == job.wait().seconds > 0


def test_state_and_end_are_true_before_during_and_after(tmp_path, recording):
    job = gated(recording, tmp_path)
    assert (job.state, job.done(), job.exception()) == (State.STARTING, False, None)
    with job, job.subscribe() as events:
        wait_until(lambda: job.state is State.RUNNING, "a worker is ready")
        assert (job.done(), job.exception()) == (False, None)
        (tmp_path / "gate").touch()
        heard = list(events)  # until the job has ended
        report = job.wait(timeout=PATIENCE)
    assert (job.state, job.done(), job.exception()) == (State.DONE, True, None)
    assert (job.progress.fraction, job.progress.eta) == (1.0, 0.0)
    assert job.progress.bytes_per_second == pytest.approx(len(EXPECTED) / report.seconds)
    assert sum(event.chunks for event in heard if isinstance(event, Accepted)) == 8
    assert isinstance(heard[-1], Published)
    assert [event.at for event in heard] == sorted(event.at for event in heard)


@pytest.mark.extended
def test_stopped_job_says_so_in_every_way(tmp_path, recording):
    with gated(recording, tmp_path) as job:
        pass
    assert (job.state, job.done()) == (State.STOPPED, True)
    assert isinstance(job.exception(), StoppedError)
    assert job.progress.eta is None


@pytest.mark.extended
def test_slow_reader_misses_events_is_told_how_many_and_holds_nothing_up(tmp_path, recording):
    job = gated(recording, tmp_path)
    with job.subscribe(size=4) as slow, job.subscribe() as quick, job:  # both hear all, so before it starts
        (tmp_path / "gate").touch()
        report = job.wait(timeout=PATIENCE)
        every, few = list(quick), list(slow)
    assert report.chunks == 8
    missed = sum(event.count for event in few if isinstance(event, Missed))
    kept = [event for event in few if not isinstance(event, Missed)]
    assert missed > 0
    assert len(kept) + missed == len(every)
    assert isinstance(kept[-1], Published), "the end is never missed"


@pytest.mark.extended
def test_events_come_in_and_one_that_raises_does_not_matter(tmp_path, recording, caplog):
    events = []

    def listen(event):
        events.append(event)
        raise ValueError("the listener's own")

    report = Coordinator(recording, tmp_path / "out", workers=2, chunk=f"{CHUNK}f", on_event=listen).run()
    assert sorted(event.chunk for event in events if isinstance(event, Accepted)) == list(range(8))
    assert 1 <= sum(isinstance(event, Joined) for event in events) <= 2
    assert report.chunks == 8
    assert "on_event raised; the job goes on" in caplog.text


@pytest.mark.extended
def test_two_jobs_in_one_process_one_after_the_other(tmp_path, recording):
    for _ in range(2):
        Coordinator(recording, tmp_path / "out", workers=2, overwrite=True).run()
        assert decrypted(tmp_path / "out") == EXPECTED


@pytest.mark.extended
def test_two_jobs_at_a_time(tmp_path):
    samples = [noise(5 * CHUNK + extra, seed=extra) for extra in range(2)]
    jobs = [
        Coordinator(
            write_raw(tmp_path / f"{number}.raw", part), tmp_path / f"out{number}", ops="farm_ops:slow:ms=20", workers=1
        )
        for number, part in enumerate(samples)
    ]
    with jobs[0], jobs[1]:
        for job in jobs:
            job.wait(timeout=PATIENCE)
    for number, part in enumerate(samples):
        assert decrypted(tmp_path / f"out{number}") == inverted(part).tobytes()


@pytest.mark.extended
def test_job_started_in_a_thread_that_ends_early(tmp_path, recording):
    job = gated(recording, tmp_path)
    thread = threading.Thread(target=job.start)
    thread.start()
    thread.join()
    (tmp_path / "gate").touch()
    job.wait(timeout=PATIENCE)
    job.stop()
    assert decrypted(tmp_path / "out") == EXPECTED


@pytest.mark.extended
def test_whole_job_in_a_thread(tmp_path, recording):
    reports = []
    thread = threading.Thread(target=lambda: reports.append(Coordinator(recording, tmp_path / "out", workers=1).run()))
    thread.start()
    thread.join(PATIENCE)
    assert reports
    assert decrypted(tmp_path / "out") == EXPECTED


@pytest.mark.parametrize("how", [extended("-c"), "file", extended("stdin")])
def test_script_without_a_main_guard_runs_once(tmp_path, recording, how):
    text = (
        "print('top')\n"
        "from zaudio import Coordinator\n"
        f"print(Coordinator({recording!r}, {str(tmp_path / 'out')!r}, ops='farm_ops:negate', workers=2).run().chunks)\n"
    )
    if how == "-c":
        process = launch_script(text)
    elif how == "file":
        (tmp_path / "script.py").write_text(text)
        process = popen([sys.executable, str(tmp_path / "script.py")])
    else:
        process = popen(["sh", "-c", f'"$0" - <<"END"\n{text}END', sys.executable])
    code, out, err = finish(process)
    assert (code, out.split()) == (0, ["top", "2"]), err
    assert decrypted(tmp_path / "out") == EXPECTED


@pytest.mark.extended
def test_ctrl_c_in_a_script_stops_the_job(tmp_path, recording):
    import signal

    process = launch_script(
        "import sys; from zaudio import Coordinator; Coordinator(*sys.argv[1:3], ops=sys.argv[3], workers=2).run()",
        recording,
        tmp_path / "out",
        f"farm_ops:gated:gate={tmp_path / 'gate'}",
    )
    wait_until(lambda: list(tmp_path.glob("gate.*")), "a worker is at it")
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process, within=5000 * MS)
    assert code == -signal.SIGINT
    assert err.strip().endswith("KeyboardInterrupt")
    assert listing(tmp_path / "out") == []


def test_function_as_op_and_function_of_this_program(tmp_path, recording):
    import farm_ops

    Coordinator(recording, tmp_path / "out", ops=farm_ops.negate, workers=1).run()
    assert decrypted(tmp_path / "out") == EXPECTED
    with pytest.raises(UsageError, match="finds in its module by name"):
        Coordinator(recording, tmp_path / "out", ops=lambda array: array, workers=1)


# Workers from elsewhere


@pytest.mark.parametrize(
    "bind", ["ipc", *map(extended, ("tcp://[::1]:0", "tcp://127.0.0.1:0", "tcp://localhost:0", "tcp://*:0"))]
)
def test_worker_in_a_thread_over_any_transport(tmp_path, recording, bind):
    import os

    if bind == "ipc":
        bind = f"ipc://{os.environ['TMPDIR']}/v"
    security = Security(insecure="*" in bind)
    try:
        with Coordinator(recording, tmp_path / "out", bind=bind, security=security, chunk=f"{CHUNK}f") as job:
            endpoint = job.endpoint if "*" not in bind else job.endpoint.replace(socket.gethostname(), "127.0.0.1")
            worker = Worker(endpoint, name="in a thread", once=True)
            thread = threading.Thread(target=worker.run)
            thread.start()
            report = job.wait(timeout=PATIENCE)
            thread.join(PATIENCE)
            assert not thread.is_alive()
    except EndpointError as error:
        if "::1" in bind:
            pytest.skip(f"no IPv6 here: {error}")
        raise
    assert report.shares == {"in a thread": 8}
    assert decrypted(tmp_path / "out") == EXPECTED


@pytest.mark.extended
def test_worker_is_told_to_stop(tmp_path, recording):
    timing = Timing(heartbeat=0.2, liveness=1000)  # silence tells nothing for minutes: what is known was said
    with gated(recording, tmp_path, workers=None, bind="tcp://127.0.0.1:0", timing=timing) as job:
        worker = Worker(job.endpoint, allow=["farm_ops"])
        thread = threading.Thread(target=worker.run)
        thread.start()
        wait_until(lambda: list(tmp_path.glob("gate.*")), "it is at it")
        worker.stop("enough")
        thread.join(5000 * MS)
        assert not thread.is_alive()
        wait_until(lambda: job.progress.workers == 0, "the coordinator knows")
        wait_until(lambda: job.progress.requeued == 2, "what it held is granted again")
        (tmp_path / "gate").touch()


@pytest.mark.extended
def test_advertised_names_are_told(tmp_path, recording):
    network = Network(advertise="farm.example:7001")
    with Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0", network=network) as job:
        assert job.endpoint == "tcp://farm.example:7001"


@pytest.mark.extended
def test_local_workers_do_not_go_by_what_is_advertised_to_others(tmp_path, recording):
    # 192.0.2.0/24 is for documentation: nobody is there.
    network = Network(advertise="192.0.2.1:7001")
    job = Coordinator(recording, tmp_path / "out", workers=1, bind="tcp://127.0.0.1:0", network=network)
    with job:
        job.wait(timeout=PATIENCE)
    assert decrypted(tmp_path / "out") == EXPECTED


@pytest.mark.extended
def test_sink_is_bound_where_it_is_asked_for(tmp_path, recording):
    network = Network(sink_bind="tcp://127.0.0.1:0")
    with Coordinator(recording, tmp_path / "out", bind="tcp://127.0.0.1:0", network=network, chunk=f"{CHUNK}f") as job:
        assert job.sink_endpoint.startswith("tcp://127.0.0.1:")
        assert job.sink_endpoint != job.endpoint
        thread = threading.Thread(target=Worker(job.endpoint, once=True).run)
        thread.start()
        job.wait(timeout=PATIENCE)
        thread.join(PATIENCE)
    assert decrypted(tmp_path / "out") == EXPECTED


# Refusals, before anything is touched


@pytest.mark.extended
def test_second_job_in_one_folder_is_refused_at_once(tmp_path, recording):
    with gated(recording, tmp_path) as first:
        asked = time.monotonic()
        with pytest.raises(FolderBusyError):
            gated(recording, tmp_path).start()
        assert time.monotonic() - asked < 5000 * MS, "it does not wait for the first, which waits for a gate"
        (tmp_path / "gate").touch()
        first.wait(timeout=PATIENCE)
    assert decrypted(tmp_path / "out") == EXPECTED


@pytest.mark.extended
def test_older_result_is_refused_and_untouched_without_overwrite(tmp_path, recording):
    Coordinator(recording, tmp_path / "out", workers=1).run()
    before = {name: (tmp_path / "out" / name).read_bytes() for name in NAMES}
    with pytest.raises(OutputExistsError):
        Coordinator(recording, tmp_path / "out", workers=1).start()
    assert {name: (tmp_path / "out" / name).read_bytes() for name in NAMES} == before


@pytest.mark.extended
@pytest.mark.parametrize("which", ["ventilator", "sink"])
def test_port_in_use_is_refused_at_the_start(tmp_path, recording, which):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        bind, network = endpoint, Network()
        if which == "sink":
            bind, network = "tcp://127.0.0.1:0", Network(sink_bind=endpoint)
        with pytest.raises(EndpointError, match="in use") as refusal:
            Coordinator(recording, tmp_path / "out", workers=1, bind=bind, network=network).start()
    assert refusal.value.endpoint == endpoint
    assert listing(tmp_path / "out") == []


@pytest.mark.extended
def test_empty_recording_needs_no_worker(tmp_path):
    path = write_raw(tmp_path / "x.raw", numbered(0))
    report = Coordinator(path, tmp_path / "out", bind="tcp://127.0.0.1:0").run()
    assert (report.chunks, report.frames, report.workers, report.shares) == (0, 0, 0, {})
    assert decrypted(tmp_path / "out") == b""
