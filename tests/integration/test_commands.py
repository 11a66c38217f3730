"""Coordinator and workers started by hand, over TCP, and how the commands end."""

import json
import os
import re
import signal
import socket

import farm_ops
import numpy as np
import pytest
import zmq
from extended import extended
from farm_support import (
    NAMES,
    decrypted,
    finish,
    inverted,
    launch,
    launch_script,
    listing,
    noise,
    numbered,
    openssl_decrypted,
    write_raw,
)
from net_support import MS, alive, children, free_port, kill, processes_with, wait_until

from zaudio.steps import Step
from zaudio.wire.codec import TO_COORDINATOR, decode, encode
from zaudio.wire.messages import Channel, Hello, Refused, Welcome

CHUNK = 40_000  # frames of 4 bytes


def waiting(tmp_path):
    """The processes that wait at the gate, or have waited there."""
    return [int(path.suffix[1:]) for path in tmp_path.glob("gate.*")]


def started_coordinator(tmp_path, *arguments):
    """A `zaudio coordinator` that is bound, and where."""
    process = launch("coordinator", *arguments, "--bind", "tcp://127.0.0.1:0", "--progress", "none")
    line = process.stderr.readline()
    match = re.search(r"tcp://127\.0\.0\.1:\d+", line)
    assert match, line + process.stderr.read()
    return process, match[0]


def farm_at_the_gate(tmp_path, *arguments, workers=2):
    """A `zaudio farm` whose workers are all inside an op and stay there."""
    gate = tmp_path / "gate"
    process = launch(
        "farm", tmp_path / "x.raw", "-o", tmp_path / "out", "-n", workers, "--chunk", f"{CHUNK}f",
        "--op", f"farm_ops:gated:gate={gate}", *arguments,
    )  # fmt: skip
    wait_until(lambda: len(waiting(tmp_path)) == workers, "all workers are at it")
    return process


def test_three_workers_started_by_hand_come_late_and_leave_early(tmp_path):
    samples = noise(60 * CHUNK)
    write_raw(tmp_path / "x.raw", samples)
    coordinator, endpoint = started_coordinator(
        tmp_path, tmp_path / "x.raw", "-o", tmp_path / "out", "--chunk", f"{CHUNK}f",
        "--op", f"farm_ops:gated:gate={tmp_path / 'gate'}", "--op", "farm_ops:slow:ms=30", "--op", "invert",
        "--report", tmp_path / "report.json",
    )  # fmt: skip
    first = launch("worker", endpoint, "--allow", "farm_ops", "--name", "first", "--once")
    wait_until(lambda: first.pid in waiting(tmp_path), "the first takes part")
    second = launch(
        "worker", endpoint, "--allow", "farm_ops:gated", "--allow", "farm_ops:slow", "--name", "second", "--once"
    )
    third = launch("worker", endpoint, "--allow", "farm_ops", "--name", "third")
    wait_until(lambda: {second.pid, third.pid} < set(waiting(tmp_path)), "the others take part")
    third.send_signal(signal.SIGTERM)
    code, _, err = finish(third, within=5000 * MS)
    assert code == 0, err
    (tmp_path / "gate").touch()
    code, _, err = finish(coordinator)
    assert code == 0, err
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()
    assert openssl_decrypted(tmp_path / "out") == inverted(samples).tobytes()
    for worker in (first, second):
        assert finish(worker, within=5000 * MS)[0] == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report["shares"]) == {"first", "second"}
    assert sum(report["shares"].values()) == report["chunks"] == 60


@pytest.mark.extended
def test_worker_that_lacks_the_op_is_refused_and_the_job_ends_without_workers(tmp_path):
    write_raw(tmp_path / "x.raw", numbered(CHUNK))
    coordinator, endpoint = started_coordinator(
        tmp_path, tmp_path / "x.raw", "-o", tmp_path / "out", "--op", "farm_ops:slow", "--worker-timeout", 5000 * MS
    )
    code, _, err = finish(launch("worker", endpoint))
    assert code == 77
    assert "it lacks farm_ops:slow; start it with --allow farm_ops" in err
    code, _, err = finish(coordinator)
    assert code == 69
    assert f"no worker could be given a chunk for {5000 * MS:g} s" in err
    assert "it lacks farm_ops:slow" in err
    (line,) = [line for line in err.strip().splitlines() if not line.startswith("zaudio: warning: ")]
    assert line.startswith("zaudio: ")
    assert listing(tmp_path / "out") == []


def test_worker_that_cannot_import_its_own_module_says_so(tmp_path):
    code, _, err = finish(launch("worker", "tcp://127.0.0.1:9", "--allow", "no_such_module"))
    assert code == 2
    assert "no_such_module" in err
    assert "Traceback" not in err


@pytest.mark.extended
@pytest.mark.parametrize("processes", [extended(1), 2])
def test_worker_with_once_gives_up_when_nobody_answers_and_says_so_once(processes):
    with socket.socket() as silent:  # it accepts, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        code, _, err = finish(launch("worker", endpoint, "--once", "-n", processes), within=12_000 * MS)
    assert code == 69
    *connects, last = err.splitlines()
    assert last == f"zaudio: {endpoint}: no coordinator answered within 5 s"
    assert len(connects) == processes
    assert all(line.endswith(f" connects to {endpoint}") for line in connects)


def test_processes_of_one_worker_command_that_are_refused_at_work_are_not_started_again():
    with zmq.Context() as context, context.socket(zmq.ROUTER) as ventilator, context.socket(zmq.ROUTER) as sink:
        for each in (ventilator, sink):
            each.linger = 0
            each.bind("tcp://127.0.0.1:0")
        sinks = (sink.last_endpoint.decode(),)
        process = launch("worker", ventilator.last_endpoint.decode(), "-n", 2)
        sessions = set()

        def refused():
            if ventilator.poll(0):
                route, *parts = ventilator.recv_multipart()
                message = decode(parts, TO_COORDINATOR[Channel.VENTILATOR])
                if isinstance(message, Hello):
                    sessions.add(message.session)
                    ops = (Step("invert"),)
                    welcome = Welcome(
                        b"j" * 16,
                        1,
                        message.session,
                        sinks,
                        1.0,
                        5,
                        2,
                        2**20,
                        1,
                        44100,
                        "f32le",
                        0,
                        8,
                        "reversed",
                        ops,
                        None,
                    )
                    ventilator.send_multipart([route, *encode(welcome)])
            if sink.poll(0):
                route, *_ = sink.recv_multipart()
                sink.send_multipart([route, *encode(Refused("its results are wrong"))])
            return process.poll() is not None

        try:
            wait_until(refused, "the command ends")
        finally:
            kill(process.pid)
    code, _, err = finish(process)
    assert code == 77
    assert err.endswith("refused this worker: its results are wrong\n")
    assert len(sessions) == 2


def test_a_signal_at_the_instant_of_a_workers_death_ends_the_command_in_order():
    script = (
        "import os, signal, zaudio.cli; wait = os.wait4\n"
        "def once(*which):\n"
        "    os.wait4, found = wait, wait(*which); signal.raise_signal(signal.SIGTERM); return found\n"
        "os.wait4 = once; zaudio.cli.main()"
    )
    process = launch_script(script, "worker", "tcp://127.0.0.1:9", "-n", "2")
    first, _ = wait_until(lambda: len(found := children(process.pid)) == 2 and found, "both are there")
    kill(first)
    code, _, err = finish(process)
    assert code == 0, err
    assert "Traceback" not in err


@pytest.mark.extended
def test_several_processes_of_one_worker_command_share_a_job_with_local_workers(tmp_path):
    samples = noise(30 * CHUNK)
    write_raw(tmp_path / "x.raw", samples)
    farm = launch(
        "farm", tmp_path / "x.raw", "-o", tmp_path / "out", "-n", 1, "--bind", "tcp://127.0.0.1:0", "--chunk",
        f"{CHUNK}f", "--op", f"farm_ops:gated:gate={tmp_path / 'gate'}", "--op", "farm_ops:slow:ms=100",
        "--op", "invert", "--progress", "none", "--report", tmp_path / "report.json",
    )  # fmt: skip
    endpoint = re.search(r"tcp://127\.0\.0\.1:\d+", farm.stderr.readline())[0]
    workers = launch("worker", endpoint, "-n", 2, "--allow", "farm_ops", "--name", "far", "--once")
    wait_until(lambda: len(waiting(tmp_path)) == 3, "all workers are at it")
    (tmp_path / "gate").touch()
    assert finish(farm)[0] == 0
    assert finish(workers)[0] == 0
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()
    shares = json.loads((tmp_path / "report.json").read_text())["shares"]
    assert set(shares) == {"local-1", "far-1", "far-2"}


@pytest.mark.extended
def test_both_sides_say_in_plain_lines_what_happens_and_where_an_op_failed(tmp_path):
    write_raw(tmp_path / "x.raw", numbered(CHUNK))
    op = f"farm_ops:raises_at:value=0,tally={tmp_path}/tally"
    coordinator, endpoint = started_coordinator(
        tmp_path, tmp_path / "x.raw", "-o", tmp_path / "out", "-v", "--op", op, "--op", "invert"
    )
    quiet = launch("worker", endpoint, "--allow", "farm_ops", "--name", "attic", "--once")
    code, _, err = finish(coordinator)
    assert code == 1
    place = re.escape(farm_ops.__file__) + r":\d+"
    assert re.search(rf"failed 3 times; the last time: worker attic: ValueError: .* \({place}\)$", err.strip())
    assert "zaudio.coordinator: worker attic takes part" in err
    assert "DEBUG" not in err
    assert err.count("Traceback") == 1
    assert f'File "{farm_ops.__file__}", line ' in err
    assert "/zaudio/net/" not in err, "no frame of ours"
    code, _, err = finish(quiet, within=5000 * MS)
    assert code == 0
    expected = (
        f"zaudio: worker attic connects to {endpoint}",
        r"zaudio: worker attic works on job [0-9a-f]{8}: farm_ops:raises_at, invert",
        r"zaudio: worker attic has finished job [0-9a-f]{8} with 0 chunks: the job has ended without a result",
    )
    assert re.fullmatch("\n".join(expected), err.strip()), err


@pytest.mark.extended
def test_worker_goes_on_to_the_next_job(tmp_path):
    samples = noise(CHUNK)
    write_raw(tmp_path / "x.raw", samples)
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    worker = launch("worker", endpoint, "-v")
    for number in range(2):
        out = tmp_path / f"out{number}"
        job = launch(
            "coordinator", tmp_path / "x.raw", "-o", out, "--bind", endpoint, "--sink-bind", "tcp://127.0.0.1:0"
        )
        code, _, err = finish(job)
        assert code == 0, err
        assert decrypted(out) == inverted(samples).tobytes()
    worker.send_signal(signal.SIGINT)
    assert finish(worker, within=5000 * MS)[0] == 130


# Ends


@pytest.mark.extended
@pytest.mark.parametrize(("number", "code"), [extended(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_job_leaves_no_half_result_and_no_process(tmp_path, number, code):
    write_raw(tmp_path / "x.raw", noise(CHUNK))
    assert finish(launch("farm", tmp_path / "x.raw", "-o", tmp_path / "out", "-n", 1, "-q"))[0] == 0
    before = {name: (tmp_path / "out" / name).read_bytes() for name in NAMES}
    write_raw(tmp_path / "x.raw", numbered(8 * CHUNK))
    process = farm_at_the_gate(tmp_path, "--overwrite")
    family = processes_with(f"TMPDIR={os.environ['TMPDIR']}")
    assert len(family) == 4  # itself, the starter, two workers
    process.send_signal(number)
    ended, _, err = finish(process, within=5000 * MS)
    assert ended == code
    assert not any(map(alive, family))
    assert "Traceback" not in err
    assert listing(tmp_path / "out") == NAMES
    assert {name: (tmp_path / "out" / name).read_bytes() for name in NAMES} == before


def test_ctrl_c_at_a_terminal_reaches_everybody_and_ends_everybody_in_order(tmp_path):
    write_raw(tmp_path / "x.raw", numbered(8 * CHUNK))
    farm = launch(
        "farm", tmp_path / "x.raw", "-o", tmp_path / "out", "-n", 1, "--bind", "tcp://127.0.0.1:0", "--chunk",
        f"{CHUNK}f", "--op", f"farm_ops:gated:gate={tmp_path / 'gate'}", "--progress", "none",
    )  # fmt: skip
    endpoint = re.search(r"tcp://127\.0\.0\.1:\d+", farm.stderr.readline())[0]
    workers = launch("worker", endpoint, "-n", 2, "--allow", "farm_ops")
    wait_until(lambda: len(waiting(tmp_path)) == 3, "all workers are at it")
    for process in (workers, farm):
        os.killpg(process.pid, signal.SIGINT)
        code, _, err = finish(process, within=5000 * MS)
        assert code == 130
        assert "Traceback" not in err
    assert listing(tmp_path / "out") == []


def test_local_workers_end_with_a_killed_coordinator_and_the_next_job_clears_up(tmp_path):
    samples = numbered(8 * CHUNK)
    write_raw(tmp_path / "x.raw", samples)
    process = farm_at_the_gate(tmp_path)
    family = processes_with(f"TMPDIR={os.environ['TMPDIR']}")
    assert len(os.listdir(os.environ["TMPDIR"])) == 1, "where the sockets lie"
    process.kill()
    finish(process)
    wait_until(lambda: not any(map(alive, family)), "local workers end by themselves", within=2500 * MS)
    assert os.listdir(os.environ["TMPDIR"]) == [], "their starter removes what nobody else can"
    assert any(name.endswith(".part") for name in listing(tmp_path / "out"))
    (tmp_path / "gate").touch()
    again = launch("farm", tmp_path / "x.raw", "-o", tmp_path / "out", "-n", 2, "-q")
    code, _, err = finish(again)
    assert code == 0, err
    assert listing(tmp_path / "out") == NAMES
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()


@pytest.mark.covers("a second coordinator in the same folder")
def test_second_job_in_one_folder_is_refused_at_once_and_the_first_goes_on(tmp_path):
    samples = numbered(8 * CHUNK)
    write_raw(tmp_path / "x.raw", samples)
    first = farm_at_the_gate(tmp_path)
    code, _, err = finish(launch("farm", tmp_path / "x.raw", "-o", tmp_path / "out", "-n", 2), within=8000 * MS)
    assert code == 2
    assert "another zaudio job is writing to this folder" in err
    (tmp_path / "gate").touch()
    assert finish(first)[0] == 0
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()


@pytest.mark.covers("a second coordinator on the same port")
def test_port_in_use_is_one_sentence(tmp_path):
    write_raw(tmp_path / "x.raw", numbered(10))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = finish(launch("coordinator", tmp_path / "x.raw", "-o", tmp_path / "out", "--bind", endpoint))
    assert code == 2
    assert err.strip() == f"zaudio: {endpoint}: the address is in use; another coordinator may be running there"
    assert listing(tmp_path / "out") == []


@pytest.mark.extended
@pytest.mark.parametrize(
    ("change", "option"),
    [
        extended("grows", "-n2"),
        ("is rewritten", "-n2"),
        extended("is replaced", "-n2"),
        extended("is rewritten", "--sockets-only"),
    ],
)
def test_recording_that_changes_while_it_is_read_is_not_published(tmp_path, change, option):
    path = tmp_path / "x.raw"
    write_raw(path, numbered(40 * CHUNK))
    process = farm_at_the_gate(tmp_path, option)
    if change == "grows":
        with open(path, "ab") as stream:
            stream.write(bytes(4))
    elif change == "is rewritten":
        with open(path, "r+b") as stream:
            stream.write(np.float32(7).tobytes())
    else:
        write_raw(tmp_path / "y.raw", numbered(40 * CHUNK))
        (tmp_path / "y.raw").replace(path)
    (tmp_path / "gate").touch()
    code, _, err = finish(process)
    assert code == 3, err
    assert str(path) in err
    assert "chunk " not in err.splitlines()[-1], "no chunk is to blame"
    assert not set(listing(tmp_path / "out")) & set(NAMES)


@pytest.mark.extended
def test_job_that_fails_says_why_in_one_line_and_shows_no_traceback(tmp_path):
    write_raw(tmp_path / "x.raw", numbered(4 * CHUNK))
    process = launch(
        "farm", tmp_path / "x.raw", "-o", tmp_path / "out", "-n", 2, "--chunk", f"{CHUNK}f",
        "--op", "farm_ops:dies_at", "--progress", "none",
    )  # fmt: skip
    code, out, err = finish(process)
    assert code == 1
    assert "chunk 3 (frames 0 to 40000) failed 3 times; the last time: worker local-" in err
    assert "it died of signal 9 (SIGKILL)" in err.splitlines()[-1]
    assert "Traceback" not in out + err


@pytest.mark.extended
def test_stopped_worker_does_not_hold_up_the_end(tmp_path):
    write_raw(tmp_path / "x.raw", numbered(8 * CHUNK))
    process = farm_at_the_gate(tmp_path)
    kill(waiting(tmp_path)[0], signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    assert finish(process, within=5000 * MS)[0] == 130


@pytest.mark.extended
def test_a_result_for_a_recipient_is_read_with_the_identity_alone(tmp_path):
    samples = noise(100_003)
    recording = write_raw(tmp_path / "x.raw", samples)
    code, public, _ = finish(launch("identity", tmp_path / "me"))
    assert code == 0
    (tmp_path / "pub").write_text(public)
    code, out, err = finish(launch("farm", recording, "-o", tmp_path / "out", "-n", 2, "--recipient", tmp_path / "pub"))
    assert code == 0, err
    assert f"the key is wrapped for {public.strip()}" in out
    assert listing(tmp_path / "out") == NAMES
    assert finish(launch("verify", tmp_path / "out"))[0] == 2
    audio = tmp_path / "audio"
    code, _, err = finish(launch("decrypt", tmp_path / "out", "-o", audio, "--identity", tmp_path / "me"))
    assert code == 0, err
    assert audio.read_bytes() == inverted(samples).tobytes()
