"""Gains: the arithmetic of dynamics, at one point per `CELL` frames.

    greatest magnitude of a cell -> curve -> held to either side -> release -> mean -> gain at each edge between cells

Rules:

- Every decision is an integer: a reduction in units of 2**-16 dB. Maxima, differences and sums of integers do not
  depend on the place at which they begin, so a result needs no more than a known number of cells around it.
- Curves and factors are tables that the coordinator computed. The bits of a level, a float64, select the entry of a
  curve and the place behind it. IEEE 754 defines these bits, and levels are samples or sums of products, so no machine
  differs.
- Cells are counted from frame 0 of the recording.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from zaudio.ops.contract import Array, arrays

CELL = 32  # frames: 0.7 ms at 44.1 kHz, well below any attack that does not distort
UNIT = 1 << 16  # units per decibel: rounding stays 100 dB below the signal

CURVE_LOW, CURVE_HIGH = -20, 8  # octaves to full scale, of a curve's ends: -120.4 and +48.2 dBFS
_STEPS = 256  # entries per octave: a straight line between two is within 2e-5 dB of a decibel's curve
_FRACTION = 1 << 16  # places between two entries
_SHIFT = 52 - 8 - 16  # of a float64's 52 bits of fraction, 8 select the entry and 16 the place behind it
_LOW, _HIGH = ((1023 + octave) << 24 for octave in (CURVE_LOW, CURVE_HIGH))  # the exponent is biased by 1023

_TILE = 1024  # cells whose gains are applied at once: they stay in a cache


def curve_table(law: Callable[[float], float]) -> Array:
    """Return the table of a curve, in units. The law returns decibels, 0 or more, for a level in dBFS."""
    entries = [law(20 * math.log10(2.0**octave * (1 + step / _STEPS))) for octave, step in _grid()]
    entries.append(law(20 * math.log10(2.0**CURVE_HIGH)))
    entries.append(entries[-1])  # behind the last place, for the interpolation
    return arrays([round(entry * UNIT) for entry in entries], type="<i4")


def factor_table(rest_db: float = 0.0) -> Array:
    """Return the factors of a reduction, for each of its three bytes: whole decibels, 1/256 and 1/65536 of one.

    A reduction is less than 256 dB.

    Args:
        rest_db: The gain in decibels where nothing is reduced.
    """
    steps = range(256)
    return arrays(
        [10 ** ((rest_db - step) / 20) for step in steps],
        [10 ** (-step / 256 / 20) for step in steps],
        [10 ** (-step / UNIT / 20) for step in steps],
    )


def cells_of(frames: int) -> int:
    """Return the nearest number of cells."""
    return (frames + CELL // 2) // CELL


def fall_per_cell(db_per_s: float, samplerate: int) -> int:
    """Return the units by which a reduction falls per cell; at least 1, so that each comes to its end."""
    return max(1, round(db_per_s * UNIT * CELL / samplerate))


def greatest(samples: Array, starts: Array) -> Array:
    """Return the greatest magnitude of each piece of a contiguous channel; pieces begin at `starts`, in order."""
    # The bits of floats without their sign are in the order of the floats, and integers are faster to compare.
    magnitudes = np.abs(samples).view(np.int64)
    result: Array = np.maximum.reduceat(magnitudes, starts).view(np.float64)
    return result


def levels_of(samples: Array) -> Array:
    """Return the greatest magnitude of any channel in each cell; the samples are whole cells."""
    cells = len(samples) // CELL
    starts = np.arange(0, _TILE * CELL, CELL)
    levels = np.zeros(cells)
    for channel in range(samples.shape[1]):
        for first in range(0, cells, _TILE):
            tile = levels[first : first + _TILE]
            piece = samples[first * CELL : (first + len(tile)) * CELL, channel]
            np.maximum(tile, greatest(piece, starts[: len(tile)]), out=tile)
    return levels


def on_curve(curve: Array, levels: Array) -> Array:
    """Return the curve at those levels, in units; a level beyond an end of the curve counts as that end."""
    places = levels.view(np.int64) >> _SHIFT
    np.clip(places, _LOW, _HIGH, out=places)  # integers: either order of the same bits
    places -= _LOW
    entries = places // _FRACTION
    below = curve[entries]
    rise = curve[entries + 1] - below
    places -= entries * _FRACTION
    places *= rise
    places >>= 16
    places += below
    return places


def sliding_maximum(values: Array, width: int) -> Array:
    """Return the maximum of each `width` values in a row: `width - 1` fewer than were given."""
    done = 1
    while 2 * done <= width:
        values = np.maximum(values[:-done], values[done:])
        done *= 2
    rest = width - done
    return np.maximum(values[:-rest], values[rest:]) if rest else values


def sliding_mean(values: Array, width: int) -> Array:
    """Return the mean of each `width` integers in a row, rounded down: `width - 1` fewer than were given."""
    sums = np.concatenate(([0], np.cumsum(values)))
    means: Array = (sums[width:] - sums[:-width]) // width
    return means


def released(values: Array, fall: int) -> Array:
    """Return the least values that are nowhere below those given, and fall by at most `fall` from one to the next."""
    slope = np.arange(len(values)) * fall
    result: Array = np.maximum.accumulate(values + slope)
    result -= slope
    return result


def gains(factors: Array, reductions: Array) -> Array:
    """Return the factors by which samples are multiplied, of reductions in units."""
    result: Array = factors[reductions >> 16]
    result *= factors[256 + (reductions >> 8 & 255)]
    result *= factors[512 + (reductions & 255)]
    return result


def apply_gains(samples: Array, edges: Array) -> None:
    """Multiply samples by gains that change linearly from each edge of a cell to the next.

    Args:
        samples: Float64 of one channel, whole cells; multiplied in place.
        edges: The gain at each edge of a cell, one more than there are cells.
    """
    cells = samples.reshape(-1, CELL)
    ramp = np.arange(CELL) / CELL
    scratch = np.empty((min(_TILE, len(cells)), CELL))
    for first in range(0, len(cells), _TILE):
        tile = cells[first : first + _TILE]
        begin, end = edges[first : first + len(tile), None], edges[first + 1 : first + len(tile) + 1, None]
        if (begin == 1).all() and end[-1] == 1:
            continue  # a factor of 1 changes no bit
        factors = scratch[: len(tile)]
        np.multiply(end - begin, ramp, out=factors)
        factors += begin
        tile *= factors


def _grid() -> list[tuple[int, int]]:
    return [(octave, step) for octave in range(CURVE_LOW, CURVE_HIGH) for step in range(_STEPS)]
