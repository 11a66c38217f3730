"""Processes that ops start, and what ours inherit: a job ends with its result, and nothing outlives it."""

import os
import signal
import subprocess
import sys
import time

import pytest
from extended import extended, product
from farm_support import PROMPT, decrypted, environment, finish, inverted, launch, noise, popen, write_raw
from net_support import MS, PATIENCE, alive, wait_until

from zaudio import Coordinator
from zaudio.events import Lost

SAMPLES = noise(200_000)
IGNORING = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
AT_ONCE = 8000 * MS  # a death that is not noticed costs 30 s


@pytest.fixture
def recording(tmp_path):
    return write_raw(tmp_path / "x.raw", SAMPLES)


def farm(recording, tmp_path, op, **settings):
    settings = {"workers": 2, "chunk": "40000f", **settings}
    return Coordinator(recording, tmp_path / "out", ops=op, **settings)


def noted(path):
    return [int(line) for line in path.read_text().split()]


# Ops that start processes


@pytest.mark.parametrize(("session", "workers"), product([False, True], [1, 2], keep=[(True, 2)]))
def test_death_is_noticed_while_a_forked_child_lives(tmp_path, recording, workers, session):
    pids, events = tmp_path / "pids", []
    op = f"fork_ops:forks_and_dies:pids={pids},session={session},gate={tmp_path / 'gate'}"

    def hear(event):
        events.append(event)
        if isinstance(event, Lost):
            (tmp_path / "gate").touch()

    job = farm(recording, tmp_path, op, workers=workers, on_event=hear)
    started = time.monotonic()
    job.run()
    assert time.monotonic() - started < AT_ONCE
    assert decrypted(tmp_path / "out") == inverted(SAMPLES).tobytes()
    assert [event.reason for event in events if isinstance(event, Lost) and "SIGKILL" in event.reason]
    assert not any(map(alive, noted(pids)))


@pytest.mark.extended
@pytest.mark.parametrize("session", [False, True])
def test_nothing_that_an_op_started_outlives_the_job(tmp_path, recording, session):
    pids = tmp_path / "pids"
    farm(recording, tmp_path, f"fork_ops:forks:pids={pids},session={session}").run()
    assert noted(pids)
    assert not any(map(alive, noted(pids)))


@pytest.mark.parametrize(("session", "processes"), product([False, True], [1, 2], keep=[(True, 2)]))
def test_nothing_that_an_op_started_outlives_a_worker_elsewhere(tmp_path, recording, processes, session):
    pids = tmp_path / "pids"
    op = f"fork_ops:forks:pids={pids},session={session}"
    with farm(recording, tmp_path, op, workers=None, bind="tcp://127.0.0.1:0") as job:
        worker = launch("worker", job.endpoint, "-n", processes, "--allow", "fork_ops", "--once")
        job.wait(timeout=PATIENCE)
    code, _, err = finish(worker)
    assert code == 0, err
    assert not any(map(alive, noted(pids)))


def test_nothing_that_an_op_started_outlives_a_coordinator_that_is_killed(tmp_path, recording):
    pids = tmp_path / "pids"
    ops = ["--op", f"fork_ops:forks:pids={pids},session=true", "--op", "farm_ops:slow:ms=5000"]
    job = launch("farm", recording, "-o", tmp_path / "out", "-n", 1, *ops)
    wait_until(lambda: pids.exists() and noted(pids), "the op has forked")
    job.kill()
    finish(job)
    wait_until(lambda: not any(map(alive, noted(pids))), "its child is ended too", within=3000 * MS)


def test_multiprocessing_inside_an_op(tmp_path, recording):
    started = time.monotonic()
    farm(recording, tmp_path, "fork_ops:pool").run()
    assert time.monotonic() - started < 2 * AT_ONCE
    assert decrypted(tmp_path / "out") == inverted(SAMPLES).tobytes()


@pytest.mark.extended
def test_a_forked_child_that_comes_back_from_an_op_does_not_go_on_as_a_worker(tmp_path, recording):
    farm(recording, tmp_path, "fork_ops:comes_back_twice", timing=PROMPT).run()
    assert decrypted(tmp_path / "out") == inverted(SAMPLES).tobytes()


def test_a_program_that_an_op_runs_ignores_no_signal(tmp_path, recording):
    farm(recording, tmp_path, f"fork_ops:runs:pids={tmp_path}/said").run()
    assert (tmp_path / "said").read_text() == f"{signal.SIG_DFL} default_int_handler\n"


# What is inherited


def shell(script, *arguments):
    """Run a command line of sh whose "$@" is zaudio."""
    return finish(popen(["sh", "-c", script, "sh", sys.executable, "-m", "zaudio", *map(str, arguments)]))


@pytest.mark.parametrize(
    ("closed", "most"), [*(extended(closed, 7) for closed in ("<&-", ">&-", "2>&-")), ("<&- >&- 2>&-", 2)]
)
def test_closed_standard_descriptors(tmp_path, closed, most):
    samples = noise(441, seed=1)
    raw, out = tmp_path / "x.raw", tmp_path / "out"
    write_raw(raw, samples)
    commands = [
        ["farm", raw, "-o", out, "-n", 2],
        ["decrypt", out, "-o", tmp_path / "back.raw"],
        ["verify", out],
        ["generate", tmp_path / "noise.raw", "--seconds", 1],
        ["ops"],
        ["keys", "init", tmp_path / "keys"],
        ["identity", tmp_path / "identity"],
    ]
    for command in commands[:most]:
        code, said, err = shell(f'"$@" {closed}', *command)
        assert code == 0, (command, said, err)
        assert "Traceback" not in err
    assert (tmp_path / "back.raw").read_bytes() == inverted(samples).tobytes()


@pytest.mark.extended
def test_closed_standard_descriptors_of_a_worker_and_its_coordinator(tmp_path, recording):
    """A script in Python too, as a daemon runs it: there, descriptors 0 to 2 may become anything."""
    script = (
        "import sys; from zaudio import Coordinator; "
        "Coordinator(*sys.argv[1:3], workers=1, bind='ipc://' + sys.argv[3]).run()"
    )
    address = f"{os.environ['TMPDIR']}/door"
    command = [sys.executable, "-c", script, recording, tmp_path / "out", address]
    closing = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    job = popen([*closing, *map(str, command)])
    worker = popen([*closing, sys.executable, "-m", "zaudio", "worker", f"ipc://{address}", "-n", "2", "--once"])
    assert finish(job)[0] == 0
    assert finish(worker)[0] in (0, 69)
    assert decrypted(tmp_path / "out") == inverted(SAMPLES).tobytes()


@pytest.mark.extended
def test_a_parent_that_ignores_or_blocks_sigchld(tmp_path, recording):
    def ignore():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT})

    op = f"fork_ops:forks_and_dies:pids={tmp_path}/pids"
    command = [sys.executable, "-m", "zaudio", "farm", recording, "-o", tmp_path / "out", "-n", "2"]
    command += ["--chunk", "40000f", "--op", op]
    done = subprocess.run(
        command, preexec_fn=ignore, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "SIGKILL" in done.stderr
    assert decrypted(tmp_path / "out") == inverted(SAMPLES).tobytes()


@pytest.mark.extended
def test_a_worker_whose_parent_ignores_sigchld(tmp_path, recording):
    op = f"fork_ops:forks_and_dies:pids={tmp_path}/pids"
    with farm(recording, tmp_path, op, workers=None, bind="tcp://127.0.0.1:0") as job:
        command = [sys.executable, "-m", "zaudio", "worker", job.endpoint, "-n", "2", "--allow", "fork_ops", "--once"]
        worker = popen([sys.executable, "-c", IGNORING, *command])
        job.wait(timeout=PATIENCE)
    code, _, err = finish(worker)
    assert code == 0, err
    assert "SIGKILL" in err
    assert "Traceback" not in err


@pytest.mark.extended
def test_a_script_that_ignores_sigchld_itself(tmp_path, recording):
    script = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); from zaudio import Coordinator; "
        "Coordinator(*sys.argv[1:3], ops=sys.argv[3], workers=2, chunk='40000f').run()"
    )
    op = f"fork_ops:forks_and_dies:pids={tmp_path}/pids"
    code, _, err = finish(popen([sys.executable, "-c", script, recording, str(tmp_path / "out"), op]))
    assert code == 0, err
    assert decrypted(tmp_path / "out") == inverted(SAMPLES).tobytes()


LOW = {  # what is limited to how much, the number of workers, the sentence
    "-n 12": (2, "this process may open 12 files (ulimit -n)"),
    "-n 20": (2, "this process may open 20 files (ulimit -n)"),
    "-n 64": (40, "it needs 130; take at most {most} workers (-n), or raise it"),
    "-v 300000": (8, "this process may have 292 MiB of address space (ulimit -v), and it needs 448; raise it"),
}


@pytest.mark.parametrize(
    ("command", "limit"),
    product(["farm", "worker"], LOW, keep=[("farm", "-n 20")]),
)
def test_a_low_limit_is_one_sentence(tmp_path, command, limit):
    workers, sentence = LOW[limit]
    recording = write_raw(tmp_path / "x.raw", noise(1000))
    arguments = ["worker", "tcp://127.0.0.1:9", "--once"]
    if command == "farm":
        arguments = ["farm", recording, "--chunk", "10f", "-o", tmp_path / "out", "--progress", "none"]
    code, _, err = shell(f'ulimit {limit}; exec "$@"', *arguments, "-n", workers)
    if (command, limit) == ("worker", "-v 300000"):  # that suffices for workers
        assert code == 69, err
        assert err.endswith("\nzaudio: tcp://127.0.0.1:9: no coordinator answered within 5 s\n")
        return
    assert code == 2, err
    assert err.startswith("zaudio: ")
    most = {"farm": 16, "worker": 18}[command]
    assert sentence.format(most=most) in err
    assert err.count("\n") == 1


@pytest.mark.extended
@pytest.mark.parametrize("limit", [36, 40])
def test_a_limit_that_suffices_is_no_hindrance(tmp_path, limit):
    recording = write_raw(tmp_path / "x.raw", SAMPLES)
    keys = tmp_path / "keys"
    assert finish(launch("keys", "init", keys))[0] == 0
    arguments = ["farm", recording, "-o", tmp_path / "out", "--chunk", "10f", "-n", 2, "--bind", "tcp://127.0.0.1:0"]
    arguments += ["--keys", keys, "--report", tmp_path / "report.json", "--progress", "none"]
    code, _, err = shell(f'ulimit -n {limit}; exec "$@"', *arguments)
    assert code == 0, err
    assert decrypted(tmp_path / "out") == inverted(SAMPLES).tobytes()


@pytest.mark.extended
@pytest.mark.parametrize("command", [["verify"], ["worker", "tcp://127.0.0.1:9", "--once"]])
def test_a_dozen_files_suffice_or_are_said_to_be_too_few(tmp_path, command):
    recording = write_raw(tmp_path / "x.raw", noise(1000))
    assert finish(launch("farm", recording, "-o", tmp_path / "out", "-n", 1, "-q"))[0] == 0
    arguments = [*command, tmp_path / "out"] if command == ["verify"] else command
    code, _, err = shell('ulimit -n 12; exec "$@"', *arguments)
    too_few = "zaudio: this process may open 12 files (ulimit -n), and it needs 22; raise it\n"
    assert (code, err) == ((0, "") if command == ["verify"] else (2, too_few))


# A program that does not wait


PROGRAM = """
import atexit, sys
atexit.register(print, "the program's own end")
from zaudio import Coordinator
job = Coordinator(*sys.argv[1:3], ops=sys.argv[3], workers=1, chunk="40000f")
job.start()
"""


@pytest.mark.parametrize("more", ["", extended("sys.exit(0)\n")])
def test_a_program_that_does_not_wait_says_so_and_fails(tmp_path, recording, more):
    code, out, err = finish(
        popen([sys.executable, "-c", PROGRAM + more, recording, str(tmp_path / "out"), "farm_ops:slow:ms=2000"])
    )
    assert (code, out) == (1, "the program's own end\n")
    assert err == "zaudio: the job was abandoned: the program ended, and nothing called wait()\n"
    assert not (tmp_path / "out" / "result.raw").exists()


@pytest.mark.extended
@pytest.mark.parametrize(
    ("op", "more", "code", "said"),
    [
        ("invert", "", 0, ""),  # published meanwhile
        ("farm_ops:leaves", "", 1, "zaudio: the job failed: chunk"),
        ("farm_ops:leaves", "print(type(job.exception()).__name__)", 0, ""),
        ("farm_ops:slow:ms=2000", "job.stop()", 0, ""),
    ],
)
def test_a_program_that_does_not_wait_for_a_job_that_has_ended(tmp_path, recording, op, more, code, said):
    until = "" if "stop" in more else "import time\nwhile not job.done(): time.sleep(0.01)\n"
    program = PROGRAM + until + more
    ended, _, err = finish(popen([sys.executable, "-c", program, recording, str(tmp_path / "out"), op]))
    assert ended == code, err
    assert err.startswith(said)
    assert bool(err) == bool(said)
