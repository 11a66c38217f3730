"""Whole jobs with local workers: what comes out is the one-process reference, for all shapes of input and chunk."""

import numpy as np
import pytest
import soundfile
from extended import extended, product
from farm_support import LANES, NAMES, decrypted, inverted, listing, noise, on, openssl_decrypted, write_raw

from zaudio import Coordinator, Limits, Raw, verify

FORMATS = ["f64le", *map(extended, ("s16be", "f32le", "s16le", "s32be", "f64be", "s32le", "f32be"))]


def assert_is_reference(folder, expected):
    """Both decryptions give those samples, nothing else lies in the folder, the tag agrees."""
    assert listing(folder) == NAMES
    assert decrypted(folder) == expected.tobytes()
    assert decrypted(folder, forward=True) == expected[::-1].tobytes()
    assert openssl_decrypted(folder) == expected.tobytes()
    assert verify(str(folder)).frames == len(expected)


CHUNK = 1024  # frames


LENGTHS = [0, 1, 3, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK + 7]


@pytest.mark.parametrize(
    ("lane", "frames"),
    product(LANES, LENGTHS, keep=[("shared memory", 0)]),
    indirect=["lane"],
)
def test_recording_of_any_length_comes_out_inverted_and_reversed(tmp_path, frames, lane):
    samples = noise(frames)
    path = write_raw(tmp_path / "x.raw", samples)
    report = Coordinator(path, tmp_path / "out", workers=2, chunk=f"{CHUNK}f", **lane).run()
    assert_is_reference(tmp_path / "out", inverted(samples))
    assert (report.frames, report.chunks) == (frames, -(-frames // CHUNK))
    assert sum(report.shares.values()) == report.chunks


@pytest.mark.parametrize("format", FORMATS)
def test_every_sample_format_is_kept(tmp_path, format):
    samples = noise(3001, channels=2, format=format)
    path = write_raw(tmp_path / "x.raw", samples)
    report = Coordinator(path, tmp_path / "out", workers=1, chunk="1000f", raw=Raw(channels=2, format=format)).run()
    assert_is_reference(tmp_path / "out", inverted(samples))
    assert (report.format, report.channels, report.bytes) == (format, 2, samples.nbytes)


@pytest.mark.parametrize(
    ("suffix", "channels", "subtype", "dtype"),
    [extended("wav", 3, "PCM_16", "int16"), extended("flac", 2, "PCM_16", "int16"), ("flac", 1, "PCM_24", "int32"),
     extended("aiff", 2, "PCM_16", "int16"), extended("wav", 6, "FLOAT", "float32")],
)  # fmt: skip
def test_container_comes_out_by_frames_with_its_channels_in_place(tmp_path, suffix, channels, subtype, dtype):
    random = np.random.default_rng(5)
    path = tmp_path / f"x.{suffix}"
    soundfile.write(path, random.uniform(-0.9, 0.9, (5003, channels)), 48000, subtype=subtype)
    samples, _ = soundfile.read(path, dtype=dtype, always_2d=True)
    report = Coordinator(path, tmp_path / "out", workers=2, chunk="700f").run()
    reference = inverted(samples)
    assert decrypted(tmp_path / "out") == reference.astype(_stored(report.format)).tobytes()
    assert openssl_decrypted(tmp_path / "out") == reference.astype(_stored(report.format)).tobytes()
    assert (report.samplerate, report.channels, report.frames) == (48000, channels, 5003)


def _stored(name):
    from zaudio.formats import sample_format

    return sample_format(name).dtype


WAYS = [(3, "101f"), (1, "4KiB"), (3, "1MiB"), (1, "101f"), (2, "4KiB")]


@pytest.mark.parametrize(
    ("lane", "workers", "chunk"),
    [
        (lane, *way) if (lane, *way) == ("shared memory", 3, "101f") else extended(lane, *way)
        for lane in LANES
        for way in WAYS
    ],
    indirect=["lane"],
)
def test_number_of_workers_and_size_of_chunks_change_no_bit(tmp_path, workers, chunk, lane):
    samples = noise(20_011, channels=2)
    path = write_raw(tmp_path / "x.raw", samples)
    ops = ["gain:db=-3", "invert"]
    Coordinator(path, tmp_path / "out", ops=ops, workers=workers, chunk=chunk, raw=Raw(channels=2), **lane).run()
    louder = (samples.astype("f8") * 10 ** (-3 / 20)).astype("f4")
    assert decrypted(tmp_path / "out") == np.ascontiguousarray(-louder[::-1]).tobytes()


def test_chain_is_applied_in_its_order(tmp_path):
    samples = noise(5000)
    path = write_raw(tmp_path / "x.raw", samples)
    ops = ["clip:low=-0.25,high=0.5", "invert", "clip:low=-0.125,high=1", "farm_ops:negate"]
    Coordinator(path, tmp_path / "out", ops=ops, workers=2, chunk="999f").run()
    once = -np.clip(samples, np.float32(-0.25), np.float32(0.5))
    assert decrypted(tmp_path / "out") == (-np.clip(once, np.float32(-0.125), np.float32(1)))[::-1].tobytes()


@on("shared memory")
def test_tiny_chunks_many_of_them(tmp_path, lane):
    samples = noise(3001)
    path = write_raw(tmp_path / "x.raw", samples)
    report = Coordinator(path, tmp_path / "out", workers=2, chunk="1f", **lane).run()
    assert report.chunks == 3001
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()


@on("sockets")
def test_chunk_larger_than_the_memory_still_goes_through_one_by_one(tmp_path, lane):
    samples = noise(100_003)
    path = write_raw(tmp_path / "x.raw", samples)
    Coordinator(path, tmp_path / "out", workers=2, chunk="64KiB", limits=Limits(memory="64KiB"), **lane).run()
    assert decrypted(tmp_path / "out") == inverted(samples).tobytes()
