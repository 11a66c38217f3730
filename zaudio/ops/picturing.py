"""Picturing: a recording as a few thousand columns, for `zaudio view`. Extremes of samples, and a spectrogram.

Rules:

- A cell is a stretch of the input, counted from frame 0. Its numbers follow from its own frames, and those of the FFT
  windows whose middles lie in it. So no cut changes them.
- Cells are so long that there are about as many as a picture has columns, whatever the length of the recording: the
  measurement has the same size for a second and for a day. Only a cell's bytes have a bound.
- Samples are those that the result would store. NaN and infinity are 0.
- Workers compare samples, add squares and transform. Bands, windows and decibels are computed on the coordinator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops.contract import Array, Kernel, Op, Place, Precision, arrays
from zaudio.ops.spectra import hann, windows
from zaudio.signal import Signal

COLUMNS_MOST = 2000  # of a picture: more than a screen shows
BANDS = 512  # of a spectrogram: about a pixel each
CELL_BYTES = 4 << 20  # of the input: a worker holds a cell in float64 too, of one channel at a time
WINDOW_SECONDS = 0.04  # at least: 2,048 frames at 44.1 kHz. A bin is 21.5 Hz wide there
WINDOW_LEAST, WINDOW_MOST = 64, 16_384  # frames; the most is for 384 kHz
WINDOWS_LEAST = 16  # in a recording: of a short one, windows are shorter, so that time is told apart
ROWS = 32  # windows that are transformed at once: they stay in a CPU's cache
BLOCK = 65_536  # samples whose squares are added at once

SCALES = ("mel", "linear")


@dataclass(frozen=True)
class Columns(Kernel):
    """Measures, per cell: the extremes of its pieces, the channels' sums of squares, and the power of each band.

    A cell's numbers are, for each piece and channel, the least and the greatest sample; then for each channel the sum
    of squares; then for each band the greatest of its bins, of which each is the sum of the powers of all windows and
    channels. Of a band that is narrower than a bin, it is the value between the two bins beside its middle.

    Attributes:
        cell: Frames per cell.
        piece: Frames per piece; the cell is a multiple of it.
        count: Windows per cell.
        window: The factors of a window; none for no spectrogram.
        edges: The edges of the bands, in bins; one more than there are bands.
    """

    name: ClassVar[str] = "columns"
    precision: ClassVar[Precision] = Precision.STORED
    cell: int
    piece: int
    count: int
    window: Array
    edges: Array

    def signal(self, before: Signal) -> Signal:
        """Return a frame per cell, and a channel per number."""
        numbers = before.channels * (2 * self.pieces + 1) + self.bands
        return Signal(-(-before.frames // self.cell), numbers, 1, sample_format("f64le"))

    def has_memory(self, signal: Signal) -> bool:
        """Return True: a cell's numbers depend on all its frames."""
        return True

    def needs(self, start: int, stop: int, signal: Signal) -> tuple[int, int]:
        """Return the frames of the cells, and of the windows that reach out of them."""
        return start * self.cell - self._half, stop * self.cell + self._half

    def source_frame(self, frame: int, signal: Signal) -> int:
        """Return the first frame of a cell."""
        return frame * self.cell

    def setup(self, signal: Signal) -> object:
        """Return the bins of the bands."""
        return bins_of(self.edges)

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the numbers of the cells."""
        cells, channels = place.stop - place.start, samples.shape[1]
        extremes = np.zeros((cells, self.pieces, channels, 2))
        squares = np.zeros((cells, channels))
        spectra = np.zeros((cells, len(self.window) // 2 + 1))
        for channel in range(channels):
            values = _floats(samples[:, channel])
            for row in range(cells):
                low = row * self.cell + self._half
                length = min(self.cell, place.signal.frames - (place.start + row) * self.cell)
                _take_extremes(values[low : low + length], self.piece, extremes[row, :, channel])
                squares[row, channel] = _sum_of_squares(values[low : low + length])
            if self.bands:
                self._add_spectra(values, spectra)
        parts = [extremes.reshape(cells, -1), squares]
        return np.concatenate([*parts, band_powers(spectra, state)] if self.bands else parts, axis=1)

    @property
    def pieces(self) -> int:
        """Pieces in a cell."""
        return self.cell // self.piece

    @property
    def bands(self) -> int:
        """Bands of the spectrogram; 0 for none."""
        return max(0, len(self.edges) - 1)

    @property
    def _half(self) -> int:
        return len(self.window) // 2

    def _add_spectra(self, values: Array, spectra: Array) -> None:
        """Add the powers of a channel's windows to those of the cells."""
        stretches = windows(values, len(self.window), 1)
        firsts = (2 * np.arange(self.count) + 1) * self.cell // (2 * self.count)
        for row, powers in enumerate(spectra):
            for low in range(0, self.count, ROWS):
                taken = stretches[row * self.cell + firsts[low : low + ROWS]]  # a copy
                taken *= self.window
                spectrum = np.fft.rfft(taken)
                real, imaginary = spectrum.real, spectrum.imag
                squares = real * real
                squares += imaginary * imaginary
                powers += squares.sum(axis=0)


@dataclass(frozen=True)
class PictureSurvey(Op):
    """Measures for the command `zaudio view`; no job has it.

    Attributes:
        columns: Columns of the picture, about.
        piece: Frames per pair of extremes; 0 for as many as a column has.
        scale: The scale of frequencies; empty for no spectrogram.
    """

    name: ClassVar[str] = "view"
    columns: int = COLUMNS_MOST
    piece: int = 0
    scale: str = "mel"

    def measure(self, signal: Signal) -> Columns:
        """Return the op that measures.

        Raises:
            UsageError: It is to measure no columns, or knows no such scale.
        """
        if not 1 <= self.columns <= COLUMNS_MOST:
            raise UsageError(f"columns is from 1 to {COLUMNS_MOST}, not {self.columns}")
        if self.scale and self.scale not in SCALES:
            raise UsageError(f"a scale is one of {', '.join(SCALES)}, not {self.scale!r}")
        cell = max(1, min(-(-signal.frames // self.columns), CELL_BYTES // signal.frame_bytes))
        piece = self.piece or cell
        cell = -(-cell // piece) * piece
        if not self.scale:
            return Columns(cell, piece, 0, arrays([]), arrays([]))
        size = _size(signal)
        edges = np.minimum(band_edges(signal.samplerate, self.scale) * (size / signal.samplerate), size / 2)
        return Columns(cell, piece, -(-2 * cell // size), arrays(hann(size)), arrays(edges))

    def report(self, cells: Array, signal: Signal) -> View:
        """Return the picture's numbers, of the cells that were measured of that signal."""
        return View.of(cells, signal, self.measure(signal), self.scale)


@dataclass(frozen=True, slots=True)
class View:
    """The numbers of a picture. Full scale is 1.

    Attributes:
        signal: The recording, or what ops made of it.
        cell: Frames per column.
        piece: Frames per pair of extremes.
        least: The least sample of each piece, (pieces, channels).
        greatest: The greatest one.
        squares: The mean square of each column, (columns, channels).
        powers: The power of each column and band, (columns, bands), 1 for a sine at full scale.
        edges: The edges of the bands, in Hz.
        scale: Their scale; empty for no spectrogram.
    """

    signal: Signal
    cell: int
    piece: int
    least: Array
    greatest: Array
    squares: Array
    powers: Array
    edges: Array
    scale: str

    @classmethod
    def of(cls, cells: Array, signal: Signal, kernel: Columns, scale: str) -> View:
        """Return the numbers of a signal from the cells that the op measured."""
        channels = signal.channels
        pairs, squares, bands = np.split(cells, [2 * kernel.pieces * channels, -kernel.bands or cells.shape[1]], axis=1)
        used = -(-signal.frames // kernel.piece)  # the last cell may be partial
        pairs = pairs.reshape(-1, channels, 2)[:used]
        firsts = np.arange(len(cells)) * kernel.cell
        lengths = np.minimum(kernel.cell, signal.frames - firsts)
        with np.errstate(over="ignore", invalid="ignore"):
            powers = bands / np.maximum(1, _windows_in(lengths, kernel))[:, None]
            powers /= channels * max(1.0, float(kernel.window.sum()) / 2) ** 2
        edges = band_edges(signal.samplerate, scale) if scale else arrays([])
        means = squares / np.maximum(1, lengths)[:, None]
        powers = np.nan_to_num(powers, nan=0.0)
        return cls(signal, kernel.cell, kernel.piece, pairs[..., 0], pairs[..., 1], means, powers, edges, scale)

    @property
    def average(self) -> Array:
        """The mean power of each band: the long-term average spectrum."""
        with np.errstate(over="ignore"):
            return self.powers.mean(axis=0) if len(self.powers) else np.zeros(self.powers.shape[1])

    def fitted(self, columns: int) -> View:
        """Return it with at most that many columns: neighbours are joined, at the end fewer of them."""
        joined = -(-len(self.powers) // columns)
        if joined <= 1:
            return self
        starts = np.arange(0, len(self.powers), joined)
        counts = np.diff(starts, append=len(self.powers))[:, None]
        means, powers = (np.add.reduceat(rows, starts, axis=0) / counts for rows in (self.squares, self.powers))
        least, greatest = self.outline(joined * self.cell)
        cell = joined * self.cell
        return View(self.signal, cell, cell, least, greatest, means, powers, self.edges, self.scale)

    def outline(self, frames: int) -> tuple[Array, Array]:
        """Return the extremes of longer pieces, a multiple of the present ones."""
        joined = max(1, frames // self.piece)
        if joined == 1 or not len(self.least):
            return self.least, self.greatest
        starts = np.arange(0, len(self.least), joined)
        return np.minimum.reduceat(self.least, starts, axis=0), np.maximum.reduceat(self.greatest, starts, axis=0)


# Bands


class Bins(NamedTuple):
    """The bins of bands.

    Attributes:
        narrow: Whether each band has no bin of its own.
        lower: The bin below the middle of each narrow band.
        share: The share of the bin above it.
        wide: Begin and end of each wide band's bins, in turn.
    """

    narrow: Array
    lower: Array
    share: Array
    wide: Array


def band_edges(samplerate: int, scale: str) -> Array:
    """Return the edges of the bands in Hz, from 0 to half the samplerate, evenly on a scale. On the coordinator."""
    if scale == "linear":
        return np.linspace(0.0, samplerate / 2, BANDS + 1)
    return from_mel(np.linspace(0.0, float(mel(samplerate / 2)), BANDS + 1))


def mel(hz: float | Array) -> Array:
    """Return hertz as mels, 2595 log10(1 + f / 700). On the coordinator.

    Source: D. O'Shaughnessy, Speech Communication: Human and Machine, Addison-Wesley (1987).
    """
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0))


def from_mel(mels: Array) -> Array:
    """Return mels as hertz. On the coordinator."""
    return np.asarray(700.0 * (10.0 ** (mels / 2595.0) - 1.0))


def bins_of(edges: Array) -> Bins:
    """Return the bins of bands, of their edges in bins."""
    firsts, ends = np.ceil(edges[:-1]).astype(np.int64), np.ceil(edges[1:]).astype(np.int64)
    narrow = firsts == ends
    middles = (edges[:-1] + edges[1:])[narrow] / 2
    lower = np.floor(middles).astype(np.int64)
    wide = np.stack([firsts[~narrow], ends[~narrow]], axis=1).reshape(-1)
    return Bins(narrow, lower, middles - lower, wide)


def band_powers(spectra: Array, bins: Bins) -> Array:
    """Return the powers of the bands (cells, bands), of those of the bins (cells, bins)."""
    result = np.empty((len(spectra), len(bins.narrow)))
    below, above = spectra[:, bins.lower], spectra[:, bins.lower + 1]
    result[:, bins.narrow] = below + (above - below) * bins.share
    if len(bins.wide):
        ended = np.concatenate([spectra, np.zeros((len(spectra), 1))], axis=1)  # an end is a bin, for numpy
        result[:, ~bins.narrow] = np.maximum.reduceat(ended, bins.wide, axis=1)[:, ::2]
    return result


def _size(signal: Signal) -> int:
    """Return the frames of a window: a power of two."""
    usual = math.ceil(math.log2(signal.samplerate * WINDOW_SECONDS))
    short = int(math.log2(max(1, signal.frames // WINDOWS_LEAST)))
    return min(WINDOW_MOST, max(WINDOW_LEAST, 1 << max(0, min(usual, short))))


def _windows_in(lengths: Array, kernel: Columns) -> Array:
    """Return the number of windows whose middles lie in a cell of that many frames."""
    if not kernel.count:
        return np.ones(len(lengths))
    middles = (2 * np.arange(kernel.count) + 1) * kernel.cell // (2 * kernel.count)
    counts: Array = np.searchsorted(middles, lengths, side="left")
    return counts


# Samples


def _floats(samples: Array) -> Array:
    """Return one channel's samples in float64, full scale at 1; new and in a row."""
    values = samples.astype(np.float64)
    if samples.dtype.kind == "i":
        values *= 2.0 ** (1 - 8 * samples.dtype.itemsize)
    return values


def _take_extremes(values: Array, piece: int, pairs: Array) -> None:
    """Fill the pairs (pieces, 2) from as many pieces as there are."""
    starts = np.arange(0, len(values), piece)
    np.minimum.reduceat(values, starts, out=pairs[: len(starts), 0])
    np.maximum.reduceat(values, starts, out=pairs[: len(starts), 1])


def _sum_of_squares(values: Array) -> float:
    """Return the sum of squares, of one block after the other."""
    total = 0.0
    for low in range(0, len(values), BLOCK):
        block = values[low : low + BLOCK]
        total += float(np.add.reduce(block * block))
    return total
