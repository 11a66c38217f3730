"""An opened result gives arrays of the recording, forward, after all of it was verified."""

import os

import numpy as np
import pytest
from net_support import sigint_beside
from result_support import describe, write_pattern, write_result

import zaudio
from zaudio import Raw, disk, opened, unsealing
from zaudio.audio import open_source
from zaudio.errors import OutputExistsError, StorageError, UsageError, VerificationError
from zaudio.formats import sample_format
from zaudio.result import WrappedKey, make_identity
from zaudio.result import reader as reader_module

FRAMES = 1009


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 96 bytes, so that a small recording has many."""
    monkeypatch.setattr(reader_module, "READ_BYTES", 96)


@pytest.fixture
def sealed(tmp_path):
    recording, _ = write_pattern(tmp_path / "sealed", FRAMES, channels=2, format="s16le")
    return str(tmp_path / "sealed"), np.frombuffer(recording, "<i2").reshape(-1, 2)


@pytest.mark.parametrize("frames", [0, 1, 24, FRAMES])
@pytest.mark.parametrize(("channels", "format"), [(1, "f32le"), (3, "s16be"), (2, "f64le"), (2, "s32le")])
def test_a_result_is_read_forward_from_any_frame_on(tmp_path, frames, channels, format):
    recording, description = write_pattern(tmp_path / "sealed", frames, channels=channels, format=format)
    dtype = np.dtype(sample_format(format).dtype)
    expected = np.frombuffer(recording, dtype).reshape(-1, channels)
    with zaudio.open(tmp_path / "sealed") as result:
        assert (result.frames, result.channels, result.samplerate) == (frames, channels, 44100)
        assert (result.format, result.ops, result.metadata) == (format, description.ops, None)
        for start in {0, frames // 3, frames}:
            for count in {0, min(1, frames - start), (frames - start) // 2, frames - start}:
                array = result.read(start, count)
                assert (array.shape, array.dtype.isnative) == ((count, channels), True)
                assert array.astype(dtype).tobytes() == expected[start : start + count].tobytes()
        assert result.read(frames // 3).astype(dtype).tobytes() == expected[frames // 3 :].tobytes()


@pytest.mark.parametrize("frames", [1, 5, 24, 1008, 1009, 65536, np.int64(7)])
def test_blocks_are_the_recording_in_order(sealed, frames):
    path, expected = sealed
    with zaudio.open(path) as result:
        blocks = list(result.blocks(frames))
    assert {len(block) for block in blocks[:-1]} <= {frames}
    assert 1 <= len(blocks[-1]) <= frames
    assert np.array_equal(np.concatenate(blocks), expected)


def test_what_is_read_is_the_readers_own(sealed):
    path, expected = sealed
    with zaudio.open(path) as result:
        result.read(0, 10)[:] = 0
        assert np.array_equal(result.read(0, 10), expected[:10])


@pytest.mark.parametrize(("start", "frames"), [(-1, 1), (0, -1), (0, FRAMES + 1), (FRAMES + 1, 0), (FRAMES, 1)])
def test_frames_that_are_not_there_are_refused(sealed, start, frames):
    with zaudio.open(sealed[0]) as result, pytest.raises(IndexError, match=f"from 0 to {FRAMES}"):
        result.read(start, frames)


@pytest.mark.parametrize("frames", [0, -1, 1.5, "2"])
def test_a_block_has_a_frame_at_least(sealed, frames):
    with zaudio.open(sealed[0]) as result, pytest.raises(UsageError, match="whole number from 1"):
        result.blocks(frames)


def test_a_closed_result_gives_nothing(sealed, tmp_path):
    result = zaudio.open(sealed[0])
    blocks = result.blocks(10)
    next(blocks)
    result.close()
    result.close()
    assert (result.closed, result.frames) == (True, FRAMES)
    for read in (result.read, lambda: next(blocks), lambda: result.save(tmp_path / "x.raw")):
        with pytest.raises(ValueError, match="is closed"):
            read()
    assert not (tmp_path / "x.raw").exists()
    assert "closed" in repr(result)


def test_it_is_verified_first_and_says_how_far(sealed):
    path, _ = sealed
    told = []
    zaudio.open(path, on_progress=lambda done, total: told.append((done, total))).close()
    size = os.path.getsize(os.path.join(path, "result.raw"))
    assert told[-1] == (size, size)
    assert len(told) == -(-size // 96)


def test_a_damaged_result_is_not_opened(sealed):
    path, _ = sealed
    with open(os.path.join(path, "result.raw"), "r+b") as file:
        file.seek(1000)
        file.write(b"?")
    with pytest.raises(VerificationError, match="has changed"):
        zaudio.open(path)


def test_a_change_after_that_is_found(sealed, tmp_path):
    path, _ = sealed
    with zaudio.open(path) as result:
        with open(os.path.join(path, "result.raw"), "r+b") as file:
            file.seek(1000)
            file.write(b"?")
        with pytest.raises(VerificationError, match="changed while it was read"):
            result.read()
        with pytest.raises(VerificationError):
            result.save(tmp_path / "x.raw")
    assert [entry.name for entry in tmp_path.iterdir()] == ["sealed"]


def test_a_wrapped_key_needs_its_identity(tmp_path):
    recording, description = write_pattern(tmp_path / "open", 10)
    recipient = make_identity(str(tmp_path / "me.identity"))
    write_result(tmp_path / "sealed", recording, description, key_store=WrappedKey(recipient, None))
    with pytest.raises(UsageError):
        zaudio.open(tmp_path / "sealed")
    with zaudio.open(tmp_path / "sealed", identity=tmp_path / "me.identity") as result:
        assert result.read().tobytes() == recording


# To a file


def test_a_saved_file_is_forward_private_and_whole(sealed, tmp_path):
    path, expected = sealed
    with zaudio.open(path) as result:
        assert result.save(tmp_path / "x.raw") == str(tmp_path / "x.raw")
    assert (tmp_path / "x.raw").read_bytes() == expected.tobytes()
    assert (tmp_path / "x.raw").stat().st_mode & 0o777 == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["sealed", "x.raw"]


def test_an_older_file_is_replaced_when_that_is_asked_for_alone(sealed, tmp_path):
    path, expected = sealed
    (tmp_path / "x.raw").write_bytes(b"older")
    with zaudio.open(path) as result:
        with pytest.raises(OutputExistsError):
            result.save(tmp_path / "x.raw")
        assert (tmp_path / "x.raw").read_bytes() == b"older"
        result.save(tmp_path / "x.raw", overwrite=True)
    assert (tmp_path / "x.raw").read_bytes() == expected.tobytes()


def test_a_name_that_cannot_be_used_is_refused_and_nothing_is_written(sealed, tmp_path):
    path, _ = sealed
    before = {entry.name: entry.read_bytes() for entry in (tmp_path / "sealed").iterdir()}
    write_pattern(tmp_path / "floats", 10)
    with zaudio.open(path) as result, zaudio.open(tmp_path / "floats") as floats:
        for name in ("x.mp3", "x"):
            with pytest.raises(UsageError, match="suffix"):
                result.save(tmp_path / name)
        with pytest.raises(UsageError, match="FLAC file holds 16 or 24 bits"):
            floats.save(tmp_path / "x.flac")
        with pytest.raises(UsageError, match="belongs to the result"):
            result.save(tmp_path / "sealed" / "result.raw", overwrite=True)
        with pytest.raises(UsageError, match="nowhere"):
            result.save(tmp_path / "nowhere" / "x.raw")
    assert {entry.name: entry.read_bytes() for entry in (tmp_path / "sealed").iterdir()} == before
    assert {entry.name for entry in tmp_path.iterdir()} == {"sealed", "floats"}


@pytest.mark.parametrize("suffix", ["wav", "flac", "raw"])
@pytest.mark.parametrize("frames", [0, 1, FRAMES, 65_537])
@pytest.mark.parametrize("format", ["s16le", "s24be", "f32le", "s16be"])
def test_a_saved_file_of_any_kind_plays_the_recording(tmp_path, monkeypatch, suffix, frames, format):
    if suffix == "flac" and (format == "f32le" or not frames):
        pytest.skip("a FLAC has frames, and integers alone")
    monkeypatch.setattr(reader_module, "READ_BYTES", 9600)
    monkeypatch.setattr(opened, "SAVE_BYTES", 1000)  # many pieces
    form = sample_format(format)
    samples = np.random.default_rng(1).integers(-(2**15), 2**15, (frames, 2))
    samples = (samples / 2**15 if form.dtype[1] == "f" else samples << (8 * form.itemsize - 16)).astype(form.dtype)
    description = describe(frames, channels=2, format=format, samplerate=44100)
    write_result(tmp_path / "sealed", samples.tobytes(), description)
    with zaudio.open(tmp_path / "sealed") as result:
        assert np.array_equal(result.read(), samples)
        path = result.save(tmp_path / f"x.{suffix}")
    raw = Raw(channels=2, format=format) if suffix == "raw" else Raw()
    with open_source(path, raw) as source:
        assert (source.frames, source.channels, source.samplerate) == (frames, 2, 44100)
        found = np.frombuffer(source.read(0, frames), source.format.dtype).reshape(-1, 2)
    assert np.array_equal(found, samples)


def test_a_disk_that_fails_midway_ends_it_without_a_file(sealed, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(opened, "SAVE_BYTES", 100)
    path, _ = sealed
    with zaudio.open(path) as result:
        monkeypatch.setattr(disk, "write_all", fail)
        monkeypatch.setattr(os, "pwrite", fail)
        for suffix in ("raw", "wav", "flac"):
            with pytest.raises(StorageError, match="No space left"):
                result.save(tmp_path / f"x.{suffix}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["sealed"]


def test_a_signal_that_the_system_gives_to_another_thread_ends_the_wait_for_a_disk():
    class Stuck:
        error, finished = None, 0

        def open(self, *_, **settings):
            pass

        def put(self, piece):
            pass

    with sigint_beside(unsealing.write_file), pytest.raises(KeyboardInterrupt):
        unsealing.write_file(Stuck(), None, [b""] * 9)
