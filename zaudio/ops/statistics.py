"""Statistics of a recording: peak, RMS, DC, clipped and non-finite samples, silence; per channel.

Rules:

- Samples are counted as they are stored: behind ops, as the result would store them.
- A cell is about a second: 100 pieces of 10 ms. The last cell may be partial. Missing frames do not count.
- A piece is silent when no sample of it is above -60 dBFS. Silence is measured in whole pieces.
- NaN and infinity are counted, and are 0 in all other numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from zaudio.formats import sample_format
from zaudio.ops.contract import Array, Kernel, Op, Place, Precision
from zaudio.ops.loudness import decibels
from zaudio.signal import Signal

PIECES = 100  # in a cell
SILENCE_DB = -60.0  # dBFS: above it lies the noise of a quiet room that was recorded well
_SILENCE = 0.001  # as a level

# The numbers of a cell, of each channel.
_LEAST, _GREATEST, _SUM, _SQUARES, _CLIPPED, _NOT_FINITE, _SILENT, _HEAD, _TAIL = range(9)
_NUMBERS = 9


@dataclass(frozen=True)
class Tallies(Kernel):
    """Measures, per cell and channel: least, greatest, sum, sum of squares; samples that are clipped or not finite.

    And frames of silence: all of them, those at the cell's beginning, and those at its end.
    """

    name: ClassVar[str] = "tallies"
    precision: ClassVar[Precision] = Precision.STORED

    def signal(self, before: Signal) -> Signal:
        """Return a frame per cell, and nine channels per channel."""
        cells = -(-before.frames // _cell(before.samplerate))
        return Signal(cells, _NUMBERS * before.channels, 1, sample_format("f64le"))

    def needs(self, start: int, stop: int, signal: Signal) -> tuple[int, int]:
        """Return the frames of the cells."""
        cell = _cell(signal.samplerate)
        return start * cell, stop * cell

    def source_frame(self, frame: int, signal: Signal) -> int:
        """Return the first frame of a cell."""
        return frame * _cell(signal.samplerate)

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the numbers of the cells."""
        cell = _cell(place.samplerate)
        result = np.empty((place.stop - place.start, samples.shape[1], _NUMBERS))
        for number in range(place.start, place.stop):
            low, high = number * cell, min((number + 1) * cell, place.signal.frames)
            piece = samples[low - place.first : high - place.first]
            for channel in range(samples.shape[1]):
                result[number - place.start, channel] = _tally(piece[:, channel], cell // PIECES)
        return result.reshape(len(result), -1)


@dataclass(frozen=True)
class StatsSurvey(Op):
    """Measures for the command `zaudio stats`; no job has it."""

    name: ClassVar[str] = "stats"

    def measure(self, signal: Signal) -> Tallies:
        """Return the op that measures."""
        return Tallies()

    def report(self, cells: Array, signal: Signal) -> Stats:
        """Return the statistics of a signal, of the cells that were measured of it."""
        return Stats.of(cells, signal)


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """The statistics of one channel. Levels are in decibels of full scale; None for silence.

    Attributes:
        peak: The greatest absolute sample.
        rms: The root of the mean square: -3.01 for a sine at full scale.
        dc: The mean, 1 for full scale.
        least: The least sample, 1 for full scale.
        greatest: The greatest sample.
        clipped: Samples at or beyond full scale; of integers, those at either end of their range.
        not_finite: NaN and infinities.
        silent: Seconds in pieces of 10 ms of which no sample is above -60 dBFS.
        leading: Seconds of silence at the beginning.
        trailing: Seconds of silence at the end.
    """

    peak: float | None
    rms: float | None
    dc: float
    least: float
    greatest: float
    clipped: int
    not_finite: int
    silent: float
    leading: float
    trailing: float


@dataclass(frozen=True, slots=True)
class Stats:
    """The statistics of a recording.

    Attributes:
        signal: The recording, or what ops made of it.
        channels: The statistics of each channel.
    """

    signal: Signal
    channels: tuple[ChannelStats, ...]

    @classmethod
    def of(cls, cells: Array, signal: Signal) -> Stats:
        """Return the statistics of a signal from the cells that `Tallies` measured."""
        tallies = cells.reshape(len(cells), signal.channels, _NUMBERS)
        return cls(signal, tuple(_channel(tallies[:, channel], signal) for channel in range(signal.channels)))

    @property
    def seconds(self) -> float:
        """The length."""
        return self.signal.frames / self.signal.samplerate

    @property
    def peak(self) -> float | None:
        """The greatest peak, in decibels of full scale; None for silence."""
        return max((channel.peak for channel in self.channels if channel.peak is not None), default=None)

    def to_json(self) -> dict[str, object]:
        """Return it as plain values."""
        signal = self.signal
        return {
            "frames": signal.frames,
            "samplerate": signal.samplerate,
            "format": signal.format.name,
            "seconds": self.seconds,
            "silence_dbfs": SILENCE_DB,
            "channels": [_named(channel) for channel in self.channels],
        }


_UNITS = {"peak": "peak_dbfs", "rms": "rms_dbfs", "silent": "silent_seconds"}
_UNITS |= {"leading": "leading_silence_seconds", "trailing": "trailing_silence_seconds"}


def _named(channel: ChannelStats) -> dict[str, object]:
    return {_UNITS.get(name, name): value for name, value in asdict(channel).items()}


def _channel(tallies: Array, signal: Signal) -> ChannelStats:
    """Return the statistics of a channel, of its cells (cells, numbers)."""
    frames, samples = signal.frames, max(1, signal.frames)
    least, greatest = (tallies[:, _LEAST].min(), tallies[:, _GREATEST].max()) if frames else (0.0, 0.0)
    cell = _cell(signal.samplerate)
    lengths = [min(cell, frames - first) for first in range(0, frames, cell)]
    silent, leading, trailing = (
        _total(tallies[:, _SILENT]),
        _run(tallies[:, _HEAD], lengths),
        _run(tallies[::-1, _TAIL], lengths[::-1]),
    )
    return ChannelStats(
        peak=decibels(max(-least, greatest, 0.0)),
        rms=decibels(math.sqrt(_total(tallies[:, _SQUARES]) / samples)),
        dc=_total(tallies[:, _SUM]) / samples,
        least=float(least),
        greatest=float(greatest),
        clipped=int(_total(tallies[:, _CLIPPED])),
        not_finite=int(_total(tallies[:, _NOT_FINITE])),
        silent=silent / signal.samplerate,
        leading=leading / signal.samplerate,
        trailing=trailing / signal.samplerate,
    )


def _total(column: Array) -> float:
    """Return a sum; 0 where it is beyond float64, which no audio reaches."""
    try:
        total = math.fsum(column)
    except (OverflowError, ValueError):
        return 0.0
    return total if math.isfinite(total) else 0.0


def _run(silent: Array, lengths: Sequence[int]) -> int:
    """Return the frames of silence up to the first cell that is not all silence."""
    total = 0
    for count, length in zip(silent.tolist(), lengths, strict=True):
        total += int(count)
        if count < length:
            break
    return total


def _cell(samplerate: int) -> int:
    """Return the frames of a cell: 100 pieces of 10 ms, rounded down to whole frames."""
    return PIECES * max(1, samplerate // PIECES)


def _tally(samples: Array, piece: int) -> tuple[float, ...]:
    """Return the numbers of one channel's cell."""
    if samples.dtype.kind == "f":
        values, not_finite = samples.astype(np.float64), 0
        finite = np.isfinite(values)
        if not finite.all():
            not_finite = int(np.count_nonzero(~finite))
            values[~finite] = 0.0
        full = 1.0
    else:
        values, not_finite = samples * 2.0 ** (1 - 8 * samples.dtype.itemsize), 0
        full = 1.0 - 2.0 ** (1 - 8 * samples.dtype.itemsize)
    least, greatest = float(values.min()), float(values.max())
    clipped = 0
    if least <= -1.0 or greatest >= full:
        clipped = int(np.count_nonzero(values <= -1.0) + np.count_nonzero(values >= full))
    total = float(np.add.reduce(values))
    np.abs(values, out=values)
    silence = _silence(values, piece)
    values *= values
    return least, greatest, total, float(np.add.reduce(values)), clipped, not_finite, *silence


def _silence(levels: Array, piece: int) -> tuple[int, int, int]:
    """Return the frames of silent pieces: all of them, those at the beginning, and those at the end."""
    starts = np.arange(0, len(levels), piece)
    loud = np.maximum.reduceat(levels, starts) > _SILENCE
    if not loud.any():
        return len(levels), len(levels), len(levels)
    if loud.all():
        return 0, 0, 0
    lengths = np.diff(starts, append=len(levels))
    head, tail = int(np.argmax(loud)), int(np.argmax(loud[::-1]))
    return int(lengths[~loud].sum()), int(lengths[:head].sum()), int(lengths[len(lengths) - tail :].sum())
