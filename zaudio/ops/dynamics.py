"""Dynamics: ops whose gain follows the level, `compress` and `gate`.

Rules:

- The gain follows the loudest channel, and is the same for all channels.
- It begins to change an attack before its reason, so that it is complete in time. Nothing is delayed.
- A reduction falls by a fixed number of decibels per second. So it ends, and with it the op's memory: the results are
  exact in any cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from zaudio.errors import UsageError
from zaudio.ops.contract import Array, BuiltIn, Exactness, Kernel, Op, Place
from zaudio.ops.gains import (
    CELL,
    apply_gains,
    cells_of,
    curve_table,
    factor_table,
    fall_per_cell,
    gains,
    levels_of,
    on_curve,
    released,
    sliding_maximum,
    sliding_mean,
)
from zaudio.ops.parameters import duration, frames_of, number
from zaudio.signal import Signal

LOUDEST_DB = 24.0  # dBFS: the compressor's curve ends here
LONGEST = 10  # seconds of an attack or hold: all of them are read again for each block


@dataclass(frozen=True)
class Dynamics(Kernel):
    """A gain that follows the level.

    Attributes:
        look: Cells in which a reduction grows to its full depth.
        hold: Cells for which it stays there.
        fall: Units by which it falls per cell afterwards.
        reach: Cells after which the deepest one is over.
        curve: The reduction of a level.
        factors: The gain of a reduction.
    """

    look: int
    hold: int
    fall: int
    reach: int
    curve: Array
    factors: Array

    def grid(self, signal: Signal) -> int:
        """Return the frames per cell: they are computed whole."""
        return CELL

    def context(self, signal: Signal) -> tuple[int, int]:
        """Return the frames in front and behind from which a gain follows."""
        return (self.look + self.hold + self.reach) * CELL, self.look * CELL

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples times their gains."""
        if samples.strides[0] != samples.itemsize:
            samples = np.asfortranarray(samples)
        start = place.start // CELL * CELL
        block = samples[start - place.first : -(-place.stop // CELL) * CELL - place.first]
        levels = self.levels(samples)
        edges = gains(self.factors, self.reductions(levels))
        for channel in range(block.shape[1]):
            apply_gains(block[:, channel], edges)
        return block[place.start - start : place.stop - start]

    def levels(self, samples: Array) -> Array:
        """Return the level of each cell: the greatest magnitude of any channel."""
        return levels_of(samples)

    def reductions(self, levels: Array) -> Array:
        """Return the reduction at each edge of a wanted cell."""
        return self.smooth(on_curve(self.curve, levels), self.look)

    def smooth(self, wanted: Array, ahead: int) -> Array:
        """Return reductions at the edges, of those that cells want: ahead of them, and released after them."""
        held = sliding_maximum(wanted, self.hold + 1 + ahead)
        # Each of the `look` values in front of an edge covers the cells on both of its sides.
        return sliding_mean(released(held, self.fall)[self.reach :], self.look)


@dataclass(frozen=True)
class Compress(BuiltIn):
    """Make loud passages quieter.

    A level of L dBFS, the greatest sample of 32 frames, is reduced by G decibels; x = L - threshold_db:

        G = 0                                                    2 x < -knee_db
        G = (1 - 1 / ratio) (x + knee_db / 2)^2 / (2 knee_db)    2 |x| <= knee_db
        G = (1 - 1 / ratio) x                                    2 x > knee_db

    The reduction grows during the attack in front of a louder passage, linearly in decibels. It falls by
    `release_db_per_s` behind it. From 24 dBFS on it does not grow. All channels have the same gain.

    Source: Giannoulis, Massberg and Reiss, Digital Dynamic Range Compressor Design: A Tutorial and Analysis, Journal of
    the Audio Engineering Society 60(6), 2012, equation 4.
    """

    name: ClassVar[str] = "compress"
    example: ClassVar[str] = "compress:threshold_db=-20,ratio=4"
    exactness: ClassVar[Exactness] = Exactness.FINITE
    threshold_db: float = number("level in dBFS above which the gain is reduced", least=-100, most=LOUDEST_DB)
    ratio: float = number("decibels of input per decibel of output, above the threshold", least=1, most=1000)
    knee_db: float = number("width in decibels of the bend around the threshold", least=0, most=40, default=6)
    attack: str = duration(
        "time in front of a louder passage in which the gain falls, at least 32 frames", default="5ms"
    )
    release_db_per_s: float = number(
        "decibels per second by which the gain rises again", least=5, most=10_000, default=100
    )
    makeup_db: float = number("gain in decibels of the whole result", least=-60, most=60, default=0)

    def design(self, signal: Signal) -> Op:
        """Return the op that travels.

        Raises:
            UsageError: The attack is too long.
        """
        slope = 1 - 1 / self.ratio

        def reduction(level: float) -> float:
            over = min(level, LOUDEST_DB) - self.threshold_db
            if 2 * over < -self.knee_db:
                return 0.0
            if 2 * over <= self.knee_db and self.knee_db:
                return slope * (over + self.knee_db / 2) ** 2 / (2 * self.knee_db)
            return slope * max(0.0, over)

        curve, fall = curve_table(reduction), fall_per_cell(self.release_db_per_s, signal.samplerate)
        return Compressor(
            look_of("compress", self.attack, signal),
            0,
            fall,
            -(-int(curve.max()) // fall),
            curve,
            factor_table(self.makeup_db),
        )


@dataclass(frozen=True)
class Compressor(Dynamics):
    """A compressor: its curve is the reduction."""

    name: ClassVar[str] = "compress"


@dataclass(frozen=True)
class Gate(BuiltIn):
    """Make quiet passages quieter.

    A level of L dBFS, the greatest sample of 32 frames, has a gain of G decibels:

        G = -range_db                                  L <= threshold_db - knee_db
        G = -range_db (threshold_db - L) / knee_db     between
        G = 0                                          L >= threshold_db

    The gain rises during the attack in front of a louder passage, linearly in decibels. It stays for `hold` behind it,
    and then falls by `release_db_per_s`. The hold keeps the gate from opening and closing at each period of a sound
    near the threshold. All channels have the same gain.

    Source: the law of a downward expander with a limited range, as in Zoelzer (editor), DAFX: Digital Audio Effects,
    2nd edition, 2011, section 4.2.
    """

    name: ClassVar[str] = "gate"
    example: ClassVar[str] = "gate:threshold_db=-50,range_db=20"
    exactness: ClassVar[Exactness] = Exactness.FINITE
    threshold_db: float = number("level in dBFS from which the gain is 0 dB", least=-90, most=0)
    range_db: float = number("decibels by which quiet passages are lowered", least=0, most=120, default=40)
    knee_db: float = number("decibels below the threshold in which the gain changes", least=0, most=30, default=6)
    attack: str = duration(
        "time in front of a louder passage in which the gain rises, at least 32 frames", default="5ms"
    )
    hold: str = duration("time behind a louder passage for which the gain stays", default="50ms")
    release_db_per_s: float = number(
        "decibels per second by which the gain falls again", least=5, most=10_000, default=200
    )

    def design(self, signal: Signal) -> Op:
        """Return the op that travels.

        Raises:
            UsageError: Attack or hold is too long.
        """

        def lift(level: float) -> float:
            under = self.threshold_db - level
            if under <= 0:
                return self.range_db
            return self.range_db * (1 - under / self.knee_db) if under < self.knee_db else 0.0

        curve, fall = curve_table(lift), fall_per_cell(self.release_db_per_s, signal.samplerate)
        return Opener(
            look_of("gate", self.attack, signal),
            _cells("gate", "hold", self.hold, signal),
            fall,
            -(-int(curve.max()) // fall),
            curve,
            factor_table(),
        )


@dataclass(frozen=True)
class Opener(Dynamics):
    """A gate: its curve is the lift above the gain of a quiet passage."""

    name: ClassVar[str] = "gate"

    def reductions(self, levels: Array) -> Array:
        """Return the reduction at each edge of a wanted cell."""
        reductions: Array = int(self.curve.max()) - super().reductions(levels)
        return reductions


def look_of(op: str, attack: str, signal: Signal) -> int:
    """Return the cells of an attack, 1 or more.

    Raises:
        UsageError: It is too long.
    """
    return max(1, _cells(op, "attack", attack, signal))


def _cells(op: str, name: str, value: str, signal: Signal) -> int:
    """Return the cells of a duration.

    Raises:
        UsageError: It is too long.
    """
    frames = frames_of(value, signal.samplerate)
    if frames > LONGEST * signal.samplerate:
        raise UsageError(f"op {op}: {name} is at most {LONGEST} s, not {value}")
    return cells_of(frames)
