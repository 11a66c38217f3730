"""Slurm itself, of two nodes on this machine: what it does to a task, and what is said about that."""

import itertools
import os

import pytest
from extended import extended
from farm_support import environment
from launcher_support import command_of
from net_support import MS, alive, parent, processes_with, wait_until
from slurm_support import running_slurm

from zaudio.launching.launcher import Orders
from zaudio.launching.slurm import SlurmLauncher
from zaudio.launching.templates import GRACE, WorkerLine, slurm

SERVER = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
NOWHERE = "tcp://127.0.0.1:9"  # no coordinator listens there
ORDERS = Orders(NOWHERE, SERVER)
WAITING = ("sh", "-c", 'trap "exit 0" TERM; while :; do sleep 0.1; done', "zaudio")  # in place of a worker


@pytest.fixture(scope="module")
def cluster():
    """A Slurm for all tests here."""
    with running_slurm() as cluster:
        yield cluster


@pytest.fixture
def launch(cluster, tmp_path, monkeypatch):
    """Start workers: `launch(count, arguments)` returns the launcher and their tasks."""
    for name, value in environment(**cluster.environment).items():
        monkeypatch.setenv(name, value)
    launchers = []

    def start(count, arguments="", *, orders=ORDERS, **more):
        launcher = SlurmLauncher(arguments=arguments, shared=str(tmp_path), **more)
        launchers.append(launcher)
        launcher.check(orders.endpoint)
        tasks = launcher.start(count, orders)
        for task in tasks:
            task.admit()
        return launcher, tasks

    yield start
    for launcher in launchers:
        launcher.stop()
    assert not list(tmp_path.glob("zaudio-slurm-*/keys*"))


def workers():
    """What runs in place of workers, by process id, with its arguments."""
    commands = {pid: command_of(pid) for pid in processes_with(f"TMPDIR={os.environ['TMPDIR']}")}
    found = {pid: command for pid, command in commands.items() if f"worker {NOWHERE}" in command}
    # A shell's child looks like the shell, until it becomes `sleep`.
    return {pid: command for pid, command in found.items() if parent(pid) not in found}


def test_tasks_that_run_and_that_wait_know_their_limit_and_end_with_the_job(launch, cluster, tmp_path):
    launcher, tasks = launch(10, "--time=0:30:00", command=WAITING)  # two more than there are processors
    running = wait_until(lambda: launcher.alive() and len(found := workers()) == 8 and found, "eight run")
    for command in running.values():
        lifetime = float(command.split("--lifetime ")[1].split()[0])
        assert 30 * 60 - 120 - 60 <= lifetime <= 30 * 60 - 120
    wait_until(lambda: launcher.alive() and sum(bool(task.node) for task in tasks) == 8, "Slurm says where they run")
    assert {task.name for task in tasks if task.node == "n1"} <= {command_name(each) for each in running.values()}
    launcher.stop()
    assert launcher.alive() == []
    wait_until(lambda: not any(map(alive, running)), "their processes end", within=2000 * MS)
    assert cluster("squeue", "--noheader", "--states=pending,running") == ""
    assert list(tmp_path.iterdir()) == []


def command_name(command):
    """The name that a worker was told."""
    return command.split("--name ")[1].split(" --keys")[0]


@pytest.mark.extended
def test_a_worker_that_cannot_be_made_ready_there_is_told_in_its_own_words(launch, tmp_path):
    launcher, (task,) = launch(1, orders=Orders(NOWHERE, SERVER, ("no_such_module:hiss",)))
    wait_until(lambda: not launcher.alive(), "it ends")
    assert task.ended.startswith(f"{task.name}: FAILED, it exited with code 2: zaudio: ")
    assert "no_such_module" in task.ended
    assert task.hopeless
    launcher.stop()
    assert [path.name for path in tmp_path.glob("zaudio-slurm-*/*")] == [f"{task.job}_1.out"]


def test_slurms_reason_is_told_for_an_array_that_it_refuses_and_for_one_that_waits(launch):
    refused, (task,) = launch(1, "--partition=nowhere")
    wait_until(lambda: not refused.alive(), "it is refused")
    assert task.ended == "slurm: Batch job submission failed: Invalid partition name specified"
    times = itertools.count(0, 5)
    waiting, (task,) = launch(1, "--partition=down", clock=times.__next__)
    assert wait_until(lambda: waiting.alive() and task.waits, "the reason is told") == "PartitionDown"


@pytest.mark.parametrize("limit", [extended("0:01:00")])
def test_a_task_at_its_limit_is_told_to_leave_and_leaves_in_order(launch, limit):
    orders = Orders(NOWHERE, lifetime=3600)
    launcher, (task,) = launch(1, f"--time={limit}", orders=orders, command=WAITING)
    wait_until(lambda: not launcher.alive(), "it left", within=(60 + GRACE) * 1000 * MS)
    assert task.ended == ""


def test_a_printed_script_can_be_submitted_as_it_is(cluster, tmp_path):
    line = WorkerLine(NOWHERE, str(tmp_path / "my keys"))
    script = tmp_path / "workers.sh"
    output = str(tmp_path / "an output" / "%A_%a.out")
    os.mkdir(tmp_path / "an output")
    script.write_text(
        slurm(line, 2, command=("printf", "%s\\n"), output=output, arguments=["--comment=a b #c", "--time=60"])
    )
    job = cluster("sbatch", "--parsable", str(script)).strip()
    outputs = [tmp_path / "an output" / f"{job}_{number}.out" for number in (1, 2)]
    wait_until(lambda: all(path.exists() and path.read_text().count("\n") >= 9 for path in outputs), "both ran")
    for number, path in enumerate(outputs, 1):
        told = path.read_text().splitlines()
        assert told[:3] == ["worker", NOWHERE, "--once"]
        assert told[4].startswith(f"slurm {job}_{number} n")
        assert told[6:8] == [str(tmp_path / "my keys"), "--lifetime"]  # also of the task whose number is the array's
        assert 3600 - 120 - 60 <= int(told[8]) <= 3600 - 120
