"""What the tests of whole farms share: recordings, the one-process reference, decryption, and the command line."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from extended import extended
from net_support import MS, PATIENCE

from zaudio import Network, Timing, decrypt
from zaudio.formats import sample_format
from zaudio.result.journal import decode_journal
from zaudio.result.primitives import JournalSeal

HERE = str(Path(__file__).parent)
NAMES = ["encryption_iv.bin", "encryption_key.bin", "result.json", "result.raw"]
LANES = {"shared memory": {}, "sockets": {"network": Network(sockets_only=True)}}  # ways to local workers
PROMPT = Timing(heartbeat=200 * MS, liveness=5, worker_timeout=PATIENCE)  # faults are found within about a second
PATIENT = replace(PROMPT, liveness=1000)  # silence is no fault, however busy the machine: losses can be counted


def on(kept):
    """Return a mark: `make test` runs the test on that one of the lanes alone."""
    lanes = [lane if lane == kept else extended(lane) for lane in LANES]
    return pytest.mark.parametrize("lane", lanes, indirect=True)


def noise(frames, *, channels=1, format="f32le", seed=1):
    """Random samples of every bit pattern but NaN, whose sign alone `np.negative` and `invert` agree on anyway."""
    dtype = np.dtype(sample_format(format).dtype)
    random = np.random.default_rng(seed)
    if dtype.kind == "i":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        return random.integers(low, high, (frames, channels), endpoint=True).astype(dtype)
    return random.standard_normal((frames, channels)).astype(dtype)


def numbered(frames):
    """A recording whose samples are their positions, so that an op knows where it is."""
    return np.arange(frames, dtype="<f4").reshape(-1, 1)


def write_raw(path, samples):
    """Write samples as raw; returns the path as text."""
    samples.tofile(path)
    return str(path)


def inverted(samples):
    """The reference: inverted and reversed in one go."""
    if samples.dtype.kind == "i":
        low = np.iinfo(samples.dtype).min
        samples = np.where(samples == low, low + 1, samples).astype(samples.dtype)
    return np.ascontiguousarray(-samples[::-1]).astype(samples.dtype)


def decrypted(folder, *, forward=False):
    """What `zaudio.decrypt` writes."""
    target = Path(folder).parent / f"{Path(folder).name}.decrypted"
    decrypt(str(folder), str(target), forward=forward, overwrite=True)
    return target.read_bytes()


def openssl_decrypted(folder):
    """What the stock openssl command writes."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl command here")
    folder = Path(folder)
    key, iv = ((folder / f"encryption_{name}.bin").read_bytes().hex() for name in ("key", "iv"))
    command = ["openssl", "enc", "-d", "-aes-256-cbc", "-K", key, "-iv", iv, "-in", str(folder / "result.raw")]
    return subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE).stdout


def listing(folder):
    """What lies in a folder, by name; nothing in one that is missing."""
    return sorted(entry.name for entry in Path(folder).iterdir()) if Path(folder).exists() else []


def saved(folder):
    """The bytes that the last checkpoint of an unfinished job vouches for; -1 as long as it has no whole journal.

    What lies in `result.raw.part` is more: without a checkpoint, a kill loses it.
    """
    folder = Path(folder)
    try:
        key, iv = ((folder / f"encryption_{name}.bin.part").read_bytes() for name in ("key", "iv"))
        found = decode_journal((folder / "result.journal").read_bytes(), JournalSeal(key, iv))
    except (FileNotFoundError, ValueError):
        return -1
    if found is None:
        return -1
    return found.checkpoints[-1].length if found.checkpoints else 0


def environment(**more):
    """The environment of a process that finds the ops of these tests."""
    path = os.pathsep.join(filter(None, (HERE, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **more}


def launch(*arguments, cwd=None):
    """Start ``python -m zaudio``; its output is text."""
    command = [sys.executable, "-m", "zaudio", *map(str, arguments)]
    return popen(command, cwd=cwd)


def launch_script(text, *arguments, cwd=None):
    """Start a Python program given as text."""
    return popen([sys.executable, "-c", text, *map(str, arguments)], cwd=cwd)


def popen(command, *, cwd=None):
    """Start a process with pipes for its output and the environment of these tests."""
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=cwd,
        start_new_session=True,  # a group of its own, for Ctrl-C as a terminal sends it
    )


def finish(process, *, within=PATIENCE):
    """Wait for a process of ours; returns its exit code and what it wrote to both streams."""
    try:
        out, err = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"{process.args} still ran after {within:.1f} s\n{out}\n{err}") from None
    return process.returncode, out, err
