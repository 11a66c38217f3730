"""Ogg (RFC 3533): which codec a file holds, and whether all of its pages are there. libsndfile tells neither.

Rules: pure: bytes come from a `read_at(offset, length)`. All pages are read, and their checksums compared: a decoder
leaves a damaged page out in silence, and stops in silence where the first of several recordings ends. Memory is a
megabyte.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

from zaudio.audio.chunks import LayoutError, ReadAt

PAGE_MOST = 27 + 255 + 255 * 255  # bytes of the longest page
READ_BYTES = 1 << 20

_FIRST, _LAST = 2, 4  # of a stream: bits of a page's flags

# The beginning of a stream's first packet: its codec.
_CODECS = {
    b"\x01vorbis": "Vorbis",
    b"OpusHead": "Opus",
    b"\x7fFLAC": "FLAC",
    b"Speex   ": "Speex",
    b"\x80theora": "Theora",
}

_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class _Page(NamedTuple):
    flags: int
    serial: int
    number: int
    length: int


@dataclass(frozen=True, slots=True)
class Pages:
    """The state of an Ogg file's pages.

    Attributes:
        damage: What is wrong, as the rest of a sentence; empty if all pages are there.
        warnings: Oddities that do no harm, likewise.
    """

    damage: str = ""
    warnings: tuple[str, ...] = ()


def codec_of(head: bytes) -> str:
    """Return the name of the codec, by a file's first bytes; empty when it is not a known one."""
    packet = head[27 + head[26] :] if len(head) > 26 else b""
    return next((name for mark, name in _CODECS.items() if packet.startswith(mark)), "")


def check_pages(read_at: ReadAt, start: int, size: int) -> Pages:
    """Look at all pages from byte `start` to the end of the file, at `size`.

    Raises:
        LayoutError: The file holds more than one stream, of which a decoder would give the first.
    """
    serial, number, ended = -1, -1, False
    window, base, position = b"", start, start
    while position < size:
        if position + PAGE_MOST > base + len(window) < size:
            base, window = position, read_at(position, READ_BYTES)
        page = _page(window, position - base)
        if page is None:
            break
        if serial < 0:
            serial, number = page.serial, page.number - 1
        if page.serial != serial or ended:
            how = "one after another" if ended else "side by side"
            raise LayoutError(f"holds several streams {how}, and only one is read here")
        if page.number != (number + 1) % 2**32:
            return Pages(f"page {number + 1} is missing at byte {position}")
        number, ended = page.number, bool(page.flags & _LAST)
        position += page.length
    if not ended:
        rest = "" if position >= size else f", and byte {position} begins none"
        return Pages(f"there is no last page{rest}")
    if position < size:
        return Pages(warnings=(f"{size - position} bytes behind the last page are left out",))
    return Pages()


def second_packet(read_at: ReadAt, start: int, most: int) -> bytes:
    """Return the second packet of a stream that begins at byte `start`: its comments.

    Args:
        read_at: Reads the file.
        start: The first page.
        most: Bytes of the packet; of a longer one, one byte more than that is returned.
    """
    position, number, packet = start, 0, bytearray()
    while len(packet) <= most:
        window = read_at(position, PAGE_MOST)
        page = _page(window, 0)
        if page is None:
            break
        sizes = window[27 : 27 + window[26]]
        at = 27 + len(sizes)
        for size in sizes:
            if number == 1:
                packet += window[at : at + size]
            at += size
            if size < 255:
                if number == 1:
                    return bytes(packet[: most + 1])
                number += 1
        position += page.length
    return bytes(packet[: most + 1]) if len(packet) > most else b""


def _page(window: bytes, at: int) -> _Page | None:
    """Return the page that begins there; None unless all of it is there and its checksum agrees."""
    head = window[at : at + 27]
    if len(head) < 27 or head[:5] != b"OggS\0":
        return None
    flags, serial, number, checksum, segments = struct.unpack("<B8xIIIB", head[5:])
    sizes = window[at + 27 : at + 27 + segments]
    length = 27 + segments + sum(sizes)
    if len(sizes) < segments or at + length > len(window):
        return None
    if _checksum(head[:22] + bytes(4) + head[26:] + window[at + 27 : at + length]) != checksum:
        return None
    return _Page(flags, serial, number, length)


def _checksum(page: bytes) -> int:
    """Return Ogg's CRC: zlib's polynomial with all bits turned round, and nothing inverted."""
    turned = zlib.crc32(page.translate(_TURNED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(turned.to_bytes(4, "little").translate(_TURNED), "big")
