"""ID3 tags of MP3s and comments of Ogg: read as FFmpeg and soundfile read them, and what is left out is named."""

import json
import struct
import subprocess

import pytest
import soundfile
from audio_support import need
from hypothesis import given
from hypothesis import strategies as st
from spool_support import LOSSY, MemorySpool, noise

from zaudio.audio import open_source
from zaudio.audio.id3 import FRAMES_MOST, parse_id3v1, parse_id3v2
from zaudio.audio.metadata import BODY_MOST
from zaudio.audio.ogg import second_packet
from zaudio.audio.reading import read_metadata

GIVEN = {"title": "Mähen", "artist": "Ä & B", "album": "an album", "date": "2026", "comment": "a comment"}
GIVEN |= {"genre": "Rock", "track": "3/7", "copyright": "nobody", "composer": "somebody"}
NAMES = {"track": "TRACKNUMBER"}


def metadata_of(path):
    with open_source(path, make_spool=MemorySpool) as source:
        return source.metadata()


def ffprobe(path):
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_entries", "format_tags:stream_tags", path]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    both = [found["format"].get("tags", {}), *(stream.get("tags", {}) for stream in found["streams"])]
    return {name.lower(): words for tags in both for name, words in tags.items()}


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("mp3", ["-id3v2_version", "3"]), ("mp3", ["-id3v2_version", "4"]), ("ogg", []), ("opus", [])],
)
def test_the_tags_are_those_that_ffmpeg_writes_and_reads(tmp_path, suffix, options):
    need("ffmpeg")
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "anullsrc=r=48000:cl=mono", "-t", "0.1"]
    command += [part for name, words in GIVEN.items() for part in ("-metadata", f"{name}={words}")]
    path = tmp_path / f"take.{suffix}"
    subprocess.run([*command, "-metadata", "REPLAYGAIN_TRACK_GAIN=-3 dB", *options, path], check=True)
    found = metadata_of(path)
    tags = dict(found.metadata.tags)
    tags.setdefault("COMMENT", tags.get("DESCRIPTION"))  # FFmpeg's name of it in Ogg
    read = ffprobe(path)
    assert {name: tags[NAMES.get(name, name.upper())] for name in GIVEN} == GIVEN == {n: read[n] for n in GIVEN}
    assert found.dropped == (f"{path}: metadata that is not carried over: replay gain",)


@pytest.mark.parametrize("kind", LOSSY)
def test_the_tags_that_soundfile_writes_are_read(tmp_path, kind):
    path = tmp_path / f"take.{kind}"
    container, subtype = LOSSY[kind]
    with soundfile.SoundFile(path, "w", 48000, 1, subtype, format=container) as sound:
        sound.title, sound.artist, sound.album, sound.date = "Mähen", "an artist", "an album", "2026"
        sound.write(noise(1000))
    tags = dict(metadata_of(path).metadata.tags)
    assert [tags.get(name) for name in ("TITLE", "ARTIST", "ALBUM", "DATE")] == [
        "Mähen",
        "an artist",
        "an album",
        "2026",
    ]


# ID3v2


def syncsafe(number):
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def frame(name, body, *, major=4, flags=b"\0\0", size=None):
    if major == 2:
        return name + len(body).to_bytes(3, "big") + body
    length = len(body) if size is None else size
    return name + (syncsafe(length) if major == 4 else struct.pack(">I", length)) + flags + body


def tag(*frames, major=4, flags=0, padding=0):
    body = b"".join(frames) + bytes(padding)
    return b"ID3" + bytes((major, 0, flags)) + syncsafe(len(body)) + body


TITLE = (("TITLE", "Mähen"),)


@pytest.mark.parametrize("major", [2, 3, 4])
@pytest.mark.parametrize(
    "body",
    [
        b"\0" + "Mähen".encode("latin-1"),
        b"\1" + "Mähen".encode("utf-16") + b"\0\0",
        b"\1\xfe\xff" + "Mähen".encode("utf-16-be"),
        b"\2" + "Mähen".encode("utf-16-be") + b"\0\0",
        b"\3" + "Mähen".encode() + b"\0",
    ],
)
def test_texts_of_every_version_and_encoding_are_read(major, body):
    name = b"TT2" if major == 2 else b"TIT2"
    for padding in (0, 50):
        assert parse_id3v2(tag(frame(name, body, major=major), major=major, padding=padding)) == (TITLE, ())


def test_flags_change_how_a_frame_lies_there():
    title = b"\3" + "Mähen".encode()
    odd = b"\1\xff\xfe" + "ÿ".encode("utf-16-le")
    stuffed = odd.replace(b"\xff", b"\xff\0")
    for content, expected in (
        (tag(frame(b"TIT2", b"\7" + title, flags=b"\0\x40")), TITLE),  # a group
        (tag(frame(b"TIT2", syncsafe(len(title)) + title, flags=b"\0\1")), TITLE),  # its length
        (tag(frame(b"TIT2", b"\7" + title, flags=b"\0\x20", major=3), major=3), TITLE),
        (tag(frame(b"TIT2", stuffed, flags=b"\0\2")), (("TITLE", "ÿ"),)),  # unsynchronised, by frame or as a whole
        (tag(frame(b"TIT2", odd, major=3).replace(b"\xff", b"\xff\0"), major=3, flags=0x80), (("TITLE", "ÿ"),)),
        (tag(syncsafe(6) + b"\1\0", frame(b"TIT2", title), flags=0x40), TITLE),  # an extended header
        (tag(struct.pack(">I", 6) + bytes(6), frame(b"TIT2", title, major=3), major=3, flags=0x40), TITLE),
    ):
        assert parse_id3v2(content) == (expected, ())


def test_several_texts_names_of_their_own_remarks_and_genres_are_read():
    content = tag(
        frame(b"TPE1", b"\3one\0two"),
        frame(b"TXXX", b"\3mood\0calm"),
        frame(b"COMM", b"\0eng\0a remark"),
        frame(b"COMM", b"\1eng" + "\ufeff\0".encode("utf-16-le") + "more".encode("utf-16")),
        *(frame(b"TCON", b"\3" + genre) for genre in (b"17", b"(17)", b"(17)Own", b"Jazz", b"(99)")),
    )
    expected = [("ARTIST", "one"), ("ARTIST", "two"), ("MOOD", "calm"), ("COMMENT", "a remark"), ("COMMENT", "more")]
    genres = [("GENRE", genre) for genre in ("Rock", "Rock", "Own", "Jazz", "(99)")]
    assert parse_id3v2(content) == ((*expected, *genres), ())


def test_all_that_is_left_out_is_named_once():
    content = tag(
        frame(b"APIC", b"\0image/png\0\3\0" + bytes(300)),
        frame(b"APIC", b"\0image/png\0\4\0" + bytes(300)),
        frame(b"TIT2", b"\3packed", flags=b"\0\x08"),
        frame(b"COMM", b"\3engiTunNORM\0 0000"),
        frame(b"PRIV", b"x"),
        frame(b"TXXX", b"\0M\xe4hen\0x"),
        frame(b"TLEN", b"\0005"),
        frame(b"TPE1", b"\3A"),
    )
    names = ("pictures", "a TIT2 frame", "a COMM frame", "a PRIV frame", "a TXXX frame")
    assert parse_id3v2(content) == ((("ARTIST", "A"),), names)
    assert parse_id3v2(content[:100]) == ((), ("pictures",))
    many = tag(*[frame(b"TIT2", b"\3")] * (FRAMES_MOST + 1))
    assert parse_id3v2(many) == ((), (f"frames behind the first {FRAMES_MOST}",))


def test_sizes_of_the_older_version_are_understood():
    long = frame(b"TALB", b"\3" + b"x" * 199)
    assert long[4:8] != struct.pack(">I", 200)
    content = tag(long[:4] + struct.pack(">I", 200) + long[8:], frame(b"TIT2", b"\3Title"))
    assert parse_id3v2(content)[0] == (("ALBUM", "x" * 199), ("TITLE", "Title"))


@given(st.binary(max_size=60), st.sampled_from([2, 3, 4]), st.integers(0, 255))
def test_damage_is_no_error(body, major, flags):
    for name in (b"TIT2", b"COMM", b"TXXX", b"APIC", b"TT2"):
        tags, _ = parse_id3v2(tag(frame(name, body), body, major=major, flags=flags))
        assert all(words.encode() for _, words in tags)
    parse_id3v2(tag(body, major=major, flags=flags))
    parse_id3v1((b"TAG" + body).ljust(128, b"\xff"))


# Behind the frames


def of_mp3(content):
    return read_metadata("MP3", lambda at, length: content[at : at + length], len(content))


def test_a_tag_at_the_end_counts_where_there_is_none_in_front():
    old = (
        b"TAG" + b"a title".ljust(30) + b"an artist".ljust(30, b"\0") + bytes(34) + b"note".ljust(29, b"\0") + b"\7\x11"
    )
    tags = (("TITLE", "a title"), ("ARTIST", "an artist"), ("COMMENT", "note"), ("TRACKNUMBER", "7"), ("GENRE", "Rock"))
    assert parse_id3v1(old) == tags
    frames = b"\xff\xfb" + bytes(1000)
    assert of_mp3(frames + old).metadata.tags == tags
    assert of_mp3(tag(frame(b"TIT2", "\3Mähen".encode())) + frames + old).metadata.tags == TITLE
    ape = b"APETAGEX".ljust(32, b"\0")
    for content in (frames + ape, frames + ape + old):
        assert of_mp3(content).dropped == ("metadata that is not carried over: an APE tag",)


def test_of_a_tag_with_a_large_picture_the_texts_are_read():
    content = tag(frame(b"TIT2", "\3Mähen".encode()), frame(b"APIC", bytes(BODY_MOST)))
    found = of_mp3(content + b"\xff\xfb" + bytes(100))
    assert (found.metadata.tags, found.dropped) == (TITLE, ("metadata that is not carried over: pictures",))


# Ogg


def test_comments_of_several_pages_are_read_up_to_a_bound(tmp_path):
    path = tmp_path / "take.ogg"
    with soundfile.SoundFile(path, "w", 48000, 1, "VORBIS", format="OGG") as sound:
        sound.title, sound.comment = "a title", "x" * 200_000
        sound.write(noise(1000))
    tags = dict(metadata_of(path).metadata.tags)
    assert (tags["TITLE"], tags["COMMENT"]) == ("a title", "x" * 200_000)
    content = path.read_bytes()

    def read_at(at, length):
        return content[at : at + length]

    assert len(second_packet(read_at, 0, 1000)) == 1001
    whole = second_packet(read_at, 0, 1 << 20)
    assert whole.startswith(b"\x03vorbis")
    assert second_packet(read_at, 0, len(whole)) == second_packet(read_at, 0, len(whole) - 1) == whole
    for end in (0, 27, 60, 100_000):
        assert second_packet(lambda at, length, end=end: content[:end][at : at + length], 0, 1 << 20) == b""
