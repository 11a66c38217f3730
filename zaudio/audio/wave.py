"""WaveFile: the bytes of a WAV file around its samples. Plain RIFF below 4 GiB, RF64 from there on.

Rules: pure, and no time stamp: the same signal and chunks give the same bytes. All that is written stands in front of
the samples, so that a reader of a stream has it and the file can be continued; only a byte of padding may follow them.
Samples are little-endian. Sources: Microsoft's "Multiple Channel Audio Data and WAVE Files" for the fmt and fact
chunks, EBU Tech 3306 (RF64) for ds64.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from zaudio.signal import Signal

Piece = tuple[bytes, bytes]  # a chunk: its name of four bytes, and its body

RF64_FROM = 2**32  # bytes of a file

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # of a subformat, behind its tag
_SEE_DS64 = 0xFFFFFFFF
_DS64_BYTES = 28  # sizes of file and samples, frames, and the length of an empty table
_HEAD_BYTES = 12  # the form's name, size and kind
_PLAIN_CHANNELS = 2  # more of them need a speaker each, or none
_PLAIN_BITS = 16  # more of them in integers need an extensible fmt chunk
_SPEAKERS = {1: 0x4, 2: 0x3}  # front center; front left and right


@dataclass(frozen=True, slots=True)
class WaveFile:
    """A WAV file without its samples.

    Attributes:
        signal: The samples. Whatever their byte order, those of the file are little-endian.
        chunks: Chunks to put in front of them, in this order.
        speakers: The mask of speakers, for more than two channels; 0 assigns none.
    """

    signal: Signal
    chunks: Sequence[Piece] = ()
    speakers: int = 0

    @property
    def samples_bytes(self) -> int:
        """Bytes of the samples."""
        return self.signal.frames * self._frame_bytes

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.header) + self.samples_bytes + len(self.footer)

    @property
    def is_rf64(self) -> bool:
        """Whether the file has 64-bit sizes."""
        return _HEAD_BYTES + len(self._before) + 8 + self.samples_bytes + len(self.footer) >= RF64_FROM

    @property
    def footer(self) -> bytes:
        """The bytes behind the samples: one of padding, or none."""
        return bytes(self.samples_bytes % 2)

    @property
    def header(self) -> bytes:
        """The bytes in front of the samples."""
        form, size, samples, ds64 = b"RIFF", 0, self.samples_bytes, b""
        size = _HEAD_BYTES - 8 + len(self._before) + 8 + samples + len(self.footer)
        if self.is_rf64:
            size += 8 + _DS64_BYTES
            body = struct.pack("<QQQI", size, samples, self.signal.frames, 0)
            form, size, samples, ds64 = b"RF64", _SEE_DS64, _SEE_DS64, chunk(b"ds64", body)
        return b"".join(
            (
                struct.pack("<4sI4s", form, size, b"WAVE"),
                ds64,  # the first chunk, by EBU Tech 3306
                self._before,
                struct.pack("<4sI", b"data", samples),
            )
        )

    @property
    def _frame_bytes(self) -> int:
        return self.signal.channels * self.signal.format.stored_bytes

    @property
    def _before(self) -> bytes:
        """The chunks between the form's head and the samples, but for ds64."""
        parts = [chunk(b"fmt ", self._fmt)]
        if self._is_float:
            frames = min(self.signal.frames, _SEE_DS64)  # more of them stand in ds64
            parts.append(chunk(b"fact", struct.pack("<I", frames)))
        return b"".join([*parts, *(chunk(name, body) for name, body in self.chunks)])

    @property
    def _fmt(self) -> bytes:
        format, channels, rate = self.signal.format, self.signal.channels, self.signal.samplerate
        tag = _FLOAT if self._is_float else _PCM
        extensible = channels > _PLAIN_CHANNELS or (tag == _PCM and format.bits > _PLAIN_BITS)
        speed = min(rate * self._frame_bytes, _SEE_DS64)  # bytes per second; nothing goes by it
        head = struct.pack(
            "<HHIIHH", _EXTENSIBLE if extensible else tag, channels, rate, speed, self._frame_bytes, format.bits
        )
        if not extensible:
            return head if tag == _PCM else head + struct.pack("<H", 0)
        mask = _SPEAKERS.get(channels, self.speakers)
        return head + struct.pack("<HHIH", 22, format.bits, mask, tag) + _GUID_TAIL

    @property
    def _is_float(self) -> bool:
        return self.signal.format.dtype[1] == "f"


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk with its head and its padding."""
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
