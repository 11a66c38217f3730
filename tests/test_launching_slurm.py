import itertools
import os
import socket
import subprocess
from pathlib import Path

import pytest
from net_support import wait_until

from zaudio.errors import LaunchError, UsageError
from zaudio.launching.arrays import Row, last_line, queue
from zaudio.launching.asking import ask
from zaudio.launching.launcher import Orders
from zaudio.launching.slurm import SlurmLauncher

HOST = socket.gethostname()
ORDERS = Orders("tcp://127.0.0.1:5555", "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7")
QUEUE = """\
4711_1|RUNNING|0|n17|None|
4711_2|COMPLETED|0|n17|None|
4711_3|FAILED|19712|n18|NonZeroExitCode|
4711_4|CANCELLED|9|n18|None|
4711_5|PENDING|0||Resources|
4711_6|NODE_FAIL|0|n9|NodeDown|
4712|RUNNING|0|n1|None|
slurm_load_jobs: a line of another kind
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Make programs that stand for Slurm's: `programs(sinfo="echo n1")`."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    (tmp_path / "bin").mkdir()
    for name in ("cat", "sleep"):
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")

    def make(**bodies):
        for name, body in {"sbatch": "", "squeue": "", "scancel": "", "sinfo": f"echo {HOST}", **bodies}.items():
            path = tmp_path / "bin" / name
            path.write_text(f"#!/bin/sh\n{body}\n")
            path.chmod(0o755)

    return make


def until_ended(launcher, tasks):
    while any(task.ended is None for task in tasks):
        launcher.alive()
    return [task.ended for task in tasks]


def test_a_row_of_the_queue_tells_why_a_task_ended_or_waits():
    rows = queue(QUEUE)
    assert sorted(rows) == [("4711", number) for number in range(1, 7)]
    told = {number: (row.has_ended, row.is_hopeless, row.complaint) for (_, number), row in rows.items()}
    del told[1], told[5]
    assert [number for (_, number), row in rows.items() if row.is_death] == [3]
    assert Row("OUT_OF_MEMORY", 9, "n1", "").is_death
    assert not Row("PREEMPTED", 9, "n1", "").is_death
    assert told == {
        2: (True, False, ""),
        3: (True, True, "FAILED, it exited with code 77"),
        4: (True, False, "CANCELLED, it died of signal 9 (SIGKILL)"),
        6: (True, False, "NODE_FAIL, NodeDown"),
    }
    assert [row.waits for row in rows.values()] == ["", "", "", "", "Resources", ""]
    assert [Row(state, 0, "", "").waits for state in ("PENDING", "CONFIGURING", "RUNNING")] == [
        "pending",
        "configuring",
        "",
    ]
    assert not any(Row(state, 0, "n1", "").has_ended for state in ("RUNNING", "PENDING", "COMPLETING", "CONFIGURING"))


def test_the_last_line_of_an_output_is_the_workers(tmp_path):
    path = tmp_path / "4711_3.out"
    assert last_line(str(path)) is None
    path.write_bytes(b"x" * 20_000 + b"\nzaudio: no \x1b[31mcoordinator\n\nslurmstepd-n1: error: *** JOB 3 CANCELLED\n")
    assert last_line(str(path)) == "zaudio: no [31mcoordinator"


def test_an_answer_is_taken_when_it_is_there(programs):
    programs(sinfo="cat; echo 'sinfo: error: no way' >&2; exit 3")
    answer = ask(["sinfo"], "a\nb\n").wait(60)
    assert (answer.code, answer.out, answer.error) == (3, "a\nb\n", "no way")
    assert ask(["no-such-program"]).look().error == "no-such-program cannot be started: No such file or directory"
    programs(sinfo="exec sleep 60")
    assert ask(["sinfo"]).wait(0).error == "sinfo gave no answer"


def test_a_slurm_that_cannot_be_used_is_told_before_anything_is_started(tmp_path, programs):
    launcher = SlurmLauncher(shared=str(tmp_path))
    with pytest.raises(LaunchError, match="slurm: there is no sbatch here; install slurm-client"):
        launcher.check("tcp://127.0.0.1:0")
    programs()
    launcher.check("tcp://127.0.0.1:0")
    programs(sinfo="echo 'n1\nn2'")
    with pytest.raises(UsageError, match=r"\(n1, n2\) cannot reach tcp://127.0.0.1:0, .* give --bind tcp://HOST:PORT"):
        launcher.check("tcp://127.0.0.1:0")
    launcher.check("tcp://10.0.0.1:5555")
    programs(sinfo="echo 'sinfo: error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(LaunchError, match="slurm: Slurm does not answer: Unable to contact slurm controller"):
        launcher.check("tcp://10.0.0.1:5555")
    with pytest.raises(UsageError, match="No closing quotation"):
        SlurmLauncher(arguments="--comment='a")
    with pytest.raises(UsageError, match="Slurm takes no folder with quotes, backslashes or percent signs"):
        SlurmLauncher(shared="100%")


def test_an_array_is_submitted_when_all_its_keys_are_admitted_and_each_task_has_its_own(tmp_path, programs):
    programs(sbatch=f"cat > {tmp_path}/script; printf '%s\\n' \"$@\" > {tmp_path}/words; echo '4711;cluster'")
    launcher = SlurmLauncher(shared=str(tmp_path), arguments="--partition=long", path="/my ops", read="/takes")
    tasks = launcher.start(2, ORDERS)
    tasks[0].admit()
    launcher.alive()
    launcher.alive()
    assert not (tmp_path / "script").exists()
    tasks[1].admit()
    while not tasks[1].job:
        launcher.alive()
    assert [task.name for task in tasks] == ["slurm 4711_1", "slurm 4711_2"]
    (folder,) = tmp_path.glob("zaudio-slurm-*")
    assert (tmp_path / "words").read_text().split() == ["--parsable", "--array=1-2", f"--output={folder}/%A_%a.out"]
    script = (tmp_path / "script").read_text()
    assert "#SBATCH --partition=long\n" in script
    assert f"--keys {folder}/keys-1/$SLURM_ARRAY_TASK_ID" in script
    assert " --path '/my ops' --read /takes --name " in script
    secrets = [path.read_text().strip() for path in sorted(folder.glob("keys-1/*/worker.secret"))]
    assert len({*secrets, *(task.public for task in tasks)}) == 4
    assert not [secret for secret in secrets if secret in script]
    modes = {path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}
    assert modes == {0o700, 0o600}
    launcher.stop()
    assert not folder.exists()


def test_a_refused_array_is_told_in_slurms_words(tmp_path, programs):
    programs(sbatch="echo 'sbatch: error: Batch job submission failed: Invalid partition name specified' >&2; exit 1")
    launcher = SlurmLauncher(shared=str(tmp_path))
    (task,) = launcher.start(1, ORDERS)
    task.admit()
    assert until_ended(launcher, [task]) == ["slurm: Batch job submission failed: Invalid partition name specified"]
    assert task.hopeless
    launcher.stop()


def test_a_task_without_any_output_hints_at_the_folder(tmp_path, programs):
    programs(sbatch="echo 7", squeue="echo '7_1|FAILED|512|n1|NonZeroExitCode|'")
    launcher = SlurmLauncher(shared=str(tmp_path), clock=itertools.count().__next__)
    (task,) = launcher.start(1, ORDERS)
    task.admit()
    (why,) = until_ended(launcher, [task])
    assert why.startswith("slurm 7_1 n1: FAILED, it exited with code 2; it wrote no ")
    assert why.endswith("do the nodes share that folder? Name one that they do by shared=DIR")
    launcher.stop()


def test_a_task_that_waits_in_a_queue_that_cannot_be_read_any_more_says_so(tmp_path, programs):
    programs(sbatch="echo 7", squeue="printf '7_1|PENDING|0||Priority|\\n7_2|RUNNING|0|n1|None|\\n'")
    launcher = SlurmLauncher(shared=str(tmp_path), clock=itertools.count().__next__)
    waiting, running = launcher.start(2, ORDERS)
    for task in (waiting, running):
        task.admit()
    wait_until(lambda: launcher.alive() and waiting.waits == "Priority", "the queue is read")
    programs(squeue="echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    said = "its queue cannot be read: slurm_load_jobs error: Unable to contact slurm controller"
    wait_until(lambda: launcher.alive() and waiting.waits == said, lambda: waiting.waits)
    assert running.waits == ""
    programs(squeue="printf '7_1|COMPLETED|0|n1|None|\\n7_2|COMPLETED|0|n1|None|\\n'")
    assert until_ended(launcher, [waiting, running]) == ["", ""]
    launcher.stop()


def test_a_launcher_that_is_hurried_asks_slurm_within_a_second_and_no_more_often(tmp_path, programs):
    asks, now = tmp_path / "asks", [0.0]
    programs(sbatch="echo 7", squeue=f"echo >> {asks}; echo '7_1|RUNNING|0|n1|None|'")
    launcher = SlurmLauncher(shared=str(tmp_path), clock=lambda: now[0])
    (task,) = launcher.start(1, ORDERS)
    task.admit()

    def asked(at, *, hurried=False):
        """How often it was asked up to then."""
        now[0] = at
        if hurried:
            launcher.hurry()
        launcher.alive()
        wait_until(lambda: launcher.alive() and launcher._asked is None, "it has answered")
        return len(asks.read_text().splitlines()) if asks.exists() else 0

    wait_until(lambda: launcher.alive() and task.job, "it has its number")
    assert [asked(at) for at in (1.0, 2.5, 3.9, 100.0)] == [1, 2, 2, 3]
    assert [asked(at, hurried=True) for at in (100.5, 101.0, 101.5, 102.0)] == [3, 4, 4, 5]
    assert asked(104.0) == 5
    programs()
    launcher.stop()


def test_more_workers_than_an_array_may_have_are_several_arrays(tmp_path):
    launcher = SlurmLauncher(shared=str(tmp_path))
    tasks = launcher.start(1001, Orders("tcp://127.0.0.1:5555"))
    assert [task.number for task in tasks[-2:]] == [1000, 1]
    launcher.stop()


def test_folders_of_killed_jobs_are_removed_and_those_of_others_stay(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    names = [f"{HOST}-{gone.pid}-ab12", f"{HOST}-{os.getpid()}-ab12", f"elsewhere-{gone.pid}-ab12"]
    for name in names:
        (tmp_path / f"zaudio-slurm-{name}" / "keys-1").mkdir(parents=True)
    launcher = SlurmLauncher(shared=str(tmp_path))
    launcher.start(1, Orders("tcp://127.0.0.1:5555"))
    launcher.stop()
    left = [path.name for path in Path(tmp_path).iterdir()]
    assert sorted(left) == sorted(f"zaudio-slurm-{name}" for name in names[1:])
