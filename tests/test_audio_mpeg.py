"""Frame headers of MPEG audio, and the note of an encoder."""

import random

import pytest
from spool_support import write_lossy

from zaudio.audio.mpeg import first_frame, frame_bytes, is_adts, is_mpeg, missing_or_more


def reader(content):
    return lambda offset, length: content[offset : offset + length]


# By the standard: layer 1 (12 x rate / samplerate + padding) x 4; layers 2 and 3 of MPEG 1 144 x rate / samplerate +
# padding; layer 3 of MPEG 2 and 2.5 72 x rate / samplerate + padding.
@pytest.mark.parametrize(
    ("head", "length"),
    [
        ("fffb9000", 417),  # MPEG 1, layer 3, 128 kbit/s, 44100 Hz
        ("fffb9200", 418),  # padded
        ("fffbe400", 960),  # 320 kbit/s, 48000 Hz
        ("fffd9000", 522),  # layer 2, 160 kbit/s
        ("ffff9000", 312),  # layer 1, 288 kbit/s
        ("fff38000", 208),  # MPEG 2, layer 3, 64 kbit/s, 22050 Hz
        ("ffe38000", 417),  # MPEG 2.5, 11025 Hz
        ("fff58400", 384),  # MPEG 2, layer 2, 64 kbit/s, 24000 Hz
        ("fffb0000", 0),  # free format
        ("ffeb9000", 0),  # no version
        ("fffbf000", 0),
        ("fff15080", 0),  # AAC
        ("fffb", 0),
        ("", 0),
    ],
)
def test_a_frame_is_as_long_as_the_standard_says(head, length):
    assert frame_bytes(bytes.fromhex(head)) == length


def test_every_frame_of_a_file_leads_to_the_next(tmp_path):
    write_lossy(tmp_path / "take.mp3", "mp3", 30_011, 2)
    content = (tmp_path / "take.mp3").read_bytes()
    at = frames = 0
    while at < len(content):
        at += frame_bytes(content[at : at + 4]) or pytest.fail(f"no frame at byte {at}")
        frames += 1
    assert at == len(content)
    assert frames > 20
    assert is_mpeg(reader(content))


def test_noise_is_no_mpeg_even_when_it_begins_like_a_frame():
    random_ = random.Random(1)
    for _ in range(200):
        assert not is_mpeg(reader(b"\xff\xfb\x90\x00" + random_.randbytes(2000)))
    assert not is_mpeg(reader(b""))


def test_tags_in_front_are_passed_by():
    tag = b"ID3\4\0\0\0\0\0\7" + bytes(7)
    assert first_frame(reader(tag * 3 + b"\xff\xfb")) == 3 * 17
    assert first_frame(reader(tag * 1000)) <= 1000 * 17  # bounded


@pytest.mark.parametrize(("head", "answer"), [("fff1", True), ("fff9", True), ("fffb", False), ("ff", False)])
def test_aac_is_told_from_mpeg(head, answer):
    assert is_adts(bytes.fromhex(head)) is answer


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samplerate", [16000, 48000])
def test_what_is_missing_or_too_much_is_counted(tmp_path, samplerate, channels):
    write_lossy(tmp_path / "take.mp3", "mp3", 120_011, channels, samplerate)
    content = (tmp_path / "take.mp3").read_bytes()
    tag = b"TAG" + bytes(125)
    for changed, answer in (
        (content, 0),
        (content + tag, 0),
        (content[:-20], 0),  # less than two frames: not counted
        (content[:-9000], -9000),
        (content + content, len(content)),
    ):
        assert missing_or_more(reader(changed), len(changed)) == answer


def test_a_note_that_was_cut_off_is_none(tmp_path):
    write_lossy(tmp_path / "take.mp3", "mp3", 1009)
    content = (tmp_path / "take.mp3").read_bytes()
    for length in range(60):
        assert missing_or_more(reader(content[:length]), length) == 0
