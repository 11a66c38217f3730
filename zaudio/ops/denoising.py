"""Denoising: a spectral gate, `denoise`.

Rules:

- A window is a stretch of `size` frames. The gate's windows begin at multiples of size / 4 frames from the recording's
  frame 0, and each is computed by itself: so no cut changes a bit.
- A measuring stage learns the noise's power per bin. Windows and powers are the same in both stages.
- A bin is open or closed by comparison. Its gain follows from the number of open bins around it, by a table.
- Sums are added in one order, whatever the number of windows that are computed at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from zaudio.errors import UsageError
from zaudio.formats import sample_format
from zaudio.ops.contract import Array, BuiltIn, Combined, Exactness, Kernel, Op, Place, arrays
from zaudio.ops.parameters import duration, frames_of, number
from zaudio.ops.spectra import hann, windows
from zaudio.signal import Signal

WINDOW_SECONDS = 0.04  # at least: 2,048 frames at 44.1 kHz, long enough to tell the harmonics of a deep voice apart
SHORTEST_BITS = 6  # of a window's length: 64 frames, at 1,600 Hz and below
OVERLAP = 4  # windows over each frame: their gains blend into each other
APART = 2  # windows from one neighbour to the next in time: half a window, since closer ones have the same noise
AHEAD = 1  # windows before a sound in which its bins are open
BEHIND = 3  # windows after it: the ends of words fade into the noise
BLUR = 5  # windows, and 3 bins, over which a gain goes from closed to open
NEIGHBOURS = 3 * BLUR
BATCH = 128  # hops at once: their spectra take 3 MB at 44.1 kHz
ROWS = 32  # windows that are transformed at once, a multiple of RUN: they stay in a CPU's cache

CELL_WINDOWS = 512  # of a cell of measurement, half a window apart: 12 s, kept as a number for 512 samples
RUN = 4  # windows in a row that are added first; a group is two runs: 0.2 s, as long as a short pause
QUARTER = 4  # the floor is that of the quietest quarter of the cells
# The least of n groups' mean powers, of white noise with power 1, for n = 1, 2, 4 ... 128. Found by simulation.
LEAST_OF = (1.0, 0.855, 0.691, 0.569, 0.477, 0.407, 0.351, 0.307)


@dataclass(frozen=True)
class Denoise(BuiltIn):
    """Make steady noise quieter: hiss, hum, a fan.

    The sound is cut into windows of 2,048 frames at 44.1 and 48 kHz (at least 40 ms), each with a square root of a Hann
    window, four over each frame. A bin is open and passes if its power, with that of its 8 neighbours in time and
    frequency, is more than `threshold_db` above the noise's. All others are multiplied by g = 10^(-reduction_db / 20).
    Between the two the gain goes in steps of a fifteenth of `reduction_db`, within five windows and three bins,
    beginning before a sound and ending after it: so nothing clicks, and single bins do not ring.

    A stage before measures the noise. With `noise_length`, it is the mean power per bin from `noise_start` on: choose a
    pause. Without, it is found: of each stretch of 12 s the least power that a bin has for 0.2 s, and of these the
    lower quartile over the recording. A sound that never pauses, such as a drone, then counts as noise. Noise that
    changes over the recording is measured where it is low. Each channel has its own measurement.

    Sources: S. F. Boll, Suppression of acoustic noise in speech using spectral subtraction, IEEE Trans. ASSP 27 (1979),
    for the residual noise and its neighbours in time; R. Martin, Noise power spectral density estimation based on
    optimal smoothing and minimum statistics, IEEE Trans. SAP 9 (2001), for the least power and its bias.
    """

    name: ClassVar[str] = "denoise"
    example: ClassVar[str] = "denoise:reduction_db=12"
    exactness: ClassVar[Exactness] = Exactness.WHOLE
    reduction_db: float = number("decibels by which noise becomes quieter", least=0, most=60, default=12)
    threshold_db: float = number("decibels above the noise from which a bin passes", least=0, most=40, default=6)
    noise_start: str = duration("instant at which a stretch of noise alone begins", default="0s")
    noise_length: str = duration("length of that stretch; 0s finds the noise by itself", default="0s")

    def measure(self, signal: Signal) -> Op:
        """Return the op that measures the noise.

        Raises:
            UsageError: The stretch of noise is too short, or not in the recording.
        """
        size = _size(signal.samplerate)
        start, length = (frames_of(value, signal.samplerate) for value in (self.noise_start, self.noise_length))
        if not length:
            return NoisePower(size, 0, signal.frames, True, _window(size))
        if length < 2 * size:
            raise UsageError(
                f"op denoise: noise_length must be {2 * size} frames or more at {signal.samplerate} Hz, not {length}"
            )
        if start + length > signal.frames:
            raise UsageError(
                f"op denoise: the noise is said to end at frame {start + length}, and the input ends at {signal.frames}"
            )
        return NoisePower(size, start, length, False, _window(size))

    def combine(self, cells: Array, signal: Signal) -> Combined:
        """Return the gate for the measured noise."""
        size = _size(signal.samplerate)
        bins = size // 2 + 1
        cells = cells.reshape(len(cells), signal.channels, bins + 1)
        powers, counts = cells[:, :, :bins], cells[:, :, bins:]
        found = not frames_of(self.noise_length, signal.samplerate)
        noise = _lowest(powers, counts) if found else powers.sum(axis=0) / np.maximum(1.0, counts.sum(axis=0))
        thresholds = 3.0 * _three_bins(noise) * 10.0 ** (self.threshold_db / 10.0)
        steps = [10.0 ** (-self.reduction_db / 20.0 * (1.0 - n / NEIGHBOURS)) for n in range(NEIGHBOURS + 1)]
        return Combined(SpectralGate(size, _window(size), arrays(thresholds), arrays(steps)), _sentence(noise, size))


@dataclass(frozen=True)
class NoisePower(Kernel):
    """The power per bin of each cell of a stretch.

    Attributes:
        size: Frames per window.
        start: The first frame of the stretch.
        length: Its frames.
        least: Whether a cell gives the least mean power of a group of windows, or the sum of its windows' powers.
        window: The factors of a window.
    """

    name: ClassVar[str] = "denoise-noise"
    size: int
    start: int
    length: int
    least: bool
    window: Array

    def signal(self, before: Signal) -> Signal:
        """Return the signal of a frame per cell: per channel the powers, then the number of groups or windows."""
        cells = -(-self.length // self._cell)
        numbers = before.channels * (self.size // 2 + 2)
        return replace(before, frames=cells, channels=numbers, format=sample_format("f64le"))

    def has_memory(self, signal: Signal) -> bool:
        """Return True: a cell's power depends on all its frames."""
        return True

    def needs(self, start: int, stop: int, signal: Signal) -> tuple[int, int]:
        """Return the frames of the cells, and of the windows that reach out of them."""
        end = min(stop * self._cell + self.size // 2, self.length)
        return self.start + min(start * self._cell, end), self.start + end

    def source_frame(self, frame: int, signal: Signal) -> int:
        """Return the first frame of a cell."""
        return self.start + frame * self._cell

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the cells' powers."""
        cells = np.empty((place.stop - place.start, samples.shape[1], self.size // 2 + 2))
        for row, cell in enumerate(cells):
            low = row * self._cell
            for channel in range(samples.shape[1]):
                cell[channel] = self._numbers(samples[low : low + self._cell + self.size // 2, channel])
        return cells.reshape(len(cells), -1)

    @property
    def _cell(self) -> int:
        return CELL_WINDOWS * self.size // 2

    def _numbers(self, samples: Array) -> Array:
        """Return the powers of a cell's bins, and of how many groups or windows they are."""
        result = np.zeros(self.size // 2 + 2)
        if len(samples) < self.size:
            return result
        stretches = windows(samples, self.size, self.size // 2)
        if not self.least:
            for low in range(0, len(stretches), ROWS):
                result[:-1] += _transformed(stretches[low : low + ROWS], self.window)[1].sum(axis=0)
            result[-1] = len(stretches)
            return result
        runs = [self._runs(stretches[low : low + ROWS]) for low in range(0, len(stretches), ROWS)]
        sums, sounding = (np.concatenate(parts) for parts in zip(*runs, strict=True))
        # Digital silence, or a part of it, tells nothing of the noise.
        pairs = sounding[:-1] & sounding[1:]
        if pairs.any():
            result[:-1] = (sums[:-1] + sums[1:])[pairs].min(axis=0) / (2 * RUN)
            result[-1] = np.count_nonzero(pairs)
        return result

    def _runs(self, stretches: Array) -> tuple[Array, Array]:
        """Return the powers of runs of windows, added; and whether each of their windows has a sound."""
        count = len(stretches) // RUN
        _, powers = _transformed(stretches[: count * RUN], self.window)
        sums = powers[::RUN] + powers[1::RUN]
        for row in range(2, RUN):
            sums += powers[row::RUN]
        sounding = powers.any(axis=1).reshape(count, RUN)
        return sums, np.asarray(sounding.all(axis=1))


@dataclass(frozen=True)
class SpectralGate(Kernel):
    """The spectral gate.

    Attributes:
        size: Frames per window.
        window: The factors of a window.
        thresholds: For each channel and bin, the power of 9 bins from which the middle one is open.
        gains: The gain of a bin, by the number of open bins around it.
    """

    name: ClassVar[str] = "denoise"
    size: int
    window: Array
    thresholds: Array
    gains: Array

    def grid(self, signal: Signal) -> int:
        """Return the frames from one window to the next."""
        return self.size // OVERLAP

    def context(self, signal: Signal) -> tuple[int, int]:
        """Return the frames of all windows that have a say in a frame."""
        hop = self.size // OVERLAP
        return (OVERLAP - 1 + _BEFORE) * hop, (OVERLAP - 1 + _AFTER) * hop

    def apply(self, samples: Array, place: Place, state: Any) -> Array:
        """Return the wanted frames, denoised."""
        hop = self.size // OVERLAP
        first = place.start // hop
        hops = -(-place.stop // hop) - first
        thresholds = self.thresholds.reshape(samples.shape[1], -1)
        output = np.empty((samples.shape[1], hops, hop))
        for channel in range(samples.shape[1]):
            stretches = windows(samples[:, channel], self.size, hop)
            for low in range(0, hops, BATCH):
                high = min(low + BATCH, hops)
                needed = stretches[low : high + OVERLAP - 1 + _BEFORE + _AFTER]
                self._gate(needed, thresholds[channel], output[channel, low:high])
        skipped = place.start - first * hop
        return output.reshape(samples.shape[1], -1)[:, skipped : skipped + place.stop - place.start].T

    def _gate(self, stretches: Array, thresholds: Array, output: Array) -> None:
        """Fill the output (hops, frames) from the windows that have a say in it."""
        spectra, powers = _transformed(stretches, self.window)
        gains = self._gains(powers, thresholds)
        spectra = spectra[_BEFORE : _BEFORE + len(gains)]
        pieces = np.empty((len(gains), self.size))
        window = self.window * (2.0 / OVERLAP)  # the squares of OVERLAP windows add up to OVERLAP / 2
        for low in range(0, len(gains), ROWS):
            rows = slice(low, low + ROWS)
            real, imaginary = spectra[rows].real, spectra[rows].imag
            real *= gains[rows]
            imaginary *= gains[rows]
            np.multiply(np.fft.irfft(spectra[rows], self.size), window, out=pieces[rows])
        quarters = pieces.reshape(len(pieces), OVERLAP, -1)
        hops = len(output)
        # Earlier windows first: the order of a sum decides its last bit.
        np.add(quarters[:hops, 3], quarters[1 : hops + 1, 2], out=output)
        output += quarters[2 : hops + 2, 1]
        output += quarters[3 : hops + 3, 0]

    def _gains(self, powers: Array, thresholds: Array) -> Array:
        """Return the gains of the windows that reach into the output; those on either side have a say in them."""
        times = powers[: -2 * APART] + powers[APART:-APART]
        times += powers[2 * APART :]
        opened = _three_bins(times) > thresholds
        held = opened[: len(opened) - AHEAD - BEHIND].copy()
        for shift in range(1, AHEAD + BEHIND + 1):
            held |= opened[shift : shift + len(held)]
        bins = _three_bins(held.view(np.uint8))
        count = bins[: len(bins) - BLUR + 1].copy()
        for shift in range(1, BLUR):
            count += bins[shift : shift + len(count)]
        gains: Array = self.gains.take(count)
        return gains


_BEFORE = APART + BEHIND + BLUR // 2  # windows before one that have a say in its gains
_AFTER = APART + AHEAD + BLUR // 2  # windows behind it


def _transformed(stretches: Array, window: Array) -> tuple[Array, Array]:
    """Return the spectra of windows, and the power of each bin: a sum of two squares, with no fused operation."""
    spectra = np.empty((len(stretches), stretches.shape[1] // 2 + 1), np.complex128)
    powers = np.empty(spectra.shape)
    for low in range(0, len(stretches), ROWS):
        rows = slice(low, low + ROWS)
        np.fft.rfft(stretches[rows] * window, out=spectra[rows])
        real, imaginary = spectra[rows].real, spectra[rows].imag
        np.multiply(real, real, out=powers[rows])
        powers[rows] += imaginary * imaginary
    return spectra, powers


def _three_bins(rows: Array) -> Array:
    """Return the sum of each bin and those beside it; a real signal's spectrum goes on mirrored at both ends."""
    wider = np.empty((len(rows), rows.shape[1] + 2), rows.dtype)
    wider[:, 1:-1] = rows
    wider[:, 0] = rows[:, 1]
    wider[:, -1] = rows[:, -2]
    sums: Array = wider[:, :-2] + wider[:, 1:-1]
    sums += wider[:, 2:]
    return sums


# On the coordinator


def _size(samplerate: int) -> int:
    """Return the frames of a window: a power of two, so that it is halved and quartered."""
    return 1 << max(SHORTEST_BITS, math.ceil(math.log2(samplerate * WINDOW_SECONDS)))


def _window(size: int) -> Array:
    return arrays(np.sqrt(hann(size)))


def _lowest(powers: Array, counts: Array) -> Array:
    """Return the noise's power (channels, bins), of the least powers of cells and the number of their groups."""
    noise = np.zeros(powers.shape[1:])
    for channel in range(len(noise)):
        measured = counts[:, channel, 0] > 0
        if measured.any():
            bias = np.interp(np.log2(counts[measured, channel]), range(len(LEAST_OF)), LEAST_OF)
            ordered = np.sort(powers[measured, channel] / bias, axis=0)
            noise[channel] = ordered[(len(ordered) - 1) // QUARTER]
    return noise


def _sentence(noise: Array, size: int) -> str:
    """Return the noise's level for the user."""
    # Parseval: the powers of all bins are size times the energy in the window, whose squares add up to size / 2.
    total = float((2.0 * noise.sum() - noise[:, 0].sum() - noise[:, -1].sum()) / (size * size / 2) / len(noise))
    return f"denoise: noise of {10.0 * math.log10(total):.1f} dBFS (RMS)" if total > 0 else "denoise: no noise found"
