"""Workers that a job starts over ssh in another network namespace: other machines, as far as the network can tell."""

import os
import re
import subprocess

import pytest
from farm_support import decrypted, environment, finish, inverted, noise, write_raw
from launcher_support import Ssh, farm_command, joined
from namespaces import ADDRESS, FAR_ADDRESS, Network
from net_support import MS, wait_until

from zaudio.net import keys

TIME_OUT = 30_000 * MS  # five silent heartbeats of 1 s, five seconds of looking for a coordinator, and a busy machine


@pytest.fixture
def network():
    with Network() as network:
        yield network


@pytest.fixture
def far(network, tmp_path, request):
    """A server of ssh beyond the cable."""
    mark = f"{request.node.name}-{os.getpid()}"
    with Ssh(tmp_path / "place", mark, prefix=network.far, address=FAR_ADDRESS) as far:
        yield far


@pytest.fixture
def job(network, far, tmp_path):
    """A job on this side of the cable, once all its workers on the other side compute."""
    write_raw(tmp_path / "take.raw", noise(2_000_000))
    keys.init(str(tmp_path / "keys"))
    process = subprocess.Popen(
        [*network.near, *farm_command(tmp_path, far, bind=f"tcp://{ADDRESS}:0")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**far.environment),
        start_new_session=True,
    )
    try:
        wait_until(lambda: joined(tmp_path) >= far.count or process.poll() is not None, "all workers have joined")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.extended
def test_a_job_starts_its_workers_on_another_machine(job, far, tmp_path):
    code, _, err = finish(job)
    assert code == 0, err
    assert decrypted(tmp_path / "out") == inverted(noise(2_000_000)).tobytes()
    wait_until(lambda: not far.workers(), "all workers are gone", within=TIME_OUT)


@pytest.mark.extended
def test_when_this_machine_vanishes_the_workers_go_by_their_own_time_out(job, far, network):
    assert len(far.workers()) == far.count
    network.vanish()
    wait_until(lambda: not far.workers(), "all workers are gone", within=TIME_OUT)


@pytest.mark.extended
def test_a_worker_says_which_address_it_could_not_reach(network, far, tmp_path):
    write_raw(tmp_path / "take.raw", noise(100))
    keys.init(str(tmp_path / "keys"))
    more = ("--advertise", "10.111.0.99:7", "--worker-timeout", f"{15_000 * MS:g}")
    command = farm_command(tmp_path, far, *more, bind=f"tcp://{ADDRESS}:0")
    process = subprocess.Popen(
        [*network.near, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**far.environment),
    )
    code, _, err = finish(process)
    assert code == 69, err
    assert len(re.findall(r"attic: tcp://10\.111\.0\.99:7: no coordinator answered within 5 s", err)) == 1, err
