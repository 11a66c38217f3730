"""PcmSource: samples that each take the same number of bytes in their file, and are decoded here.

Rules: samples keep their kind: integers come as integers, left-justified in 16 or 32 bits, floats with every bit. They
come in this machine's byte order. Samples that lie in the file as they come are a RawSource's.
"""

from __future__ import annotations

import sys
from functools import cache

import numpy as np
import numpy.typing as npt

from zaudio.audio.files import FileSource, InputFile
from zaudio.audio.headers import WIDTHS, Stored
from zaudio.audio.raw import RawSource
from zaudio.errors import InputChangedError
from zaudio.formats import FORMATS

_NATIVE = "le" if sys.byteorder == "little" else "be"

# Coding in the file: the format in which samples come.
_FORMATS = {"u8": "s16", "s8": "s16", "ulaw": "s16", "alaw": "s16", "s24": "s32"}


def open_pcm(file: InputFile, stored: Stored, *, offset: int, length: int, container: str) -> FileSource:
    """Return the source of `length` bytes of samples from byte `offset` on; whole frames."""
    name = _FORMATS.get(stored.coding, stored.coding)
    if name == stored.coding and stored.order == sys.byteorder:
        return RawSource(
            file,
            channels=stored.channels,
            samplerate=stored.samplerate,
            format=FORMATS[name + _NATIVE],
            container=container,
            offset=offset,
            length=length,
        )
    return PcmSource(file, stored, offset=offset, length=length, container=container, format=name + _NATIVE)


class PcmSource(FileSource):
    """Samples whose byte order, width or coding changes when they are read."""

    def __init__(
        self, file: InputFile, stored: Stored, *, offset: int, length: int, container: str, format: str
    ) -> None:
        super().__init__(
            file,
            frames=length // stored.frame_bytes,
            channels=stored.channels,
            samplerate=stored.samplerate,
            format=FORMATS[format],
            container=container,
        )
        if stored.coding == "s24":
            self.bits = 24
        self._stored = stored
        self._offset = offset

    def _samples(self, start: int, stop: int) -> bytes:
        length = (stop - start) * self._stored.frame_bytes
        content = self._file.read_at(self._offset + start * self._stored.frame_bytes, length)
        if len(content) != length:
            raise InputChangedError(
                self.path, f"gave {len(content)} bytes of frames {start} to {stop} instead of {length}: it shrank"
            )
        return _decode(content, self._stored)


def _decode(content: bytes, stored: Stored) -> bytes:
    octets = np.frombuffer(content, np.uint8)
    match stored.coding:
        case "u8":
            return ((octets ^ 0x80).astype(np.uint16) << 8).tobytes()
        case "s8":
            return (octets.astype(np.uint16) << 8).tobytes()
        case "ulaw":
            return _ulaw()[octets].tobytes()
        case "alaw":
            return _alaw()[octets].tobytes()
        case "s24":
            wide = np.zeros((len(octets) // 3, 4), np.uint8)  # the lowest byte is zero
            triples = octets.reshape(-1, 3)
            if stored.order == sys.byteorder:
                wide[:, slice(1, 4) if _NATIVE == "le" else slice(0, 3)] = triples
            else:
                wide[:, slice(1, 4) if _NATIVE == "le" else slice(0, 3)] = triples[:, ::-1]
            return wide.tobytes()
    return np.frombuffer(content, f"u{WIDTHS[stored.coding]}").byteswap().tobytes()


@cache
def _ulaw() -> npt.NDArray[np.int16]:
    """Return the samples of the 256 bytes of mu-law (ITU-T G.711), in 16 bits."""
    code = ~np.arange(256, dtype=np.uint8)
    magnitude = (((code & 0x0F).astype(np.int32) << 3) + 0x84 << (code >> 4 & 7).astype(np.int32)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


@cache
def _alaw() -> npt.NDArray[np.int16]:
    """Return the samples of the 256 bytes of A-law (ITU-T G.711), in 16 bits."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    segment = (code >> 4 & 7).astype(np.int32)
    mantissa = ((code & 0x0F).astype(np.int32) << 4) + 8
    magnitude = np.where(segment > 0, mantissa + 0x100 << np.maximum(segment - 1, 0), mantissa)
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)
