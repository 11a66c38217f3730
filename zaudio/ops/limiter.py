"""Limiter: peaks are kept below a ceiling.

Rules:

- No sample of the result is above the ceiling: every rounding on the way to the gain is to the safe side, or smaller
  than the margin.
- When true peaks count, no peak that the filter of BS.1770-4 finds between samples is above it either. That filter sees
  the gain change, so a changing gain is lowered a little more than the peak asks for.
- A recording that stays below the ceiling passes bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from zaudio.ops.contract import Array, BuiltIn, Exactness, Op
from zaudio.ops.dynamics import Dynamics, look_of
from zaudio.ops.gains import (
    CELL,
    UNIT,
    curve_table,
    factor_table,
    fall_per_cell,
    levels_of,
    on_curve,
    sliding_maximum,
)
from zaudio.ops.parameters import choice, duration, number
from zaudio.ops.truepeak import HISTORY, WIDEST, true_peaks
from zaudio.signal import Signal

LIMITED_DB = 36.0  # above its ceiling the limiter lowers peaks; louder ones are clipped

# Units that every reduction is deeper. A straight line between two entries of the curve is at most 2 units below it,
# rounding takes 2, and the mean is rounded down.
_MARGIN = 6
# The filter of true peaks sees a change of gain by at most 2.4 frames of its slope: the greater sum of |tap| times
# distance from the middle. That is 0.075 of a cell's change. 1/8 leaves room for the difference between decibels and
# factors, where 20 dB change within an attack of one cell.
_GUARD_SHIFT = 3
_GUARD_EDGES = 4  # on either side of an edge, from which its guard follows


@dataclass(frozen=True)
class Limit(BuiltIn):
    """Keep peaks below a ceiling.

    A peak of L dBFS above the ceiling is reduced by G = L - db decibels. The reduction grows during the attack in front
    of the peak, linearly in decibels, and falls by `release_db_per_s` behind it. All channels have the same gain. A
    recording that stays below the ceiling passes bit for bit.

    No sample of the result is above the ceiling, also after rounding to the recording's format. With `peak=true`, the
    unit is dBTP: the peaks between samples that a meter with the filter of BS.1770-4 finds are below the ceiling, too.
    That filter falls towards half the samplerate: noise up to 20 kHz at 48 kHz had peaks 0.3 dB above the ceiling by
    other meters. Peaks of more than 36 dB (30 dB with `peak=true`) above the ceiling are clipped before that.

    Source: ITU-R BS.1770-4, annex 2, for peaks between samples. A limiter with a look-ahead, as in Zoelzer (editor),
    DAFX: Digital Audio Effects, 2nd edition, 2011, section 4.2; here its gain is a maximum over the look-ahead, and
    then a mean over it.
    """

    name: ClassVar[str] = "limit"
    example: ClassVar[str] = "limit:db=-1"
    exactness: ClassVar[Exactness] = Exactness.FINITE
    db: float = number("ceiling in dBFS, in dBTP for true peaks", least=-60, most=0)
    attack: str = duration("time in front of a peak in which the gain falls, at least 32 frames", default="5ms")
    release_db_per_s: float = number(
        "decibels per second by which the gain rises again", least=5, most=10_000, default=100
    )
    peak: str = choice("sample, or true for those between samples too", "sample", "true", default="true")

    def design(self, signal: Signal) -> Op:
        """Return the op that travels.

        Raises:
            UsageError: The attack is too long.
        """
        true_peak = self.peak == "true"
        ceiling = _representable(10 ** (self.db / 20), signal, WIDEST / 2 if true_peak else 0.0)
        ceiling_db = 20 * math.log10(ceiling)
        most = 10 ** (LIMITED_DB / 20) * ceiling
        fall = fall_per_cell(self.release_db_per_s, signal.samplerate)
        return Limiter(
            look_of("limit", self.attack, signal),
            0,
            fall,
            -(-(round(LIMITED_DB * UNIT) + 2 * _MARGIN) // fall),
            curve_table(lambda level: max(0.0, level - ceiling_db) + _MARGIN / UNIT),
            factor_table(),
            ceiling,
            most / WIDEST if true_peak else most,
            true_peak,
        )


@dataclass(frozen=True)
class Limiter(Dynamics):
    """A limiter.

    Attributes:
        ceiling: The greatest sample of the result.
        most: The greatest sample that is not clipped before.
        true_peak: Whether peaks between samples count.
    """

    name: ClassVar[str] = "limit"
    ceiling: float
    most: float
    true_peak: bool

    def context(self, signal: Signal) -> tuple[int, int]:
        """Return the frames in front and behind from which a gain follows."""
        before, after = super().context(signal)
        if not self.true_peak:
            return before, after
        # A true peak belongs to its cell and to the end of the one before. So one cell more of samples is needed in
        # front, and one more of levels behind.
        more = (_GUARD_EDGES + 1) * CELL
        return before + more, after + more

    def levels(self, samples: Array) -> Array:
        """Return the level of each cell; clip the samples that are too loud."""
        levels = self._peaks(samples)
        if (levels > self.most).any():
            np.clip(samples, -self.most, self.most, out=samples)
            levels = self._peaks(samples)
        return levels

    def reductions(self, levels: Array) -> Array:
        """Return the reduction at each edge of a wanted cell."""
        wanted = on_curve(self.curve, levels)
        wanted *= levels > self.ceiling
        if not self.true_peak:
            return self.smooth(wanted, self.look)
        edges = self.smooth(wanted, self.look + 1)
        # Where the gain changes, the filter mixes samples of different gains. The guard against that changes the gain,
        # too: so it is computed twice.
        guarded = edges[2:-2] + _guard(edges)
        reductions: Array = edges[_GUARD_EDGES:-_GUARD_EDGES] + _guard(guarded)
        return reductions

    def _peaks(self, samples: Array) -> Array:
        if not self.true_peak:
            return levels_of(samples)
        peaks: Array = true_peaks(samples[CELL - HISTORY :], CELL, floor=self.ceiling).max(axis=1)
        return peaks


def _guard(edges: Array) -> Array:
    """Return the units to add to each edge but two at either end, for the changes on both sides of its cells."""
    guard: Array = sliding_maximum(np.abs(np.diff(edges)), 4) >> _GUARD_SHIFT
    return guard


def _representable(ceiling: float, signal: Signal, steps_below: float) -> float:
    """Return the greatest ceiling that rounding to the signal's format does not pass.

    Args:
        ceiling: The ceiling that is wanted; full scale is 1.
        signal: The signal that is limited.
        steps_below: The steps of an integer format to leave below it, for what rounding adds between samples.
    """
    dtype = np.dtype(signal.format.native_dtype)
    if dtype.kind == "f":
        rounded = dtype.type(ceiling)
        return float(rounded if rounded <= ceiling else np.nextafter(rounded, dtype.type(0)))
    full = 2.0 ** (signal.format.bits - 1)
    return (min(math.floor(ceiling * full), full - 1) - steps_below) / full
