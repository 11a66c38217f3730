import pytest

from zaudio.audio.magic import HEAD_BYTES, READABLE, called, looks_like_mp3, sniff

W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"RIFF\0\0\0\0WAVE", "WAV"),
        (b"RIFX\0\0\0\0WAVE", "WAV"),
        (b"RF64\xff\xff\xff\xffWAVE", "RF64"),
        (b"FORM\0\0\0\0AIFF", "AIFF"),
        (b"FORM\0\0\0\0AIFC", "AIFF"),
        (b"fLaC", "FLAC"),
        (b"caff\0\1", "CAF"),
        (W64, "W64"),
        (b"OggS\0", "Ogg"),
        (b"ID3\3", "MP3"),
        (b"\0\0\0\x20ftypM4A ", "MP4"),
        (b"RIFF\0\0\0\0AVI ", None),
        (b"RIFF\0\0\0\0WAV", None),
        (b"FORM\0\0\0\08SVX", None),
        (b"", None),
        (b"\0" * HEAD_BYTES, None),
    ],
)
def test_a_file_is_known_by_its_first_bytes(head, kind):
    assert sniff(head) == kind
    assert sniff(head.ljust(HEAD_BYTES, b"\1")[:HEAD_BYTES]) == (kind if head[8:] != b"WAV" else None)


def test_every_readable_kind_has_a_mark():
    heads = [b"RIFF1234WAVE", b"RF641234WAVE", b"FORM1234AIFF", b"fLaC", b"caff\0\1", W64]
    heads += [b"BW641234WAVE", b".snd", b"dns.", b"NIST_1A", b"Creative Voice File\x1a"]
    assert {sniff(head) for head in heads} == READABLE


def test_a_kind_is_called_with_its_article():
    assert called("WAV") == "a WAV file"
    assert called("AIFF") == "an AIFF file"


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (b"\xff\xfb\x90", True),
        (b"\xff\xf3\x40", True),
        (b"\xff\xf9\x90", False),  # the layer bits of AAC
        (b"\xff\xfb\xf0", False),  # no such bit rate
        (b"\xff\xfb\x9c", False),  # no such sample rate
        (b"\xff\x00\x90", False),
        (b"\xff\xfb", False),
        (b"", False),
    ],
)
def test_an_mpeg_audio_frame_is_known_by_its_header(head, answer):
    assert looks_like_mp3(head) is answer
