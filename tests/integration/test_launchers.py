"""Launchers: each starts real workers of a real service, and the job ends as if they had been there before it.

A launcher joins by its place in `PLACES`. What a place has is told in launcher_support.py.
"""

import json
import os
import re
import signal
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from cluster_support import DaskByHand, DaskLocal, Ray
from extended import extended
from farm_support import decrypted, environment, finish, inverted, noise, write_raw
from launcher_support import Ssh, events, farm_command, joined
from net_support import MS, kill, wait_until
from slurm_support import Slurm

from zaudio.net import keys

PLACES = [Ssh, *map(extended, (Slurm, DaskLocal, DaskByHand, Ray))]
FRAMES = 2_500_000


@pytest.fixture(params=PLACES, ids=lambda place: place.__name__.lower())
def place(request, tmp_path):
    """A place that works, for one test."""
    with request.param(tmp_path / "place", f"{request.node.name}-{os.getpid()}") as place:
        yield place


@pytest.fixture
def folder(tmp_path):
    """A recording, a folder of keys."""
    samples = noise(FRAMES)
    write_raw(tmp_path / "take.raw", samples)
    keys.init(str(tmp_path / "keys"))
    return tmp_path, samples


@contextmanager
def job(folder, place, *arguments):
    """A job at that place, in a process that leads a group, once all workers have joined; what it said is in `told`.

    It does not end before there is a file `gate`.
    """
    command = farm_command(folder, place, *arguments)
    command[command.index("--op") + 1] = f"farm_ops:gated:gate={folder}/gate"
    told = folder / "told"
    with told.open("w") as stream:  # a pipe is soon full of what -vv says, and the job would wait for its reader
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, env=environment(**place.environment), start_new_session=True
        )
    try:
        wait_until(lambda: joined(folder) >= place.count or process.poll() is not None, told.read_text)
        assert process.poll() is None, told.read_text()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_a_worker_is_killed_and_replaced_and_the_result_is_numpys(place, folder):
    folder, samples = folder
    with job(folder, place, "--report", f"{folder}/report.json", "-vv") as process:
        seen = exposed_by(place)
        # One that has joined may be slow to begin, and the others would do all of the job.
        wait_until(lambda: len(list(folder.glob("gate.*"))) >= place.count, "all are at it")
        kill(place.workers()[0])
        wait_until(lambda: len(list(folder.glob("gate.*"))) > place.count, "another has taken its place")
        (folder / "gate").touch()
        code, told = ended(process, folder)
    assert code == 0, told
    assert decrypted(folder / "out") == inverted(samples).tobytes()
    assert np.array_equal(np.frombuffer(decrypted(folder / "out"), "<f4"), -samples[::-1, 0])
    shares = json.loads((folder / "report.json").read_text())["shares"]
    # All were at it, but a quick one may do all chunks, those that others hold last too.
    assert shares
    assert all(re.fullmatch(place.names, name) for name in shares), shares
    assert "signal 9 (SIGKILL)" in told
    lost = [event["reason"] for event in events(folder) if event["kind"] == "lost"]
    assert lost
    assert not [reason for reason in lost if "key" in reason], lost
    assert_gone(place)
    seen += told + "".join(path.read_text() for path in folder.glob("*.json*"))
    secrets = [*place.secrets.read_text().split(), (folder / "keys" / keys.SECRET).read_text().strip()]
    assert len(secrets) >= place.count + 1
    assert not [secret for secret in secrets if secret in seen], "a secret was shown"


@pytest.mark.extended
def test_all_are_gone_after_ctrl_c(place, folder):
    folder, _ = folder
    with job(folder, place) as process:
        os.killpg(process.pid, signal.SIGINT)
        code, told = ended(process, folder)
    assert code == 130, told
    assert_gone(place)


@pytest.mark.extended
def test_all_are_gone_after_a_killed_coordinator(place, folder):
    folder, _ = folder
    with job(folder, place) as process:
        kill(process.pid)
        process.wait()
        (folder / "gate").touch()  # where nobody else ends a worker, it ends its op first
        assert_gone(place)


def ended(process, folder):
    """How a job ended, and what it said."""
    code, _, _ = finish(process)
    return code, (folder / "told").read_text()


def assert_gone(place):
    """No process of a worker or of a far end is left, within a worker's own time-out."""
    wait_until(lambda: not place.workers(), "all workers are gone", within=place.time_out * MS)


def exposed_by(place):
    """All that `ps` shows of the processes on this machine: arguments, and environments."""
    text = ""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            with suppress(OSError):
                text += Path(f"/proc/{pid}/{name}").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    assert place.sign in text
    return text
