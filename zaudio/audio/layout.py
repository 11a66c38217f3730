"""The place of the samples in a container, by its own headers, which must agree with the file.

libsndfile reads a truncated file as a shorter one, and a size that wrapped at 32 bits as the small number that it
became, without a word. So the headers of WAV, RF64, AIFF, CAF and W64, which all are lists of chunks, are walked here.

Rules: pure: bytes come from a `read_at(offset, length)`. Bounded: `MAX_CHUNKS` headers, a few bytes each. Sizes that
disagree raise a LayoutError that names both. FLAC is no list of chunks, and its frames carry checksums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

MAX_CHUNKS = 4096  # files have a dozen; a hostile file of empty chunks must not cost a second

ReadAt = Callable[[int, int], bytes]


class LayoutError(Exception):
    """The headers and the file disagree; the message is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Fmt:
    """The part of a WAV's ``fmt `` chunk that says how samples are stored.

    Attributes:
        tag: 1 for integers, 3 for floats; the tag inside of a WAVE_FORMAT_EXTENSIBLE when there is one.
        channels: Samples per frame.
        samplerate: Frames per second.
        block: Bytes per frame.
        bits: The space that a sample takes.
        order: The byte order of all numbers.
    """

    tag: int
    channels: int
    samplerate: int
    block: int
    bits: int
    order: Literal["little", "big"]


@dataclass(frozen=True, slots=True)
class Layout:
    """The place of a container's samples.

    Attributes:
        offset: The byte of the file at which they start.
        length: Their bytes.
        declared: Their bytes by the header.
        fmt: The ``fmt `` chunk of a WAV, when it has one.
        unsized: Whether the header gave no true size, so that `length` was found from the file's.
        frames: Their number of frames, where a container has it: AIFF.
    """

    offset: int
    length: int
    declared: int
    fmt: Fmt | None = None
    unsized: bool = False
    frames: int | None = None


@dataclass(frozen=True, slots=True)
class _Grammar:
    """The way in which a family of files writes its list of chunks."""

    first: int  # offset of the first chunk
    id_bytes: int
    size_bytes: int
    order: Literal["little", "big"]
    align: int
    inclusive: bool = False  # whether a chunk's size counts its own header

    @property
    def header(self) -> int:
        return self.id_bytes + self.size_bytes

    def aligned(self, position: int) -> int:
        return -(-position // self.align) * self.align

    def padded(self, position: int) -> int:
        """Return the other place of the next chunk: libsndfile pads the samples of a CAF, and no other chunk."""
        step = max(2, self.align)
        return -(-position // step) * step


_RIFF = _Grammar(12, 4, 4, "little", 2)
_RIFX = _Grammar(12, 4, 4, "big", 2)
_AIFF = _Grammar(12, 4, 4, "big", 2)
_CAF = _Grammar(8, 4, 8, "big", 1)
_W64 = _Grammar(40, 16, 8, "little", 8, inclusive=True)
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_GUID_TAIL = b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"  # of a WAVEX subformat, after its tag

_CAF_EDIT_COUNT = 4  # bytes in front of the samples in a data chunk
_EXTENSIBLE = 0xFFFE
_WRAP = 2**32
_UNKNOWN = 0xFFFFFFFF  # the size that a writer into a pipe gives; in RF64, "see ds64"


def find_samples(kind: str, read_at: ReadAt, size: int) -> Layout:
    """Find the samples in a file of `size` bytes.

    Args:
        kind: WAV, RF64, AIFF, CAF or W64.
        read_at: Reads `length` bytes from `offset` on, fewer only where the file ends.
        size: Bytes of the file.

    Raises:
        LayoutError: There are no samples, or sizes disagree.
    """
    match kind:
        case "WAV" | "RF64":
            return _wav(read_at, size)
        case "AIFF":
            return _aiff(read_at, size)
        case "CAF":
            return _caf(read_at, size)
        case "W64":
            offset, declared = _find(_W64, _W64_DATA, read_at, size)
            return _exact(_W64, read_at, size, offset, declared)
    raise ValueError(f"no chunks are known in {kind}")


def _wav(read_at: ReadAt, size: int) -> Layout:
    grammar = _RIFX if read_at(0, 4) == b"RIFX" else _RIFF
    fmt: Fmt | None = None
    long_size: int | None = None
    for name, offset, declared in _walk(grammar, read_at, size, grammar.first):
        if name == b"fmt ":
            fmt = _fmt(read_at(offset, min(declared, 40)), grammar.order)
        elif name == b"ds64" and read_at(0, 4) == b"RF64":
            long_size = int.from_bytes(read_at(offset + 8, 8), "little")
        elif name == b"data":
            break
    else:
        raise LayoutError("has no data chunk, so no samples")
    if long_size is not None:
        return _exact(grammar, read_at, size, offset, long_size if declared == _UNKNOWN else declared)
    available = size - offset
    if declared != _UNKNOWN:
        if _ends_well(grammar, read_at, size, offset + declared):
            return Layout(offset, declared, declared, fmt)
        wrapped = declared + max(0, available - declared) // _WRAP * _WRAP
        if wrapped != declared and _ends_well(grammar, read_at, size, offset + wrapped):
            return Layout(offset, wrapped, declared, fmt, unsized=True)
    if declared in (0, _UNKNOWN):
        return Layout(offset, available, declared, fmt, unsized=True)
    raise _disagreement(declared, available)


def _fmt(body: bytes, order: Literal["little", "big"]) -> Fmt | None:
    """Read a fmt chunk (Microsoft's mmreg.h): tag, channels, samplerate, bytes per second, block, bits, extension."""
    if len(body) < 16:
        return None

    def number(at: int, length: int) -> int:
        return int.from_bytes(body[at : at + length], order)

    tag = number(0, 2)
    if tag == _EXTENSIBLE and body[26:40] == _GUID_TAIL:
        tag = number(24, 2)
    return Fmt(tag, number(2, 2), number(4, 4), number(12, 2), number(14, 2), order)


def _aiff(read_at: ReadAt, size: int) -> Layout:
    """Find the samples of an AIFF. It counts its frames in COMM; SSND may be longer, as libsndfile adds the padding."""
    bodies: dict[bytes, tuple[int, int]] = {}
    for name, offset, declared in _walk(_AIFF, read_at, size, _AIFF.first):
        bodies.setdefault(name, (offset, declared))
        if b"SSND" in bodies and b"COMM" in bodies:
            break
    else:
        raise LayoutError("has no SSND chunk or no COMM chunk, so no samples")
    frames = int.from_bytes(read_at(bodies[b"COMM"][0] + 2, 4), "big")
    body, declared = bodies[b"SSND"]
    skip = 8 + int.from_bytes(read_at(body, 4), "big")  # offset and block size, then as many bytes as offset says
    if declared < skip:
        raise LayoutError(f"is damaged: its SSND chunk of {declared} bytes starts its samples at byte {skip}")
    layout = _exact(_AIFF, read_at, size, body + skip, declared - skip)
    return replace(layout, frames=frames)


def _caf(read_at: ReadAt, size: int) -> Layout:
    body, declared = _find(_CAF, b"data", read_at, size)
    if declared == 2**64 - 1:  # -1: the last chunk, as long as the file
        declared = size - body
    if declared < _CAF_EDIT_COUNT:
        raise LayoutError(
            f"is damaged: its data chunk has {declared} bytes, less than the {_CAF_EDIT_COUNT} of its head"
        )
    return _exact(_CAF, read_at, size, body + _CAF_EDIT_COUNT, declared - _CAF_EDIT_COUNT)


def _exact(grammar: _Grammar, read_at: ReadAt, size: int, offset: int, declared: int) -> Layout:
    """Return the chunk at `offset`, whose size must be true."""
    if not _ends_well(grammar, read_at, size, offset + declared):
        raise _disagreement(declared, size - offset)
    return Layout(offset, declared, declared)


def _disagreement(declared: int, available: int) -> LayoutError:
    if declared > available:
        return LayoutError(f"is truncated: its header gives {declared} bytes of samples, and the file has {available}")
    return LayoutError(
        f"disagrees with itself: its header gives {declared} bytes of samples, and {available} follow, "
        "of which the rest are no chunks; save it again with the program that wrote it"
    )


def _find(grammar: _Grammar, wanted: bytes, read_at: ReadAt, size: int) -> tuple[int, int]:
    """Return offset and declared size of the body of the first chunk of that name."""
    for name, offset, declared in _walk(grammar, read_at, size, grammar.first):
        if name == wanted:
            return offset, declared
    raise LayoutError(f"has no {wanted[:4].decode()} chunk, so no samples")


def _walk(grammar: _Grammar, read_at: ReadAt, size: int, position: int) -> Iterator[tuple[bytes, int, int]]:
    """Give name, offset and declared size of the body of each chunk from `position` to the end of the file."""
    for _ in range(MAX_CHUNKS):
        head = read_at(position, grammar.header)
        if len(head) < grammar.header:
            return
        declared = int.from_bytes(head[grammar.id_bytes :], grammar.order) - (
            grammar.header if grammar.inclusive else 0
        )
        if declared < 0:
            raise LayoutError(f"is damaged: the chunk at byte {position} is smaller than its own header")
        yield head[: grammar.id_bytes], position + grammar.header, declared
        position = grammar.aligned(position + grammar.header + declared)
        if position >= size:
            return
    raise LayoutError(f"has more than {MAX_CHUNKS} chunks")


def _ends_well(grammar: _Grammar, read_at: ReadAt, size: int, end: int) -> bool:
    """Return whether only padding and whole chunks lie between `end` and the end of the file."""
    if end >= size:
        return end == size
    for position in (end, grammar.padded(end)):  # some writers leave the padding out
        for name, offset, declared in _walk(grammar, read_at, size, position):
            if not all(0x20 <= byte < 0x7F for byte in name[:4]):
                break
            position = offset + declared
        if size in (position, grammar.padded(position)):
            return True
    return False
