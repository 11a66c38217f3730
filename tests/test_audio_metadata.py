"""Metadata: what is carried from file to file, byte for byte where that can be, and what other programs read of it."""

import json
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import scipy
import soundfile
from audio_support import need, samples_of, signal_of, write
from hypothesis import example, given
from hypothesis import strategies as st

from zaudio.audio import open_source
from zaudio.audio.flacs import flac_metadata
from zaudio.audio.metadata import BODY_MOST, BY_TAG, CUES_MOST, INFO, TAGS_MOST, Carried, Cue, Metadata, carry
from zaudio.audio.reading import read_metadata
from zaudio.audio.tagging import comments, foreign_chunks, parse_comments, parse_cues, parse_list, wave_chunks
from zaudio.audio.wave import WaveFile, chunk
from zaudio.errors import InputError
from zaudio.plan import Order

BEXT = b"A scene\0".ljust(256, b"\0") + b"zaudio\0".ljust(346, b"\0") + b"A=PCM,F=48000\r\n"
TAGS = (("TITLE", "Mähen"), ("ARTIST", "Ä & B"), ("DATE", "2026-11-29"), ("COMMENT", "one"), ("COMMENT", "two"))
CUES = (Cue(0, "start"), Cue(100, "verse", "a note", 50), Cue(999))
FULL = Metadata(BEXT, b"<BWFXML>\xc3\xa4</BWFXML>", b"GUANO|Version: 1.0\n", TAGS, CUES)
SUFFIXES = ["wav", "flac"]


def metadata_of(path):
    with open_source(path) as source:
        return source.metadata()


def of_bytes(content, kind="WAV", samples=(0, 0)):
    return read_metadata(kind, lambda at, length: content[at : at + length], len(content), samples)


def riff(*chunks, order="<"):
    body = b"WAVE" + b"".join(chunk(name, content) for name, content in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


# From file to file


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("format", ["s16le", "s24le"])
def test_every_kind_of_metadata_comes_back(tmp_path, suffix, format):
    signal = signal_of(1000, format=format)
    file = write(tmp_path / f"take.{suffix}", signal, samples_of(signal), metadata=FULL)
    assert file.sentences == ()
    assert metadata_of(tmp_path / f"take.{suffix}") == Carried(FULL)


@pytest.mark.parametrize("kind", ["bext", "ixml", "guan", "tags", "cues"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_kind_comes_back_alone(tmp_path, suffix, kind):
    only = Metadata(**{kind: getattr(FULL, kind)})
    signal = signal_of(1000)
    write(tmp_path / f"take.{suffix}", signal, samples_of(signal), metadata=only)
    assert metadata_of(tmp_path / f"take.{suffix}") == Carried(only)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("speakers", [0, 0x3F, 0x60F])
def test_the_speakers_of_six_channels_come_back(tmp_path, suffix, speakers):
    signal, metadata = signal_of(10, channels=6), Metadata(tags=TAGS, speakers=speakers)
    write(tmp_path / f"take.{suffix}", signal, samples_of(signal), metadata=metadata)
    assert metadata_of(tmp_path / f"take.{suffix}") == Carried(metadata)


def test_tags_about_the_level_of_the_samples_are_dropped_and_told(tmp_path):
    signal, tags = signal_of(10), (("REPLAYGAIN_TRACK_GAIN", "-3 dB"), ("TITLE", "x"))
    write(tmp_path / "take.flac", signal, samples_of(signal), metadata=Metadata(tags=tags))
    found = metadata_of(tmp_path / "take.flac")
    assert found.metadata.tags == (("TITLE", "x"),)
    assert found.dropped == (f"{tmp_path}/take.flac: metadata that is not carried over: replay gain",)


def test_a_raw_file_says_what_it_drops(tmp_path):
    signal = signal_of(10)
    file = write(tmp_path / "take.raw", signal, samples_of(signal), metadata=FULL)
    assert file.sentences == (f"{tmp_path}/take.raw: metadata that a raw file has no place for is dropped: all of it",)
    assert write(tmp_path / "plain.raw", signal, samples_of(signal)).sentences == ()


def test_tags_that_a_wav_has_no_place_for_are_told_once(tmp_path):
    signal = signal_of(10)
    tags = (("TITLE", "a"), ("REPLAYGAIN_TRACK_GAIN", "1"), ("MOOD", "x"), ("MOOD", "y"))
    file = write(tmp_path / "take.wav", signal, samples_of(signal), metadata=Metadata(tags=tags))
    assert file.sentences == (
        f"{tmp_path}/take.wav: metadata that a WAV has no place for is dropped: REPLAYGAIN_TRACK_GAIN, MOOD",
    )
    assert metadata_of(tmp_path / "take.wav").metadata.tags == (("TITLE", "a"),)


def test_a_chunk_that_is_too_long_for_a_flac_is_told():
    blocks, long = flac_metadata((), [(b"iXML", bytes(2**24)), (b"bext", b"x")])
    assert long == ("iXML",)
    assert len(blocks) < 100


@pytest.mark.parametrize("name", ["ISMP", "IXYZ", "I123"])
def test_a_tag_of_wav_without_another_name_keeps_it_through_a_flac(tmp_path, name):
    signal, metadata = signal_of(10), Metadata(tags=((name, "x"),))
    for suffix in (*SUFFIXES, "wav"):
        write(tmp_path / f"take.{suffix}", signal, samples_of(signal), metadata=metadata, overwrite=True)
        metadata = metadata_of(tmp_path / f"take.{suffix}").metadata
    assert metadata.tags == ((name, "x"),)


def test_each_name_of_the_table_leads_back():
    assert {INFO[name] for name in BY_TAG.values()} == set(INFO.values())
    assert all(INFO[BY_TAG[tag]] == tag for tag in set(BY_TAG) - {"DESCRIPTION"})
    assert BY_TAG["TRACKNUMBER"] == "ITRK"


# Other programs


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_ffmpeg_reads_the_tags(tmp_path, suffix):
    need("ffprobe")
    signal = signal_of(1000)
    tags = (*TAGS[:3], ("COMMENT", "one"), ("GENRE", "x"), ("ALBUM", "y"))
    write(tmp_path / f"take.{suffix}", signal, samples_of(signal), metadata=Metadata(tags=tags))
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_entries", "format_tags", tmp_path / f"take.{suffix}"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["format"]["tags"]
    found = {name.lower(): words for name, words in found.items()}
    assert {name: found[name.lower()] for name, _ in tags} == dict(tags)


def test_ffmpeg_reads_the_fields_of_bext(tmp_path):
    need("ffprobe")
    signal = signal_of(1000)
    write(tmp_path / "take.wav", signal, samples_of(signal), metadata=Metadata(BEXT))
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_entries", "format_tags", tmp_path / "take.wav"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["format"]["tags"]
    # Its names for description and originator.
    assert (found["comment"], found["encoded_by"]) == ("A scene", "zaudio")
    assert found["coding_history"] == "A=PCM,F=48000\r\n"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_soundfile_reads_the_tags(tmp_path, suffix):
    signal = signal_of(1000)
    write(tmp_path / f"take.{suffix}", signal, samples_of(signal), metadata=Metadata(tags=TAGS[:3]))
    with soundfile.SoundFile(tmp_path / f"take.{suffix}") as sound:
        found = sound.copy_metadata()
    assert (found["title"], found["artist"], found["date"]) == ("Mähen", "Ä & B", "2026-11-29")


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff"])
def test_the_tags_that_soundfile_writes_are_read(tmp_path, suffix):
    with soundfile.SoundFile(tmp_path / f"take.{suffix}", "w", 8000, 1) as sound:
        sound.title, sound.artist, sound.comment, sound.copyright = "a title", "an artist", "a comment", "nobody"
        sound.write(np.zeros(100))
    found = dict(metadata_of(tmp_path / f"take.{suffix}").metadata.tags)
    assert {name: found.get(name) for name in ("TITLE", "ARTIST", "COMMENT", "COPYRIGHT")} == {
        "TITLE": "a title",
        "ARTIST": "an artist",
        "COMMENT": "a comment",
        "COPYRIGHT": "nobody",
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_tags_that_ffmpeg_writes_are_read(tmp_path, suffix):
    need("ffmpeg")
    given = {"title": "Mähen", "artist": "x", "genre": "y", "comment": "z"}
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "0.1"]
    command += [part for name, words in given.items() for part in ("-metadata", f"{name}={words}")]
    subprocess.run([*command, tmp_path / f"take.{suffix}"], check=True)
    found = dict(metadata_of(tmp_path / f"take.{suffix}").metadata.tags)
    if suffix == "flac":
        found["COMMENT"] = found.pop("DESCRIPTION")
        write(
            tmp_path / "back.wav",
            signal_of(1),
            samples_of(signal_of(1)),
            metadata=metadata_of(tmp_path / "take.flac").metadata,
        )
        assert ("COMMENT", "z") in metadata_of(tmp_path / "back.wav").metadata.tags
    assert {name: found[name.upper()] for name in given} == given


def test_chunks_that_flac_kept_of_a_wav_are_read(tmp_path):
    need("flac")
    signal = signal_of(1000)
    write(tmp_path / "take.wav", signal, samples_of(signal), metadata=FULL)
    command = ["flac", "-s", "--keep-foreign-metadata", "-o", tmp_path / "take.flac", tmp_path / "take.wav"]
    subprocess.run(command, check=True, capture_output=True)
    found = metadata_of(tmp_path / "take.flac").metadata
    assert found == FULL


def test_flac_decodes_a_flac_of_ours_into_a_plain_wav(tmp_path):
    need("flac")
    signal = signal_of(1000)
    samples = samples_of(signal)
    write(tmp_path / "take.flac", signal, samples, metadata=FULL)
    subprocess.run(["flac", "-s", "-d", "-o", tmp_path / "back.wav", tmp_path / "take.flac"], check=True)
    assert soundfile.read(tmp_path / "back.wav", dtype="int16")[0].tobytes() == samples.tobytes()


# Reading


def test_metadata_behind_the_samples_is_read():
    content = riff((b"fmt ", bytes(16)), (b"data", bytes(6)), (b"LIST", b"INFO" + chunk(b"INAM", b"x\0")))
    assert of_bytes(content, samples=(44, 50)).metadata.tags == (("TITLE", "x"),)


def test_samples_whose_size_is_wrong_do_not_hide_the_metadata_behind_them():
    content = riff((b"fmt ", bytes(16)), (b"data", bytes(6)), (b"bext", b"x" * 602)).replace(
        b"data\x06\0\0\0", b"data\xff\xff\xff\xff"
    )
    assert of_bytes(content, samples=(44, 50)).metadata.bext == b"x" * 602


def test_what_is_not_carried_over_is_told_once():
    content = riff((b"JUNK", bytes(4)), (b"smpl", bytes(4)), (b"smpl", bytes(4)), (b"LIST", b"XYZ "), (b"PEAK", b""))
    assert of_bytes(content).dropped == ("metadata that is not carried over: a smpl chunk, a LIST chunk",)


def test_text_of_old_windows_programs_is_read():
    content = riff((b"LIST", b"INFO" + chunk(b"INAM", b"M\xe4hen\0\0")))
    assert of_bytes(content).metadata.tags == (("TITLE", "Mähen"),)


def test_a_chunk_that_is_too_long_is_not_read_and_told():
    asked = []

    def read_at(offset, length):
        asked.append(length)
        return content[offset : offset + length]

    content = riff((b"bext", bytes(BODY_MOST + 1)), (b"iXML", b"<x/>"))
    found = read_metadata("WAV", read_at, len(content))
    assert found.metadata == Metadata(ixml=b"<x/>")
    assert found.dropped == (f"metadata that is not carried over: a bext chunk of {BODY_MOST + 1} bytes",)
    assert max(asked) < 100


def test_markers_of_an_aiff_are_read():
    marks = struct.pack(">HHI", 2, 1, 17) + b"\x04four" + b"\0" + struct.pack(">HI", 2, 99) + b"\x01x"
    content = b"FORM\0\0\0\0AIFF" + b"MARK" + struct.pack(">I", len(marks)) + marks
    assert of_bytes(content, "AIFF").metadata.cues == (Cue(17, "four"), Cue(99, "x"))


@pytest.mark.parametrize("kind", ["CAF", "W64", "AU", "raw", "MP3"])
def test_other_kinds_of_file_say_nothing(kind):
    assert of_bytes(bytes(100), kind) == Carried(Metadata())


@given(st.binary(max_size=400), st.sampled_from(["WAV", "RF64", "AIFF", "FLAC"]))
@example(b"fLaC" + b"\x04\0\0\x0c" + b"\xff\xff\xff\xff" * 3, "FLAC")
@example(b"RIFF\0\0\0\0WAVEcue \x04\0\0\0\xff\xff\xff\xff", "WAV")
@example(b"FORM\0\0\0\0AIFFMARK\0\0\0\x02\xff\xff", "AIFF")
def test_no_bytes_make_it_fail(content, kind):
    for head in (b"", b"RIFF\0\0\0\0WAVE", b"fLaC", b"FORM\0\0\0\0AIFF"):
        found = of_bytes(head + content, kind, samples=(20, 40))
        assert isinstance(found, Carried)


@given(st.binary(max_size=200))
def test_no_body_of_a_chunk_makes_it_fail(body):
    tags, names = parse_list(b"INFO" + body)
    assert len(tags) <= len(body)
    _, names = parse_list(b"adtl" + body)
    assert len(parse_cues(body, names)) <= len(body) // 24
    parse_comments(body)


def test_lists_are_bounded():
    many = tuple(("MOOD", str(number)) for number in range(TAGS_MOST + 5))
    assert len(parse_comments(comments(many))) == TAGS_MOST
    points = struct.pack("<I", 2**32 - 1) + bytes(24 * (CUES_MOST + 5))
    assert len(parse_cues(points, {})) == CUES_MOST


NAMES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7D, exclude_characters="="), min_size=1, max_size=9)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(st.lists(st.tuples(NAMES, TEXTS), max_size=9))
def test_comments_come_back_but_for_the_case_of_names_and_blanks_at_the_end(tags):
    expected = tuple((name.upper(), words.rstrip()) for name, words in tags)
    assert parse_comments(comments(tuple(tags))) == tuple((n, w) for n, w in expected if w and "~" not in n)


def test_what_has_no_text_is_no_tag_of_any_file():
    body = b"".join(struct.pack("<I", len(comment)) + comment for comment in (b"TITLE=\0\0", b"ARTIST=", b"DATE=2020"))
    assert parse_comments(struct.pack("<II", 0, 3) + body) == (("DATE", "2020"),)


def test_a_chunk_of_info_is_known_by_a_name_in_small_letters():
    tags, _ = parse_list(b"INFO" + chunk(b"inam", b"Dawn") + chunk(b"fmt ", b"x"))
    assert tags == (("TITLE", "Dawn"), ("FMT ", "x"))


@given(st.lists(st.builds(Cue, st.integers(0, 2**32 - 1), TEXTS, TEXTS, st.integers(0, 2**32 - 1)), max_size=9))
def test_cue_points_come_back(cues):
    cues = tuple(Cue(cue.frame, cue.label.rstrip(), cue.note.rstrip(), cue.length) for cue in cues)
    content = WaveFile(signal_of(0), foreign_chunks(Metadata(cues=cues))).header
    assert of_bytes(content, samples=(len(content), len(content))).metadata.cues == cues


def test_chunks_stand_in_a_fixed_order():
    chunks, homeless = wave_chunks(FULL)
    assert [(name, body[:4] if name == b"LIST" else b"") for name, body in chunks] == [
        (b"bext", b""),
        (b"iXML", b""),
        (b"guan", b""),
        (b"cue ", b""),
        (b"LIST", b"adtl"),
        (b"LIST", b"INFO"),
    ]
    assert homeless == ()


# To a result


def cues_of(cues, before, after=None, order=Order.FORWARD, **settings):
    carried = carry(Metadata(cues=tuple(cues)), before, after or before, order, **settings)
    return [(cue.frame, cue.length) for cue in carried.metadata.cues], carried.dropped


def test_cue_points_are_mirrored_when_the_order_is_reversed():
    given = [Cue(0), Cue(10), Cue(99), Cue(100), Cue(20, length=30)]
    assert cues_of(given, signal_of(100), order=Order.REVERSED) == ([(99, 0), (89, 0), (0, 0), (0, 0), (50, 30)], ())


def test_mirroring_twice_leads_back():
    cues = tuple(Cue(frame, length=length) for frame in (0, 1, 57) for length in (0, 1, 43))
    once = carry(Metadata(cues=cues), signal_of(100), signal_of(100), Order.REVERSED).metadata
    assert carry(once, signal_of(100), signal_of(100), Order.REVERSED).metadata.cues == cues


def test_cue_points_follow_the_sample_rate():
    before, after = signal_of(1000, samplerate=48_000), signal_of(919, samplerate=44_100)
    assert cues_of([Cue(0), Cue(480), Cue(480, length=480)], before, after) == ([(0, 0), (441, 0), (441, 441)], ())


def test_cue_points_move_with_the_beginning_and_those_that_are_cut_off_are_told():
    given = [Cue(5), Cue(10), Cue(59), Cue(61), Cue(0, length=20), Cue(0, length=10)]
    found, dropped = cues_of(given, signal_of(100), signal_of(50), start=10)
    assert found == [(0, 0), (49, 0), (0, 10)]
    assert dropped == (
        "3 cue points are dropped, since the result has no such frames, or too high ones for a cue point",
    )


def test_cue_points_beyond_32_bits_are_dropped():
    long = signal_of(2**33)
    assert cues_of([Cue(0), Cue(2**32 - 1)], long)[0] == [(0, 0), (2**32 - 1, 0)]
    found, dropped = cues_of([Cue(0), Cue(2**32 - 1)], long, order=Order.REVERSED)
    assert found == []
    assert dropped[0].startswith("2 cue points are dropped")
    assert cues_of([Cue(2**32 - 2, length=1)], signal_of(2**32 - 1), order=Order.REVERSED)[0] == [(0, 1)]


def test_cue_points_without_a_place_are_dropped_and_told():
    assert cues_of([Cue(5)], signal_of(9), start=None) == (
        [],
        ("1 cue point is dropped, since the ops move frames in ways that none can follow",),
    )
    assert cues_of([], signal_of(9), start=None) == ([], ())


def test_all_else_is_kept_as_it_is():
    for order in Order:
        carried = carry(FULL, signal_of(1000), signal_of(500, samplerate=24_000), order)
        assert (carried.metadata.bext, carried.metadata.ixml, carried.metadata.guan) == (BEXT, FULL.ixml, FULL.guan)
        assert carried.metadata.tags == TAGS
        assert carried.dropped == ()


def test_speakers_are_kept_with_the_number_of_channels():
    six, two = signal_of(1, channels=6), signal_of(1, channels=2)
    assert carry(Metadata(speakers=63), six, six, Order.FORWARD).metadata.speakers == 63
    assert carry(Metadata(speakers=63), six, two, Order.FORWARD).metadata.speakers == 0


ODD = sorted((Path(scipy.__file__).parent / "io" / "tests" / "data").glob("*.wav"))


@pytest.mark.parametrize("path", ODD, ids=lambda path: path.name)
def test_the_metadata_of_an_odd_wav_is_no_obstacle(path):
    try:
        source = open_source(path)
    except InputError:
        return  # of its samples, which other tests know
    with source:
        found = source.metadata()
    assert all(sentence.startswith(f"{path}: ") for sentence in found.dropped)
    assert len(WaveFile(signal_of(1), wave_chunks(found.metadata)[0]).header) < 10_000
