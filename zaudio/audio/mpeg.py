"""MPEG audio (ISO/IEC 11172-3 and 13818-3): frame headers, and the length that an encoder noted.

Rules: pure: bytes come from a `read_at(offset, length)`. Nothing is decoded here.
"""

from __future__ import annotations

from zaudio.audio.chunks import ReadAt, id3v2_bytes, trim
from zaudio.audio.magic import looks_like_mp3

SLACK_BYTES = 4096  # two frames, at most: some encoders leave their own frame, or the last one, out of the length
SLACK = 0.01
NOTE_BYTES = 52  # as far as the note reaches in a frame's first bytes

_TAGS_MOST = 16

# kbit/s by the header's four bits, 1 to 14: of layers 1, 2, 3 of MPEG 1; then of layer 1 and of 2 and 3 of MPEG 2.
_RATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLERATES = (44100, 48000, 32000)


def frame_bytes(head: bytes) -> int:
    """Return the length of the frame that starts with those four bytes; 0 if none does, or it does not say."""
    if len(head) < 4 or not looks_like_mp3(head):
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    code = head[2] >> 4
    if version == 1 or not code:
        return 0
    rate = _RATES[1 if version == 3 else 2, layer][code - 1] * 1000
    samplerate = _SAMPLERATES[head[2] >> 2 & 3] >> {3: 0, 2: 1, 0: 2}[version]
    padding = head[2] >> 1 & 1
    if layer == 1:
        return (12 * rate // samplerate + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * rate // samplerate + padding


def is_mpeg(read_at: ReadAt) -> bool:
    """Return whether a file starts with two frames alike, one behind the other. Raw samples do so by no accident."""
    first = read_at(0, 4)
    length = frame_bytes(first)
    second = read_at(length, 4) if length else b""
    return bool(frame_bytes(second)) and second[1] == first[1] and second[2] & 0x0C == first[2] & 0x0C


def first_frame(read_at: ReadAt) -> int:
    """Return the byte behind the ID3v2 tags at the beginning."""
    start = 0
    for _ in range(_TAGS_MOST):
        length = id3v2_bytes(read_at(start, 10))
        if not length:
            break
        start += length
    return start


def is_adts(head: bytes) -> bool:
    """Return whether those bytes begin a frame of AAC, which differs from MPEG audio in two bits."""
    return len(head) >= 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0


def missing_or_more(read_at: ReadAt, size: int) -> int:
    """Return how many bytes a file has too many, as a negative number too few, by the note in its first frame.

    The note is the one that Xing, LAME and FFmpeg write. Without it, or where it nearly agrees, the answer is 0.
    """
    start = first_frame(read_at)
    head = read_at(start, NOTE_BYTES)
    if len(head) < NOTE_BYTES or not frame_bytes(head):
        return 0
    mono, first = head[3] >> 6 == 3, head[1] >> 3 & 3 == 3
    at = 4 + ((17 if mono else 32) if first else (9 if mono else 17))
    if head[at : at + 4] not in (b"Xing", b"Info") or not head[at + 7] & 2:
        return 0
    at += 12 if head[at + 7] & 1 else 8
    noted = int.from_bytes(head[at : at + 4], "big")
    difference = trim(None, read_at, start, size).end - start - noted
    return difference if abs(difference) > max(SLACK_BYTES, SLACK * noted) else 0
