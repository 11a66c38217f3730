"""Packing: samples as they lie in memory become the bytes of a file, and back.

Rules: pure. Nothing is rounded here: 24 bits lie in the upper bytes of four, and the lowest one is left out.
"""

from __future__ import annotations

import numpy as np

from zaudio.formats import SampleFormat
from zaudio.steps import Buffer


def pack(samples: Buffer, format: SampleFormat, *, little: bool) -> Buffer:
    """Return samples as they lie in a file; the same buffer where they lie there as they come.

    Args:
        samples: Samples in that format, whole ones.
        format: Their format, in memory.
        little: Whether the file's byte order is the little one.
    """
    swap = (format.dtype[0] == "<") != little
    if not format.is_packed:
        return np.frombuffer(samples, f"u{format.itemsize}").byteswap().tobytes() if swap else samples
    octets = np.frombuffer(samples, np.uint8).reshape(-1, format.itemsize)
    width = format.stored_bytes
    kept = octets[:, format.itemsize - width :] if format.dtype[0] == "<" else octets[:, :width]  # the upper ones
    packed = np.empty((len(octets), width), np.uint8)
    for column in range(width):  # numpy's own loop over three columns takes several times as long
        packed[:, column] = kept[:, width - 1 - column if swap else column]
    return packed.tobytes()


def unpack(stored: bytes | bytearray, format: SampleFormat) -> bytes | bytearray:
    """Return samples of a file as they lie in memory, in the same byte order; the same buffer where that is the same.

    Args:
        stored: Samples as they lie in a file, whole ones.
        format: Their format.
    """
    if not format.is_packed:
        return stored
    width = format.stored_bytes
    octets = np.frombuffer(stored, np.uint8).reshape(-1, width)
    samples = np.zeros((len(octets), format.itemsize), np.uint8)
    first = format.itemsize - width if format.dtype[0] == "<" else 0  # the upper bytes
    for column in range(width):
        samples[:, first + column] = octets[:, column]
    return samples.tobytes()


def unpacked_bytes(length: int, format: SampleFormat) -> int:
    """Return the bytes in memory of samples that take `length` bytes in a file."""
    return length // format.stored_bytes * format.itemsize
