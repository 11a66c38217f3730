"""Layout: finds the samples in a container by its headers, and compares these with the file.

Libraries read a truncated file as a shorter one, and a size that wrapped at 32 bits as the small number that it became,
without a warning. So the headers are read here, and every size is compared with the file.

Rules:

- Pure: bytes come from a `read_at(offset, length)`. The file is not read from end to end.
- Sizes that agree give the samples without a warning. Where SoX, FFmpeg and libsndfile all read the same samples from a
  file whose sizes disagree, these are taken, with a warning that names the oddity. All else is a LayoutError.
- A tag, or a chunk at the end, is never samples.
- FLAC is no list of chunks, and its frames carry checksums; it is not read here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from zaudio.audio.chunks import Grammar, LayoutError, Order, ReadAt, Trimmed, look_behind, trim, walk
from zaudio.audio.headers import Stored, parse_au, parse_comm, parse_desc, parse_fmt, parse_nist, parse_voc

_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_WAV_SINGLE = (b"fmt ", b"data")
_RIFF = Grammar(12, 4, 4, "little", 2, _WAV_SINGLE)
_RIFX = Grammar(12, 4, 4, "big", 2, _WAV_SINGLE)
_AIFF = Grammar(12, 4, 4, "big", 2, (b"COMM", b"SSND"))
GRAMMARS = {"WAV": _RIFF, "RF64": _RIFF, "BW64": _RIFF, "AIFF": _AIFF}  # of the kinds whose chunks hold metadata
_CAF = Grammar(8, 4, 8, "big", 1, (b"desc", b"data"))
_W64 = Grammar(40, 16, 8, "little", 8, tuple(name + _W64_TAIL for name in _WAV_SINGLE), inclusive=True)

_BODY_MOST = 64  # bytes of a header's chunk: more than the longest fmt, COMM or desc has
_CAF_EDIT_COUNT = 4  # bytes in front of the samples in a data chunk
_NIST_MOST = 65536  # bytes of a header; all known ones have 1024
_ONE_BLOCK = "a VOC file is read if it has one block of samples; write them into one file with `sox IN out.wav`"
_WRAP = 2**32
_NONE = 0xFFFFFFFF  # the size that a writer into a pipe gives; in RF64, "see ds64"
_SOX = 0x7FFFF000  # SoX's size of a WAV in a pipe, cut down to whole frames; arecord and others give up to 2**31
_SOX_AIFF = 0x7F000000  # the same for AIFF
_HUGE = 2**62  # FFmpeg's size of a W64 in a pipe is 2**63 - 1; no file is as long


@dataclass(frozen=True, slots=True)
class Layout:
    """The place of a container's samples.

    Attributes:
        offset: The byte of the file at which they start.
        length: Their bytes: whole frames.
        stored: The way in which they are stored.
        warnings: What is odd about the file, as ends of a sentence that starts with its name.
    """

    offset: int
    length: int
    stored: Stored
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Span:
    """The samples, by the header.

    Attributes:
        offset: The byte of the file at which they start.
        declared: Their bytes.
        end: The end of the file; None if the header does not give it, or gives none.
        grammar: The chunks that may follow; None in a kind of file without chunks.
        stream: The least of the sizes up to 2**31 that a writer into a pipe gives.
        wraps: Whether a size beyond 4 GiB is written as the rest that fits in 32 bits.
        strict: Whether programs differ about bytes behind the samples.
    """

    offset: int
    declared: int
    end: int | None = None
    grammar: Grammar | None = None
    stream: int = _SOX
    wraps: bool = False
    strict: bool = False

    def ends_at(self, position: int) -> bool:
        """Return whether the header says that the file ends there; padding may stand behind."""
        return self.end is not None and 0 <= position - self.end <= 1


def find_samples(kind: str, read_at: ReadAt, size: int, *, truncated: bool = False) -> Layout:
    """Find the samples in a file of `size` bytes.

    Args:
        kind: WAV, RF64, BW64, AIFF, CAF, W64, AU, NIST or VOC.
        read_at: Reads `length` bytes from `offset` on, fewer only where the file ends.
        size: Bytes of the file.
        truncated: Take the samples of a file that ends too early.

    Raises:
        LayoutError: There are no samples, they are compressed, or sizes disagree.
    """
    match kind:
        case "WAV" | "RF64" | "BW64":
            return _wav(read_at, size, truncated)
        case "W64":
            return _w64(read_at, size, truncated)
        case "AIFF":
            return _aiff(read_at, size, truncated)
        case "CAF":
            return _caf(read_at, size, truncated)
        case "AU":
            return _au(read_at, size, truncated)
        case "NIST":
            return _nist(read_at, size, truncated)
        case "VOC":
            return _voc(read_at, size, truncated)
    raise ValueError(f"no headers are known of {kind}")


def _wav(read_at: ReadAt, size: int, truncated: bool) -> Layout:
    form = read_at(0, 4)
    grammar = _RIFX if form == b"RIFX" else _RIFF
    bodies = _bodies(grammar, read_at, size, (b"data",))
    if b"data" not in bodies:
        raise LayoutError("has no data chunk, so no samples")
    if b"fmt " not in bodies:
        raise LayoutError("has no fmt chunk in front of its samples")
    stored = parse_fmt(_body(read_at, bodies[b"fmt "]), grammar.order)
    offset, declared = bodies[b"data"]
    end = 8 + int.from_bytes(read_at(4, 4), grammar.order)
    if form in (b"RF64", b"BW64") and b"ds64" in bodies:
        long_end, long_size = struct.unpack("<QQ", read_at(bodies[b"ds64"][0], 16).ljust(16, b"\0"))
        end = 8 + long_end
        declared = long_size if declared == _NONE or (declared == 0 and long_size < _HUGE) else declared
    return _judge(_Span(offset, declared, end, grammar, wraps=form[:3] == b"RIF"), stored, read_at, size, truncated)


def _w64(read_at: ReadAt, size: int, truncated: bool) -> Layout:
    fmt, data = _W64.single
    bodies = _bodies(_W64, read_at, size, (data,))
    if data not in bodies:
        raise LayoutError("has no data chunk, so no samples")
    if fmt not in bodies:
        raise LayoutError("has no fmt chunk in front of its samples")
    offset, declared = bodies[data]
    end = int.from_bytes(read_at(16, 8), "little")
    # libsndfile, and SoX with it, take all that follows the samples for samples, and FFmpeg does not.
    span = _Span(offset, max(0, declared), end, _W64, stream=_SOX - _W64.header, strict=True)
    return _judge(span, parse_fmt(_body(read_at, bodies[fmt]), "little"), read_at, size, truncated)


def _aiff(read_at: ReadAt, size: int, truncated: bool) -> Layout:
    bodies = _bodies(_AIFF, read_at, size, _AIFF.single)
    if not bodies.keys() >= {b"SSND", b"COMM"}:
        raise LayoutError("has no SSND chunk or no COMM chunk, so no samples")
    stored, frames = parse_comm(_body(read_at, bodies[b"COMM"]))
    body, declared = bodies[b"SSND"]
    skip = 8 + int.from_bytes(read_at(body, 4), "big")  # offset and block size, then as many bytes as offset says
    if 0 < declared < skip or body + skip > size:
        raise LayoutError(f"is damaged: its SSND chunk of {declared} bytes starts its samples at byte {skip}")
    end = 8 + int.from_bytes(read_at(4, 4), "big")
    # COMM may follow the samples; it is no second one then.
    grammar = _AIFF if bodies[b"COMM"][0] < body else replace(_AIFF, single=(b"SSND",))
    span = _Span(body + skip, max(0, declared - skip), end, grammar, stream=_SOX_AIFF)
    layout = _judge(span, stored, read_at, size, truncated)
    width = stored.frame_bytes
    counted = frames * width
    if layout.length == span.declared - span.declared % width:  # SSND is right, so COMM must be
        # SSND may be a byte longer than its frames, as libsndfile counts the padding.
        if not 0 <= span.declared - counted <= 1:
            raise _miscounted(frames, width, span.declared)
        warnings = tuple(each for each in layout.warnings if each != _odd(span.declared, width))
        return Layout(layout.offset, counted, stored, warnings)
    if counted == 0 or counted > layout.length:  # a stream's COMM, or one that is truncated with its samples
        return layout
    if layout.length - counted > layout.offset:
        raise _miscounted(frames, width, layout.length)
    return replace(layout, length=counted)


def _caf(read_at: ReadAt, size: int, truncated: bool) -> Layout:
    bodies = _bodies(_CAF, read_at, size, (b"data",))
    if b"data" not in bodies:
        raise LayoutError("has no data chunk, so no samples")
    if b"desc" not in bodies:
        raise LayoutError("has no desc chunk in front of its samples")
    stored = parse_desc(_body(read_at, bodies[b"desc"]))
    body, declared = bodies[b"data"]
    if 0 < declared < _CAF_EDIT_COUNT:
        raise LayoutError(
            f"is damaged: its data chunk has {declared} bytes, less than the {_CAF_EDIT_COUNT} of its head"
        )
    span = _Span(body + _CAF_EDIT_COUNT, max(0, declared - _CAF_EDIT_COUNT), None, _CAF, stream=_SOX - _CAF_EDIT_COUNT)
    return _judge(span, stored, read_at, size, truncated)


def _au(read_at: ReadAt, size: int, truncated: bool) -> Layout:
    head = read_at(0, 24)
    if len(head) < 24:
        raise LayoutError(f"is truncated: its header has 24 bytes, and the file {size}")
    order: Order = "little" if head.startswith(b"dns.") else "big"
    offset, declared, code, samplerate, channels = (
        int.from_bytes(head[at : at + 4], order) for at in (4, 8, 12, 16, 20)
    )
    if not 24 <= offset <= size:
        raise LayoutError(f"is damaged: its samples start at byte {offset}, and the file has {size}")
    return _judge(_Span(offset, declared), parse_au(code, samplerate, channels, order), read_at, size, truncated)


def _nist(read_at: ReadAt, size: int, truncated: bool) -> Layout:
    length = read_at(8, 7).strip()
    offset = int(length) if length.isdigit() else 0
    if not 16 <= offset <= min(size, _NIST_MOST):
        raise LayoutError("is damaged: its second line is not the length of its header")
    stored, frames = parse_nist(read_at(0, offset))
    declared = size - offset if frames is None else frames * stored.frame_bytes
    return _judge(_Span(offset, declared), stored, read_at, size, truncated)


def _voc(read_at: ReadAt, size: int, truncated: bool) -> Layout:
    position = int.from_bytes(read_at(20, 2), "little")
    found: list[tuple[Stored, int, int]] = []
    extended: tuple[int, int] | None = None  # sample rate and channels, of a block in front of the samples
    while (kind := read_at(position, 1)) not in (b"", b"\0"):
        length, body = int.from_bytes(read_at(position + 1, 3), "little"), position + 4
        head = read_at(body, 12).ljust(12, b"\0")
        match kind[0]:
            case 1:
                samplerate, channels = extended or (1_000_000 // (256 - head[0]), 1)
                bits = 16 if head[1] == 4 else 8
                found.append((parse_voc(head[1], samplerate, channels, bits), body + 2, length - 2))
            case 8:
                channels = head[3] + 1
                extended = 256_000_000 // (channels * (65536 - int.from_bytes(head[:2], "little"))), channels
            case 9:
                samplerate, bits, channels, code = struct.unpack("<IBBH", head[:8])
                found.append((parse_voc(code, samplerate, channels, bits), body + 12, length - 12))
            case 4 | 5:
                pass  # a marker, a text
            case other:
                raise LayoutError(f"has a block of type {other}; {_ONE_BLOCK}")
        if len(found) > 1:
            raise LayoutError(f"has several blocks of samples; {_ONE_BLOCK}")
        position = body + length
    if not found:
        raise LayoutError("has no block of samples")
    stored, offset, declared = found[0]
    if declared < 0:
        raise LayoutError("is damaged: its block of samples is smaller than its own header")
    # Other blocks, the terminator and all behind it are no samples.
    return _judge(_Span(offset, declared), stored, read_at, min(size, offset + declared), truncated)


def _judge(span: _Span, stored: Stored, read_at: ReadAt, size: int, truncated: bool) -> Layout:
    """Compare the samples' size by the header with the file, and return where they are."""
    offset, declared, width = span.offset, span.declared, stored.frame_bytes
    available = max(0, size - offset)

    def layout(length: int, *warnings: str) -> Layout:
        if length % width:
            warnings = (*warnings, _odd(length, width))
        return Layout(offset, length - length % width, stored, warnings)

    tail = look_behind(span.grammar, read_at, size, offset + declared) if declared <= available else None
    streamed = span.wraps and declared == _NONE and available > declared  # then a byte behind it is no padding
    if tail is not None and tail.clean and (tail.known or not (tail.names or streamed)):
        _check_single(span.grammar, tail.names)
        return layout(declared)
    tags = trim(span.grammar, read_at, offset, size)
    if tail is not None and tail.clean and tail.names and tags.end >= offset + declared:
        _check_single(span.grammar, tail.names)
        return layout(declared)  # chunks of unknown names, and no parts of a chunk that begins before
    wrapped = declared + max(0, available - declared) // _WRAP * _WRAP
    if span.wraps and wrapped != declared:
        behind = look_behind(span.grammar, read_at, size, offset + wrapped)
        meets = span.ends_at((offset + wrapped) % _WRAP) or 0 <= tags.end - offset - wrapped <= 1
        if behind.clean or (behind.rest and meets):
            rest = (_left_out(behind.rest),) if behind.rest else ()
            return layout(wrapped, _wrapped(declared, wrapped), *rest)
    if _is_unknown(span, available, width):
        length, warnings = _to_the_end(span, read_at, size, tags)
        return layout(length, *warnings)
    end = tags.end
    if tail is not None and end >= offset + declared:
        _check_single(span.grammar, tail.names)
        differ = span.strict and available - declared >= width  # of less than a frame, no program makes samples
        if tail.rest and not differ and not _is_stream(span, width):
            return layout(declared, _left_out(tail.rest))
        raise _unexplained(declared, available)
    # The file ends too early, or a tag begins where samples should be.
    _check_single(span.grammar, tags.names)
    found = f"its header gives {declared} bytes of samples, and the file has {end - offset}"
    complete = span.end is not None and end - 1 <= span.end <= size
    lost = span.end is not None and span.end >= offset + declared  # the end of the file is missing
    counts_itself = complete or (declared in (end, end - 8, size, size - 8) and not lost)
    if offset + declared - end <= offset and counts_itself:
        return layout(end - offset, f"{found}, which are read; the header seems to count itself", *_tags(tags))
    if truncated:
        return layout(end - offset, f"is truncated: {found}, which are read", *_tags(tags))
    raise LayoutError(f"is truncated: {found}; pass --truncated (Raw(truncated=True)) to take those")


def _is_unknown(span: _Span, available: int, width: int) -> bool:
    """Return whether the size is one that a program writes when it does not know it."""
    declared = span.declared
    if declared in (0, _NONE) or declared >= _HUGE:
        return True
    if declared <= available:
        return False
    # A program that takes the header off 2**32 - 1, or cuts it down to whole frames, comes a little below it.
    return _is_stream(span, width) or _NONE - 256 - width < declared <= _NONE


def _is_stream(span: _Span, width: int) -> bool:
    """Return whether the size is one up to 2**31 for a pipe; a program may cut it down to whole frames."""
    return span.stream - width < span.declared <= 2**31


def _to_the_end(span: _Span, read_at: ReadAt, size: int, tags: Trimmed) -> tuple[int, tuple[str, ...]]:
    """Return the length of samples whose size is unknown, and the warnings."""
    offset = span.offset
    said = (
        f"its header gives {span.declared} bytes of samples, which is no true size: the file was written into a pipe, "
        "or never finished"
    )
    for end in dict.fromkeys((size, tags.end)) if size > offset and span.grammar is not None else ():
        tail = look_behind(span.grammar, read_at, end, offset)
        if tail.clean or (tail.known and tail.rest):
            _check_single(span.grammar, tail.names)
            rest = " and ".join(filter(None, (tail.rest, tags.words if end < size else "")))
            return 0, (f"{said}; chunks follow, and no samples", *((_left_out(rest),) if rest else ()))
    _check_single(span.grammar, tags.names)
    read = f"{said}; the {tags.end - offset} bytes to the end of the file are read"
    return tags.end - offset, (read, *_tags(tags))


def _bodies(grammar: Grammar, read_at: ReadAt, size: int, last: tuple[bytes, ...]) -> dict[bytes, tuple[int, int]]:
    """Return offset and declared size of each chunk's body, up to the one after which all of `last` are known."""
    bodies: dict[bytes, tuple[int, int]] = {}
    for name, offset, declared in walk(grammar, read_at, size, grammar.first):
        if name in bodies and name in grammar.single:
            _check_single(grammar, (name,))
        bodies.setdefault(name, (offset, declared))
        if all(each in bodies for each in last):
            break
    return bodies


def _body(read_at: ReadAt, place: tuple[int, int]) -> bytes:
    offset, declared = place
    return read_at(offset, min(max(0, declared), _BODY_MOST))


def _check_single(grammar: Grammar | None, names: tuple[bytes, ...]) -> None:
    """Make sure that no chunk comes twice: `names` are those besides the first ones."""
    for name in names if grammar is not None else ():
        if grammar is not None and name in grammar.single:
            raise LayoutError(
                f"has two {name[:4].decode().strip()} chunks, and programs differ about which counts; "
                "save it again with the program that wrote it"
            )


def _miscounted(frames: int, width: int, length: int) -> LayoutError:
    return LayoutError(
        f"counts {frames} frames of {width} bytes in its COMM chunk, and has {length} bytes of samples; "
        "save it again with the program that wrote it"
    )


def _odd(length: int, width: int) -> str:
    return (
        f"{length} bytes of samples are {length // width} frames of {width} bytes and {length % width} more, "
        "which are left out"
    )


def _wrapped(declared: int, wrapped: int) -> str:
    return (
        f"its header gives {declared} bytes of samples, as its sizes end at 4 GiB; the {wrapped} bytes to the end of "
        "the samples are read"
    )


def _left_out(rest: str) -> str:
    return f"bytes behind the samples are left out: {rest}"


def _tags(tags: Trimmed) -> tuple[str, ...]:
    return (_left_out(tags.words),) if tags.words else ()


def _unexplained(declared: int, available: int) -> LayoutError:
    return LayoutError(
        f"disagrees with itself: its header gives {declared} bytes of samples, and {available} follow, "
        f"of which the last {available - declared} are no chunks; if they are samples, write a true header with "
        "`sox --ignore-length IN OUT`, or else with `ffmpeg -i IN -c copy OUT`"
    )
