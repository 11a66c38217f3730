"""ID3: the tags of an MP3, in front of its frames (ID3v2.2 to 2.4) or at its end (ID3v1).

Rules: pure. Every size is checked against the bytes that are left. Damage ends the tag and is no error. A frame that an
output has no place for is named, never dropped in silence. Source: "ID3 tag version 2.4.0" and "2.3.0", and Eric Kemp's
ID3v1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from zaudio.audio.chunks import id3v2_bytes
from zaudio.audio.metadata import TAGS_MOST
from zaudio.audio.tagging import Tags, bounded, text

# Frames of text, by their names in 2.3 and 2.4, and in 2.2; and their names as Vorbis comments.
_TEXTS = {
    "TIT2": "TITLE", "TT2": "TITLE", "TPE1": "ARTIST", "TP1": "ARTIST", "TALB": "ALBUM", "TAL": "ALBUM",
    "TCON": "GENRE", "TCO": "GENRE", "TRCK": "TRACKNUMBER", "TRK": "TRACKNUMBER", "TPOS": "DISCNUMBER",
    "TPA": "DISCNUMBER", "TDRC": "DATE", "TYER": "DATE", "TYE": "DATE", "TCOP": "COPYRIGHT", "TCR": "COPYRIGHT",
    "TENC": "ENCODED-BY", "TEN": "ENCODED-BY", "TSSE": "ENCODER", "TSS": "ENCODER", "TCOM": "COMPOSER",
    "TCM": "COMPOSER", "TEXT": "LYRICIST", "TXT": "LYRICIST", "TLAN": "LANGUAGE", "TLA": "LANGUAGE",
    "TPE2": "ALBUMARTIST", "TP2": "ALBUMARTIST", "TSRC": "ISRC", "TRC": "ISRC", "TPUB": "PUBLISHER",
    "TPB": "PUBLISHER", "TBPM": "BPM", "TBP": "BPM",
}  # fmt: skip
_REMARKS = {"COMM": "COMMENT", "COM": "COMMENT", "USLT": "LYRICS", "ULT": "LYRICS"}  # with a language
_NAMED = frozenset({"TXXX", "TXX"})  # with a name of their own
_SILENT = frozenset({"TLEN", "TLE"})  # the samples have another length, maybe
_WORDS = {
    **dict.fromkeys(("APIC", "PIC"), "pictures"),
    **dict.fromkeys(("RVA2", "RVAD", "RVA", "RGAD"), "replay gain"),
}
_GENRE_NAMES = (
    "Blues|Classic Rock|Country|Dance|Disco|Funk|Grunge|Hip-Hop|Jazz|Metal|New Age|Oldies|Other|Pop|R&B|Rap|Reggae|"
    "Rock|Techno|Industrial|Alternative|Ska|Death Metal|Pranks|Soundtrack|Euro-Techno|Ambient|Trip-Hop|Vocal|Jazz+Funk|"
    "Fusion|Trance|Classical|Instrumental|Acid|House|Game|Sound Clip|Gospel|Noise|AlternRock|Bass|Soul|Punk|Space|"
    "Meditative|Instrumental Pop|Instrumental Rock|Ethnic|Gothic|Darkwave|Techno-Industrial|Electronic|Pop-Folk|"
    "Eurodance|Dream|Southern Rock|Comedy|Cult|Gangsta|Top 40|Christian Rap|Pop/Funk|Jungle|Native American|Cabaret|"
    "New Wave|Psychedelic|Rave|Showtunes|Trailer|Lo-Fi|Tribal|Acid Punk|Acid Jazz|Polka|Retro|Musical|Rock & Roll|"
    "Hard Rock"
)
_GENRES = _GENRE_NAMES.split("|")  # by their numbers in ID3v1
_ENCODINGS = ("cp1252", "utf-16", "utf-16-be", "utf-8")
_NAME = re.compile(rb"[A-Z][A-Z0-9]{2,3}\Z")

ID3V1_BYTES = 128
FRAMES_MOST = 4096  # files have a dozen; a hostile one of empty frames must not cost a second


class _Frame(NamedTuple):
    name: str
    body: bytes | None  # None where it is compressed, encrypted or not all there


def parse_id3v2(tag: bytes) -> tuple[Tags, tuple[str, ...]]:
    """Return the texts of an ID3v2 tag under the names of Vorbis comments, and words for the other frames.

    Args:
        tag: The bytes of the tag; of a long one the first will do.
    """
    found: list[tuple[str, str]] = []
    left_out = dict[str, None]()
    for number, frame in enumerate(_frames(tag)):
        if number == FRAMES_MOST:
            left_out[f"frames behind the first {FRAMES_MOST}"] = None
            break
        if frame.name in _SILENT:
            continue
        tags = _texts(frame.name, frame.body) if frame.body is not None else None
        if tags is None:
            left_out[_WORDS.get(frame.name, f"a {frame.name} frame")] = None
        else:
            found += tags
    return bounded(found), tuple(left_out)


def parse_id3v1(tag: bytes) -> Tags:
    """Return the texts of the 128 bytes of an ID3v1 tag; none when they are no such tag."""
    if len(tag) != ID3V1_BYTES or not tag.startswith(b"TAG"):
        return ()
    names = {"TITLE": tag[3:33], "ARTIST": tag[33:63], "ALBUM": tag[63:93], "DATE": tag[93:97], "COMMENT": tag[97:127]}
    found = [(name, text(words)) for name, words in names.items()]
    if not tag[125] and tag[126]:  # ID3v1.1
        found.append(("TRACKNUMBER", str(tag[126])))
    if tag[127] < len(_GENRES):
        found.append(("GENRE", _GENRES[tag[127]]))
    return bounded((name, words) for name, words in found if words)


def _texts(name: str, body: bytes) -> list[tuple[str, str]] | None:
    """Return the tags of a frame; None when it holds no text, or a name that cannot be kept."""
    if not body or body[0] >= len(_ENCODINGS):
        return None
    encoding, content = body[0], body[1:]
    if name in _TEXTS:
        texts = [words for words in _split(content, encoding) if words]
        return [(_TEXTS[name], _genre(words) if _TEXTS[name] == "GENRE" else words) for words in texts]
    if name in _REMARKS:
        what, *texts = _split(content[3:], encoding)
        return [(_REMARKS[name], words) for words in texts[:1] if words] if not what else None
    if name in _NAMED:
        what, *texts = _split(content, encoding)
        return [(what.upper(), words) for words in texts if words] if what and what.isascii() else None
    return None


def _split(content: bytes, encoding: int) -> list[str]:
    """Return the texts of a frame, which zeros part; one at least."""
    if encoding in (1, 2):
        content = content[: len(content) // 2 * 2]
    words = content.decode(_ENCODINGS[encoding], "replace").rstrip("\0")
    return [piece.lstrip("\ufeff").rstrip() for piece in words.split("\0", TAGS_MOST)]


def _genre(words: str) -> str:
    """Return a genre as text where it is a number of the table: ``17``, ``(17)`` or ``(17)Rock``."""
    match = re.fullmatch(r"\(?(\d{1,2})\)?|\(\d+\)(.+)", words)
    if match is None:
        return words
    if match[2] is not None:
        return match[2]
    number = int(match[1])
    return _GENRES[number] if number < len(_GENRES) else words


# Frames


def _frames(tag: bytes) -> Iterator[_Frame]:
    length = id3v2_bytes(tag)
    if not length or tag[3] not in (2, 3, 4) or (tag[3] == 2 and tag[5] & 0x40):
        return
    major, flags, body = tag[3], tag[5], tag[10:length]
    if flags & 0x80 and major < 4:
        body = _synchronised(body)
    at = _extended(body, major) if flags & 0x40 else 0
    head = 6 if major == 2 else 10
    while at + head <= len(body):
        name = body[at : at + head // 3 + 1]
        if not _NAME.match(name):
            return  # the padding
        size = _size(body, at, major)
        content = body[at + head : at + head + size]
        whole = len(content) == size
        yield _Frame(name.decode("ascii"), _content(content, body[at + head - 1], major) if whole else None)
        at += head + size


def _extended(body: bytes, major: int) -> int:
    """Return the length of an extended header."""
    return _syncsafe(body[:4]) if major == 4 else 4 + int.from_bytes(body[:4], "big")


def _size(body: bytes, at: int, major: int) -> int:
    """Return the length of a frame's body."""
    if major == 2:
        return int.from_bytes(body[at + 3 : at + 6], "big")
    field = body[at + 4 : at + 8]
    plain = int.from_bytes(field, "big")
    if major == 3:
        return plain
    safe = _syncsafe(field)
    # Some programs write 2.4 with the sizes of 2.3.
    return plain if not _begins(body, at + 10 + safe) and _begins(body, at + 10 + plain) else safe


def _begins(body: bytes, at: int) -> bool:
    """Return whether a frame, the padding or the end may be there."""
    return at == len(body) or body[at : at + 1] == b"\0" or bool(_NAME.match(body[at : at + 4]))


def _content(content: bytes, flags: int, major: int) -> bytes | None:
    """Return a frame's body behind the bytes that its flags announce; None when it is compressed or encrypted."""
    if major == 2 or not flags:
        return content
    if flags & (0xC0 if major == 3 else 0x0C):
        return None
    if flags & (0x20 if major == 3 else 0x40):  # the number of a group
        content = content[1:]
    if major == 4 and flags & 0x01:  # the length of the body
        content = content[4:]
    return _synchronised(content) if major == 4 and flags & 0x02 else content


def _synchronised(content: bytes) -> bytes:
    return content.replace(b"\xff\x00", b"\xff")


def _syncsafe(field: bytes) -> int:
    return sum((byte & 0x7F) << shift for byte, shift in zip(field, (21, 14, 7, 0), strict=False))
