import errno
import hashlib
import importlib
import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from zaudio.audio import generate
from zaudio.errors import StorageError, UsageError

# The function has the module's name in the package.
module = importlib.import_module("zaudio.audio.generate")


def test_the_bytes_of_a_seed_never_change(tmp_path):
    path = tmp_path / "test.raw"
    assert generate(path, seconds=1, samplerate=44100, channels=3, seed=7) == 44100
    assert path.stat().st_size == 44100 * 3 * 4
    assert hashlib.sha256(path.read_bytes()).hexdigest() == (
        "c72587a4362b7d3d7a7e213e8f7969f3926f2cef30954c945537de8f7facf688"
    )


def test_samples_are_finite_uniform_noise_from_minus_one_to_below_one(tmp_path):
    path = tmp_path / "test.raw"
    generate(path, seconds=10)
    samples = np.fromfile(path, "<f4")
    assert len(samples) == 441000
    assert samples.min() >= -1
    assert samples.max() < 1
    assert samples.min() < -0.9999
    assert samples.max() > 0.9999
    assert abs(samples.mean()) < 0.01
    assert abs(samples.std() - 3**-0.5) < 0.01
    assert abs(np.corrcoef(samples[1:], samples[:-1])[0, 1]) < 0.01


def test_other_seeds_give_other_bytes(tmp_path):
    contents = set()
    for seed in (0, 1, 2**70):
        generate(tmp_path / "test.raw", seconds=0.1, seed=seed)
        contents.add((tmp_path / "test.raw").read_bytes())
    assert len(contents) == 3


@pytest.mark.parametrize("words", [1, 2, 7, 500, 501, 10**6])
def test_the_size_of_a_block_does_not_show_in_the_bytes(tmp_path, monkeypatch, words):
    generate(tmp_path / "a.raw", seconds=1001, samplerate=1)
    monkeypatch.setattr(module, "_BLOCK_WORDS", words)
    generate(tmp_path / "b.raw", seconds=1001, samplerate=1)
    assert (tmp_path / "a.raw").read_bytes() == (tmp_path / "b.raw").read_bytes()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_shorter_recording_is_the_start_of_a_longer(tmp_path, channels):
    assert generate(tmp_path / "long.raw", seconds=5000, samplerate=1, channels=channels) == 5000
    for frames in (0, 1, 2, 4999):
        assert generate(tmp_path / "short.raw", seconds=frames, samplerate=1, channels=channels) == frames
        size = frames * channels * 4
        assert (tmp_path / "short.raw").read_bytes() == (tmp_path / "long.raw").read_bytes()[:size]
        assert (tmp_path / "short.raw").stat().st_size == size


def test_seconds_are_rounded_to_frames(tmp_path):
    assert generate(tmp_path / "test.raw", seconds=0.1, samplerate=44104) == 4410


def test_missing_folders_are_made_and_an_older_file_is_replaced(tmp_path):
    path = tmp_path / "a" / "b" / "test.raw"
    generate(str(path), seconds=2, samplerate=1)
    generate(str(path), seconds=1, samplerate=1)
    assert path.stat().st_size == 4
    assert os.listdir(path.parent) == ["test.raw"]


def test_the_file_has_the_permissions_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        generate(tmp_path / "test.raw", seconds=0)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "test.raw").stat().st_mode) == 0o640


def test_a_relative_path_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generate("test.raw", seconds=1, samplerate=1)
    assert os.listdir(tmp_path) == ["test.raw"]


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch, call, error):
    path = tmp_path / "test.raw"
    path.write_bytes(b"older")

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises((StorageError, KeyboardInterrupt)) as caught:
            generate(path, seconds=1)
    if isinstance(error, OSError):
        assert str(caught.value) == f"{path}: no space left on device"
    assert os.listdir(tmp_path) == ["test.raw"]
    assert path.read_bytes() == b"older"


def test_a_path_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "test.raw", tmp_path / ("x" * 300)):
        with pytest.raises(StorageError) as caught:
            generate(path, seconds=1, samplerate=1)
        assert caught.value.path == str(path)
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("argument", "value"),
    [("seconds", value) for value in (-1, -0.5, float("nan"), float("inf"), True, "1", None, 1e300, 10**400)]
    + [("samplerate", value) for value in (0, -1, 1.0, True, "1", 2**31)]
    + [("channels", value) for value in (0, -1, 2.0, True, "1", 1025)]
    + [("seed", value) for value in (-1, 1.0, True, "1", None)],
)
def test_an_argument_out_of_range_is_named(tmp_path, argument, value):
    with pytest.raises(UsageError) as caught:
        generate(tmp_path / "test.raw", **{argument: value})
    assert repr(value) in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", ["", "a\0b", b"test.raw"])
def test_a_name_that_is_none_is_a_usage_error(path):
    with pytest.raises(UsageError, match="is a path, not"):
        generate(path)


def test_another_processor_gives_the_same_bytes(tmp_path):
    generate(tmp_path / "a.raw", seconds=2)
    code = "import sys, zaudio.audio; zaudio.audio.generate(sys.argv[1], seconds=2)"
    features = "AVX512F AVX512CD AVX512_SKX AVX2 FMA3"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, tmp_path / "b.raw"],
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": features},
        check=True,
    )
    assert (tmp_path / "a.raw").read_bytes() == (tmp_path / "b.raw").read_bytes()
