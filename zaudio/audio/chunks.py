"""Lists of chunks: the walk over them, and a look at the bytes that follow the samples.

Rules: pure: bytes come from a `read_at(offset, length)`. Bounded: `MAX_CHUNKS` headers, a few bytes each, and at most
`ZEROS_MOST` bytes behind the samples, and `TRIM_BYTES` for each tag at the end. Damage raises a LayoutError, whose
message is a sentence for the user.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

MAX_CHUNKS = 4096  # files have a dozen; a hostile file of empty chunks must not cost a second
ZEROS_MOST = 32 * 2**20  # the largest cluster of exFAT: how far a recorder fills a file up; 32 MiB are read in 10 ms
JUNK_MOST = 4096  # a sector; 23 ms of a CD, so that a header that is not up to date is not taken for a true one

Order = Literal["little", "big"]
ReadAt = Callable[[int, int], bytes]

TRIM_BYTES = 2**20  # of a file's end in which the start of a tag is looked for: pictures included, in 10 ms
TRIM_MOST = 16  # tags and chunks that are left out there

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
_MARKS = re.compile(b"|".join(map(re.escape, sorted(_KNOWN))))


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
        rest: A name for those that are neither; empty if no byte is left, or if they could be samples.
        names: The chunks among them.
    """

    clean: bool
    rest: str = ""
    names: tuple[bytes, ...] = ()

    @property
    def known(self) -> bool:
        """Whether chunks follow, and all have names that chunks behind samples have."""
        return bool(self.names) and all(name[:4] in _KNOWN for name in self.names)


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The end of samples without the tags and chunks that stand there.

    Attributes:
        end: The byte behind the samples.
        words: A description of the tags and chunks; empty if nothing was found.
        names: The names of the chunks, and an empty one for each tag.
    """

    end: int
    words: str = ""
    names: tuple[bytes, ...] = ()


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


def trim(grammar: Grammar | None, read_at: ReadAt, start: int, size: int) -> Trimmed:
    """Find the end of samples that begin at `start` and go on to the end of the file, but for tags and chunks there.

    A thing at the end is one of these by its mark and by its length, which must reach the end exactly.
    """
    end, words, names = size, list[str](), list[bytes]()
    for _ in range(TRIM_MOST):
        found = _last(grammar, read_at, start, end)
        if found is None:
            break
        end, word, name = found
        words.insert(0, word)
        names.insert(0, name)
    return Trimmed(end, " and ".join(words), tuple(names))


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


def _last(grammar: Grammar | None, read_at: ReadAt, start: int, end: int) -> tuple[int, str, bytes] | None:
    """Return place, description and name of the tag or chunk that ends at `end`; None if no tag or chunk does."""
    begin = max(start, end - TRIM_BYTES)
    content = read_at(begin, end - begin)
    tags = (_last_id3v1(content), _last_ape(content, end - start), _last_id3v2(content, end - start))
    found = [
        (end - length, word, b"")
        for length, word in zip(tags, ("an ID3v1 tag", "an APE tag", "an ID3v2 tag"), strict=True)
        if length
    ]
    if grammar is not None and (chunk := _last_chunk(grammar, content, begin)) is not None:
        found.append(chunk)
    return min(found, default=None)


def _last_chunk(grammar: Grammar, content: bytes, begin: int) -> tuple[int, str, bytes] | None:
    """Return place, description and name of the chunk at the end of `content`, whose first byte is the `begin`th."""
    end = begin + len(content)
    for match in _MARKS.finditer(content):
        at = match.start()
        head = content[at : at + grammar.header]
        length = int.from_bytes(head[grammar.id_bytes :], grammar.order) - (grammar.header if grammar.inclusive else 0)
        behind = begin + at + grammar.header + length
        if length >= 0 and end in (behind, grammar.aligned(behind), grammar.padded(behind)):
            return begin + at, f"one {_text(head)} chunk", head[: grammar.id_bytes]  # the outermost one
    return None


def _last_id3v1(content: bytes) -> int:
    """Return the length of an ID3v1 tag at the end, with zeros behind it and an extension in front; 0 if none is."""
    first = max(0, len(content.rstrip(b"\0")) - ID3V1_BYTES)
    places = range(first, min(first + ID3V1_BYTES, len(content) - ID3V1_BYTES) + 1)
    at = next((place for place in places if _is_id3v1(content[place : place + ID3V1_BYTES])), -1)
    if at < 0:
        return 0
    if at >= _ID3V1_MORE and content.startswith(b"TAG+", at - _ID3V1_MORE):
        at -= _ID3V1_MORE
    return len(content) - at


def _last_ape(content: bytes, most: int) -> int:
    """Return the length of an APE tag whose footer stands at the end; 0 if none does."""
    if content[-32:-24] != b"APETAGEX":
        return 0
    length, flags = (int.from_bytes(content[at : at + 4], "little") for at in (len(content) - 20, len(content) - 12))
    length += 32 if flags >> 31 else 0  # a header
    return length if 32 <= length <= most else 0


def _last_id3v2(content: bytes, most: int) -> int:
    """Return the length of an ID3v2 tag at the end, which has a footer or starts in `content`; 0 without a tag."""
    if content[-10:-7] == b"3DI":
        length = id3v2_bytes(b"ID3" + content[-7:])
        return length if length <= most else 0
    at = content.find(b"ID3")
    while at >= 0 and id3v2_bytes(content[at : at + 10]) != len(content) - at:
        at = content.find(b"ID3", at + 1)
    return len(content) - at if at >= 0 else 0


def _name(read_at: ReadAt, start: int, size: int) -> str:
    """Return a name for bytes that are no chunks; an empty one if they could be samples."""
    tags = trim(None, read_at, start, size)
    words = [tags.words] if tags.words else []
    length = tags.end - start
    mark = read_at(start, 10)
    if length and mark.startswith(b"APETAGEX"):
        words.insert(0, f"an APE tag of {length} bytes")
    elif length and id3v2_bytes(mark) >= length:
        words.insert(0, f"an ID3v2 tag of {length} bytes")
    elif length and length <= ZEROS_MOST and _is_zero(read_at, start, tags.end):
        words.insert(0, "1 byte" if length == 1 else f"{length} zeros")
    elif 0 < length <= JUNK_MOST:
        words.insert(0, "1 byte" if length == 1 else f"{length} bytes")
    elif length:
        return ""
    return " and ".join(words)


def _is_id3v1(tag: bytes) -> bool:
    """Return whether 128 bytes are a tag: title, artist and album are text up to a zero."""
    if not tag.startswith(b"TAG"):
        return False
    texts = (tag[at : at + 30].split(b"\0")[0] for at in (3, 33, 63))  # some programs leave old text behind the zero
    return all(byte >= 0x20 for text in texts for byte in text)


def _is_zero(read_at: ReadAt, start: int, end: int) -> bool:
    return not any(any(read_at(at, min(2**16, end - at))) for at in range(start, end, 2**16))


def _text(name: bytes) -> str:
    return name[:4].decode("ascii", "backslashreplace").strip()
