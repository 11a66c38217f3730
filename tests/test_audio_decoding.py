"""MP3, Ogg Vorbis and Opus are decoded once, in order, to the very samples that soundfile gives."""

import hashlib
import os
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from spool_support import LOSSY, MemorySpool, decoded, noise, samples, write_lossy

from zaudio.audio import open_source
from zaudio.errors import InputChangedError, InputError, UsageError
from zaudio.settings import Raw

LENGTHS = [1, 2, 1009, 70_001]
needs = {
    name: pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is missing") for name in ("ffmpeg", "sox")
}


@pytest.fixture(autouse=True)
def all_spools_are_closed():
    MemorySpool.made.clear()
    yield
    assert all(spool.closed for spool in MemorySpool.made)


def opened(path, raw=Raw(), **more):
    return open_source(path, raw, make_spool=MemorySpool, **more)


@pytest.mark.parametrize("frames", LENGTHS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", LOSSY)
def test_the_samples_are_those_of_one_straight_decode(tmp_path, kind, channels, frames):
    path = tmp_path / f"take.{kind}"
    expected = write_lossy(path, kind, frames, channels)
    with opened(path) as source:
        assert (source.frames, source.channels, source.samplerate) == (len(expected), channels, 48000)
        assert source.format.name == f"f32{'le' if sys.byteorder == 'little' else 'be'}"
        assert source.reference is None  # workers get samples
        assert np.array_equal(samples(source), expected)
        assert source.warnings == ()


def test_a_vorbis_file_without_a_frame_is_read(tmp_path):
    write_lossy(tmp_path / "take.ogg", "ogg", 0, 2)
    with opened(tmp_path / "take.ogg") as source:
        assert (source.frames, source.channels, source.read(0, 0)) == (0, 2, b"")


@pytest.mark.parametrize("kind", ["mp3", "opus"])
def test_a_file_that_libsndfile_writes_without_a_frame_is_none_and_is_refused(tmp_path, kind):
    path = tmp_path / f"take.{kind}"
    soundfile.write(path, noise(0), 48000, format=LOSSY[kind][0], subtype=LOSSY[kind][1])
    with pytest.raises(InputError, match=r"is empty|there is no last page"):
        opened(path)


@needs["ffmpeg"]
@pytest.mark.parametrize(("suffix", "container"), [("mp3", "MP3"), ("ogg", "Ogg Vorbis"), ("opus", "Ogg Opus")])
def test_what_ffmpeg_writes_is_read(tmp_path, suffix, container):
    soundfile.write(tmp_path / "take.wav", noise(48000, 2), 48000)
    path = tmp_path / f"take.{suffix}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "take.wav", path], check=True)
    with opened(path) as source:
        assert source.container == container
        assert source.warnings == ()
        assert np.array_equal(samples(source), decoded(path))


@needs["sox"]
def test_what_sox_writes_is_read(tmp_path):
    soundfile.write(tmp_path / "take.wav", noise(9973, 2), 44100)
    subprocess.run(["sox", tmp_path / "take.wav", tmp_path / "take.ogg"], check=True)
    with opened(tmp_path / "take.ogg") as source:
        assert np.array_equal(samples(source), decoded(tmp_path / "take.ogg"))


def test_a_name_does_not_count_and_a_tag_in_front_of_an_mp3_does_no_harm(tmp_path):
    expected = write_lossy(tmp_path / "take.mp3", "mp3", 30_011)
    tag = b"ID3\4\0\0" + bytes((0, 0, 8, 0)) + bytes(1024)
    (tmp_path / "take.dat").write_bytes(tag + (tmp_path / "take.mp3").read_bytes())
    with opened(tmp_path / "take.dat") as source:
        assert source.container == "MP3"
        assert np.array_equal(samples(source), expected)


def test_progress_counts_bytes_of_samples_and_an_exception_of_it_ends_the_work(tmp_path):
    write_lossy(tmp_path / "take.ogg", "ogg", 300_007)
    told = []
    opened(tmp_path / "take.ogg", on_progress=lambda *facts: told.append(facts)).close()
    assert len(told) > 2
    assert told[-1] == ("decoding", 4 * 300_007, 4 * 300_007)
    assert sorted(told) == told

    def stop(verb, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path / "take.ogg", on_progress=stop)


def test_an_oserror_of_progress_is_no_fault_of_the_file(tmp_path):
    write_lossy(tmp_path / "take.ogg", "ogg", 1009)

    def broken(verb, done, total):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        opened(tmp_path / "take.ogg", on_progress=broken)


def test_the_fingerprint_has_the_decoder_and_the_digest_of_all_samples(tmp_path):
    path = tmp_path / "take.opus"
    expected = write_lossy(path, "opus", 5003)
    with opened(path) as source, opened(path) as again:
        print_ = source.fingerprint()
        assert print_ == again.fingerprint()
        assert print_.sample == hashlib.sha256(expected.tobytes()).hexdigest()
        assert print_.decoder == f"libsndfile {soundfile.__libsndfile_version__}"
        assert (print_.path, print_.size) == (os.path.realpath(path), path.stat().st_size)
        assert source.resumable
        assert source.unresumable == ""


def test_room_is_asked_for_before_anything_is_decoded(tmp_path):
    write_lossy(tmp_path / "take.ogg", "ogg", 1009)
    told = []
    with pytest.raises(OverflowError, match="4036"):
        open_source(
            tmp_path / "take.ogg", make_spool=lambda: MemorySpool(4035), on_progress=lambda *facts: told.append(facts)
        )
    assert told == []


def test_a_file_that_changes_later_is_found(tmp_path):
    path = tmp_path / "take.mp3"
    write_lossy(path, "mp3", 1009)
    with opened(path) as source:
        os.utime(path, ns=(1, 1))
        with pytest.raises(InputChangedError):
            source.read(0, 1)
        with pytest.raises(InputChangedError):
            source.check()


def test_a_closed_source_reads_no_more_and_frames_outside_are_refused(tmp_path):
    write_lossy(tmp_path / "take.ogg", "ogg", 11)
    source = opened(tmp_path / "take.ogg")
    with pytest.raises(IndexError):
        source.read(0, 12)
    source.close()
    source.close()
    with pytest.raises(ValueError, match="closed"):
        source.read(0, 1)


# Files that are not whole


@pytest.mark.parametrize("kind", LOSSY)
def test_a_file_that_was_cut_off_is_refused_and_with_truncated_read_as_far_as_it_goes(tmp_path, kind):
    path = tmp_path / f"take.{kind}"
    whole = write_lossy(path, kind, 100_003)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"is truncated or damaged: .*; pass --truncated"):
        opened(path)
    with opened(path, Raw(truncated=True)) as source:
        assert 0 < source.frames < len(whole)
        assert "is truncated or damaged" in source.warnings[0]
        assert np.array_equal(samples(source)[:-2000], whole[: source.frames - 2000])


@pytest.mark.parametrize("kind", LOSSY)
def test_two_recordings_in_one_file_are_never_taken_for_the_first_alone(tmp_path, kind):
    path = tmp_path / f"take.{kind}"
    write_lossy(path, kind, 50_021)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(InputError, match=r"holds several streams one after another|maybe another recording"):
        opened(path)


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_a_flipped_bit_in_an_ogg_is_always_found(tmp_path, kind):
    path = tmp_path / f"take.{kind}"
    write_lossy(path, kind, 20_011)
    content = path.read_bytes()
    for at in range(40, len(content), len(content) // 23):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        with pytest.raises(InputError):
            opened(path)


def test_a_page_that_is_missing_is_found(tmp_path):
    path = tmp_path / "take.ogg"
    write_lossy(path, "ogg", 200_003)
    content = path.read_bytes()
    starts = [at for at in range(len(content)) if content.startswith(b"OggS", at)]
    assert len(starts) > 5
    path.write_bytes(content[: starts[3]] + content[starts[4] :])
    with pytest.raises(InputError, match="page 3 is missing at byte"):
        opened(path)


def test_bytes_behind_an_ogg_are_left_out_with_a_warning(tmp_path):
    path = tmp_path / "take.ogg"
    expected = write_lossy(path, "ogg", 1009)
    path.write_bytes(path.read_bytes() + bytes(128))
    with opened(path) as source:
        assert np.array_equal(samples(source), expected)
        assert source.warnings == (f"{path}: 128 bytes behind the last page are left out",)


# Others


def adts(frames=9):
    return b"\xff\xf1\x50\x80\x01\x7f\xfc\x00\x00\x00\x00" * frames


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"OggS" + bytes(22) + b"\1\x13\x7fFLAC" + bytes(60), "is an Ogg file that holds FLAC.*-c:a pcm_s32le out.wav"),
        (b"OggS" + bytes(22) + b"\1\x50Speex   " + bytes(60), "is an Ogg file that holds Speex"),
        (b"OggS" + bytes(60), "is an Ogg file, which"),
        (b"ID3\4\0\0\0\0\0\7" + bytes(7) + adts(), "is an AAC file"),
        (b"\0\0\0 ftypM4A " + bytes(60), "is an MP4 file"),
        (b"ID3\4\0\0\0\0\0\7" + bytes(70), "is damaged, or no MP3 file after all"),
        (b"\xff\xfb\x90\x00" + bytes(70), "is damaged, or no MP3 file after all"),
        (b"", "is empty"),
        (bytes(100), "is no WAV, AIFF"),
    ],
)
def test_what_still_cannot_be_read_is_refused_with_its_name(tmp_path, content, words):
    (tmp_path / "take").write_bytes(content)
    with pytest.raises(InputError, match=words):
        opened(tmp_path / "take")


def test_a_compressed_file_is_no_raw_one(tmp_path):
    write_lossy(tmp_path / "take.ogg", "ogg", 1009)
    with pytest.raises(UsageError, match="is an Ogg file: --samplerate"):
        opened(tmp_path / "take.ogg", Raw(channels=1))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_flac_that_does_not_say_its_length_is_decoded(tmp_path, subtype):
    path = tmp_path / "take.flac"
    soundfile.write(path, noise(30_013, 2), 48000, subtype=subtype)
    expected = decoded(path, "int16" if subtype == "PCM_16" else "int32")
    content = path.read_bytes()
    fields = int.from_bytes(content[18:26], "big")
    path.write_bytes(content[:18] + struct.pack(">Q", fields >> 36 << 36) + content[26:])
    with opened(path) as source:
        assert source.container == "FLAC"
        assert np.array_equal(samples(source), expected)


def test_no_descriptor_is_left_open(tmp_path):
    write_lossy(tmp_path / "take.ogg", "ogg", 1009)
    (tmp_path / "bad.ogg").write_bytes((tmp_path / "take.ogg").read_bytes()[:-9])
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    opened(tmp_path / "take.ogg").close()
    with pytest.raises(InputError):
        opened(tmp_path / "bad.ogg")
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before
