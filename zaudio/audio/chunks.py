"""Lists of chunks: the walk over them, and a look at the bytes that follow the samples.

Rules: pure: bytes come from a `read_at(offset, length)`. Bounded: `MAX_CHUNKS` headers, a few bytes each, and at most
`ZEROS_MOST` bytes behind the samples. Damage raises a LayoutError, whose message is a sentence for the user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

MAX_CHUNKS = 4096  # files have a dozen; a hostile file of empty chunks must not cost a second
ZEROS_MOST = 32 * 2**20  # the largest cluster of exFAT: how far a recorder fills a file up; 32 MiB are read in 10 ms
JUNK_MOST = 4096  # a sector; 23 ms of a CD, so that a header that is not up to date is not taken for a true one

Order = Literal["little", "big"]
ReadAt = Callable[[int, int], bytes]

ID3V1_BYTES = 128
_ID3V1_MORE = 227  # "TAG+", which stands in front of it in a few files

# Chunks that may stand behind samples. A broken one has to have one of these names to be left out; others could be
# samples.
_NAMES = (
    b"LIST list INFO cue  fact bext iXML axml id3  ID3  JUNK junk PAD  FLLR smpl inst PEAK cart ltxt plst acid strc "
    b"DISP _PMX chna umid levl LGWV MD5  afsp NAME AUTH (c)  ANNO COMT MARK INST APPL MIDI AESD FVER CHAN info strg "
    b"mark kuki chan free edct uuid regn midi peak data fmt  SSND COMM desc"
)
_KNOWN = frozenset(_NAMES[at : at + 4] for at in range(0, len(_NAMES), 5))


class LayoutError(Exception):
    """The headers and the file disagree; the message is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """The way in which a family of files writes its list of chunks.

    Attributes:
        first: The offset of the first chunk.
        id_bytes: Bytes of a chunk's name.
        size_bytes: Bytes of its size.
        order: The byte order of its size.
        align: The multiple of bytes at which a chunk starts.
        inclusive: Whether a chunk's size counts its own header.
        single: Names of chunks that a file has once at most.
    """

    first: int
    id_bytes: int
    size_bytes: int
    order: Order
    align: int
    single: tuple[bytes, ...]
    inclusive: bool = False

    @property
    def header(self) -> int:
        """Bytes of a chunk's header."""
        return self.id_bytes + self.size_bytes

    def aligned(self, position: int) -> int:
        """Return the place of the next chunk."""
        return -(-position // self.align) * self.align

    def padded(self, position: int) -> int:
        """Return the other place of the next chunk: libsndfile pads the samples of a CAF, and no other chunk."""
        step = max(2, self.align)
        return -(-position // step) * step


@dataclass(frozen=True, slots=True)
class Tail:
    """The bytes behind the samples.

    Attributes:
        clean: Whether they are whole chunks and padding, up to the end of the file.
        rest: A name for those that are neither; empty if there are none, or if they could be samples.
        names: The chunks among them.
    """

    clean: bool
    rest: str = ""
    names: tuple[bytes, ...] = ()

    @property
    def known(self) -> bool:
        """Whether chunks follow, and all have names that chunks behind samples have."""
        return bool(self.names) and all(name[:4] in _KNOWN for name in self.names)


def walk(grammar: Grammar, read_at: ReadAt, size: int, position: int) -> Iterator[tuple[bytes, int, int]]:
    """Give name, offset and declared size of the body of each chunk from `position` to the end of the file.

    Raises:
        LayoutError: A size is smaller than the header that it counts, or there are too many chunks.
    """
    for _ in range(MAX_CHUNKS):
        head = read_at(position, grammar.header)
        if len(head) < grammar.header:
            return
        declared = int.from_bytes(head[grammar.id_bytes :], grammar.order) - (
            grammar.header if grammar.inclusive else 0
        )
        yield head[: grammar.id_bytes], position + grammar.header, declared
        if declared < 0:  # after the yield: a stream's samples may have no size at all
            raise LayoutError(f"is damaged: the chunk at byte {position} is smaller than its own header")
        position = grammar.aligned(position + grammar.header + declared)
        if position >= size:
            return
    raise LayoutError(f"has more than {MAX_CHUNKS} chunks")


def look_behind(grammar: Grammar | None, read_at: ReadAt, size: int, end: int) -> Tail:
    """Look at the bytes from `end`, where the samples end, to the end of the file.

    Args:
        grammar: The chunks that may stand there; None for a kind of file that has none.
        read_at: Reads `length` bytes from `offset` on.
        size: Bytes of the file.
        end: The byte behind the samples, at most `size`.
    """
    if end == size:
        return Tail(clean=True)
    if grammar is None:
        return Tail(clean=False, rest=_name(read_at, end, size))
    best = Tail(clean=False)
    for position in dict.fromkeys((end, grammar.padded(end))):  # some writers leave the padding out
        tail = _chunks(grammar, read_at, size, position)
        if tail.clean:
            return tail
        if not best.rest or len(tail.names) > len(best.names):
            best = tail
    return best


def end_without_tags(read_at: ReadAt, start: int, end: int) -> int:
    """Return the end of what lies between `start` and `end` without the ID3v1 tags at its end, which are no samples."""
    if end - start >= ID3V1_BYTES and _is_id3v1(read_at(end - ID3V1_BYTES, ID3V1_BYTES)):
        end -= ID3V1_BYTES
        if end - start >= _ID3V1_MORE and read_at(end - _ID3V1_MORE, 4) == b"TAG+":
            end -= _ID3V1_MORE
    return end


def id3v2_bytes(head: bytes) -> int:
    """Return the length of the ID3v2 tag that starts with those bytes; 0 if none does."""
    if len(head) < 10 or head[:3] != b"ID3" or head[3] == 0xFF or head[4] == 0xFF or max(head[6:10]) > 0x7F:
        return 0
    length = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return length + (10 if head[5] & 0x10 else 0)  # a footer


def _chunks(grammar: Grammar, read_at: ReadAt, size: int, position: int) -> Tail:
    names: list[bytes] = []
    for name, offset, declared in walk(grammar, read_at, size, position):
        if not all(0x20 <= byte < 0x7F for byte in name[:4]):
            break
        if declared > size - offset:
            if name[:4] not in _KNOWN:
                break
            rest = f"a broken {_text(name)} chunk of {declared} bytes, of which the file has {size - offset}"
            return Tail(False, rest, (*names, name))
        names.append(name)
        position = offset + declared
    if size in (position, grammar.padded(position)):
        return Tail(True, names=tuple(names))
    return Tail(False, _name(read_at, min(grammar.aligned(position), size), size), tuple(names))


def _name(read_at: ReadAt, start: int, size: int) -> str:
    """Return a name for bytes that are no chunks; an empty one if they could be samples."""
    end = end_without_tags(read_at, start, size)
    words = ["an ID3v1 tag"] if end < size else []
    length = end - start
    mark = read_at(start, 10)
    if length and (mark.startswith(b"APETAGEX") or read_at(max(start, end - 32), 8) == b"APETAGEX"):
        words.insert(0, f"an APE tag of {length} bytes")
    elif length and id3v2_bytes(mark) >= length:
        words.insert(0, f"an ID3v2 tag of {length} bytes")
    elif length and length <= ZEROS_MOST and _is_zero(read_at, start, end):
        words.insert(0, "1 byte" if length == 1 else f"{length} zeros")
    elif 0 < length <= JUNK_MOST:
        words.insert(0, "1 byte" if length == 1 else f"{length} bytes")
    elif length:
        return ""
    return " and ".join(words)


def _is_id3v1(tag: bytes) -> bool:
    """Return whether 128 bytes are a tag: title, artist and album are text, filled up with zeros or blanks."""
    texts = (tag[at : at + 30].rstrip(b"\0 ") for at in (3, 33, 63))
    return tag.startswith(b"TAG") and all(byte >= 0x20 for text in texts for byte in text)


def _is_zero(read_at: ReadAt, start: int, end: int) -> bool:
    return not any(any(read_at(at, min(2**16, end - at))) for at in range(start, end, 2**16))


def _text(name: bytes) -> str:
    return name[:4].decode("ascii", "backslashreplace").strip()
