"""Dask and Ray, real ones: what they lose is replaced, and why a worker did not come is said."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
from cluster_support import DaskByHand, Ray
from extended import extended
from farm_support import decrypted, environment, finish, inverted, noise, write_raw
from launcher_support import command_of, events, farm_command, joined
from net_support import MS, PATIENCE, children, kill, parent, wait_until

from zaudio.launching.berth import news_of
from zaudio.launching.fleet import LATE
from zaudio.net import keys

FRAMES = 2_500_000
KINDS = [extended(DaskByHand), extended(Ray)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.lower())
def test_a_lost_process_of_the_cluster_is_replaced(kind, tmp_path):
    samples = noise(FRAMES)
    write_raw(tmp_path / "take.raw", samples)
    keys.init(str(tmp_path / "keys"))
    with kind(tmp_path / "place", f"lost-{os.getpid()}") as place:
        process = begin(tmp_path, place)
        try:
            wait_until(lambda: joined(tmp_path) >= place.count or process.poll() is not None, "all have joined")
            # Dask's worker, or Ray's actor: they run the far ends. That with most of ours: the other worker of Dask has
            # a thread left then, where another of ours can come.
            holders = Counter(parent(parent(worker)) for worker in place.workers())
            kill(max(holders, key=holders.get))
            wait_until(lambda: joined(tmp_path) > place.count or process.poll() is not None, "another has come")
            (tmp_path / "gate").touch()
            code, _, err = finish(process)
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()
    assert code == 0, err
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [extended(DaskByHand, "Dask's workers have no thread free"), extended(Ray, "Ray has no CPU free")],
)
def test_workers_for_which_the_cluster_has_no_room_are_said_to_wait(kind, sentence, tmp_path):
    write_raw(tmp_path / "take.raw", noise(FRAMES))
    keys.init(str(tmp_path / "keys"))
    with kind(tmp_path / "place", f"room-{os.getpid()}") as place:
        place.text = place.text.replace(f"n={place.count}", "n=5")  # for four threads or processors
        process = begin(tmp_path, place)
        # One has no room. Ray counts those that have it, too, as long as they have not begun.
        said = re.compile(f"{re.escape(place.text)}: [1-5] of 5 workers wait: {sentence}")
        log = tmp_path / "events.jsonl"
        wait_until(
            lambda: (log.exists() and said.search(log.read_text())) or process.poll() is not None,
            "it is said",
            within=40_000 * MS,
        )
        (tmp_path / "gate").touch()
        code, _, err = finish(process)
    assert code == 0, err
    assert said.search(err)
    times = [event["at"] for event in events(tmp_path) if event["kind"] in ("started", "joined")]
    if len(times) >= 5 and times[4] - times[0] < LATE:  # on a slow machine, those that had room are missed
        assert "did not come" not in err


@pytest.mark.extended
def test_a_worker_waits_for_dask_here_and_where_dask_has_queued_it():
    pytest.importorskip("distributed")
    from zaudio.launching.daskcluster import DaskCluster

    here, there = ({"metrics": {"task_counts": counts}} for counts in ({"executing": 2, "ready": 1}, {"executing": 2}))
    tasks = {number: (SimpleNamespace(status="pending"), address) for number, address in enumerate("aaabc", 1)}
    cluster = SimpleNamespace(_resource=None, _tasks=tasks, _begun={1, 2}, _waiting={9: {}})
    assert list(DaskCluster._waits(cluster, {"a": here, "b": there})) == [9, 3]


@pytest.mark.extended
def test_a_dask_scheduler_that_was_started_again_is_told_with_what_to_do(tmp_path):
    write_raw(tmp_path / "take.raw", noise(FRAMES))
    keys.init(str(tmp_path / "keys"))
    told = tmp_path / "told"
    with DaskByHand(tmp_path / "place", f"again-{os.getpid()}") as place, told.open("w") as stream:
        process = begin(tmp_path, place, stderr=stream)
        wait_until(lambda: joined(tmp_path) >= place.count or process.poll() is not None, "all have joined")
        (bridge,) = [pid for pid in children(process.pid) if "zaudio.launching.bridge" in command_of(pid)]
        os.kill(bridge, signal.SIGSTOP)  # or it might see the scheduler go
        kill(place.scheduler.pid)
        place.scheduler.wait()
        place.schedule()
        wait_until(lambda: "Scheduler at" in (place.folder / "log-3").read_text(), "another one is there")
        os.kill(bridge, signal.SIGCONT)
        sentence = "its scheduler was started again, and has forgotten this job and Dask's workers; start those again"
        wait_until(lambda: sentence in told.read_text() or process.poll() is not None, "it is said")
        process.terminate()
        process.communicate()
    assert sentence in told.read_text()
    assert "KeyError" not in told.read_text()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        extended(KeyError("zaudio-ab"), "its scheduler was started again"),
        extended(OSError("in <TCP (closed) ConnectionPool>"), "its scheduler is gone; start it again"),
        extended(KeyError("nthreads"), "KeyError: 'nthreads'"),
    ],
)
def test_an_error_of_dasks_is_told_by_what_it_means(error, words):
    pytest.importorskip("distributed")
    from zaudio.launching.daskcluster import DaskCluster

    assert DaskCluster.explain(SimpleNamespace(_token="ab"), error).startswith(words)


def test_a_wait_is_told_when_it_begins_and_when_it_ends():
    told = {}
    assert news_of(told, {1: "full", 2: "full"}) == [(1, {"waits": "full"}), (2, {"waits": "full"})]
    assert news_of(told, {1: "full", 2: "full"}) == []
    assert news_of(told, {1: "full"}) == [(2, {"waits": ""})]
    assert news_of(told, {}) == [(1, {"waits": ""})]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.lower())
def test_a_module_that_is_missing_there_is_said_and_nobody_is_started_again(kind, tmp_path):
    write_raw(tmp_path / "take.raw", noise(FRAMES))
    keys.init(str(tmp_path / "keys"))
    with kind(tmp_path / "place", f"module-{os.getpid()}") as place:
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / "only_here.py").write_text("def op(samples):\n    return -samples\n")
        command = farm_command(tmp_path, place, "--worker-timeout", f"{20_000 * MS:g}")
        command[command.index("--op") + 1] = "only_here:op"
        path = [str(tmp_path / "here"), *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**place.environment, PYTHONPATH=os.pathsep.join(path)),
        )
        code, _, err = finish(process)
    assert code != 0
    assert "only_here" in err
    assert err.count("No module named 'only_here'") <= place.count, err


# Imported by a Python that has no zaudio, whatever is installed.
BLIND = """
import sys
class Blind:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "zaudio":
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Blind())
"""


@pytest.mark.extended
def test_a_dask_worker_without_zaudio_is_told_and_left_in_peace(tmp_path):
    samples = noise(FRAMES)
    write_raw(tmp_path / "take.raw", samples)
    keys.init(str(tmp_path / "keys"))
    (tmp_path / "sitecustomize.py").write_text(BLIND)
    with DaskByHand(tmp_path / "place", f"blind-{os.getpid()}") as place:
        place.inside["PYTHONPATH"] = str(tmp_path)
        address = place.text.removeprefix("dask:").partition(",")[0]
        stranger = place.process("-m", "dask", "worker", address, "--host", "127.0.0.1", "--no-nanny", "--no-dashboard")
        wait_until(lambda: "Registered to" in (place.folder / "log-3").read_text(), "it has joined")
        told = tmp_path / "told"
        with told.open("w") as stream:
            process = begin(tmp_path, place, stderr=stream)
        wait_until(lambda: "No module named" in told.read_text() or process.poll() is not None, "the reason is said")
        (tmp_path / "gate").touch()
        code, _, _ = finish(process)
        err = told.read_text()
        assert stranger.poll() is None
    assert code == 0, err
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()
    assert err.count("ModuleNotFoundError: No module named 'zaudio'") == 1, err


@pytest.mark.parametrize(
    ("package", "text"), [("distributed", "dask:tcp://127.0.0.1:9"), ("ray", "ray:127.0.0.1:9")], ids=["dask", "ray"]
)
@pytest.mark.extended
def test_a_cluster_that_is_not_there_is_one_sentence(package, text, tmp_path):
    pytest.importorskip(package)
    write_raw(tmp_path / "take.raw", noise(1000))
    command = [sys.executable, "-P", "-m", "zaudio", "farm", f"{tmp_path}/take.raw", "-o", f"{tmp_path}/out"]
    done = subprocess.run(
        [*command, "--workers-on", text, "-n", "2"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=2 * PATIENCE,
    )
    assert done.returncode == 69
    [line] = done.stderr.splitlines()
    assert line.startswith(f"zaudio: {text}: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.extended
def test_dask_ends_its_workers_when_bridge_and_coordinator_are_killed_at_once(tmp_path):
    write_raw(tmp_path / "take.raw", noise(FRAMES))
    keys.init(str(tmp_path / "keys"))
    with DaskByHand(tmp_path / "place", f"both-{os.getpid()}") as place:
        process = begin(tmp_path, place)
        wait_until(lambda: joined(tmp_path) >= place.count or process.poll() is not None, "all have joined")
        (bridge,) = [pid for pid in children(process.pid) if "zaudio.launching.bridge" in command_of(pid)]
        assert place.workers()
        kill(bridge)
        kill(process.pid)
        process.communicate()
        wait_until(lambda: not place.workers(), "they go before they miss the coordinator", within=6000 * MS)


@pytest.mark.extended
def test_a_ray_node_without_zaudio_is_told_by_its_address_and_the_last_line_of_a_traceback():
    pytest.importorskip("ray")
    from zaudio.launching.raycluster import reason_on_node

    first = "The actor died because of an error raised in its creation task, ray::Actor.__init__() (pid=7, ip=10.0.0.7)"
    text = f"{first}\n  File 'x'\nModuleNotFoundError: No module named 'zaudio'"
    assert reason_on_node(text) == "ray 10.0.0.7: ModuleNotFoundError: No module named 'zaudio'"
    assert reason_on_node("The actor died unexpectedly") == ""


@pytest.mark.extended
def test_why_ray_lost_two_workers_is_one_sentence():
    pytest.importorskip("ray")
    from zaudio.launching.raycluster import lost_by

    texts = [f"The actor {8 * digits} is unavailable: RpcError: Socket closed" for digits in ("4e", "c5")]
    assert {lost_by(text) for text in texts} == {"The actor is unavailable"}
    died = "The actor died unexpectedly before finishing this task.\n\tclass_name: Actor\n\tactor_id: 4e4e"
    assert lost_by(died) == "The actor died unexpectedly before finishing this task"


def begin(folder, place, stderr=subprocess.PIPE):
    """Start a job with workers at that place, whose op waits for a gate: a worker is replaced before its end."""
    command = farm_command(folder, place)
    command[command.index("--op") + 1] = f"farm_ops:gated:gate={folder}/gate"
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=environment(**place.environment),
    )
