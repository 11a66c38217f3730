"""Classes of machines with real workers: one whose numpy uses no newer instructions is of the same class."""

import os
import subprocess
import sys

import numpy as np
import pytest
from farm_support import decrypted, environment, finish, write_raw
from net_support import PATIENCE

from zaudio import Coordinator, Raw, Security
from zaudio.events import Joined
from zaudio.formats import sample_format
from zaudio.ops.chain import Chain
from zaudio.signal import Signal

CHAIN = [
    "highpass:hz=80",
    "eq:hz=3000,db=3,q=1",
    "compress:threshold_db=-20,ratio=4",
    "gain:db=6",
    "limit:db=-1",
    "clip:low=-0.5,high=0.5",
]
FEATURES = """
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
print(*(name for name in __cpu_dispatch__ if __cpu_features__.get(name)))
"""


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, env=environment(**more), check=False)


@pytest.fixture(scope="module")
def plain():
    """The environment of a worker whose numpy uses the instructions of its baseline alone."""
    found = run(sys.executable, "-c", FEATURES)
    if found.returncode:
        pytest.skip(f"numpy does not say which CPU features it uses: {found.stderr.splitlines()[-1]}")
    if not found.stdout.strip():
        pytest.skip("numpy uses no CPU feature here that could be switched off")
    setting = {"NPY_DISABLE_CPU_FEATURES": found.stdout.strip()}
    left = run(sys.executable, "-W", "error", "-c", FEATURES, **setting)
    if left.returncode or left.stdout.strip():
        pytest.skip(f"numpy does not switch off {setting}: {left.stderr.strip() or left.stdout}")
    return setting


@pytest.mark.extended
def test_a_worker_without_newer_instructions_is_of_the_same_class_and_gives_the_same_bits(tmp_path, plain):
    random = np.random.default_rng(3)
    samples = (random.standard_normal((300_000, 2)) * 0.3).astype("<f4")
    recording = write_raw(tmp_path / "x.raw", samples)
    bind = f"ipc://{os.environ['TMPDIR']}/v"  # short, as the address of a socket has to be
    settings = {"raw": Raw(channels=2), "chunk": "65536f", "workers": 0, "bind": bind, "ops": CHAIN}
    joined = []

    def note(event):
        if isinstance(event, Joined):
            joined.append(event.worker)

    job = Coordinator(recording, tmp_path / "out", security=Security(audit=100), on_event=note, **settings)
    with job:
        workers = []
        for name, more in (("usual", {}), ("plain", plain)):
            command = [sys.executable, "-m", "zaudio", "worker", bind, "--name", name, "--once"]
            workers.append(subprocess.Popen(command, env=environment(**more), stderr=subprocess.PIPE, text=True))
        report = job.wait(timeout=PATIENCE)
    for worker in workers:
        assert finish(worker)[0] == 0
    assert sorted(joined) == ["plain", "usual"]
    assert (report.audited, dict(report.dropped), report.lost) == (report.chunks, {}, 0)
    signal = Signal(len(samples), 2, 44100, sample_format("f32le"))
    assert decrypted(tmp_path / "out") == Chain(CHAIN, signal)(samples)[::-1].tobytes()
