"""Standard input and FIFOs: a stream is read once, to its end, and then is what a file with its bytes would be."""

import contextlib
import os
import pty
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from spool_support import LOSSY, MemorySpool, decoded, noise, samples, write_lossy

from zaudio.audio import open_source
from zaudio.audio.streams import is_stream
from zaudio.errors import InputError, UsageError
from zaudio.settings import Raw

PATIENCE = 60  # seconds until a test that waits for a thread fails


@pytest.fixture(autouse=True)
def all_spools_are_closed():
    MemorySpool.made.clear()
    yield
    assert all(spool.closed for spool in MemorySpool.made)


@contextlib.contextmanager
def standard_input(content):
    """A pipe as standard input, into which a thread writes the content."""
    out, into = os.pipe()
    kept = os.dup(0)
    os.dup2(out, 0)
    os.close(out)
    with feeding(into, content):
        try:
            yield
        finally:
            os.dup2(kept, 0)  # the reader's end goes, and the writer with it
            os.close(kept)


@contextlib.contextmanager
def feeding(into, content):
    def feed():
        with contextlib.suppress(BrokenPipeError), open(into, "wb", buffering=0) as file:
            file.write(content)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def opened(raw=Raw(), path="-", **more):
    return open_source(path, raw, make_spool=MemorySpool, **more)


@pytest.mark.parametrize("frames", [1, 1009, 100_003])
def test_a_stream_that_begins_like_no_container_is_raw_samples(frames):
    recording = noise(frames)
    with standard_input(recording.tobytes()), opened() as source:
        assert (source.container, source.samplerate, source.channels) == ("raw", 44100, 1)
        assert np.array_equal(samples(source), recording)
        assert source.warnings == ()
        assert source.reference is None


def test_raw_samples_are_as_they_are_said_to_be():
    recording = (noise(5003, 2) * 30000).astype("<i2")
    said = Raw(format="s16le", channels=2, samplerate=8000)
    with standard_input(recording.tobytes()), opened(said) as source:
        assert (source.samplerate, source.format.name) == (8000, "s16le")
        assert np.array_equal(samples(source), recording)


def test_integers_that_are_read_as_floats_are_doubted():
    with standard_input((noise(50_003) * 30000).astype("<i2").tobytes() + b"\0\0"), opened() as source:
        assert "pass --format s16le" in source.warnings[0]


def test_a_frame_that_is_not_whole_is_an_error_and_with_truncated_left_out():
    with standard_input(bytes(4001)), pytest.raises(InputError, match="and 1 bytes more"):
        opened()
    with standard_input(bytes(4001)), opened(Raw(truncated=True)) as source:
        assert source.frames == 1000


CONTAINERS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("RF64", "FLOAT"),
    ("AIFF", "PCM_24"),
    ("CAF", "DOUBLE"),
    ("AU", "ULAW"),
]
CONTAINERS += [("W64", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24")]


@pytest.mark.parametrize(("container", "subtype"), CONTAINERS)
@pytest.mark.parametrize("frames", [0, 1, 10_007])
def test_a_container_in_a_stream_gives_what_it_gives_in_a_file(tmp_path, container, subtype, frames):
    path = tmp_path / "take"
    frames += container == "FLAC"  # libsndfile writes none without a frame
    soundfile.write(path, noise(frames, 2), 48000, format=container, subtype=subtype)
    with standard_input(path.read_bytes()), opened() as source, open_source(path) as file:
        assert (source.container, source.frames, source.format) == (file.container, file.frames, file.format)
        assert np.array_equal(samples(source), samples(file))


@pytest.mark.parametrize("kind", LOSSY)
def test_a_compressed_stream_is_decoded(tmp_path, kind):
    path = tmp_path / "take"
    expected = write_lossy(path, kind, 30_011, 2)
    with standard_input(path.read_bytes()), opened() as source:
        assert np.array_equal(samples(source), expected)
        assert not source.resumable


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_wav_that_was_written_into_a_pipe_goes_to_its_end(tmp_path, size):
    soundfile.write(tmp_path / "take.wav", noise(1009), 48000, subtype="FLOAT")
    content = bytearray((tmp_path / "take.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", size)
    content[4:8] = struct.pack("<I", size)
    with standard_input(bytes(content)), opened() as source:
        assert np.array_equal(samples(source), decoded(tmp_path / "take.wav"))


def test_a_flac_that_was_written_into_a_pipe_is_decoded(tmp_path):
    soundfile.write(tmp_path / "take.flac", noise(30_013, 2), 48000, subtype="PCM_24")
    content = (tmp_path / "take.flac").read_bytes()
    expected = decoded(tmp_path / "take.flac", "int32")
    fields = int.from_bytes(content[18:26], "big")
    with standard_input(content[:18] + struct.pack(">Q", fields >> 36 << 36) + content[26:]), opened() as source:
        assert np.array_equal(samples(source), expected)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "-: is empty: it ended before its first byte"),
        (b"\0\0\0 ftypM4A " + bytes(60), "is an MP4 file"),
        (b"RIFF\4\0\0\0WAVEfmt ", "-: "),
    ],
)
def test_what_cannot_be_read_is_refused(content, words):
    with standard_input(content), pytest.raises(InputError, match=words):
        opened()


def test_a_container_is_not_taken_for_raw_samples(tmp_path):
    soundfile.write(tmp_path / "take.wav", noise(9), 48000)
    with standard_input((tmp_path / "take.wav").read_bytes()), pytest.raises(UsageError, match="is a WAV file"):
        opened(Raw(channels=2))


def test_a_terminal_is_refused():
    main, terminal = pty.openpty()
    kept = os.dup(0)
    os.dup2(terminal, 0)
    try:
        with pytest.raises(UsageError, match="standard input is a terminal"):
            opened()
    finally:
        os.dup2(kept, 0)
        for fd in (main, terminal, kept):
            os.close(fd)


def test_a_stream_cannot_be_resumed_and_says_why():
    with standard_input(bytes(400)), opened() as source:
        assert not source.resumable
        assert source.unresumable == "standard input is a stream, which cannot be read again"
        with pytest.raises(InputError, match="cannot be resumed"):
            source.fingerprint()
        source.check()


def test_a_closed_stream_reads_no_more():
    with standard_input(bytes(400)):
        source = opened()
    source.close()
    source.close()
    with pytest.raises(ValueError, match="closed"):
        source.read(0, 1)


# FIFOs


@pytest.fixture
def fifo(tmp_path):
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    return path


def test_a_fifo_is_waited_for_and_read_to_its_end(fifo):
    recording = noise(100_003)
    waited = threading.Event()

    def feed():
        assert waited.wait(PATIENCE)
        with open(fifo, "wb") as file:
            file.write(recording.tobytes())

    def progress(verb, done, total):
        assert (verb, total) == ("reading", 0)
        waited.set()  # also while no writer is there

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    with opened(path=fifo, on_progress=progress) as source:
        assert np.array_equal(samples(source), recording)
        assert source.path == fifo
    thread.join(PATIENCE)


def test_a_stop_is_heard_while_no_writer_comes(fifo):
    def stop(verb, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(path=fifo, on_progress=stop)


def test_a_name_that_says_raw_counts_for_a_fifo(tmp_path):
    path = str(tmp_path / "take.raw")
    os.mkfifo(path)
    content = b"RIFF\0\0\0\0WAVE"
    thread = threading.Thread(target=lambda: Path(path).write_bytes(content), daemon=True)
    thread.start()
    with opened(path=path) as source:
        assert source.read(0, 3) == content
        assert "its name says raw" in source.warnings[0]
    thread.join(PATIENCE)


def test_without_a_spool_a_fifo_is_refused(fifo):
    with pytest.raises(InputError, match="is a FIFO, not a regular file"):
        open_source(fifo)


def test_files_and_what_is_not_there_are_no_streams(tmp_path):
    (tmp_path / "take").write_bytes(b"")
    assert not is_stream(str(tmp_path / "take"))
    assert not is_stream(str(tmp_path / "missing"))
    assert not is_stream("a\0b")
    assert is_stream("-")


def test_a_spool_that_is_full_ends_the_reading():
    with standard_input(bytes(200_000)), pytest.raises(OverflowError):
        open_source("-", make_spool=lambda: MemorySpool(99_999))
