"""Reading metadata from the files that come in: WAV, RF64, BW64, AIFF, FLAC, MP3 and Ogg.

Rules: pure: bytes come from a `read_at(offset, length)`. The walk over chunks is bounded, and a chunk that is too long
is passed over. A file whose samples can be read never fails here: what is damaged is left out, and told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from zaudio.audio.chunks import Grammar, LayoutError, ReadAt, id3v2_bytes, walk
from zaudio.audio.id3 import ID3V1_BYTES, parse_id3v1, parse_id3v2
from zaudio.audio.layout import GRAMMARS
from zaudio.audio.metadata import BODY_MOST, Carried, Cue, Metadata
from zaudio.audio.ogg import second_packet
from zaudio.audio.tagging import (
    AIFF_TEXTS,
    Tags,
    bounded,
    parse_aiff_text,
    parse_comments,
    parse_cues,
    parse_list,
    parse_markers,
    split_comments,
)

BLOCKS_MOST = 1024  # blocks of a FLAC's metadata
ID3_MOST = 16  # tags in front of an MP3
APE_BYTES = 32  # of an APE tag's footer

_OGG = {"Ogg Vorbis": b"\x03vorbis", "Ogg Opus": b"OpusTags"}  # the mark of their comments

# Chunks that say nothing, or nothing that a result could go by: PEAK and MD5 are of the samples as they were.
_SILENT = frozenset(
    {b"fmt ", b"fact", b"data", b"ds64", b"JUNK", b"junk", b"PAD ", b"FLLR", b"PEAK", b"MD5 ", b"afsp", b"levl"}
    | {b"COMM", b"SSND", b"FVER", b"free", b"r64m"}
)
_VORBIS, _APPLICATION, _PICTURE, _CUESHEET = 4, 2, 6, 5
_BLOCKS = {_PICTURE: "pictures", _CUESHEET: "a cue sheet", _APPLICATION: "an application's block"}


@dataclass(slots=True)
class _Found:
    """The metadata that was found so far."""

    metadata: Metadata = field(default_factory=Metadata)
    cues: bytes = b""
    names: dict[int, Cue] = field(default_factory=dict)
    left_out: dict[str, None] = field(default_factory=dict)

    def add_tags(self, tags: Tags) -> None:
        self.metadata = replace(self.metadata, tags=bounded((*self.metadata.tags, *tags)))

    def add_comments(self, comments: Tags) -> int:
        """Take Vorbis comments; return the mask of speakers that is among them, or 0."""
        tags, speakers, left_out = split_comments(comments)
        self.add_tags(tags)
        for words in left_out:
            self.leave_out(words)
        return speakers

    def add_chunk(self, name: bytes, body: bytes) -> None:
        """Take the body of a chunk of WAV or AIFF."""
        if name == b"bext":
            self.metadata = replace(self.metadata, bext=self.metadata.bext or body)
        elif name == b"iXML":
            self.metadata = replace(self.metadata, ixml=self.metadata.ixml or body)
        elif name == b"guan":
            self.metadata = replace(self.metadata, guan=self.metadata.guan or body)
        elif name == b"LIST" and body[:4] in (b"INFO", b"adtl"):
            tags, names = parse_list(body)
            self.add_tags(tags)
            self.names |= names
        elif name == b"cue ":
            self.cues = self.cues or body
        elif name == b"MARK":
            self.metadata = replace(self.metadata, cues=parse_markers(body))
        elif name in AIFF_TEXTS:
            self.add_tags(parse_aiff_text(name, body))
        elif name not in _SILENT:
            self.leave_out(_words(name))

    def leave_out(self, words: str) -> None:
        if len(self.left_out) < 16:
            self.left_out[words] = None

    @property
    def carried(self) -> Carried:
        """The metadata, and a sentence about the rest."""
        metadata = self.metadata
        if self.cues:
            metadata = replace(metadata, cues=parse_cues(self.cues, self.names))
        if not self.left_out:
            return Carried(metadata)
        return Carried(metadata, (f"metadata that is not carried over: {', '.join(self.left_out)}",))


def read_metadata(kind: str, read_at: ReadAt, size: int, samples: tuple[int, int] = (0, 0)) -> Carried:
    """Return the metadata of a file.

    Args:
        kind: The kind of the file, as its source names it; others than those above have none.
        read_at: Reads `length` bytes from `offset` on, fewer only where the file ends.
        size: Bytes of the file.
        samples: The first byte of the samples and the one behind them, as `layout.find_samples` found them.
    """
    found = _Found()
    if kind == "FLAC":
        _read_flac(found, read_at)
    elif kind == "MP3":
        _read_mp3(found, read_at, size)
    elif kind in _OGG:
        _read_ogg(found, read_at, _OGG[kind])
    elif kind in GRAMMARS:
        _read_chunks(found, GRAMMARS[kind], read_at, size, samples)
    return found.carried


def _read_chunks(found: _Found, grammar: Grammar, read_at: ReadAt, size: int, samples: tuple[int, int]) -> None:
    start, end = samples
    with contextlib.suppress(LayoutError):
        for name, offset, length in _chunks(grammar, read_at, size, start, end):
            if name == b"fmt ":
                found.metadata = replace(found.metadata, speakers=_speakers(read_at(offset, min(length, 40))))
            elif name in _SILENT:
                continue
            elif length > BODY_MOST or length > size - offset:
                found.leave_out(f"{_words(name)} of {length} bytes")
            else:
                found.add_chunk(name, read_at(offset, length))


def _chunks(grammar: Grammar, read_at: ReadAt, size: int, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Give the chunks in front of the samples, and those behind them, whatever the samples' header says."""
    for name, offset, length in walk(grammar, read_at, size, grammar.first):
        if name in grammar.single and offset <= start and name in (b"data", b"SSND"):
            break
        yield name, offset, length
    behind = grammar.aligned(end)
    if end > 0 and behind < size:
        yield from walk(grammar, read_at, size, behind)


def _read_flac(found: _Found, read_at: ReadAt) -> None:
    """Read the blocks of metadata in front of a FLAC's frames (RFC 9639, section 8)."""
    position = 4
    for _ in range(BLOCKS_MOST):
        head = read_at(position, 4)
        if len(head) < 4:
            return
        kind, length = head[0] & 0x7F, int.from_bytes(head[1:], "big")
        if kind in (_VORBIS, _APPLICATION) and length <= BODY_MOST:
            body = read_at(position + 4, length)
            if kind == _VORBIS:
                speakers = found.add_comments(parse_comments(body))
                found.metadata = replace(found.metadata, speakers=speakers)
            elif body.startswith(b"riff") and len(body) >= 12:
                # A chunk of the WAV that it was encoded from, as `flac --keep-foreign-metadata` keeps them.
                if body[4:8] not in (b"RIFF", b"RF64"):
                    found.add_chunk(body[4:8], body[12 : 12 + int.from_bytes(body[8:12], "little")])
            else:
                found.leave_out(_BLOCKS[kind])
        elif kind in _BLOCKS or kind == _VORBIS:
            found.leave_out(_BLOCKS.get(kind, f"comments of {length} bytes"))
        position += 4 + length
        if head[0] & 0x80:
            return


def _read_ogg(found: _Found, read_at: ReadAt, mark: bytes) -> None:
    """Read the comments of a Vorbis or Opus stream, its second packet. Its channels have speakers by their number."""
    packet = second_packet(read_at, 0, BODY_MOST)
    if len(packet) > BODY_MOST:
        found.leave_out(f"comments of more than {BODY_MOST} bytes")
    elif packet.startswith(mark):
        found.add_comments(parse_comments(packet[len(mark) :]))


def _read_mp3(found: _Found, read_at: ReadAt, size: int) -> None:
    """Read the ID3 tags of an MP3: those in front, and only without them the one at its end, which cuts texts off."""
    start = 0
    for _ in range(ID3_MOST):
        length = id3v2_bytes(read_at(start, 10))
        if not length:
            break
        tags, left_out = parse_id3v2(read_at(start, min(length, BODY_MOST)))
        found.add_comments(tags)
        for words in left_out:
            found.leave_out(words)
        start += length
    last = read_at(max(start, size - ID3V1_BYTES), ID3V1_BYTES)
    if not found.metadata.tags:
        found.add_tags(parse_id3v1(last))
    # An APE tag ends with its mark, in front of an ID3v1 tag if there is one.
    end = size - (ID3V1_BYTES if last.startswith(b"TAG") else 0)
    if read_at(max(start, end - APE_BYTES), APE_BYTES).startswith(b"APETAGEX"):
        found.leave_out("an APE tag")


def _speakers(fmt: bytes) -> int:
    """Return the mask of speakers of an extensible fmt chunk; 0 for any other, and where all know the speakers."""
    is_extensible = fmt[:2] == b"\xfe\xff" and len(fmt) >= 24
    return int.from_bytes(fmt[20:24], "little") if is_extensible and int.from_bytes(fmt[2:4], "little") > 2 else 0


def _words(name: bytes) -> str:
    return f"a {name.decode('ascii', 'backslashreplace').strip()} chunk"
