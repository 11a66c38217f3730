"""The texts of `--workers-on`, and a file of hosts: what is taken, and what a wrong line is told."""

import shlex

import pytest

from zaudio import Coordinator, Network
from zaudio.errors import UsageError
from zaudio.launching.places import Place, parse_place, share
from zaudio.launching.ssh import Host, parse_host, read_hosts


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("ssh:hosts.txt", Place("ssh:hosts.txt", "ssh", "hosts.txt")),
        ("slurm", Place("slurm", "slurm")),
        ("slurm,n=64", Place("slurm,n=64", "slurm", count=64)),
        ("dask:tls://10.0.0.1:8786,n=3", Place("dask:tls://10.0.0.1:8786,n=3", "dask", "tls://10.0.0.1:8786", 3)),
        ("ray:auto,gpus=1", Place("ray:auto,gpus=1", "ray", "auto", options={"gpus": "1"})),
    ],
)
def test_a_place_is_parsed(text, place):
    assert parse_place(text) == place


@pytest.mark.parametrize(
    "text", ["", "ssh", "ssh:", "slurm:x", "kubernetes", "ssh:h,n=2", "slurm,n=0", "slurm,n=x", "slurm,n=1,n=2", None]
)
def test_what_is_no_place_is_refused(text):
    with pytest.raises(UsageError):
        parse_place(text)


def test_a_number_is_for_places_that_state_none_or_else_for_local_workers():
    ssh, slurm, dask = parse_place("ssh:h"), parse_place("slurm"), parse_place("dask:tcp://s:1,n=3")
    assert share([ssh, dask], None) == (0, (ssh, dask))
    assert share([ssh, dask], 2) == (2, (ssh, dask))
    local, places = share([ssh, slurm, dask], 5)
    assert (local, [place.count for place in places]) == (0, [None, 5, 3])
    with pytest.raises(UsageError, match="slurm: say how many workers by slurm,n="):
        share([ssh, slurm], None)


@pytest.mark.parametrize(
    ("line", "host"),
    [
        ("attic", Host("attic")),
        ("10.0.0.7:2222 n=8 user=ann # by the window", Host("10.0.0.7", 2222, "ann", 8)),
        ("[fe80::1%eth0]:22", Host("fe80::1%eth0", 22)),
        ("attic python=venv/bin/python", Host("attic", python="venv/bin/python")),
        ("attic path=ops path=more read=/takes", Host("attic", path=("ops", "more"), read=("/takes",))),
    ],
)
def test_a_line_is_a_host(line, host):
    assert parse_host(line, "hosts.txt, line 1") == host


@pytest.mark.parametrize(
    "line",
    [
        "-oProxyCommand=x",
        "a;b",
        "a b",
        "attic:0",
        "attic:70000",
        "attic n=0",
        "attic user=-x",
        "attic python=-x",
        "attic user=",
        "attic colour=red",
        "user@attic",
        "$(reboot)",
    ],
)
def test_a_line_that_could_be_an_option_or_a_command_is_refused(line):
    with pytest.raises(UsageError, match=r"hosts\.txt, line 3: "):
        parse_host(line, "hosts.txt, line 3")


def test_every_remote_word_is_quoted_and_the_host_comes_behind_two_hyphens():
    command = Host("attic", 22, "ann", python="my venv/$(reboot)").command("/usr/bin/ssh")
    assert command[-2] == "attic"
    assert command[-3] == "--"
    assert shlex.split(command[-1]) == ["exec", "my venv/$(reboot)", "-P", "-m", "zaudio.launching.remote"]
    assert "BatchMode=yes" in command
    assert "StrictHostKeyChecking=yes" in command


def test_a_file_of_hosts_is_read_and_its_faults_are_told(tmp_path):
    file = tmp_path / "hosts.txt"
    file.write_text("# all of them\n\nattic n=2\n  cellar # one\n")
    assert read_hosts(str(file)) == [Host("attic", count=2), Host("cellar")]
    file.write_text("\ufeffattic:22\r\nattic:2222\r\n")
    assert [host.label for host in read_hosts(str(file))] == ["attic:22", "attic:2222"]
    for text, sentence in (("", "names no host"), ("a\na", "a stands there twice"), ("a\n-b", "line 2: expected HOST")):
        file.write_text(text)
        with pytest.raises(UsageError, match=sentence):
            read_hosts(str(file))
    with pytest.raises(UsageError, match="No such file"):
        read_hosts(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("nonsense", "expected ssh:FILE, dask:ADDRESS, ray:ADDRESS, ray:auto or slurm, got 'nonsense'"),
        ("ssh:none.txt", "--workers-on ssh:none.txt: No such file or directory"),
        ("slurm", "slurm: say how many workers by slurm,n=WORKERS, or by -n (workers=)"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused_before_anything_is_written(place, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        Coordinator("take.raw", "out", network=Network(workers_on=[place])).run()
    assert sentence in str(caught.value)
    assert list(tmp_path.iterdir()) == []
