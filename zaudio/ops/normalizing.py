"""Normalizing: ops whose gain or offset follows from the whole recording: `normalize`, `loudnorm`, `removedc`.

Rules:

- A stage before measures the recording in cells. The coordinator combines them, and one number travels.
- A gain is at most `MOST_GAIN_DB`, and silence gets none: the sentence says so.
- Sums over cells are exact (math.fsum), so that they do not depend on their order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from zaudio.formats import sample_format
from zaudio.ops.contract import Array, BuiltIn, Combined, Exactness, Kernel, Op, Place, Precision, arrays
from zaudio.ops.energies import Energies, energies
from zaudio.ops.levels import Scale
from zaudio.ops.loudness import Loudness, decibels
from zaudio.ops.parameters import choice, number
from zaudio.ops.truepeak import HISTORY, true_peaks
from zaudio.signal import Signal

CELL = 65_536  # frames: a cell's samples stay in the nearest caches
MOST_GAIN_DB = 60.0  # what lies 60 dB lower than asked for is noise; raised further, it would be nothing else


@dataclass(frozen=True)
class Normalize(BuiltIn):
    """Bring the greatest peak of the recording to a level.

    Each sample is multiplied by 10^(db / 20) / P. P is the greatest absolute sample of all channels, where full scale
    is 1. With `peak=true` it is the true peak: the greatest value between samples too, by 4-times oversampling. A
    recording of integers is brought to its greatest integer where `db` asks for more. The gain is at most 60 dB.
    Silence stays as it is. NaN and infinity are not measured.
    Source: ITU-R BS.1770-4, annex 2, for the true peak.
    """

    name: ClassVar[str] = "normalize"
    example: ClassVar[str] = "normalize:db=-1"
    exactness: ClassVar[Exactness] = Exactness.WHOLE
    db: float = number("level of the peak in decibels of full scale", least=-120, most=60, default=-1)
    peak: str = choice("peak that is measured: of the samples, or the true peak", "sample", "true", default="sample")

    def measure(self, signal: Signal) -> Op:
        """Return the op that finds peaks."""
        return TruePeaks() if self.peak == "true" else SamplePeaks()

    def combine(self, cells: Array, signal: Signal) -> Combined:
        """Return the gain."""
        peak = float(cells.max(initial=0.0))
        level, unit = decibels(peak), "dBTP" if self.peak == "true" else "dBFS"
        if level is None:
            return Combined(Scale(1.0), f"normalize: {_nothing(signal, peak)}, so there is no gain")
        target = 10.0 ** (self.db / 20.0)
        greatest = _greatest(signal) if self.peak == "sample" else math.inf
        factor, limited = _limited(min(target, greatest) / peak)
        words = f"normalize: the peak is {_db(level)} {unit}, the gain is {_signed(decibels(factor))} dB"
        return Combined(Scale(factor), words + limited)


@dataclass(frozen=True)
class LoudNorm(BuiltIn):
    """Bring the recording to a loudness, by one gain.

    Each sample is multiplied by 10^((lufs - I) / 20). I is the integrated loudness: K-weighted, in windows of 400 ms,
    gated at -70 LUFS and 10 LU below the mean. The channels' order is that of WAV files: L R C LFE Ls Rs. Surrounds
    count 1.41, the effects channel does not count. The gain is at most 60 dB. Silence, and a recording of less than
    400 ms, stays as it is. NaN and infinity are measured as 0.

    The gain is lowered so that the true peak stays at or below `ceiling_db`. Speech often has peaks 20 dB above its
    loudness, and then stays below -16 LUFS; the job says by how much. Dynamics are kept: nothing is compressed. To
    reach the loudness all the same, raise `ceiling_db` and put a `limit` behind. A limiter lowers loudness again:
    recordings that were asked to be at -16 LUFS came out of one at -16.21 and -16.50.

    Source: ITU-R BS.1770-4, annexes 1 and 2; EBU R 128.
    """

    name: ClassVar[str] = "loudnorm"
    example: ClassVar[str] = "loudnorm:lufs=-16"
    exactness: ClassVar[Exactness] = Exactness.WHOLE
    lufs: float = number("integrated loudness in LUFS; EBU R 128 has -23", least=-70, most=0, default=-16)
    ceiling_db: float = number("true peak that the gain does not pass, in dBTP", least=-60, most=60, default=-1)

    def measure(self, signal: Signal) -> Energies:
        """Return the op that measures energies and true peaks.

        Raises:
            UsageError: The samplerate is too low, or scipy is not installed.
        """
        return energies(signal, peaks=True)

    def combine(self, cells: Array, signal: Signal) -> Combined:
        """Return the gain."""
        measured = Loudness.of(cells, signal, self.measure(signal))
        level, peak = measured.integrated, measured.true_peak
        if level is None or peak is None:
            greatest = float(cells.max(initial=0.0))
            short = f"its {signal.frames / signal.samplerate:.3f} s are too short: a measurement needs 0.4 s"
            too_short = measured.is_too_short and signal.frames > 0
            reason = short if too_short else _nothing(signal, greatest, "nothing is above -70 LUFS")
            return Combined(Scale(1.0), f"loudnorm: {reason}, so there is no gain")
        wanted, room = self.lufs - level, self.ceiling_db - peak
        factor, limited = _limited(10.0 ** (min(wanted, room) / 20.0))
        gain = 20.0 * math.log10(factor)
        words = f"loudnorm: {_db(level)} LUFS, true peak {_db(peak)} dBTP; the gain is {_signed(gain)} dB" + limited
        if room < wanted and not limited:
            words += (
                f", {_db(wanted - room)} dB less than {self.lufs:g} LUFS needs, for the ceiling of {self.ceiling_db:g} "
                f"dBTP: the result has {_db(level + gain)} LUFS. {self._advice(peak + wanted)}"
            )
        return Combined(Scale(factor), words)

    def _advice(self, peak: float) -> str:
        """Return the sentence that says how to reach the loudness, with the true peak that it needs."""
        ceiling, limit = math.ceil(peak * 10.0) / 10.0, min(0.0, self.ceiling_db)
        return f"For more, put a limit:db={limit:g} behind it and set ceiling_db={ceiling:g}"


@dataclass(frozen=True)
class RemoveDC(BuiltIn):
    """Subtract the mean of each channel.

    y[n] = x[n] - sum(x) / N, for each channel. The sum is exact to the last bit or two of a float64. An offset that
    changes in time needs a filter, `dcblock`. NaN and infinity are not measured.
    """

    name: ClassVar[str] = "removedc"
    example: ClassVar[str] = "removedc"
    exactness: ClassVar[Exactness] = Exactness.WHOLE

    def measure(self, signal: Signal) -> Op:
        """Return the op that sums."""
        return Sums()

    def combine(self, cells: Array, signal: Signal) -> Combined:
        """Return the offsets."""
        try:
            means = [math.fsum(column) / max(1, signal.frames) for column in cells.T]
        except (OverflowError, ValueError):  # a sum is beyond float64
            means = [math.inf]
        if not all(map(math.isfinite, means)):
            zeros = arrays([0.0] * signal.channels)
            return Combined(Offsets(zeros), "removedc: the samples are too great to be summed, and stay as they are")
        shown = ", ".join(f"{mean:.3g}" for mean in means[:8]) + (", ..." if len(means) > 8 else "")
        words = f"removedc: the mean is {shown}" if signal.frames else "removedc: there are no frames"
        return Combined(Offsets(arrays(means)), words)


@dataclass(frozen=True)
class Offsets(Kernel):
    """Subtraction of a number from each channel."""

    name: ClassVar[str] = "removedc"
    offsets: Array

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the samples less the offsets."""
        samples -= self.offsets
        return samples


@dataclass(frozen=True)
class Cells(Kernel):
    """A kernel that measures cells of 65,536 frames, a number per channel.

    It has memory in the contract's sense: so NaN and infinity come as 0.
    """

    def signal(self, before: Signal) -> Signal:
        """Return a frame per cell and a channel per channel."""
        frames = before.frames + self._delay() if before.frames else 0
        rate = max(1, before.samplerate // CELL)
        return Signal(-(-frames // CELL), before.channels, rate, sample_format("f64le"))

    def needs(self, start: int, stop: int, signal: Signal) -> tuple[int, int]:
        """Return the frames of the cells."""
        return start * CELL - self._delay(), stop * CELL

    def source_frame(self, frame: int, signal: Signal) -> int:
        """Return the first frame of a cell."""
        return frame * CELL

    def has_memory(self, signal: Signal) -> bool:
        """Return True."""
        return True

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the numbers of the cells."""
        delay = self._delay()
        cells = range(0, (place.stop - place.start) * CELL, CELL)
        return np.stack([self._measured(samples[cell : cell + delay + CELL]) for cell in cells])

    def _delay(self) -> int:
        """Return the frames in front of a cell that are needed; so much later the end is measured."""
        return 0

    def _measured(self, samples: Array) -> Array:
        """Return the number of each channel for one cell."""
        raise NotImplementedError


@dataclass(frozen=True)
class SamplePeaks(Cells):
    """Measures the greatest absolute sample."""

    name: ClassVar[str] = "peaks"
    precision: ClassVar[Precision] = Precision.ANY

    def _measured(self, samples: Array) -> Array:
        # Neither differs between CPUs: both are exact, and the sign of zero falls.
        greatest, least = samples.max(axis=0).astype(np.float64), samples.min(axis=0).astype(np.float64)
        full = 1.0 if samples.dtype.kind == "f" else 2.0 ** (8 * samples.dtype.itemsize - 1)
        peaks: Array = np.maximum(np.abs(greatest), np.abs(least)) / full
        return peaks


@dataclass(frozen=True)
class TruePeaks(Cells):
    """Measures the true peak."""

    name: ClassVar[str] = "truepeaks"

    def _measured(self, samples: Array) -> Array:
        peaks: Array = true_peaks(samples, CELL)[0]
        return peaks

    def _delay(self) -> int:
        return HISTORY


@dataclass(frozen=True)
class Sums(Cells):
    """Measures the sum."""

    name: ClassVar[str] = "sums"

    def _measured(self, samples: Array) -> Array:
        return np.array([np.add.reduce(np.ascontiguousarray(column)) for column in samples.T])


def _limited(factor: float) -> tuple[float, str]:
    """Return a factor of at most `MOST_GAIN_DB`, and the words about it if it was more."""
    most = 10.0 ** (MOST_GAIN_DB / 20.0)
    if factor <= most:
        return factor, ""
    return most, f", the most that there is, in place of {_db(decibels(factor))} dB: put a gain in front for more"


def _greatest(signal: Signal) -> float:
    """Return the greatest sample of a signal's format; infinity for floats."""
    bits = signal.format.bits - 1
    return math.inf if signal.format.dtype[1] == "f" else 1.0 - 2.0**-bits


def _nothing(signal: Signal, greatest: float, quiet: str = "the recording is silence") -> str:
    """Return the reason why a recording has no level."""
    if not signal.frames:
        return "there are no frames"
    return quiet if math.isfinite(greatest) else "its level is beyond float64"


def _db(value: float | None) -> str:
    return "-inf" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "-inf" if value is None else f"{value:+.2f}"
