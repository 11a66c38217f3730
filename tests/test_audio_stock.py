"""Recordings that others have on their disks: SciPy's odd WAVs, and the sounds of Debian. They are read as libsndfile
reads them, and written as they are, or refused with what is wrong.
"""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_support import signal_of, write

from zaudio.audio import open_source
from zaudio.errors import InputError
from zaudio.job.inputs import open_input

scipy = pytest.importorskip("scipy")

ODD = {path.name: path for path in (Path(scipy.__file__).parent / "io" / "tests" / "data").glob("*.wav")}
REFUSED = {
    "test-44100Hz-le-1ch-4bytes-early-eof-no-data.wav": "has no data chunk",
    "test-44100Hz-le-1ch-4bytes-early-eof.wav": "its header gives 17640 bytes of samples, and the file has 944",
    "test-44100Hz-le-1ch-4bytes-incomplete-chunk.wav": "has no data chunk",
    "test-8000Hz-le-3ch-5S-24bit-inconsistent.wav": "is damaged: its fmt chunk gives 3 x 24 bits in frames of 4 bytes",
    "test-8000Hz-le-3ch-5S-36bit.wav": "holds integers of 36 bits, and 32 are the most that are read",
    "test-8000Hz-le-3ch-5S-45bit.wav": "holds integers of 45 bits, and 32 are the most that are read",
    "test-8000Hz-le-3ch-5S-53bit.wav": "holds integers of 53 bits, and 32 are the most that are read",
    "test-8000Hz-le-3ch-5S-64bit.wav": "holds integers of 64 bits, and 32 are the most that are read",
}
SOUNDS = {  # Debian's packages: where their recordings lie
    "alsa-utils": "/usr/share/sounds/alsa",
    "sound-theme-freedesktop": "/usr/share/sounds/freedesktop",
    "pocketsphinx-testdata": "/usr/share/pocketsphinx/test/data",
}


def assert_comes_through(path, folder):
    """A recording is read as libsndfile reads it, and so is the WAV that is written of it."""
    with open_input(path) as source:
        samples = np.frombuffer(source.read(0, source.frames), source.format.dtype).reshape(-1, source.channels)
        signal = signal_of(
            source.frames, channels=source.channels, format=source.format.name, samplerate=source.samplerate
        )
    expected, samplerate = soundfile.read(path, always_2d=True)
    assert signal.samplerate == samplerate
    write(folder / "out.wav", signal, samples)
    found, samplerate = soundfile.read(folder / "out.wav", always_2d=True)
    assert (found.shape, samplerate) == (expected.shape, signal.samplerate)
    assert np.array_equal(found, expected, equal_nan=True)
    (folder / "out.wav").unlink()


def test_the_odd_wavs_are_there():
    assert set(REFUSED) < set(ODD)


@pytest.mark.parametrize("name", sorted(set(ODD) - set(REFUSED)))
def test_an_odd_wav_of_scipy_comes_through(name, tmp_path):
    assert_comes_through(ODD[name], tmp_path)


@pytest.mark.parametrize("name", REFUSED)
def test_an_odd_wav_that_holds_no_such_samples_is_refused_with_the_reason(name):
    with pytest.raises(InputError) as refused:
        open_source(ODD[name])
    assert REFUSED[name] in str(refused.value)


@pytest.mark.parametrize("package", SOUNDS)
def test_the_sounds_of_debian_come_through(package, tmp_path):
    paths = sorted(path for path in Path(SOUNDS[package]).rglob("*") if path.suffix in (".wav", ".oga"))
    if not paths:
        pytest.skip(f"{package} is not installed here")
    for path in paths:
        assert_comes_through(path, tmp_path)
