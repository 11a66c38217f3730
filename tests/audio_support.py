"""What the tests of written files share: samples, a file in one call, and other programs' reading of it."""

import shutil
import subprocess
import threading

import numpy as np
import pytest
import soundfile

from zaudio.audio.rendering import AudioFile, Origin
from zaudio.formats import sample_format
from zaudio.plan import Order
from zaudio.reference import Fingerprint
from zaudio.signal import Signal

PATIENCE = 60  # seconds until a test that waits for a thread fails


class Bell:
    """A `notify` that a test can wait for."""

    def __init__(self):
        self._condition = threading.Condition()

    def __call__(self):
        with self._condition:
            self._condition.notify_all()

    def wait_for(self, predicate):
        with self._condition:
            assert self._condition.wait_for(predicate, PATIENCE), "the thread did not get there"


def signal_of(frames, *, channels=2, format="s16le", samplerate=48_000):
    return Signal(frames, channels, samplerate, sample_format(format))


def samples_of(signal, seed=1):
    """Samples in which no two frames near each other are alike, as an array in the signal's format."""
    random, format = np.random.default_rng(seed), signal.format
    shape = signal.frames, signal.channels
    if format.dtype[1] == "f":
        return random.uniform(-1, 1, shape).astype(format.dtype)
    whole = random.integers(-(2 ** (format.bits - 1)), 2 ** (format.bits - 1), shape)
    return (whole * 2 ** (8 * format.itemsize - format.bits)).astype(format.dtype)


def payloads_of(samples, frames=1000):
    return [samples[start : start + frames].tobytes() for start in range(0, len(samples), frames)]


ORIGIN = Origin(Fingerprint("/takes/take.wav", 1000, 17, "ab" * 32), ("gain:db=-3", "dither"))


def write(path, signal, samples, *, order=Order.FORWARD, **settings):
    """A published file of those samples; returns its AudioFile, ended."""
    file = AudioFile(str(path), signal, order=order, **settings)
    try:
        bell = Bell()
        skip = file.open(signal, order, notify=bell)
        for payload in payloads_of(samples[skip // signal.frame_bytes :]):
            file.put(payload)
        file.seal()
        bell.wait_for(lambda: file.sealed or file.error)
        assert file.publish() == {"result": str(path)}
    finally:
        file.abort()
    return file


def upper(samples):
    """Integers left-justified in 32 bits; floats as they are, in this machine's byte order."""
    native = samples.astype(samples.dtype.newbyteorder("="))
    return native if native.dtype.kind == "f" else native.astype("=i4") * 2 ** (32 - 8 * native.itemsize)


def read_by_soundfile(path, kind):
    return soundfile.read(path, dtype={"f4": "float32", "f8": "float64"}.get(kind, "int32"), always_2d=True)[0]


def read_by_ffmpeg(path, kind):
    need("ffmpeg")
    code = {"f4": "f32le", "f8": "f64le"}.get(kind, "s32le")
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", code, "-c:a", f"pcm_{code}", "-"]
    return output_of(command, kind)


def read_by_sox(path, kind):
    """SoX computes in 32 bits, so that it gives floats of 24 bits only."""
    need("sox")
    form = (
        ["-e", "floating-point", "-b", {"f4": "32", "f8": "64"}[kind]]
        if kind[0] == "f"
        else ["-e", "signed", "-b", "32"]
    )
    return output_of(["sox", "-D", str(path), "-t", "raw", *form, "-L", "-"], kind)


def output_of(command, kind):
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.frombuffer(done.stdout, {"f4": "<f4", "f8": "<f8"}.get(kind, "<i4"))


def need(program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is missing")
