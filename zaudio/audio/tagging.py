"""Metadata as bytes: chunks of WAV, Vorbis comments, and the texts and markers of AIFF. Reading and writing.

Rules: pure. Every size is checked against the bytes that are left, and all lists are bounded. Damage inside of metadata
ends that piece of it, and is no error. Text is UTF-8. Any other text is taken as Windows-1252, which old WAVs have.
Sources: Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" for LIST, INFO, cue and adtl; Xiph's
"Ogg Vorbis I format specification: comment field"; Apple's "AIFF-C" draft of 1991 for MARK.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable, Iterator, Sequence

from zaudio.audio.metadata import (
    BY_TAG,
    CUES_MOST,
    INFO,
    LABELS_BYTES,
    TAG_MOST,
    TAGS_BYTES,
    TAGS_MOST,
    Cue,
    Metadata,
)
from zaudio.audio.wave import Piece, chunk

Tags = tuple[tuple[str, str], ...]

VENDOR = b"zaudio"
SPEAKERS = "WAVEFORMATEXTENSIBLE_CHANNEL_MASK"  # the comment by which `flac` keeps a WAV's mask of speakers
GAIN = ("REPLAYGAIN_", "R128_")  # comments about the level of the samples as they were
PICTURES = frozenset({"METADATA_BLOCK_PICTURE", "COVERART", "COVERARTMIME"})

_AIFF_TEXTS = {b"NAME": "TITLE", b"AUTH": "ARTIST", b"(c) ": "COPYRIGHT", b"ANNO": "COMMENT"}
AIFF_TEXTS = frozenset(_AIFF_TEXTS)
_CUE_BYTES = 24
_REGION = b"rgn "  # the purpose of a region in an ltxt chunk


# Chunks of WAV


def wave_chunks(metadata: Metadata) -> tuple[list[Piece], tuple[str, ...]]:
    """Return the chunks of a WAV, in a fixed order, and the names of the tags that it has no place for."""
    info, homeless = info_list(metadata.tags)
    pieces = foreign_chunks(metadata)
    if info:
        pieces.append((b"LIST", info))
    return pieces, homeless


def foreign_chunks(metadata: Metadata) -> list[Piece]:
    """Return the chunks of a WAV but for its tags, which other containers have a place of their own for."""
    pieces = [(b"bext", metadata.bext), (b"iXML", metadata.ixml), (b"guan", metadata.guan)]
    if metadata.cues:
        pieces += [(b"cue ", _cue_points(metadata.cues)), (b"LIST", _adtl(metadata.cues))]
    return [(name, body) for name, body in pieces if body]


def info_list(tags: Tags) -> tuple[bytes, tuple[str, ...]]:
    """Return the body of an INFO list, and the names of tags that have no chunk there; without tags no body."""
    bodies, homeless = [], dict[str, None]()
    for tag, text in tags:
        name = tag if _is_info(tag) else BY_TAG.get(tag, "")
        if name:
            bodies.append(chunk(name.encode("ascii"), text.encode() + b"\0"))
        else:
            homeless[tag] = None
    return (b"INFO" + b"".join(bodies) if bodies else b""), tuple(homeless)


def parse_list(body: bytes) -> tuple[Tags, dict[int, Cue]]:
    """Return the tags of an INFO list, or the names of cue points of an adtl list by their numbers."""
    if body.startswith(b"INFO"):
        named = ((name.decode("latin-1").upper(), text(content)) for name, content in _pieces(body[4:]))
        return bounded((INFO.get(name, name), words) for name, words in named if words), {}
    return (), _parse_adtl(body[4:]) if body.startswith(b"adtl") else {}


def parse_cues(body: bytes, names: dict[int, Cue]) -> tuple[Cue, ...]:
    """Return the cue points of a ``cue `` chunk, with the names that an adtl list gave them."""
    count = min(int.from_bytes(body[:4], "little"), (len(body) - 4) // _CUE_BYTES, CUES_MOST)
    cues = []
    for at in range(4, 4 + _CUE_BYTES * max(0, count), _CUE_BYTES):
        number, _, _, _, _, frame = struct.unpack_from("<II4sIII", body, at)
        named = names.get(number, Cue(0))
        cues.append(Cue(frame, named.label, named.note, named.length))
    return tuple(cues)


def _cue_points(cues: Sequence[Cue]) -> bytes:
    points = (struct.pack("<II4sIII", number, number, b"data", 0, 0, cue.frame) for number, cue in enumerate(cues, 1))
    return struct.pack("<I", len(cues)) + b"".join(points)


def _adtl(cues: Sequence[Cue]) -> bytes:
    parts = []
    for number, cue in enumerate(cues, 1):
        head = struct.pack("<I", number)
        if cue.label:
            parts.append(chunk(b"labl", head + cue.label.encode() + b"\0"))
        if cue.note:
            parts.append(chunk(b"note", head + cue.note.encode() + b"\0"))
        if cue.length:
            parts.append(chunk(b"ltxt", head + struct.pack("<I4sHHHH", cue.length, _REGION, 0, 0, 0, 0)))
    return b"adtl" + b"".join(parts) if parts else b""


def _parse_adtl(body: bytes) -> dict[int, Cue]:
    names: dict[int, Cue] = {}
    room = LABELS_BYTES
    for name, content in _pieces(body):
        if len(content) < 4 or len(names) > CUES_MOST or (room := room - len(content)) < 0:
            continue
        number = int.from_bytes(content[:4], "little")
        cue = names.get(number, Cue(0))
        if name == b"labl":
            cue = Cue(0, text(content[4:]), cue.note, cue.length)
        elif name == b"note":
            cue = Cue(0, cue.label, text(content[4:]), cue.length)
        elif name == b"ltxt" and len(content) >= 8:
            cue = Cue(0, cue.label, cue.note, int.from_bytes(content[4:8], "little"))
        names[number] = cue
    return names


def _pieces(body: bytes) -> Iterator[Piece]:
    """Give the chunks of a list, up to one that is longer than the list."""
    at = 0
    while at + 8 <= len(body):
        name, length = body[at : at + 4], int.from_bytes(body[at + 4 : at + 8], "little")
        if length > len(body) - at - 8:
            return
        yield name, body[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


# Texts and markers of AIFF


def parse_aiff_text(name: bytes, body: bytes) -> Tags:
    """Return the tag of a text chunk of AIFF."""
    words = text(body)
    return ((_AIFF_TEXTS[name], words),) if words else ()


def parse_markers(body: bytes) -> tuple[Cue, ...]:
    """Return the markers of a ``MARK`` chunk of AIFF."""
    cues, at, room = list[Cue](), 2, LABELS_BYTES
    for _ in range(min(int.from_bytes(body[:2], "big"), CUES_MOST)):
        if at + 7 > len(body):
            break
        frame, length = int.from_bytes(body[at + 2 : at + 6], "big"), body[at + 6]
        label = body[at + 7 : at + 7 + length]
        if len(label) < length or (room := room - length) < 0:
            break
        cues.append(Cue(frame, text(label)))
        at += 7 + length + (length + 1) % 2  # the length's byte and the text are an even number
    return tuple(cues)


# Vorbis comments


def parse_comments(body: bytes) -> Tags:
    """Return the tags of a block of Vorbis comments."""
    at = 4 + int.from_bytes(body[:4], "little")
    count = int.from_bytes(body[at : at + 4], "little")
    at += 4
    found = []
    for _ in range(min(count, TAGS_MOST)):
        if at + 4 > len(body):
            break
        length = int.from_bytes(body[at : at + 4], "little")
        comment = body[at + 4 : at + 4 + length]
        if len(comment) < length:
            break
        name, equals, words = comment.partition(b"=")
        if equals:
            found.append((name.decode("latin-1").upper(), text(words)))
        at += 4 + length
    return bounded(found)


def split_comments(tags: Tags) -> tuple[Tags, int, tuple[str, ...]]:
    """Return tags but for those about the samples, the mask of speakers, and words for those that are left out."""
    speakers, kept, left_out = 0, list[tuple[str, str]](), dict[str, None]()
    for name, words in tags:
        if name == SPEAKERS:
            with contextlib.suppress(ValueError):
                speakers = int(words, 16) & 0xFFFFFFFF
        elif name.startswith(GAIN):
            left_out["replay gain"] = None
        elif name in PICTURES:
            left_out["pictures"] = None
        else:
            kept.append((name, words))
    return tuple(kept), speakers, tuple(left_out)


def flac_tags(metadata: Metadata) -> Tags:
    """Return the tags of a FLAC, with its mask of speakers."""
    speakers = ((SPEAKERS, f"0x{metadata.speakers:04X}"),) if metadata.speakers else ()
    return metadata.tags + speakers


def comments(tags: Tags) -> bytes:
    """Return a block of Vorbis comments."""
    parts = [struct.pack("<I", len(VENDOR)), VENDOR, struct.pack("<I", len(tags))]
    for name, words in tags:
        comment = f"{name}={words}".encode()
        parts += [struct.pack("<I", len(comment)), comment]
    return b"".join(parts)


def bounded(tags: Iterable[tuple[str, str]]) -> Tags:
    """Return the first of the tags: not too many, none empty or too long, and no names that could not be written."""
    kept: list[tuple[str, str]] = []
    room = TAGS_BYTES
    for name, words in tags:
        size = len(words.encode())
        if not words or not _is_name(name) or size > TAG_MOST or len(kept) == TAGS_MOST or size > room:
            continue
        room -= size
        kept.append((name, words))
    return tuple(kept)


def text(content: bytes) -> str:
    """Return text up to its first zero, without blanks at its end."""
    content = content.split(b"\0", 1)[0]
    try:
        words = content.decode()
    except UnicodeDecodeError:
        words = content.decode("cp1252", "replace")
    return words.rstrip()


def _is_name(name: str) -> bool:
    """Return whether a Vorbis comment may have that name: ASCII without a tilde and an equals sign."""
    return 0 < len(name) <= 64 and all(" " <= sign <= "}" and sign != "=" for sign in name)


def _is_info(tag: str) -> bool:
    """Return whether a tag is named as a chunk of INFO that the table does not have."""
    return len(tag) == 4 and tag[0] == "I" and tag.isalnum() and tag.isascii() and tag.isupper() and tag not in INFO
