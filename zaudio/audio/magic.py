"""The kind of a file, by its first bytes.

Rules: pure. A file's name does not count here. A mark has at least four bytes. `looks_like_mp3` has fewer, so it must
decide nothing but the words of an error.
"""

from __future__ import annotations

HEAD_BYTES = 40  # as far as the longest mark reaches: the second GUID of W64

# Containers whose samples can be read from any frame on, with every bit right.
READABLE = frozenset({"WAV", "RF64", "BW64", "AIFF", "FLAC", "CAF", "W64", "AU", "NIST", "VOC"})

_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"

# (offset, mark, offset, mark, name); the second mark is empty where one is enough.
_MARKS = (
    (0, b"RIFF", 8, b"WAVE", "WAV"),
    (0, b"RIFX", 8, b"WAVE", "WAV"),
    (0, b"RF64", 8, b"WAVE", "RF64"),
    (0, b"FORM", 8, b"AIFF", "AIFF"),
    (0, b"FORM", 8, b"AIFC", "AIFF"),
    (0, b"fLaC", 0, b"", "FLAC"),
    (0, b"caff", 4, b"\x00\x01", "CAF"),
    (0, _W64_RIFF, 0, b"", "W64"),
    (0, b"BW64", 8, b"WAVE", "BW64"),
    (0, b".snd", 0, b"", "AU"),
    (0, b"dns.", 0, b"", "AU"),
    (0, b"Creative Voice File\x1a", 0, b"", "VOC"),
    (0, b"NIST_1A", 0, b"", "NIST"),
    # Decoded in order.
    (0, b"OggS", 0, b"", "Ogg"),
    (0, b"ID3", 0, b"", "MP3"),
    # Known, and refused: they are compressed.
    (4, b"ftyp", 0, b"", "MP4"),
    (0, b"\x1a\x45\xdf\xa3", 0, b"", "Matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0, b"", "WMA"),
    (0, b"wvpk", 0, b"", "WavPack"),
    (0, b"MAC ", 0, b"", "Monkey's Audio"),
    (0, b"TTA1", 0, b"", "TTA"),
    (0, b"tBaK", 0, b"", "TAK"),
    (0, b"MPCK", 0, b"", "Musepack"),
    (0, b"#!AMR", 0, b"", "AMR"),
    (0, b"DSD ", 0, b"", "DSF"),
    (0, b"FRM8", 12, b"DSD ", "DSDIFF"),
)

_VOWELS = frozenset({"RF64", "AIFF", "Ogg", "MP3", "MP4", "AU", "AMR", "AAC"})


def sniff(head: bytes) -> str | None:
    """Return the name of the container that starts with those bytes; None when no known one does."""
    for first, mark, second, form, name in _MARKS:
        if head[first : first + len(mark)] == mark and head[second : second + len(form)] == form:
            return name
    return None


def called(kind: str) -> str:
    """Return the kind with its article: ``a WAV file``, ``an AIFF file``."""
    return f"{'an' if kind in _VOWELS else 'a'} {kind} file"


def looks_like_mp3(head: bytes) -> bool:
    """Return whether the bytes start with an MPEG audio frame: 11 set bits, a layer, a bit rate, a sample rate.

    One raw file in a few thousand does too.
    """
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    return head[1] & 0x06 != 0 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C
