"""Hosts of ssh that cannot be used, and what is said of each; a real server of ssh on loopback."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from extended import extended
from farm_support import decrypted, environment, finish, inverted, noise, write_raw
from launcher_support import Ssh, events, farm_command
from net_support import free_port, wait_until

from zaudio import Network, Security
from zaudio.coordinator import Coordinator
from zaudio.launching.ssh import Host, SshLauncher
from zaudio.net import keys

# Hosts that ssh knows by configuration; none of them will do.
ALIASES = """
Match all
Host stranger denied
  HostName {address}
  Port {port}
  IdentitiesOnly yes
Host closed
  HostName 127.0.0.1
  Port {closed}
Host stranger
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  IdentityFile "{folder}/user"
Host denied
  UserKnownHostsFile "{folder}/known_hosts"
  IdentityFile "{folder}/stranger"
Host elsewhere
  HostName 192.0.2.7
"""


@pytest.fixture
def place(tmp_path, request):
    with Ssh(tmp_path / "place", f"{request.node.name}-{os.getpid()}") as place:
        config = place.folder / "ssh_config"
        more = ALIASES.format(address=place.address, port=place.port, closed=free_port(), folder=place.folder)
        config.write_text(config.read_text() + more)
        yield place


@pytest.fixture
def take(tmp_path):
    """A short recording beside a folder of keys."""
    samples = noise(300_000)
    write_raw(tmp_path / "take.raw", samples)
    keys.init(str(tmp_path / "keys"))
    return samples


def run(command, place, **more):
    """What a command says, and its exit code."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**place.environment | more),
        start_new_session=True,
    )
    code, _, err = finish(process)
    return code, err


def test_a_far_end_that_was_killed_is_said_to_be_since_ssh_says_nothing():
    launcher = SshLauncher(Host("attic"), "ssh:hosts.txt")
    assert launcher._explain(255, "") == ("what ran its workers was killed there", False)
    assert launcher._explain(255, "ssh: connect to host attic port 22: Connection refused") == ("", False)


@pytest.mark.extended
def test_why_a_host_cannot_be_used_is_said_in_one_line_and_the_others_do_the_job(place, take, tmp_path):
    lines = ["stranger", "denied n=2", "closed", "attic n=2 python=/no/python", f"cellar python={sys.executable}"]
    place.hosts.write_text("\n".join(lines))
    sentences = (
        "stranger: its host key is not known here; log in once with `ssh stranger` and compare the key",
        "`ssh denied` must work without a password",
        "closed: ssh: connect to host 127.0.0.1 port",
        "attic: there is no /no/python there; name its Python with python= in the file of hosts",
    )
    command, told = farm_command(tmp_path, place), tmp_path / "told"
    command[command.index("--op") + 1] = f"farm_ops:gated:gate={tmp_path}/gate"  # it goes on until all is said

    def said():
        return [sum(sentence in line for line in told.read_text().splitlines()) for sentence in sentences]

    with told.open("w") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, env=environment(**place.environment), start_new_session=True
        )
    wait_until(lambda: all(said()) or process.poll() is not None, told.read_text)
    (tmp_path / "gate").touch()
    finish(process)
    assert process.returncode == 0, told.read_text()
    assert decrypted(tmp_path / "out") == inverted(take).tobytes()
    assert said() == [1] * len(sentences), told.read_text()


def test_a_job_that_no_host_can_help_ends_at_once_and_says_of_each_why(place, take, tmp_path):
    place.hosts.write_text("stranger\ndenied n=2\nattic n=2 python=/no/python\n")
    code, err = run(farm_command(tmp_path, place, "--worker-timeout", "600"), place)
    assert code == 69, err
    lines = err.splitlines()
    for host in ("stranger", "denied", "attic"):
        assert len([line for line in lines if line.startswith(f"zaudio: warning: {host}: ")]) == 1, err
    assert lines[-1].startswith("zaudio: no worker is left, and none can come: stranger: its host key is not known"), (
        err
    )
    absent = [event for event in events(tmp_path) if event["kind"] == "absent"]
    assert sorted(event["place"] for event in absent) == ["attic", "denied", "stranger"]
    assert not (tmp_path / "out" / "result.commit").exists()


@pytest.mark.extended
def test_without_keys_and_without_an_address_it_serves_this_machine(place, take, tmp_path):
    network = Network(workers_on=[place.text])
    path = os.pathsep.join([place.environment["PATH"]])
    os.environ["PATH"], before = path, os.environ["PATH"]
    try:
        job = Coordinator(tmp_path / "take.raw", tmp_path / "out", ops="invert", network=network, security=Security())
        report = job.run()
    finally:
        os.environ["PATH"] = before
    assert report.workers >= 1
    assert np.array_equal(np.frombuffer(decrypted(tmp_path / "out"), "<f4"), -take[::-1, 0])
    assert job.warnings == ()


@pytest.mark.parametrize("host", ["elsewhere", extended("192.0.2.7")])
def test_a_host_elsewhere_that_could_not_reach_this_machine_is_refused_before_anything_is_started(
    place, take, tmp_path, host
):
    place.hosts.write_text(host)
    code, err = run(farm_command(tmp_path, place), place)
    assert code == 2
    assert f"{host} is another machine, and cannot reach tcp://127.0.0.1:0" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh here (openssh-client)")
def test_what_a_users_configuration_cannot_change(tmp_path):
    names = ("ForwardX11", "ForwardAgent", "NoHostAuthenticationForLocalhost", "PermitLocalCommand")
    lines = [*(f"{name} yes" for name in names), "StrictHostKeyChecking no", "LocalForward 7777 localhost:7777"]
    (tmp_path / "config").write_text("\n".join(lines))
    words = ["-G", "-F", str(tmp_path / "config"), *Host("attic").command("ssh")[1:]]
    answer = subprocess.run(["ssh", *words], capture_output=True, text=True, check=True).stdout.splitlines()
    for line in (*(f"{name.lower()} no" for name in names), "stricthostkeychecking true", "clearallforwardings yes"):
        assert line in answer


@pytest.mark.extended
def test_without_the_program_it_says_what_to_install(place, take, tmp_path):
    code, err = run(farm_command(tmp_path, place), place, PATH=str(tmp_path))
    assert code == 69
    assert "there is no program ssh here; install openssh-client" in err
    assert not (tmp_path / "out").exists()
