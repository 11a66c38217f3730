"""True peaks: the greatest level between samples too, by the filter of ITU-R BS.1770-4, annex 2.

Rules:

- A frame's true peak is the greatest of its sample and of the four values that the filter makes of it and of the
  `HISTORY` frames in front of it. The four lie about 5.5 frames earlier: the filter's delay.
- A stretch is computed only where its true peak may be wanted. The filter multiplies the greatest sample by at most
  `WIDEST`, so most stretches of most recordings are passed over. The result is exact nevertheless.
- Only products, sums and comparisons: no machine differs, and a stretch's result does not depend on its neighbours.
"""

from __future__ import annotations

import numpy as np

from zaudio.ops.contract import Array
from zaudio.ops.gains import greatest

HISTORY = 11  # frames in front of a frame from which its true peak follows

# ITU-R BS.1770-4, annex 2: 4-times oversampling by 48 taps, here in 1/8192. The other two phases are these, mirrored.
_PHASES = (
    (14, 90, -161, 272, -487, 1125, 7964, -838, 390, -218, 122, -68),
    (-239, 240, -424, 730, -1364, 3810, 6388, -1641, 832, -477, 271, -155),
)
_TAPS = tuple(tuple(tap / 8192 for tap in phase) for phase in _PHASES)
# The factor by which each raises the greatest sample at most; with room for rounding, so that what is passed over is
# no greater than what is known already.
_MOST = tuple(sum(map(abs, taps)) * (1 + 2.0**-40) for taps in _TAPS)
WIDEST = max(_MOST)  # about 2.02: no signal is raised by more

_STRETCH = 32  # frames that are computed or passed over together; more than HISTORY
_BATCH = 512  # stretches at once: few calls of numpy, and the numbers stay in a cache of 1 MiB


def true_peaks(samples: Array, cell: int, *, floor: float = 0.0) -> Array:
    """Return the true peaks of every cell of consecutive frames, (cells, channels).

    Args:
        samples: Finite float64 of shape (HISTORY + cells * cell, channels): the frames in front of the first cell,
            zeros where the recording has none, and then the cells. Channels that are contiguous are faster.
        cell: Frames per cell, 1 or more. For one result of all frames, give all of them as one cell.
        floor: Peaks up to here need not be exact: such a result is at least the greatest sample, and at most the true
            peak or the floor. 0 makes all results exact; a higher floor passes over more.
    """
    cells = (len(samples) - HISTORY) // cell
    peaks = np.empty((cells, samples.shape[1]))
    for number in range(samples.shape[1] if cells else 0):
        peaks[:, number] = _of_channel(np.ascontiguousarray(samples[:, number]), cell, cells, floor)
    return peaks


def _of_channel(samples: Array, cell: int, cells: int, floor: float) -> Array:
    """Return the true peaks of the cells of one channel."""
    size, per_cell = min(cell, _STRETCH), -(-cell // _STRETCH)
    starts = (np.arange(cells)[:, None] * cell + np.arange(0, cell, size)).reshape(-1)
    loudest = greatest(samples, np.concatenate(([0], starts + HISTORY)))  # the first is the history's
    peaks: Array = loudest[1:].reshape(cells, per_cell).max(axis=1)
    seen = _with_history(loudest, cell)
    for taps, most in sorted(zip(_TAPS, _MOST, strict=True), key=lambda pair: -pair[1]):
        wanted = np.flatnonzero(seen * most > np.repeat(np.maximum(peaks, floor), per_cell))
        owner = wanted // per_cell
        if per_cell > 1:
            wanted, owner = _loudest_first(wanted, seen[wanted], owner)
        # A cell's last stretch may be shorter: some of the cell's frames are then computed twice, which does no harm.
        begins, bounds = np.minimum(starts[wanted], owner * cell + cell - size), seen[wanted] * most
        for first in range(0, len(wanted), _BATCH):
            batch = slice(first, first + _BATCH)
            still = bounds[batch] > np.maximum(peaks[owner[batch]], floor)  # a batch before may have spared this one
            if still.any():
                found = _oversampled(samples, begins[batch][still], size, taps)
                np.maximum.at(peaks, owner[batch][still], found)
    return peaks


def _with_history(loudest: Array, cell: int) -> Array:
    """Return at least the greatest magnitude of each stretch and its history; of all numbers, where that is simpler."""
    if cell < _STRETCH:
        result: Array = np.full(len(loudest) - 1, loudest.max())
        return result
    result = np.maximum(loudest[1:], loudest[:-1])
    if 0 < cell % _STRETCH < HISTORY:  # the history of a cell's first stretch is longer than the one before it
        np.maximum(result[1:], loudest[:-2], out=result[1:])
    return result


def _loudest_first(wanted: Array, bounds: Array, owner: Array) -> tuple[Array, Array]:
    """Return stretches in another order, and their cells: the loudest of every cell, then the second of every cell."""
    order = np.lexsort((-bounds, owner))
    rank = np.arange(len(order)) - np.searchsorted(owner, owner)  # owners are sorted before and after
    order = order[np.argsort(rank, kind="stable")]
    return wanted[order], owner[order]


def _oversampled(samples: Array, starts: Array, size: int, taps: tuple[float, ...]) -> Array:
    """Return the greatest magnitude that two phases of the filter, one the other's mirror, make of each stretch."""
    # Frames by stretches: each shift by a frame is then one contiguous piece.
    frames = np.ascontiguousarray(samples[np.arange(HISTORY + size)[:, None] + starts])
    forward, mirrored = np.zeros((2, size, len(starts)))
    product = np.empty_like(frames)
    for lag, tap in enumerate(taps):
        np.multiply(frames, tap, out=product)
        forward += product[HISTORY - lag : HISTORY - lag + size]
        mirrored += product[lag : lag + size]
    result: Array = np.maximum(np.abs(forward, out=forward), np.abs(mirrored, out=mirrored), out=forward).max(axis=0)
    return result
