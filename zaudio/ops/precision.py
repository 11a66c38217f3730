"""Conversion between samples as they are stored and the floats in which ops compute.

Rules:

- Integers become floats by an exact power of two: full scale is 1.0. They are rounded once on the way back, half to
  even, and limited to the range of their integers; those that are limited are counted.
- Floats are stored at any level: nothing is clipped.
- Arrays are (frames, channels). In floats, the channels lie one behind the other in memory: ops filter each by itself.
"""

from __future__ import annotations

import numpy as np

from zaudio.formats import SampleFormat
from zaudio.ops.contract import Array, Precision

_FLOATS = {Precision.FLOAT32: np.dtype("=f4"), Precision.FLOAT64: np.dtype("=f8")}


def is_float(array: Array) -> bool:
    """Return whether an array has floats."""
    return array.dtype.kind == "f"


def to_floats(array: Array, precision: Precision) -> Array:
    """Return samples, stored in native byte order, as floats with full scale at 1.0: a new array.

    Args:
        array: Samples (frames, channels).
        precision: `Precision.FLOAT32` or `Precision.FLOAT64`.
    """
    floats = np.empty(array.shape, _FLOATS[precision], order="F")
    if is_float(array):
        with np.errstate(all="ignore"):  # a float64 may be beyond float32
            floats[...] = array
    else:
        np.multiply(array, 1.0 / _full_scale(array.dtype), out=floats, dtype=floats.dtype, casting="unsafe")
    return floats


def to_stored(array: Array, format: SampleFormat) -> tuple[Array, int]:
    """Return samples as that format stores them, in native byte order; and how many were limited to its range.

    NaN becomes 0 in integers.
    """
    dtype = np.dtype(format.native_dtype)
    if array.dtype == dtype:
        return np.ascontiguousarray(array), 0
    if not is_float(array):  # integers of another width
        array = to_floats(array, Precision.FLOAT64)
    if dtype.kind == "f":
        with np.errstate(all="ignore"):
            return array.astype(dtype, order="C"), 0
    full = _full_scale(dtype)
    scaled = np.multiply(array, full, dtype=np.float64, order="C")
    np.rint(scaled, out=scaled)  # half to even
    with np.errstate(all="ignore"):
        odd = np.isnan(scaled)
    if odd.any():
        scaled[odd] = 0.0
    clipped = int(np.count_nonzero(scaled > full - 1) + np.count_nonzero(scaled < -full))
    if clipped:
        # float64 holds both limits of 32 bits exactly, so nothing wraps in the cast.
        np.clip(scaled, -full, full - 1, out=scaled)
    return scaled.astype(dtype), clipped


def convert(array: Array, precision: Precision, format: SampleFormat) -> tuple[Array, int]:
    """Return an array in that precision, and how many samples were limited on the way.

    Args:
        array: Samples, as stored in `format` and native byte order, or floats with full scale at 1.0.
        precision: The precision that an op wants.
        format: The format of stored samples.
    """
    if precision is Precision.ANY:
        return array, 0
    if precision is Precision.STORED:
        return to_stored(array, format)
    if array.dtype == _FLOATS[precision]:
        return array, 0
    return to_floats(array, precision), 0


def _full_scale(dtype: np.dtype[np.generic]) -> float:
    return 2.0 ** (8 * dtype.itemsize - 1)
