import os

import numpy as np
import pytest

from zaudio.audio import open_source
from zaudio.audio.files import InputFile
from zaudio.audio.raw import RawSource
from zaudio.errors import InputChangedError, InputError
from zaudio.formats import FORMATS
from zaudio.settings import Raw

S16 = FORMATS["s16le"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "take"
    path.write_bytes(bytes(range(101)))
    opened = InputFile(str(path))
    yield opened
    opened.close()


@pytest.mark.parametrize(("offset", "length", "frames"), [(1, None, 25), (3, 8, 2), (101, None, 0), (5, 0, 0)])
def test_samples_lie_between_offset_and_length(file, offset, length, frames):
    source = RawSource(file, channels=2, samplerate=1, format=S16, offset=offset, length=length)
    assert source.frames == frames
    assert source.read(0, frames) == bytes(range(101))[offset : offset + frames * 4]
    assert source.read(frames // 2, frames) == bytes(range(101))[offset + frames // 2 * 4 : offset + frames * 4]


def test_a_partial_frame_says_what_to_do(file):
    with pytest.raises(InputError, match=r"101 bytes .* 25 frames of 4 bytes .* 1 bytes more; name the format"):
        RawSource(file, channels=2, samplerate=1, format=S16)
    source = RawSource(file, channels=2, samplerate=1, format=S16, offset=10, truncated=True)
    assert source.read(0, source.frames) == bytes(range(10, 98))
    assert "91 bytes of samples are 22 frames of 4 bytes (2 x s16le) and 3 bytes more" in source.warnings[0]


def test_fewer_bytes_than_asked_are_a_change_even_if_the_file_looks_the_same(file, monkeypatch):
    source = RawSource(file, channels=1, samplerate=1, format=S16, offset=1)
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: pread(fd, length, offset)[: max(0, 11 - offset)])
    assert len(source.read(0, 5)) == 10
    with pytest.raises(InputChangedError, match="10 bytes of frames 0 to 6 instead of 12"):
        source.read(0, 6)


@pytest.mark.parametrize("offset", [0, 1, 44, 101])
def test_what_it_refers_to_are_the_samples_that_it_reads(file, offset):
    source = RawSource(file, channels=1, samplerate=1, format=S16, offset=offset, length=(101 - offset) // 2 * 2)
    reference = source.reference
    assert reference == file.reference(offset)
    read = bytearray(source.frames * 2)
    file.read_into(reference.offset, memoryview(read))
    assert read == source.read(0, source.frames)


def grains(frames=50_000):
    noise = np.random.default_rng(3).normal(0, 0.1, frames)
    return np.clip(noise + np.sin(np.arange(frames) / 30) * 0.3, -1, 1)


@pytest.mark.parametrize("loudness", [1, 0.1, 0.003])
@pytest.mark.parametrize("kind", ["<i2", ">i2", "<i4"])
@pytest.mark.parametrize("read_as", ["f32le", "f64le", None])
def test_integers_that_are_read_as_floats_are_doubted(tmp_path, loudness, kind, read_as):
    path = tmp_path / "take.raw"
    (grains() * loudness * np.iinfo(kind).max).astype(kind).tofile(path)
    with open_source(path, Raw(format=read_as)) as source:
        (warning,) = source.warnings
    assert f"read as {read_as or 'f32le'}" in warning
    assert "pass --format s16le (of a render --input-format s16le" in warning
    with open_source(path, Raw(format="s16le")) as source:
        assert source.warnings == ()


@pytest.mark.parametrize("kind", ["f32le", "f64be"])
@pytest.mark.parametrize("loudness", [1e-6, 1, 500])
def test_floats_are_not_doubted(tmp_path, kind, loudness):
    path = tmp_path / "take.raw"
    samples = grains() * loudness
    samples[:20_000] = 0  # a silent start
    samples[30_000] = np.nan
    samples.astype(FORMATS[kind].dtype).tofile(path)
    with open_source(path, Raw(format=kind)) as source:
        assert source.warnings == ()
    path.write_bytes(b"")
    with open_source(path, Raw(format=kind)) as source:
        assert source.warnings == ()


@pytest.mark.parametrize(("name", "octets"), [("s24le", "010203"), ("s24be", "030201")])
def test_raw_24_bits_are_three_bytes_a_sample(tmp_path, name, octets):
    path = tmp_path / "take.raw"
    path.write_bytes(bytes.fromhex(octets) * 6)
    with open_source(path, Raw(channels=2, format=name)) as source:
        assert (source.frames, source.bits, source.format.name[:3]) == (3, 24, "s32")
        assert np.frombuffer(source.read(0, 3), "=i4").tolist() == [0x03020100] * 6


def test_raw_24_bits_with_a_rest_are_refused(tmp_path):
    path = tmp_path / "take.raw"
    path.write_bytes(bytes(7))
    with pytest.raises(InputError, match=r"7 bytes of samples are 2 frames of 3 bytes \(1 x s24le\) and 1 bytes more"):
        open_source(path, Raw(format="s24le"))
    with open_source(path, Raw(format="s24le", truncated=True)) as source:
        assert source.frames == 2
        assert len(source.warnings) == 1
