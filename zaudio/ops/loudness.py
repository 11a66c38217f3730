"""Loudness: the numbers that the standards make of energies: integrated, range, momentary and short-term, true peak.

Sources: ITU-R BS.1770-4, annex 1; EBU R 128; EBU Tech 3341, "Loudness metering: EBU Mode"; EBU Tech 3342, "Loudness
range".

Rules:

- All of it is computed on the coordinator, of the cells that `Energies` measured.
- Windows move by a cell, 100 ms; those of the momentary maximum by 10 ms. Only whole windows count.
- Means over the recording are exact sums (math.fsum).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from zaudio.ops.contract import Array, Op
from zaudio.ops.energies import MOMENTARY, Energies, cell_frames, energies
from zaudio.signal import Signal

SHORT_TERM = 30  # cells: 3 s
ABSOLUTE_GATE = -70.0  # LUFS, BS.1770-4
RELATIVE_GATE = -10.0  # LU, BS.1770-4
RANGE_GATE = -20.0  # LU, Tech 3342
OFFSET = -0.691  # dB, BS.1770-4: a sine of 997 Hz at 0 dBFS in one channel is -3.01 LUFS


@dataclass(frozen=True)
class LoudnessSurvey(Op):
    """Measures for the command `zaudio loudness`; no job has it.

    Attributes:
        momentary: Whether the momentary maximum is measured.
        peaks: Whether true peaks are measured.
    """

    name: ClassVar[str] = "loudness"
    momentary: bool = True
    peaks: bool = True

    def measure(self, signal: Signal) -> Energies:
        """Return the op that measures.

        Raises:
            UsageError: The samplerate is too low, or scipy is not installed.
        """
        return energies(signal, momentary=self.momentary, peaks=self.peaks)

    def report(self, cells: Array, signal: Signal) -> Loudness:
        """Return the loudness of a signal, of the cells that were measured of it."""
        return Loudness.of(cells, signal, self.measure(signal))


@dataclass(frozen=True, slots=True)
class Loudness:
    """The loudness of a recording.

    Attributes:
        integrated: LUFS, gated; None when nothing passes the gate of -70 LUFS, or the recording is too short.
        range: LU, by Tech 3342; None when no window of 3 s passes the gate.
        momentary: The greatest momentary loudness, 400 ms, in LUFS; None when it was not measured, or is silence.
        short_term: The greatest short-term loudness, 3 s, in LUFS; None for silence, or a recording that is shorter.
        true_peaks: dBTP, per channel; None for silence. Empty when they were not measured.
        frames: The length of the recording.
        samplerate: Frames per second.
    """

    integrated: float | None
    range: float | None
    momentary: float | None
    short_term: float | None
    true_peaks: tuple[float | None, ...]
    frames: int
    samplerate: int

    @classmethod
    def of(cls, cells: Array, signal: Signal, op: Energies) -> Loudness:
        """Return the loudness of a signal from the cells that the op measured."""
        channels, cell = signal.channels, cell_frames(signal.samplerate)
        whole = cells[: signal.frames // cell]
        power = np.zeros(len(whole))
        for number, weight in enumerate(op.weights):
            if weight:
                power += whole[:, number] * (weight / cell)
        short = _windows(power, SHORT_TERM)
        momentary = whole[MOMENTARY - 1 :, channels].max(initial=0.0) / (MOMENTARY * cell) if op.momentary else 0.0
        return cls(
            _integrated(_windows(power, MOMENTARY)),
            _range(short),
            lufs(momentary),
            lufs(short.max(initial=0.0)),
            tuple(map(decibels, cells[:, -channels:].max(axis=0, initial=0.0))) if op.peaks else (),
            signal.frames,
            signal.samplerate,
        )

    @property
    def is_too_short(self) -> bool:
        """Whether it has less than a window of 400 ms."""
        return self.frames < MOMENTARY * cell_frames(self.samplerate)

    @property
    def true_peak(self) -> float | None:
        """The greatest true peak, in dBTP; None for silence, or when it was not measured."""
        return max((peak for peak in self.true_peaks if peak is not None), default=None)

    def to_json(self) -> dict[str, object]:
        """Return it as plain values, with the units in the names."""
        return {
            "integrated_lufs": self.integrated,
            "range_lu": self.range,
            "momentary_max_lufs": self.momentary,
            "short_term_max_lufs": self.short_term,
            "true_peak_dbtp": self.true_peak,
            "true_peaks_dbtp": list(self.true_peaks),
            "seconds": self.frames / self.samplerate,
        }


def lufs(power: float) -> float | None:
    """Return the loudness of a weighted mean square; None for silence, and beyond the range of float64."""
    return OFFSET + 10.0 * math.log10(power) if 0 < power < math.inf else None


def decibels(level: float) -> float | None:
    """Return a level as decibels of full scale; None for silence, and beyond the range of float64."""
    return 20.0 * math.log10(level) if 0 < level < math.inf else None


def _integrated(powers: Array) -> float | None:
    """Return the gated loudness of windows of 400 ms; None when none passes."""
    loud = powers[powers >= _power(ABSOLUTE_GATE)]
    if len(loud):
        loud = loud[loud >= _mean(loud) * 10.0 ** (RELATIVE_GATE / 10.0)]
    return lufs(_mean(loud)) if len(loud) else None


def _range(powers: Array) -> float | None:
    """Return the distance of the 10th and the 95th percentile of windows of 3 s, in LU; None when none passes."""
    loud = powers[powers >= _power(ABSOLUTE_GATE)]
    if not len(loud):
        return None
    loud = np.sort(loud[loud >= _mean(loud) * 10.0 ** (RANGE_GATE / 10.0)])
    low, high = (float(loud[math.floor(share * (len(loud) - 1) + 0.5)]) for share in (0.10, 0.95))
    return 10.0 * math.log10(high / low)


def _power(level: float) -> float:
    return float(10.0 ** ((level - OFFSET) / 10.0))


def _mean(powers: Array) -> float:
    return math.fsum(powers) / len(powers)


def _windows(powers: Array, cells: int) -> Array:
    """Return the mean power of every window of `cells` cells; empty when there are fewer."""
    count = max(0, len(powers) - cells + 1)
    total = np.zeros(count)
    for first in range(cells):
        total += powers[first : first + count]
    return total / cells
