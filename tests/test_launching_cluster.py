"""The launcher for clusters: what is refused before anything is started. Nothing connects here."""

import socket
from types import SimpleNamespace

import pytest

from zaudio.errors import LaunchError, UsageError
from zaudio.launching import cluster
from zaudio.launching.cluster import ClusterLauncher, is_here
from zaudio.launching.launcher import Orders
from zaudio.launching.launchers import open_launchers
from zaudio.launching.places import parse_place

ELSEWHERE = "192.0.2.9"  # reserved for documentation: no machine has it


class Bridge:
    """A bridge that has connected to a cluster with these nodes."""

    over = False

    def __init__(self, *nodes):
        self.facts = {"nodes": list(nodes)}


@pytest.fixture
def make(monkeypatch):
    """Make a launcher whose bridge has connected; the packages are there."""
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: name)

    def make(text, *nodes, trust=False):
        launcher = ClusterLauncher(parse_place(text), trust=trust)
        monkeypatch.setattr(launcher, "_connect", lambda: Bridge(*nodes))
        return launcher

    return make


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dask:--preload", "'--preload' is no address of a cluster"),
        ("dask:tcp://a b", "'tcp://a b' is no address of a cluster"),
        ("ray:auto,cpus=many", "cpus= is a number, such as 1 or 0.5, not 'many'"),
        ("ray:auto,gpus=-1", "gpus= is a number, such as 1 or 0.5, not '-1'"),
    ],
)
def test_what_is_no_address_or_number_is_refused(text, words):
    with pytest.raises(UsageError) as caught:
        ClusterLauncher(parse_place(text), trust=False)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["dask:tcp://127.0.0.1:1", "ray:auto", "ray:ray://localhost:10001"])
def test_a_cluster_of_this_machine_needs_no_trust(make, text):
    make(text, "127.0.0.1").check("tcp://127.0.0.1:0")


def test_nor_does_one_at_an_address_of_this_machines_network_card(make, monkeypatch):
    monkeypatch.setattr(cluster, "is_here", lambda host: host == ELSEWHERE)
    make(f"dask:tcp://{ELSEWHERE}:8786", ELSEWHERE).check("tcp://127.0.0.1:0")


@pytest.mark.parametrize(
    "text", [f"dask:tcp://{ELSEWHERE}:8786", f"ray:ray://{ELSEWHERE}:10001", f"ray:{ELSEWHERE}:6379"]
)
def test_a_cluster_elsewhere_without_encryption_is_refused_before_it_is_reached(make, text, monkeypatch):
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    launcher = make(text)
    monkeypatch.setattr(launcher, "_connect", lambda: pytest.fail("it was reached"))
    with pytest.raises(UsageError, match="--trust-cluster"):
        launcher.check("tcp://0.0.0.0:5555")


def test_a_node_elsewhere_of_a_cluster_here_needs_trust_too(make, monkeypatch):
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    for text in ("dask:tcp://127.0.0.1:1", "ray:auto"):
        with pytest.raises(UsageError, match=f"{ELSEWHERE} is another machine, and everyone who reaches"):
            make(text, "127.0.0.1", ELSEWHERE).check("tcp://0.0.0.0:5555")
        make(text, "127.0.0.1", ELSEWHERE, trust=True).check("tcp://0.0.0.0:5555")


def test_encryption_is_trust(make, monkeypatch):
    make(f"dask:tls://{ELSEWHERE}:8786", ELSEWHERE).check("tcp://0.0.0.0:5555")
    monkeypatch.setenv("RAY_USE_TLS", "1")
    make(f"ray:{ELSEWHERE}:6379", ELSEWHERE).check("tcp://0.0.0.0:5555")


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:0", "ipc:///run/zaudio"])
def test_workers_elsewhere_cannot_reach_loopback(make, endpoint):
    with pytest.raises(UsageError, match=f"{ELSEWHERE} is another machine, and cannot reach {endpoint}; .*--bind"):
        make(f"dask:tls://{ELSEWHERE}:8786", "127.0.0.1", ELSEWHERE).check(endpoint)


def test_the_bridge_of_one_place_ends_when_another_cannot_be_used(monkeypatch):
    closed = []
    monkeypatch.setattr(ClusterLauncher, "check", lambda self, endpoint: None)
    monkeypatch.setattr(ClusterLauncher, "stop", lambda self: closed.append(self.where))
    places = [parse_place("dask:tcp://127.0.0.1:1,n=1"), parse_place("slurm,n=1")]
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LaunchError, match="there is no sbatch here"):
        open_launchers(places, endpoint="tcp://127.0.0.1:0", trust_cluster=False, template_args="")
    assert closed == ["dask:tcp://127.0.0.1:1,n=1"]


def test_a_bridge_that_connects_again_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(cluster, "ARGUMENTS", ("-c", "import sys; sys.stdin.read()"))
    monkeypatch.setattr(cluster, "CONNECT", 5.0)
    launcher = ClusterLauncher(parse_place("dask:tcp://127.0.0.1:1,n=1"), trust=False)
    try:
        (worker,) = launcher.start(1, Orders("tcp://127.0.0.1:5555"))
        assert launcher.alive() == [worker]
        monkeypatch.setattr(cluster, "CONNECT", 0.0)
        assert launcher.alive() == []
        assert worker.ended == "dask:tcp://127.0.0.1:1,n=1: the cluster did not answer within 0 s"
        assert not worker.hopeless
    finally:
        launcher.stop()


@pytest.mark.extended
def test_a_worker_without_a_thread_of_dasks_waits_and_goes_where_one_is_free_first(monkeypatch):
    pytest.importorskip("distributed")
    from zaudio.launching import daskcluster

    there, submitted = {"tcp://a:1": {"nthreads": 2, "resources": {}}}, []

    class Client:
        def __init__(self, *_, **__):
            pass

        def scheduler_info(self, n_workers):
            return {"workers": dict(there)}

        def submit(self, *_, key, workers, **__):
            submitted.append((int(key.rpartition("-")[2]), *workers))
            return SimpleNamespace(status="pending", release=lambda: None)

    monkeypatch.setattr(daskcluster, "Client", Client)
    monkeypatch.setattr(daskcluster, "Queue", lambda *_, **__: SimpleNamespace(qsize=int, close=lambda: None))
    monkeypatch.setattr(daskcluster, "NODES", 0.0)
    dask = daskcluster.DaskCluster("tcp://127.0.0.1:1", {})
    for number in (1, 2, 3, 4):
        dask.start(number, {})
    assert dask.look() == [(number, {"waits": "Dask's workers have no thread free"}) for number in (3, 4)]
    assert submitted == [(1, "tcp://a:1"), (2, "tcp://a:1")]
    there["tcp://b:1"] = {"nthreads": 1, "resources": {}}  # a lost one that came back, for example
    dask.look()
    assert dask.look() == [(3, {"waits": ""})]
    assert submitted[2:] == [(3, "tcp://b:1")]
    del there["tcp://a:1"]
    there["tcp://c:1"] = {"nthreads": 1, "resources": {}}
    assert [(number, message["hopeless"]) for number, message in dask.look()] == [(1, False), (2, False)]
    assert submitted[3:] == [(4, "tcp://c:1")]


@pytest.mark.extended
def test_a_place_of_dask_is_a_thread_with_the_resource():
    pytest.importorskip("distributed")
    from zaudio.launching.daskcluster import DaskCluster

    worker = {"nthreads": 2, "resources": {"ears": 5.0, "tongues": 1.5}}
    rooms = [DaskCluster._room(SimpleNamespace(_resource=name), worker) for name in (None, "ears", "tongues", "eyes")]
    assert rooms == [2, 2, 1, 0]


def test_no_file_of_the_current_folder_answers_an_import_of_the_bridge(make, monkeypatch):
    commands = []

    def far(command, *_, **__):
        commands.append(command)
        raise LaunchError("dask", "that was enough")

    monkeypatch.setattr(cluster, "Far", far)
    with pytest.raises(LaunchError, match="enough"):
        ClusterLauncher(parse_place("dask:tcp://127.0.0.1:1,n=1"), trust=False).check("tcp://127.0.0.1:0")
    assert "-P" in commands[0][: commands[0].index("-m")]


def test_an_unknown_host_is_named(make):
    with pytest.raises(UsageError, match=r"nowhere\.invalid: "):
        make("dask:tcp://nowhere.invalid:8786").check("tcp://127.0.0.1:0")


def test_a_missing_package_is_named_with_its_extra(make, monkeypatch):
    for text, extra in (("dask:tcp://127.0.0.1:1", "dask"), ("ray:auto", "ray")):
        launcher = make(text)
        monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(LaunchError, match=rf"pip install 'zaudio\[{extra}\]'"):
            launcher.check("tcp://127.0.0.1:0")


def test_a_stack_of_the_clusters_library_is_no_sentence(make):
    sentence, hopeless = make("ray:auto")._explain(1, "/lib/libc.so.6(+0x1098ec) [0x7f796ab278ec]")
    assert sentence == "the cluster is lost: its library ended the bridge to it"
    assert not hopeless


def test_this_machine_is_told_from_others():
    assert is_here("127.0.0.1")
    assert is_here("localhost")
    assert is_here("127.0.0.2")
    assert is_here("::1")
    for *_, (own, *_) in socket.getaddrinfo(socket.gethostname(), 0, socket.AF_INET):
        assert is_here(own)
    assert not is_here(ELSEWHERE)
    assert not is_here("nowhere.invalid")
