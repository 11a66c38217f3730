"""Conversion between samples as they are stored and the floats in which ops compute.

Rules:

- Integers become floats by an exact power of two: full scale is 1.0. They are rounded once on the way back, half to
  even, and limited to the range of their integers; those that are limited are counted.
- Floats are stored at any level: nothing is clipped.
- Arrays are (frames, channels). In floats, the channels lie one behind the other in memory: ops filter each by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from zaudio.formats import SampleFormat
from zaudio.ops.contract import Array, Precision

_SLAB = 32_768  # samples: in float64 they stay in a core's cache from one pass to the next
_FEW = 16  # channels

_FLOATS: dict[Precision, np.dtype[Any]] = {Precision.FLOAT32: np.dtype("=f4"), Precision.FLOAT64: np.dtype("=f8")}


def is_float(array: Array) -> bool:
    """Return whether an array has floats."""
    return array.dtype.kind == "f"


def float_type(precision: Precision) -> np.dtype[Any]:
    """Return the type of `Precision.FLOAT32` or `Precision.FLOAT64`."""
    return _FLOATS[precision]


def to_floats(array: Array, precision: Precision) -> Array:
    """Return samples, stored in either byte order, as floats with full scale at 1.0: a new array.

    Args:
        array: Samples (frames, channels).
        precision: `Precision.FLOAT32` or `Precision.FLOAT64`.
    """
    floats: Array = np.empty(array.shape, _FLOATS[precision], order="F")
    # A cast swaps foreign bytes on its way: cheaper than a pass of its own.
    if is_float(array):
        with np.errstate(all="ignore"):  # a float64 may be beyond float32
            floats[...] = array
        return floats
    scale = 1.0 / _full_scale(array.dtype)
    for rows in _slabs(array):
        slab = floats[rows]
        slab[...] = array[rows]
        np.multiply(slab, scale, out=slab)
    return floats


def to_stored(array: Array, format: SampleFormat) -> tuple[Array, int]:
    """Return samples as that format stores them, in native byte order; and how many were limited to its range.

    NaN becomes 0 in integers.
    """
    dtype = np.dtype(format.native_dtype)
    if array.dtype == dtype and not format.is_packed:
        return np.ascontiguousarray(array), 0
    stored = np.empty(array.shape, dtype)
    return stored, store(array, stored, format.bits)[0]


def store(array: Array, into: Array, bits: int = 0) -> tuple[int, int]:
    """Write samples into an array of the numbers that a format stores, in its byte order.

    NaN becomes 0 in integers.

    Args:
        array: Samples (frames, channels): stored ones in either byte order, or floats with full scale at 1.0.
        into: The array to fill, of the same shape.
        bits: Significant bits of its integers, the upper ones; 0 for all of them.

    Returns:
        How many samples were limited to the range of their integers, and how many NaN became 0.
    """
    given, wanted = array.dtype, into.dtype
    lower = 8 * wanted.itemsize - bits if bits else 0  # bits that stay zero
    if (given.kind, given.itemsize) == (wanted.kind, wanted.itemsize) and not lower:
        # Bytes are swapped at most: a signalling NaN passes as it is.
        if given == wanted and array.flags.c_contiguous and into.flags.c_contiguous:
            np.copyto(into.reshape(-1).view(np.uint8), array.reshape(-1).view(np.uint8))  # numpy's fastest copy
        else:
            into[...] = array
        return 0, 0
    if not is_float(array):  # integers of another width, or with bits that must go
        array = to_floats(array, Precision.FLOAT64)
    clipped = lost = 0
    with np.errstate(all="ignore"):
        if is_float(into):
            _copy(array, into)
            return 0, 0
        full = _full_scale(wanted) / 2.0**lower
        for rows in _slabs(array):
            scaled, odd = _rounded(array[rows], full)
            if lower:
                scaled *= 2.0**lower
            _copy(scaled, into[rows])
            clipped, lost = clipped + odd[0], lost + odd[1]
    return clipped, lost


def convert(array: Array, precision: Precision, format: SampleFormat) -> tuple[Array, int]:
    """Return an array in that precision, and how many samples were limited on the way.

    Args:
        array: Samples, as stored in `format`, or floats with full scale at 1.0.
        precision: The precision that an op wants.
        format: The format of stored samples.
    """
    if precision is Precision.ANY:
        return array, 0
    if precision is Precision.STORED:
        return to_stored(array, format)
    if array.dtype == _FLOATS[precision] and _is_planar(array):
        return array, 0
    return to_floats(array, precision), 0


def _rounded(floats: Array, full: float) -> tuple[Array, tuple[int, int]]:
    """Return floats in units of an integer's last bit, whole and in its range; how many were limited, and NaN."""
    scaled = np.multiply(floats, full, dtype=np.float64, order="F")
    np.rint(scaled, out=scaled)  # half to even
    if scaled.min() >= -full and scaled.max() <= full - 1:  # false with NaN
        return scaled, (0, 0)
    odd = np.isnan(scaled)
    scaled[odd] = 0.0
    clipped = int(np.count_nonzero(scaled > full - 1) + np.count_nonzero(scaled < -full))
    # float64 holds both limits of 32 bits exactly, so nothing wraps in the cast.
    np.clip(scaled, -full, full - 1, out=scaled)
    return scaled, (clipped, int(np.count_nonzero(odd)))


def _copy(array: Array, into: Array) -> None:
    """Copy and cast, channel by channel: numpy's own loop over a few channels is 2 to 4 times as slow."""
    if array.shape[1] > _FEW:
        np.copyto(into, array, casting="unsafe")
        return
    for channel in range(array.shape[1]):
        np.copyto(into[:, channel], array[:, channel], casting="unsafe")


def _slabs(array: Array) -> Iterator[slice]:
    """Return the stretches of frames that are converted at a time."""
    step = max(1, _SLAB // max(1, array.shape[1]))
    return (slice(low, low + step) for low in range(0, len(array), step))


def _is_planar(array: Array) -> bool:
    return array.shape[1] == 1 or array.strides[0] == array.itemsize


def _full_scale(dtype: np.dtype[np.generic]) -> float:
    return 2.0 ** (8 * dtype.itemsize - 1)
