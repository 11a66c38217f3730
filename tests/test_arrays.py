"""Arrays as recordings and as results, and a row of ops over an array in one process."""

import fcntl
import os
import sys

import numpy as np
import pytest

import zaudio
from zaudio import Chain, Signal, sample_format
from zaudio.audio.arrays import ArraySource, as_frames
from zaudio.errors import ChunkError, InputError, UsageError
from zaudio.into import Into
from zaudio.net.recording import open_recording

FORMATS = {"float32": "f32", "float64": "f64", "int16": "s16", "int32": "s32"}
NATIVE = "le" if sys.byteorder == "little" else "be"
has_memory = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no anonymous memory here")


def numbers(frames, channels=1, dtype="float32"):
    return (np.arange(frames * channels) % 251 - 125).reshape(frames, channels).astype(dtype)


def spectrum_of(array):
    """An op that fails."""
    raise RuntimeError(f"{array.shape} is wrong")


def given(array):
    """An op that returns its input."""
    return array


def wasteful(array):
    """An op that writes to its input, which is the user's."""
    array[:] = 0
    return array


# As a recording


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shared", [False, True])
def test_an_array_is_read_as_its_bytes(dtype, shared):
    array = numbers(1009, 3, dtype)
    with ArraySource(array, 48000, shared=shared) as source:
        assert (source.frames, source.channels, source.samplerate) == (1009, 3, 48000)
        assert source.format is sample_format(FORMATS[dtype] + NATIVE)
        for start, stop in ((0, 0), (0, 1), (3, 500), (1008, 1009), (0, 1009)):
            assert source.read(start, stop) == array[start:stop].tobytes()
        with pytest.raises(IndexError):
            source.read(0, 1010)
        source.check()
        assert not source.resumable
        with pytest.raises(InputError, match="not kept"):
            source.fingerprint()
    source.close()
    with pytest.raises(ValueError, match="closed"):
        source.read(0, 1)


@has_memory
@pytest.mark.parametrize("view", [np.s_[::2], np.s_[::-1], np.s_[:, ::-1], np.s_[:0], np.s_[:1]])
def test_a_worker_reads_a_shared_array_by_its_reference_whatever_its_strides(view):
    array = numbers(300_007, 2)[view]
    with ArraySource(array, 48000, shared=True) as source:
        recording = open_recording(source.reference, ["/"], local=True)
        assert bytes(recording.read(0, len(array), 8)) == array.tobytes()
        recording.close()


@has_memory
def test_a_number_that_leads_elsewhere_by_then_is_no_recording(tmp_path):
    with ArraySource(numbers(100), 48000, shared=True) as one:
        reference = one.reference
    (tmp_path / "other").write_bytes(bytes(400))
    number = int(reference.path.rpartition("/")[2])
    fd = os.open(tmp_path / "other", os.O_RDONLY)
    try:
        if fd != number:
            os.dup2(fd, number)
        assert open_recording(reference, ["/"], local=True) is None
    finally:
        os.close(fd)
        if fd != number:
            os.close(number)


@has_memory
def test_a_shared_array_is_sealed():
    with ArraySource(numbers(100), 48000, shared=True) as source:
        with pytest.raises(OSError):
            os.close(os.open(source.reference.path, os.O_RDWR | os.O_TRUNC))
        fd = os.open(source.reference.path, os.O_RDWR)
        try:
            with pytest.raises(PermissionError):
                os.pwrite(fd, b"1234", 0)
            assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SEAL
        finally:
            os.close(fd)


@has_memory
def test_without_memory_for_a_copy_the_array_is_read_where_it_is(monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    array = numbers(100)
    for function in ("memfd_create", "write"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, refuse)
            with ArraySource(array, 48000, shared=True) as source:
                assert (source.reference, source.read(1, 3)) == (None, array[1:3].tobytes())


def test_an_array_stays_as_it_is_where_it_can():
    array = numbers(10, 2)
    assert as_frames(array) is array or np.shares_memory(as_frames(array), array)
    assert as_frames(array[:, 0]).shape == (10, 1)
    swapped = array.astype(array.dtype.newbyteorder())
    assert (as_frames(swapped) == array).all()
    assert as_frames(swapped).dtype == array.dtype


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        ([1.0, 2.0], "expected a numpy array, got list"),
        (np.zeros(3, "u1"), "float32, float64, int16 or int32, got uint8; convert it"),
        (np.zeros(3, "f2"), "got float16"),
        (np.zeros(3, "c8"), "got complex64"),
        (np.zeros(3, object), "got object"),
        (np.ma.zeros(3, "f4"), "without a mask"),
        (np.zeros((), "f4"), r"got one of shape \(\)"),
        (np.zeros((3, 2, 1), "f4"), r"\(frames, channels\) or \(frames,\), got one of shape \(3, 2, 1\)"),
        (np.zeros((3, 0), "f4"), "expected 1 to 1024 channels"),
        (np.zeros((2, 48000), "f4"), r"shape \(2, 48000\); it is \(frames, channels\)"),
    ],
)
def test_what_is_no_array_of_samples_is_refused(x, sentence):
    with pytest.raises(UsageError, match=sentence):
        zaudio.process(x, 48000, "invert", workers=0)


# As a result


@pytest.mark.parametrize("cut", range(6))
def test_payloads_become_one_array_wherever_they_were_cut(cut):
    array = numbers(5, 2, ">i2")
    into = Into(Signal(5, 2, 10, sample_format("s16be")))
    for piece in (array[:cut], b"", array[cut:]):
        payload = bytearray(piece.tobytes() if len(piece) else b"")
        into.put(payload)
        payload[:] = bytes(len(payload))  # it may be used again at once
    into.seal()
    assert (into.array.tolist(), into.finished, into.array.dtype.isnative) == (array.tolist(), 3, True)


@pytest.mark.parametrize("size", [0, 19, 21])
def test_samples_that_are_missing_or_too_many_are_refused(size):
    into = Into(Signal(5, 2, 10, sample_format("s16le")))

    def finish():
        into.put(bytes(size))
        into.seal()

    with pytest.raises(UsageError, match=f"expected 20 bytes of samples, got {size}"):
        finish()
    assert not into.sealed


# In one process


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("frames", [0, 1, 65537])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_one_process_gives_the_bits_of_a_chain(dtype, frames, channels):
    x = numbers(frames, channels, dtype)
    kept = x.copy()
    ops = ["gain:db=-3", "highpass:hz=80"]
    y = zaudio.process(x, 48000, ops, workers=0)
    expected = Chain(ops, Signal(frames, channels, 48000, sample_format(FORMATS[dtype] + NATIVE)))(kept)
    assert (y.dtype, y.shape, y.tobytes()) == (x.dtype, x.shape, expected.tobytes())
    assert (x == kept).all()


def test_a_result_has_the_dimensions_of_the_array_unless_it_has_more_channels():
    x = numbers(100)
    assert zaudio.process(x, 48000, "invert", workers=0).shape == (100, 1)
    assert zaudio.process(x[:, 0], 48000, "invert", workers=0).shape == (100,)
    assert zaudio.process(x[:, 0], 48000, "resample:hz=24000", workers=0).shape == (50,)
    assert zaudio.process(x[:, 0], 48000, "remix:to=1/1", workers=0).shape == (100, 2)


@pytest.mark.parametrize("op", [given, wasteful])
def test_the_users_array_is_never_written_to_and_the_result_is_a_new_one(op):
    x = numbers(100, 2)
    kept = x.copy()
    y = zaudio.process(x, 48000, op)
    assert (y == (x if op is given else 0)).all()
    y[:] = 7
    assert (x == kept).all()


def test_an_op_that_fails_in_this_process_fails_as_on_a_farm():
    with pytest.raises(ChunkError, match=r"\(10, 2\) is wrong") as caught:
        zaudio.process(numbers(10, 2), 48000, spectrum_of)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_farm_is_started_when_workers_are_asked_for_and_not_otherwise(monkeypatch):
    def run(_):
        raise AssertionError("a farm was started")

    monkeypatch.setattr(zaudio.Processing, "run", run)
    x = numbers(1 << 18)
    for settings in ({}, {"workers": 0}, {"workers": None, "chunk": "10f"}):
        assert (zaudio.process(x, 48000, "invert", **settings) == -x).all()
    for settings in ({"workers": 1}, {"bind": "tcp://127.0.0.1:0"}, {"workers": 0, "bind": "tcp://127.0.0.1:0"}):
        with pytest.raises(AssertionError):
            zaudio.process(x, 48000, "invert", **settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"samplerate": 0}, "samplerate is a whole number from 1"),
        ({"samplerate": 48000.0}, "samplerate is a whole number"),
        ({"ops": "nonsense"}, "nonsense"),
        ({"ops": "lowpass:hz=30000"}, "lowpass"),
        ({"workers": -1}, "0 or more"),
        ({"chunk": "1 parsec", "workers": 1}, "chunk"),
        ({"limits": zaudio.Limits(memory=100), "workers": 1}, "memory"),
        ({"security": zaudio.Security(audit=5)}, "audits are for a farm"),
        ({"on_event": 3}, "on_event"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(settings, sentence):
    arguments = {"x": numbers(1000), "samplerate": 48000, "ops": "invert", **settings}
    with pytest.raises(UsageError, match=sentence):
        zaudio.process(**arguments)


def test_an_async_function_for_events_is_refused_with_what_to_write():
    async def listen(_event):
        pass

    with pytest.raises(UsageError, match="async for event in"):
        zaudio.Processing(numbers(10), 48000, "invert", on_event=listen)


def test_the_file_of_a_shared_array_is_closed_with_it():
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with ArraySource(numbers(10), 48000, shared=True):
        pass
    assert before in (0, len(os.listdir("/proc/self/fd")))
