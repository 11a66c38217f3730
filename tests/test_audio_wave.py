"""The bytes of a WAV around its samples: by known bytes, at each size around the limits, and by other programs."""

import os
import struct
import subprocess

import pytest
import soundfile
from audio_support import need, read_by_ffmpeg, read_by_soundfile, read_by_sox, samples_of, signal_of, upper

from zaudio.audio import open_source
from zaudio.audio.wave import RF64_FROM, WaveFile, chunk
from zaudio.formats import FORMATS, PACKED
from zaudio.packing import pack

GIB = 2**30


def sparse(path, wave, tail=b""):
    """A file of that header and as many zeros as its samples have."""
    with open(path, "wb") as file:
        file.write(wave.header)
        file.truncate(wave.size)
        if tail:
            file.seek(wave.size - len(wave.footer) - len(tail))
            file.write(tail)


def test_a_plain_wav_has_the_44_bytes_that_everybody_knows():
    header = WaveFile(signal_of(10, channels=2, format="s16le", samplerate=44_100)).header
    assert header.hex(" ", 4) == (
        "52494646 4c000000 57415645 666d7420 10000000 01000200 44ac0000 10b10200 04001000 64617461 28000000"
    )


def test_floats_have_a_fact_chunk_and_no_more():
    header = WaveFile(signal_of(10, channels=1, format="f32le", samplerate=8000)).header
    assert header[12:20] == b"fmt \x12\0\0\0"
    assert header[20:22] == b"\x03\0"
    assert header[38:50] == b"fact" + struct.pack("<II", 4, 10)


@pytest.mark.parametrize(
    ("channels", "format", "extensible"),
    [
        (1, "s16le", False),
        (2, "s16le", False),
        (3, "s16le", True),
        (1, "s24le", True),
        (2, "s32le", True),
        (2, "f32le", False),
        (2, "f64le", False),
        (3, "f64le", True),
    ],
)
def test_an_extensible_header_is_written_where_it_is_needed(channels, format, extensible):
    header = WaveFile(signal_of(1, channels=channels, format=format)).header
    assert (header[20:22] == b"\xfe\xff") == extensible


def test_the_speakers_of_more_than_two_channels_are_those_that_are_given():
    masks = {}
    for channels, speakers in ((1, 0x3F), (2, 0x3F), (6, 0x3F), (6, 0)):
        header = WaveFile(signal_of(1, channels=channels, format="s24le"), speakers=speakers).header
        masks[channels, speakers] = int.from_bytes(header[40:44], "little")
    assert masks == {(1, 0x3F): 0x4, (2, 0x3F): 0x3, (6, 0x3F): 0x3F, (6, 0): 0}


@pytest.mark.parametrize("format", sorted(FORMATS | PACKED))
@pytest.mark.parametrize("channels", [1, 2, 3, 1024])
@pytest.mark.parametrize("frames", [0, 1, 7])
def test_every_header_says_what_libsndfile_and_we_read(tmp_path, format, channels, frames):
    signal = signal_of(frames, channels=channels, format=format)
    wave = WaveFile(signal, [(b"bext", b"odd")])
    sparse(tmp_path / "take.wav", wave)
    assert os.path.getsize(tmp_path / "take.wav") == wave.size
    assert wave.size % 2 == 0
    info = soundfile.info(tmp_path / "take.wav")
    assert (info.frames, info.channels, info.samplerate) == (frames, channels, 48_000)
    with open_source(tmp_path / "take.wav") as source:
        assert (source.frames, source.channels, source.samplerate) == (frames, channels, 48_000)
        assert (source.bits, source.format.dtype[1]) == (signal.format.bits, signal.format.dtype[1])
        assert source.warnings == ()


@pytest.mark.parametrize("change", [-4, -2, 0, 2, 4])
def test_a_file_of_4_gib_is_the_first_that_is_rf64(tmp_path, change):
    frames = (RF64_FROM - 44 + change) // 2
    wave = WaveFile(signal_of(frames, channels=1))
    assert wave.is_rf64 == (change >= 0)
    assert wave.header[:4] == (b"RF64" if change >= 0 else b"RIFF")
    sparse(tmp_path / "take.wav", wave, b"\x34\x12")
    assert os.path.getsize(tmp_path / "take.wav") == wave.size
    with open_source(tmp_path / "take.wav") as source:
        assert (source.frames, source.warnings) == (frames, ())
        assert source.read(frames - 1, frames) == b"\x34\x12"


@pytest.mark.parametrize(("format", "channels"), [("s16le", 2), ("s24le", 1), ("f32le", 6)])
def test_every_program_reads_the_end_of_an_rf64_of_5_gib(tmp_path, format, channels):
    width = channels * (FORMATS | PACKED)[format].stored_bytes
    frames = 5 * GIB // width
    wave = WaveFile(signal_of(frames, channels=channels, format=format))
    tail = bytes(range(1, width + 1))
    path = tmp_path / "take.wav"
    sparse(path, wave, tail)
    with open_source(path) as source:
        assert (source.container, source.frames, source.warnings) == ("RF64", frames, ())
        assert any(source.read(frames - 1, frames))
        assert not any(source.read(0, 100))
    with soundfile.SoundFile(path) as sound:
        assert sound.frames == frames
        sound.seek(frames - 2)
        read = sound.read(2, always_2d=True)
        assert not read[0].any()
        assert read[1].any()
    need("ffprobe")
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=duration_ts,channels", "-of", "csv=p=0", path]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == [
        f"{channels},{frames}"
    ]


@pytest.mark.parametrize("format", ["s16le", "s24le", "f32le"])
def test_every_program_reads_the_samples_of_an_rf64(tmp_path, monkeypatch, format):
    # A short one: SoX reads an RF64 from end to end before it says anything.
    monkeypatch.setattr("zaudio.audio.wave.RF64_FROM", 0)
    signal = signal_of(2503, format=format)
    samples = samples_of(signal)
    (tmp_path / "take.wav").write_bytes(WaveFile(signal).header + pack(samples.tobytes(), signal.format, little=True))
    expected, kind = upper(samples), signal.format.dtype[1:]
    for read in (read_by_soundfile, read_by_ffmpeg, *([read_by_sox] if kind[0] == "i" else [])):
        assert read(tmp_path / "take.wav", kind).tobytes() == expected.tobytes(), read.__name__


def test_chunks_stand_in_front_of_the_samples_in_their_order():
    wave = WaveFile(signal_of(1), [(b"bext", b"abc"), (b"iXML", b"de")])
    body = wave.header[36:]
    assert body == b"bext\x03\0\0\0abc\0" + b"iXML\x02\0\0\0de" + b"data\x04\0\0\0"


def test_the_speed_of_a_file_that_is_faster_than_its_field_is_the_most_that_the_field_holds():
    header = WaveFile(signal_of(1, channels=1024, format="f64le", samplerate=2**31 - 1)).header
    assert header[28:32] == b"\xff" * 4


def test_a_chunk_is_padded_to_an_even_length():
    assert chunk(b"abcd", b"x") == b"abcd\x01\0\0\0x\0"
    assert chunk(b"abcd", b"") == b"abcd\0\0\0\0"
