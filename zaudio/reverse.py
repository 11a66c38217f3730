"""Reversing frames of bytes: the last frame comes first, the channels within a frame keep their order.

Rules: pure, bytes in and bytes out; samples are never interpreted, so every bit pattern survives.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

COLUMNS_MAX = 3  # measured: up to three columns of integers beat one item of opaque bytes, from four on they lose


def reverse_into(frames: npt.NDArray[np.uint8], buffer: bytearray | memoryview, frame_bytes: int) -> None:
    """Write the frames into the buffer's beginning, last frame first.

    One strided copy of whole frames, or of a few integers a frame, is about ten times faster than numpy's
    `x[::-1]` over an array of (frames, channels) samples.

    Args:
        frames: Bytes, one-dimensional, a multiple of `frame_bytes` of them.
        buffer: Where they go; at least as long.
        frame_bytes: Bytes a frame.
    """
    unit = next(size for size in (8, 4, 2, 1) if frame_bytes % size == 0)
    columns = frame_bytes // unit
    if columns > COLUMNS_MAX:
        unit, columns = frame_bytes, 1
    item = np.dtype(f"u{unit}" if unit in (1, 2, 4, 8) else f"V{unit}")
    count = frames.size // unit
    source = frames.view(item).reshape(-1, columns)
    target = np.frombuffer(buffer, item, count).reshape(-1, columns)
    for column in range(columns):
        target[:, column] = source[::-1, column]
